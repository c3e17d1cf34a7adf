// Maps between frames, with pixel convention and meaning of `hourglass_jax/image/geometry.py`.
//
// Nothing is rotated here: a map [scaleX, scaleY, shiftX, shiftY] stands for the affine matrix
// [[scaleX, 0, shiftX], [0, scaleY, shiftY]].

/** Returns the map from an image to a square crop of `side` px around a box. */
export function cropMap([x, y], size, side) {
  const zoom = side / size;
  const middle = (side - 1) / 2;
  return [zoom, zoom, middle - zoom * x, middle - zoom * y];
}

export function invert([scaleX, scaleY, shiftX, shiftY]) {
  return [1 / scaleX, 1 / scaleY, -shiftX / scaleX, -shiftY / scaleY];
}

/** Returns the map that applies `inner` first and `outer` second. */
export function compose(outer, inner) {
  return [
    outer[0] * inner[0],
    outer[1] * inner[1],
    outer[0] * inner[2] + outer[2],
    outer[1] * inner[3] + outer[3],
  ];
}

export function apply(map, [x, y]) {
  return [map[0] * x + map[2], map[1] * y + map[3]];
}

/** Returns corners [x1, y1, x2, y2] in another frame; they are measured from the image's corner. */
export function moveCorners(map, corners) {
  const first = apply(map, [corners[0] - 0.5, corners[1] - 0.5]);
  const second = apply(map, [corners[2] - 0.5, corners[3] - 0.5]);
  const low = first.map((value, axis) => Math.min(value, second[axis]) + 0.5);
  const high = first.map((value, axis) => Math.max(value, second[axis]) + 0.5);
  return [...low, ...high];
}

/** Returns the intersection over union of two boxes given by their corners. */
export function iou(first, second) {
  const width = Math.min(first[2], second[2]) - Math.max(first[0], second[0]);
  const height = Math.min(first[3], second[3]) - Math.max(first[1], second[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  return shared / Math.max(area(first) + area(second) - shared, 1e-12);
}

export function area([x1, y1, x2, y2]) {
  return (x2 - x1) * (y2 - y1);
}

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Returns the nearest integer, and the even one of two, as NumPy and OpenCV round. */
export function rint(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}
