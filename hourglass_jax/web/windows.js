// Windows of images that are much longer than wide; see `hourglass_jax/inference/windows.py`.

const LONG = 2;
const SIDE = 1.5;
const MOST = 24;
const AT_BORDER = 0.02;

/** Returns the square parts of an image: the whole, and those along it if it is very long. */
export function windowsOf({ width, height }) {
  const middle = [(width - 1) / 2, (height - 1) / 2];
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const whole = { middle, side: long, cut: () => false };
  if (long <= LONG * short) return [whole];
  const side = Math.max(SIDE * short, (2 * long) / MOST);
  const count = Math.ceil((2 * (long - side)) / side) + 1;
  const axis = height > width ? 1 : 0;
  const parts = Array.from({ length: count }, (_, i) => {
    const place = side / 2 + ((long - side) * i) / (count - 1) - 0.5;
    const center = middle.with(axis, place);
    const near = AT_BORDER * side;
    const low = place + 0.5 - side / 2 + near;
    const high = place + 0.5 + side / 2 - near;
    const cut = (corners) =>
      (i > 0 && corners[axis] < low) || (i < count - 1 && corners[axis + 2] > high);
    return { middle: center, side, cut };
  });
  return [whole, ...parts];
}
