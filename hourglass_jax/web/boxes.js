// From the maps of a network of centres to boxes, as `tasks/detection/` does it.
//
// Maps are as in joints.js; `network.heads` says which channels are whose. Boxes are corners
// [x1, y1, x2, y2], measured from the image's corner.

import { area, clamp, iou, moveCorners } from "./geometry.js";

/**
 * Returns {corners, score, category} of the highest centres, corners in px of the network's input.
 *
 * @param views maps of the plain view, and maybe of the mirrored one.
 * @param network description of the network, from site.json.
 */
export function decode(views, network) {
  const { heads, stride, topK } = network;
  const [{ height, width, channels, data }] = views;
  const at = (x, y, channel) => data[(y * width + x) * channels + channel];
  const probabilities = heatmap(views, heads.hm);
  const size = (x, y, axis) => {
    const channel = heads.wh + axis;
    if (views.length === 1) return at(x, y, channel);
    return (at(x, y, channel) + views[1].data[(y * width + width - 1 - x) * channels + channel]) / 2;
  };
  return peaks(probabilities, network.categories.length, height, width)
    .slice(0, topK)
    .map(({ x, y, category, score }) => {
      const middle = [x + at(x, y, heads.reg), y + at(x, y, heads.reg + 1)];
      const half = [size(x, y, 0) / 2, size(x, y, 1) / 2];
      const ends = [-1, 1].flatMap((sign) => middle.map((m, axis) => m + sign * half[axis]));
      return { corners: ends.map((end) => end * stride), category, score };
    });

  function heatmap(several, first) {
    const count = network.categories.length;
    const result = new Float64Array(height * width * count);
    several.forEach((maps, mirrored) => {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const from = (y * width + (mirrored ? width - 1 - x : x)) * channels + first;
          for (let c = 0; c < count; c++) {
            const probability = 1 / (1 + Math.exp(-maps.data[from + c]));
            result[(y * width + x) * count + c] += probability / several.length;
          }
        }
      }
    });
    return result;
  }
}

/** Returns the cells that are maxima of their 3 x 3 neighbours, the highest first. */
function peaks(values, count, height, width) {
  const found = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let category = 0; category < count; category++) {
        const score = values[(y * width + x) * count + category];
        if (score > 0 && isPeak(x, y, category, score)) found.push({ x, y, category, score });
      }
    }
  }
  return found.sort((a, b) => b.score - a.score);

  function isPeak(x, y, category, score) {
    for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
      for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
        if (values[(row * width + column) * count + category] > score) return false;
      }
    }
    return true;
  }
}

/**
 * Returns the boxes of one image, the best first, cut at its borders.
 *
 * Each size of an image gives the boxes that are about as large there as in training.
 *
 * @param parts for each size and window of the image, its boxes, the map from the network's input
 *   to the image, and `cut`, which says whether a box is cut off by the window.
 */
export function pool(parts, { width, height }, network) {
  const scales = parts.map(({ toImage: [scale] }) => Number(scale.toFixed(9)));
  const placed = parts.flatMap(({ boxes, toImage, cut }, i) =>
    boxes
      .filter(wellSized(scales[i]))
      .map((box) => ({ ...box, corners: moveCorners(toImage, box.corners) }))
      .filter((box) => !cut(box.corners)),
  );
  const kept = parts.length > 1 ? suppressed(placed, network.suppression, network.limit) : placed;
  return kept
    .slice(0, network.limit)
    .filter((box) => box.score >= network.minScore)
    .map((box) => ({
      ...box,
      corners: box.corners.map((end, i) => clamp(end, 0, i % 2 ? height : width)),
    }))
    .filter((box) => area(box.corners) > 0);

  function wellSized(scale) {
    const { least, most } = network.longerSides ?? { least: 0, most: Infinity };
    return ({ corners: [x1, y1, x2, y2] }) => {
      const longer = Math.max(x2 - x1, y2 - y1);
      const small = longer < least && scale > Math.min(...scales);
      const large = longer > most && scale < Math.max(...scales);
      return !small && !large;
    };
  }
}

/** Takes boxes by decreasing score and lowers the scores of others that overlap them. */
export function suppressed(boxes, settings, limit) {
  const left = boxes.map((box) => ({ ...box }));
  const kept = [];
  while (left.length && kept.length < limit) {
    const first = left.reduce((best, box, i) => (box.score > left[best].score ? i : best), 0);
    const [box] = left.splice(first, 1);
    if (box.score < settings.minScore) break;
    kept.push(box);
    for (const other of left) {
      if (other.category === box.category && other.score >= settings.minScore) {
        other.score *= factor(iou(box.corners, other.corners), settings);
      }
    }
  }
  return kept;
}

function factor(overlap, { method, sigma, iou: most }) {
  if (method === "gaussian") return Math.exp(-(overlap ** 2) / sigma);
  if (overlap <= most) return 1;
  return method === "linear" ? 1 - overlap : 0;
}
