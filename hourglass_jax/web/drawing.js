// Draws what was found, in the colours and widths of `predict`'s overlays.

const LARGEST = 1600; // px of the canvas

/**
 * Draws an image and what was found in it.
 *
 * @param canvas its size becomes that of the image, scaled down to at most `LARGEST` px.
 * @param source anything that a canvas can draw.
 * @param size width and height of the source, the frame of what was found.
 */
export function draw(canvas, source, { width, height }, found, site, minJointScore) {
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  context.lineCap = context.lineJoin = "round";
  for (const one of found.toReversed()) { // the best on top
    if (site.pose) drawPerson(context, one, site.pose, minJointScore, scale);
    else drawBox(context, one, site.detector, scale);
  }
}

function drawPerson(context, { joints }, { limbs, colours }, minScore, scale) {
  const points = joints.map(({ x, y, score }) => ({
    x: (x + 0.5) * scale,
    y: (y + 0.5) * scale,
    shown: score > minScore,
  }));
  const shown = points.filter((point) => point.shown);
  const { width: canvasWidth, height: canvasHeight } = context.canvas;
  const size = Math.max(extent(shown.map(({ x }) => x)), extent(shown.map(({ y }) => y)));
  const longer = Math.max(canvasWidth, canvasHeight);
  const width = Math.max(Math.round(Math.min(longer / 160, size / 30)), 1); // thin on small people
  context.lineWidth = width;
  for (const [i, j, colour] of limbs) {
    if (!points[i].shown || !points[j].shown) continue;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(points[i].x, points[i].y);
    context.lineTo(points[j].x, points[j].y);
    context.stroke();
  }
  context.lineWidth = 1;
  context.strokeStyle = "rgb(20 20 20)";
  points.forEach(({ x, y, shown }, i) => {
    if (!shown) return;
    context.fillStyle = colours[i];
    context.beginPath();
    context.arc(x, y, width + 1, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  });
}

function extent(values) {
  return values.length ? Math.max(...values) - Math.min(...values) : 0;
}

function drawBox(context, { box, score, category }, { categories, colours }, scale) {
  const [x, y, width, height] = box.map((value) => value * scale);
  const { width: canvasWidth, height: canvasHeight } = context.canvas;
  const side = Math.min(
    Math.max(canvasWidth, canvasHeight),
    2 * Math.min(canvasWidth, canvasHeight), // of a panorama
  );
  context.strokeStyle = context.fillStyle = colours[category];
  context.lineWidth = Math.max(Math.round(side / 300), 1);
  context.strokeRect(x, y, width, height);
  const text = `${categories[category]} ${score.toFixed(2)}`;
  const letters = Math.round(side / 70 + 6);
  context.font = `${letters}px sans-serif`;
  const bottom = Math.max(y, letters * 1.3);
  context.fillRect(x, bottom - letters * 1.3, context.measureText(text).width, letters * 1.3);
  context.fillStyle = ink(colours[category]);
  context.fillText(text, x, bottom - letters * 0.3);
}

/** Returns black or white, whichever can be read on a colour #rrggbb. */
function ink(colour) {
  const values = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return values[0] + values[1] + values[2] > 380 ? "black" : "white";
}
