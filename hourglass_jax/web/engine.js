// The page's side of worker.js: calls that return promises.

export class Engine {
  constructor() {
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    // The worker's files are missing, or the browser is too old for them.
    this.worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(event.message || "worker.js cannot be loaded");
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    };
  }

  load() {
    return this.call("load", {});
  }

  find(source, options) {
    const moved = source instanceof ImageBitmap ? [source] : [];
    return this.call("find", { source, options }, moved);
  }

  call(name, content, moved = []) {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, call: name, ...content }, moved);
    });
  }
}
