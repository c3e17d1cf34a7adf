// Finds poses beside the page, which stays usable meanwhile.
//
// Takes messages {id, call, ...} and answers {id, result} or {id, error}. `call` is "load", with
// nothing else; or "find", with a `source` (a file or an ImageBitmap) and the options of
// `Estimator.find`.

import { Estimator } from "./estimator.js";
import { load } from "./networks.js";

let estimator;

const calls = {
  async load() {
    if (typeof WebAssembly === "undefined") throw new Error("there is no WebAssembly");
    const response = await fetch("site.json");
    if (!response.ok) throw new Error(`site.json cannot be read (${response.status})`);
    const site = await response.json();
    const { networks, device } = await load(site);
    estimator = new Estimator(site, networks);
    return { site, device };
  },

  async find({ source, options }) {
    const bitmap = source instanceof ImageBitmap ? source : await decode(source);
    try {
      return await estimator.find(readable(bitmap), options);
    } finally {
      bitmap.close();
    }
  },
};

async function decode(file) {
  try {
    // Pixels as Python has them: upright, and without the screen's colours.
    return await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "default",
    });
  } catch {
    // Such as drawings in SVG, or what is too large for this device.
    throw new Error("This browser cannot decode the image; save it as JPEG or PNG, or smaller.");
  }
}

function readable(bitmap) {
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  return {
    width: bitmap.width,
    height: bitmap.height,
    read(left, top, width, height) {
      canvas.width = width;
      canvas.height = height;
      context.fillStyle = "white"; // behind what is transparent
      context.fillRect(0, 0, width, height);
      context.drawImage(bitmap, left, top, width, height, 0, 0, width, height);
      return context.getImageData(0, 0, width, height).data;
    },
  };
}

self.onmessage = async ({ data: { id, call, ...rest } }) => {
  try {
    self.postMessage({ id, result: await calls[call](rest) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};
