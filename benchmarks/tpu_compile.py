"""What a training step costs on a TPU, by compiling it for one; no TPU is needed.

    pip install --target=LIBTPU 'libtpu==0.0.42.*'
    PYTHONPATH=LIBTPU python benchmarks/tpu_compile.py --topology=v5e:2x2 --stacks=8
    PYTHONPATH=LIBTPU python benchmarks/tpu_compile.py --preset=centernet_104 --side=512

Compiles the step of configs/mpii.py, or of a detector's preset, for the topology, and prints a line
and a JSON object: FLOPs and bytes an image beside the least that the network needs, memory a chip,
collectives, and the time that the chip's peak and bandwidth allow, also for all images of the
config. A compilation takes some minutes.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the TPU is compiled for, not looked for
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
# Also where a test loads this file.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from recipe import Detector, Recipe

from hourglass_jax.nn import Network
from hourglass_jax.nn.layers import Conv
from hourglass_jax.runtime import sharding

# Of a chip, from Google's documentation of v5e, v4 and v5p: bfloat16 FLOP/s and bytes/s.
CHIPS = {"v5e": (197e12, 819e9), "v4": (275e12, 1228e9), "v5p": (459e12, 2765e9)}


def recipe_for(topology: str, preset: str = "", **fields) -> Recipe:
    """Returns the recipe on a topology's chips; `fields` are those of `model` that differ."""
    # Two cores of a v4 chip are one device, as Cloud TPU hands them out.
    options = {"chip_config_name": "megacore"} if topology.startswith("v4") else {}
    devices = topologies.get_topology_desc(topology, "tpu", **options).devices
    mesh = sharding.make_mesh(list(devices))
    return Detector(mesh, preset, **fields) if preset else Recipe(mesh, **fields)


def least(model: Network, side: int) -> tuple[float, float]:
    """Returns the FLOPs and bytes an image that the convolutions cannot do without.

    A convolution from x [h, w, c] to y [h', w', k] with kernels of size s multiplies and adds
    h' w' s^2 c k times, and twice as often backward, for the gradients of x and of the kernels:
    6 h' w' s^2 c k FLOPs; a transposed one, 6 h w s^2 c k. Each of the three reads two operands
    once and writes its result once: forward x and the kernels to y, backward y and the kernels to
    x, and x and y to the kernels. That is three times x and y; the kernels are shared by the batch
    and left out. The image needs no gradient.
    """
    flops = moved = 0
    width = jnp.dtype(model.dtype or jnp.float32).itemsize

    def count(next_method, args, kwargs, context):
        nonlocal flops, moved
        y = next_method(*args, **kwargs)
        if isinstance(context.module, Conv) and context.method_name == "__call__":
            inputs = args[0] if isinstance(args[0], list) else args
            shape = (y if isinstance(y, jax.Array) else y[0]).shape  # without or with its bias
            kernel = context.module.get_variable("params", "kernel")
            times = 2 if inputs[0].shape[-1] == 3 else 3
            flops += 2 * times * kernel.size * np.prod(min(shape[1:3], inputs[0].shape[1:3]))
            moved += times * width * (sum(x.size for x in inputs) + np.prod(shape))
        return y

    with nn.intercept_methods(count):
        image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return float(flops), float(moved)


BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "f16": 2, "pred": 1, "u8": 1, "s8": 1}


def collectives(text: str) -> tuple[int, int]:
    """Counts the compiled program's collectives and the bytes of their results."""
    found = re.findall(
        r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
        r"(?:-start)?\(",
        text,
    )
    total = 0
    for shapes in found:
        for kind, dimensions in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            sizes = [int(d) for d in dimensions.split(",") if d]
            total += BYTES.get(kind, 4) * int(np.prod(sizes, initial=1))
    return len(found), total


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--stacks", type=int, default=8)
    parser.add_argument("--preset", default="", help="a detector's, instead of --stacks")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch_per_chip", type=int, default=16)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--remat", action="store_true")
    parser.add_argument("--sync_batch_norm", action="store_true")
    parser.add_argument("--hlo", help="file to write the compiled program to")
    flags = parser.parse_args()
    fields = {"input_size": flags.side, "dtype": flags.dtype, "remat": flags.remat}
    if not flags.preset:
        fields["num_stacks"] = flags.stacks
    recipe = recipe_for(flags.topology, flags.preset, **fields)
    chips = recipe.mesh.devices.size

    start = time.perf_counter()
    step = recipe.step(sync_batch_norm=flags.sync_batch_norm)
    compiled = step.lower(*recipe.shapes(flags.batch_per_chip * chips)).compile()
    seconds = time.perf_counter() - start
    text = compiled.as_text()
    if flags.hlo:
        pathlib.Path(flags.hlo).write_text(text)
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    least_flops, least_bytes = least(recipe.model, recipe.config.model.input_size)
    peak, bandwidth = CHIPS[flags.topology.partition(":")[0]]
    flops, moved = (cost[key] / flags.batch_per_chip for key in ("flops", "bytes accessed"))
    calls, call_bytes = collectives(text)
    seconds_an_image = max(flops / peak, moved / bandwidth)
    images = 0 if flags.preset else recipe.config.num_steps * recipe.config.batch_size
    cycles = sum(int(n) for n in re.findall(r'"estimated_cycles":"(\d+)"', text))
    result = {
        **vars(flags),
        "chips": chips,
        "compile_seconds": round(seconds, 1),
        "gflops_an_image": flops / 1e9,
        "least_gflops_an_image": least_flops / 1e9,
        "mb_an_image": moved / 1e6,
        "least_mb_an_image": least_bytes / 1e6,
        "temporary_gb_a_chip": memory.temp_size_in_bytes / 1e9,
        "argument_gb_a_chip": memory.argument_size_in_bytes / 1e9,
        "collectives": calls,
        "collective_mb": call_bytes / 1e6,
        "compilers_megacycles_an_image": cycles / flags.batch_per_chip / 1e6,
        "roofline_ms_an_image": 1e3 * seconds_an_image,
        "roofline_hours": images * seconds_an_image / chips / 3600,
        "bound_by": "bandwidth" if moved / bandwidth > flops / peak else "arithmetic",
    }
    print(
        f"{flags.topology}, {flags.preset or f'{flags.stacks} stacks'}, "
        f"{flags.batch_per_chip} images a chip, "
        f"{flags.dtype}: {flops / 1e9:.0f} GFLOP ({flops / least_flops:.2f} of the least) and "
        f"{moved / 1e6:.0f} MB an image ({moved / least_bytes:.2f}), "
        f"{memory.temp_size_in_bytes / 1e9:.2f} GB temporary and "
        f"{memory.argument_size_in_bytes / 1e9:.2f} GB of arguments a chip, {calls} collectives of "
        f"{call_bytes / 1e6:.0f} MB; the compiler expects "
        f"{result['compilers_megacycles_an_image']:.2f} million cycles an image; at "
        f"most {1e3 / result['roofline_ms_an_image']:.0f} images/s a chip, bound by "
        f"{result['bound_by']}; compiled in {seconds:.0f} s"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
