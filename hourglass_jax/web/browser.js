// What the browser has to offer, and the page without a network connection.

/** Returns why the page cannot work in this browser, or "". */
export function whyNot() {
  const advice = "use a current version of Chrome, Edge, Firefox or Safari.";
  if (typeof WebAssembly === "undefined") {
    return `This browser has no WebAssembly, which the networks need; ${advice}`;
  }
  if (typeof OffscreenCanvas === "undefined" || !Array.prototype.toSorted) {
    return `This browser is too old for the page; ${advice}`;
  }
  return "";
}

/** Registers the service worker, which keeps everything that is loaded for use without a network. */
export async function workOffline() {
  if (!navigator.serviceWorker) return; // the page is not served by https
  try {
    await navigator.serviceWorker.register("offline.js");
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) {
      await new Promise((resolve) => {
        navigator.serviceWorker.oncontrollerchange = resolve;
        setTimeout(resolve, 2000); // as after a reload that bypasses it
      });
    }
  } catch {
    // Private windows may forbid it: the page works, but not offline.
  }
}
