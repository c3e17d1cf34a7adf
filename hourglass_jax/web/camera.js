// Follows the people before the camera.
//
// A detector takes longer than a network for poses: it looks at every third frame. Between, the
// boxes that it found move with the joints in them.

const EVERY = 3;
const WANTED = { video: { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } } };
const SENTENCES = {
  NotFoundError: "There is no camera.",
  NotAllowedError: "The camera may not be used: allow it for this page in the browser's settings.",
  NotReadableError: "The camera is in use by another program.",
};

export class Camera {
  /**
   * @param video element that plays the camera, which need not be visible.
   * @param look async function of (bitmap, boxes) that returns what is found in a frame; without
   *   boxes it finds them.
   * @param show function of (frame, found, rate) for each frame: a canvas with it, and about how
   *   many frames there are in a second.
   */
  constructor(video, look, show) {
    Object.assign(this, { video, look, show, frame: document.createElement("canvas") });
    this.running = false;
  }

  /** Starts, and returns when the camera has been stopped; throws an Error with a sentence. */
  async run() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("The camera can be used only on a page that is served by https.");
    }
    this.running = true;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(WANTED);
      stream.getVideoTracks()[0].onended = () => this.stop();
      this.video.srcObject = stream;
      await this.video.play();
      await this.follow();
    } catch (error) {
      throw SENTENCES[error.name] ? new Error(SENTENCES[error.name]) : error;
    } finally {
      this.running = false;
      this.video.srcObject = null;
      stream?.getTracks().forEach((track) => track.stop());
    }
  }

  stop() {
    this.running = false;
  }

  async follow() {
    let boxes = null;
    let mean = 0; // milliseconds a frame
    for (let count = 0; this.running; count++) {
      const begin = performance.now();
      await new Promise(requestAnimationFrame); // not while the page is hidden
      this.frame.width = this.video.videoWidth;
      this.frame.height = this.video.videoHeight;
      this.frame.getContext("2d").drawImage(this.video, 0, 0);
      const bitmap = await createImageBitmap(this.frame);
      const found = await this.look(bitmap, count % EVERY ? boxes : null);
      if (!this.running) break;
      const took = performance.now() - begin;
      mean = count ? 0.9 * mean + 0.1 * took : took;
      this.show(this.frame, found, 1000 / mean);
      boxes = followed(found);
    }
  }
}

/**
 * Returns the people's boxes as they are expected in the next frame: moved as their joints were.
 * There are none without a detector, or where it has found nobody.
 */
export function followed(found) {
  const people = found.filter((one) => one.joints && one.boxScore !== undefined);
  if (!people.length) return null;
  return people.map(({ box: [left, top, width, height], boxScore, joints, before }) => {
    const middle = ["x", "y"].map((axis) => average(joints.map((joint) => joint[axis])));
    const [x, y] = before ? middle.map((value, axis) => value - before[axis]) : [0, 0];
    return { box: [left + x, top + y, width, height], score: boxScore, before: middle };
  });
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
