// The page: takes images, and shows what the worker finds in them.

import { Camera } from "./camera.js";
import { draw } from "./drawing.js";
import { Engine } from "./engine.js";
import { whyNot, workOffline } from "./browser.js";
import { summary, toCsv, toJson } from "./results.js";

const LARGEST = 50; // megapixels
const NOUNS = {
  pose: ["one person", "people", "nobody was found"],
  detector: ["one object", "objects", "nothing was found"],
};
const element = (id) => document.getElementById(id);
const [canvas, file, cameraButton] = ["canvas", "file", "camera"].map(element);
const [boxSlider, jointSlider] = ["min-box-score", "min-joint-score"].map(element);

let engine;
let site;
let camera;
// What is on the canvas: {name, source, size, file, found}; `file` is null for a camera's frame.
let shown = null;
let turn = 0; // the newest image wins

start();

async function start() {
  const reason = whyNot();
  if (reason) return say("", reason);
  try {
    await workOffline();
    engine = new Engine();
    say("The networks are being loaded.");
    const loaded = await engine.load();
    site = loaded.site;
    element("device").textContent = `Networks: ${site.names.join(" and ")}. ${loaded.device}`;
  } catch (error) {
    return say("", `The networks cannot be started: ${error.message}.`);
  }
  camera = new Camera(element("video"), look, showFrame);
  setUpSliders();
  file.disabled = cameraButton.disabled = false;
  say("Ready. Choose an image, or use the camera.");
}

function say(status, problem = "") {
  element("status").textContent = status;
  element("problem").textContent = problem;
}

async function showFile(chosen) {
  if (!site || !chosen) return;
  camera.stop();
  const mine = ++turn;
  const name = chosen.name || "image";
  say("Looking at the image.");
  try {
    const image = await read(chosen, name);
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    const found = await engine.find(chosen, options());
    if (mine === turn) show({ name, source: image, size, file: chosen, found });
  } catch (error) {
    if (mine === turn) say("", error.message);
  }
}

async function read(chosen, name) {
  const image = new Image();
  image.src = URL.createObjectURL(chosen);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
    });
  } catch {
    throw new Error(
      `${name} is not an image that this browser can read; choose a JPEG, PNG, WebP or AVIF file.`,
    );
  } finally {
    URL.revokeObjectURL(image.src);
  }
  const pixels = (image.naturalWidth * image.naturalHeight) / 1e6;
  if (pixels > LARGEST) {
    throw new Error(
      `${name} has ${Math.round(pixels)} megapixels, and this page takes at most ${LARGEST}; ` +
        "make the image smaller, and try again.",
    );
  }
  return image;
}

function options(fast = false) {
  return { fast, minScore: site.detector ? Number(boxSlider.value) : undefined };
}

function look(bitmap, boxes) {
  return engine.find(bitmap, { ...options(true), boxes: boxes ?? undefined });
}

function showFrame(frame, found, rate) {
  const size = { width: frame.width, height: frame.height };
  element("rate").textContent = `${rate.toFixed(0)} images a second`;
  shown = { name: "camera", source: frame, size, file: null, found };
  redraw();
}

function show(next) {
  shown = next;
  redraw();
  say("Done.");
  element("count").textContent = `${shown.name}: ${counted(shown.found)}.`;
  element("json").disabled = element("csv").disabled = !shown.found.length;
  fillTable();
}

function counted({ length }) {
  const [one, several, none] = NOUNS[site.pose ? "pose" : "detector"];
  return length > 1 ? `${length} ${several}` : length ? one : none;
}

function redraw() {
  const { source, size, found } = shown;
  draw(canvas, source, size, found, site, Number(jointSlider.value));
  canvas.setAttribute("aria-label", `The image, and in it: ${counted(found)}`);
}

function fillTable() {
  const { heads, rows } = summary(shown.found, site, Number(jointSlider.value));
  const line = (kind, texts) => {
    const row = document.createElement("tr");
    row.append(...texts.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
    return row;
  };
  element("table").tHead.replaceChildren(line("th", heads));
  element("table").tBodies[0].replaceChildren(...rows.map((row) => line("td", row)));
  element("table").hidden = !rows.length;
}

function setUpSliders() {
  const sliders = [
    [boxSlider, site.detector?.minScore, () => shown?.file && showFile(shown.file)],
    [jointSlider, site.pose?.shown, () => shown && (redraw(), camera.running || fillTable())],
  ];
  for (const [slider, value, changed] of sliders) {
    slider.parentElement.hidden = value === undefined;
    slider.value = value ?? 0;
    const write = () => {
      slider.parentElement.querySelector("output").value = Number(slider.value).toFixed(2);
    };
    slider.oninput = write;
    slider.onchange = changed;
    write();
  }
}

async function toggleCamera() {
  if (camera.running) return camera.stop();
  const mine = ++turn;
  cameraButton.textContent = "Stop the camera";
  element("rate").textContent = element("count").textContent = "";
  element("json").disabled = element("csv").disabled = element("table").hidden = true;
  say("The camera is on.");
  let problem = "";
  try {
    await camera.run();
  } catch (error) {
    problem = error.message;
  }
  cameraButton.textContent = "Use the camera";
  element("rate").textContent = "";
  if (mine !== turn) return; // an image was chosen meanwhile
  if (shown) show(shown);
  else element("count").textContent = "Nothing yet.";
  if (problem || !shown) say("", problem);
}

function save(suffix, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = `${shown.name.replace(/\.[^.]*$/, "")}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

file.onchange = () => {
  showFile(file.files[0]);
  file.value = ""; // the same file can be chosen again
};
cameraButton.onclick = toggleCamera;
element("json").onclick = () =>
  save("json", "application/json", toJson(shown.name, shown.found, site));
element("csv").onclick = () => save("csv", "text/csv", toCsv(shown.name, shown.found, site));
document.onpaste = (event) => showFile(event.clipboardData.files[0]);
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = () => document.body.classList.remove("dropping");
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  showFile(event.dataTransfer.files[0]);
};
