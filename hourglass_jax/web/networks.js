// Runs the networks by ONNX Runtime: on the graphics card by WebGPU, else on the processor.

const RUNTIME = new URL("runtime/", import.meta.url).href;

/** Returns {networks, device}: functions as `Estimator` takes them, and a sentence about them. */
export async function load(site) {
  const reason = await whyNotGraphicsCard();
  if (!reason) {
    try {
      return { networks: await open(site, "webgpu"), device: "They run on the graphics card." };
    } catch (error) {
      return onProcessor(site, `WebGPU fails here (${firstLine(error)})`);
    }
  }
  return onProcessor(site, reason);
}

async function onProcessor(site, reason) {
  const networks = await open(site, "wasm");
  return { networks, device: `They run on the processor, as ${reason}.` };
}

async function whyNotGraphicsCard() {
  if (!navigator.gpu) return "this browser offers no WebGPU";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "WebGPU finds no graphics card";
  const slow = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  return slow ? "WebGPU finds no graphics card" : "";
}

async function open(site, provider) {
  const file = provider === "webgpu" ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs";
  const runtime = await import(RUNTIME + file);
  runtime.env.wasm.wasmPaths = RUNTIME;
  runtime.env.logLevel = "error";
  const networks = {};
  for (const name of ["detector", "pose"]) {
    if (site[name]) networks[name] = await openOne(runtime, site[name], provider);
  }
  return networks;
}

async function openOne(runtime, { file, sides }, provider) {
  const session = await runtime.InferenceSession.create(file, { executionProviders: [provider] });
  const run = async (input, side) => {
    const count = input.length / (side * side * 3);
    const images = new runtime.Tensor("float32", input, [count, side, side, 3]);
    const { maps } = await session.run({ images });
    return lastStacks(await maps.getData(), maps.dims);
  };
  for (const side of sides) await run(new Float32Array(side * side * 3), side); // compiles what it needs
  return run;
}

/** Splits outputs [batch, stacks, height, width, channels] into the last stack's of each image. */
function lastStacks(data, [batch, stacks, height, width, channels]) {
  const length = height * width * channels;
  return Array.from({ length: batch }, (_, i) => {
    const end = (i + 1) * stacks * length;
    return { data: data.subarray(end - length, end), height, width, channels };
  });
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 100);
}
