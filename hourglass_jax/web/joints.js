// From heatmaps to joints, as `tasks/single_pose/heatmap.py` does it.
//
// Maps are {data, height, width, channels}: the last stack's outputs of one view, with data[(y *
// width + x) * channels + channel].

/**
 * Returns x and y of each joint in px of the network's input, and the height of its peak.
 *
 * @param views maps of the plain view, and maybe of the mirrored one.
 * @param network description of the network, from site.json.
 */
export function decode(views, network) {
  const maps = views.length === 2 ? merged(views, network.flipOrder) : views[0];
  return network.joints.map((_, joint) => decodeOne(maps, joint, network));
}

/** Returns the mean of the maps of an image and of its mirror image. */
function merged([plain, mirrored], flipOrder) {
  const { height, width, channels } = plain;
  const data = new Float32Array(plain.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = (y * width + x) * channels;
      const there = (y * width + width - 1 - x) * channels;
      for (let joint = 0; joint < channels; joint++) {
        data[here + joint] = (plain.data[here + joint] + mirrored.data[there + flipOrder[joint]]) / 2;
      }
    }
  }
  return { ...plain, data };
}

function decodeOne({ data, height, width, channels }, joint, { decoder, stride }) {
  const value = (x, y) => data[(y * width + x) * channels + joint];
  let [peakX, peakY] = [0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (value(x, y) > value(peakX, peakY)) [peakX, peakY] = [x, y];
    }
  }
  const score = value(peakX, peakY);
  const shift = decoder === "refined" ? refined : quarter;
  let [x, y] = [peakX, peakY];
  if (score > 0 && peakX > 0 && peakX < width - 1) {
    x += shift(value(peakX - 1, peakY), score, value(peakX + 1, peakY));
  }
  if (score > 0 && peakY > 0 && peakY < height - 1) {
    y += shift(value(peakX, peakY - 1), score, value(peakX, peakY + 1));
  }
  return {
    place: [(x + 0.5) * stride - 0.5, (y + 0.5) * stride - 0.5],
    score: Math.max(score, 0),
  };
}

/** A quarter of a pixel toward the higher neighbour. */
function quarter(before, _, after) {
  return 0.25 * Math.sign(after - before);
}

/** The maximum of the parabola through the logarithms. */
function refined(before, peak, after) {
  const [low, middle, high] = [before, peak, after].map((v) => Math.log(Math.max(v, 1e-6)));
  const curvature = low - 2 * middle + high;
  return curvature < 0 ? (0.5 * (low - high)) / Math.min(curvature, -1e-6) : 0;
}
