// Parts of images at the resolution of a network, as OpenCV makes them for Python.
//
// A canvas scales images in ways that differ from browser to browser, so that this is written by
// hand: averages over areas as cv2.INTER_AREA, and bilinear sampling as cv2.warpAffine.
//
// An image is {width, height, read}, where `read(left, top, width, height)` returns bytes RGBA.

import { clamp, compose, cropMap, invert, rint } from "./geometry.js";

// Pixels that are read at a time: browsers limit the size of a canvas.
const STRIP = 2 ** 21;

/**
 * Returns a square of an image as bytes RGB, `side` px wide, and the map from it to the image.
 * What lies outside of the image is black.
 *
 * @param surroundings the part of the image that is scaled, in sizes of the square.
 */
export function square(image, center, size, side, surroundings) {
  const small = cutOut(image, center, size, side, surroundings);
  const toSquare = cropMap(center, size, side);
  const pixels = sample(small, compose(toSquare, small.toImage), side);
  return { pixels, toImage: invert(toSquare) };
}

/** Returns the part of an image around a square, reduced; see `crop.cut_out` in Python. */
export function cutOut(image, center, size, resolution, surroundings) {
  const reach = (size * surroundings) / 2;
  const ends = [image.width, image.height].map((length, axis) => {
    const low = clamp(Math.floor(center[axis] - reach), 0, length - 1);
    const high = clamp(Math.ceil(center[axis] + reach), 0, length - 1);
    return [low, high - low + 1];
  });
  const zoom = Math.min(1, resolution / size);
  const [width, height] = ends.map(([, length]) => Math.max(rint(length * zoom), 1));
  const [[left, keptWidth], [top, keptHeight]] = ends;
  const steps = [keptWidth / width, keptHeight / height];
  return {
    pixels: average(image, { left, top, width: keptWidth, height: keptHeight }, width, height),
    width,
    height,
    toImage: [...steps, steps[0] / 2 - 0.5 + left, steps[1] / 2 - 0.5 + top],
  };
}

/** Returns a part of an image scaled down, each pixel the mean over the area that it covers. */
function average(image, part, width, height) {
  const columns = shares(part.width, width);
  const rows = shares(part.height, height);
  const sums = new Float32Array(height * width * 3);
  const line = new Float32Array(width * 3);
  const strip = Math.max(Math.floor(STRIP / part.width), 1);
  for (let begin = 0, target = 0; begin < part.height; begin += strip) {
    const count = Math.min(strip, part.height - begin);
    const bytes = image.read(part.left, part.top + begin, part.width, count);
    for (let y = begin; y < begin + count; y++) {
      averageLine(bytes, (y - begin) * part.width * 4, columns, line);
      while (rows[target].last < y) target++;
      // A line belongs to the row whose area it is in, and maybe to the next ones.
      for (let row = target; row < height && rows[row].first <= y; row++) {
        const weight = rows[row].weights[y - rows[row].first];
        for (let i = 0, at = row * width * 3; i < line.length; i++) sums[at + i] += weight * line[i];
      }
    }
  }
  // Of two by two pixels, OpenCV rounds halves up.
  const halved = part.width === 2 * width && part.height === 2 * height;
  return Uint8ClampedArray.from(sums, halved ? Math.round : rint);
}

function averageLine(bytes, offset, columns, line) {
  for (let x = 0; x < columns.length; x++) {
    const { first, weights } = columns[x];
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let i = 0, at = offset + first * 4; i < weights.length; i++, at += 4) {
      red += weights[i] * bytes[at];
      green += weights[i] * bytes[at + 1];
      blue += weights[i] * bytes[at + 2];
    }
    line[3 * x] = red;
    line[3 * x + 1] = green;
    line[3 * x + 2] = blue;
  }
}

/** Returns for each of `count` parts of a length the pixels that it covers, and their weights. */
function shares(length, count) {
  const step = length / count;
  return Array.from({ length: count }, (_, i) => {
    const begin = i * step;
    const end = Math.min(begin + step, length);
    // Slivers are left out, as OpenCV does.
    const first = Math.ceil(begin) - begin > 1e-3 ? Math.floor(begin) : Math.ceil(begin);
    const last = end - Math.floor(end) > 1e-3 ? Math.floor(end) : Math.floor(end) - 1;
    const weights = Float32Array.from({ length: last - first + 1 }, (_, j) => {
      const pixel = first + j;
      return (Math.min(pixel + 1, end) - Math.max(pixel, begin)) / (end - begin);
    });
    return { first, last, weights };
  });
}

/** Returns a square of `side` px sampled from pixels by bilinear interpolation; outside is black. */
function sample({ pixels, width, height }, toSquare, side) {
  const [scaleX, scaleY, shiftX, shiftY] = invert(toSquare);
  const columns = neighbours(scaleX, shiftX, width, side);
  const rows = neighbours(scaleY, shiftY, height, side);
  const result = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const [above, below] = [rows.first[y] * width, rows.second[y] * width];
    const [upper, lower] = [rows.near[y], rows.far[y]];
    for (let x = 0; x < side; x++) {
      const [left, right] = [columns.first[x], columns.second[x]];
      for (let channel = 0; channel < 3; channel++) {
        const at = (pixel) => pixels[pixel * 3 + channel];
        const first = columns.near[x] * at(above + left) + columns.far[x] * at(above + right);
        const second = columns.near[x] * at(below + left) + columns.far[x] * at(below + right);
        result[(y * side + x) * 3 + channel] = rint(upper * first + lower * second);
      }
    }
  }
  return result;
}

/** Returns for each of `side` places the two pixels around it, and their weights: 0 if outside. */
function neighbours(scale, shift, length, side) {
  const found = {
    first: new Int32Array(side),
    second: new Int32Array(side),
    near: new Float64Array(side),
    far: new Float64Array(side),
  };
  for (let i = 0; i < side; i++) {
    const place = scale * i + shift;
    const low = Math.floor(place);
    found.near[i] = low >= 0 && low < length ? 1 - (place - low) : 0;
    found.far[i] = low >= -1 && low < length - 1 ? place - low : 0;
    found.first[i] = clamp(low, 0, length - 1);
    found.second[i] = clamp(low + 1, 0, length - 1);
  }
  return found;
}

/** Returns squares as the networks read them: float32 in [0, 1], and mirrored ones if asked for. */
export function asInput(pixels, side, mirror) {
  const length = side * side * 3;
  const input = new Float32Array(length * (mirror ? 2 : 1));
  for (let i = 0; i < length; i++) input[i] = pixels[i] / 255;
  if (mirror) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const from = (y * side + x) * 3;
        const to = length + (y * side + side - 1 - x) * 3;
        for (let channel = 0; channel < 3; channel++) input[to + channel] = input[from + channel];
      }
    }
  }
  return input;
}
