"""What a training step becomes on a GPU, by compiling it for one; no GPU is needed.

    version=$(python -c 'import jaxlib; print(jaxlib.__version__)')
    pip install --target=CUDA --no-deps jax-cuda13-plugin==$version jax-cuda13-pjrt==$version
    PYTHONPATH=CUDA python benchmarks/gpu_compile.py --stacks=2

Compiles the step of configs/mpii.py, or of a detector's preset, for one H100 or H200, and prints
how many kernels a step launches and the bytes that they read and write, by group, beside the least
FLOPs and bytes that the network needs, and the memory taken. A convolution counts as one kernel.
Without a GPU XLA cannot try which of several kernels is fastest, so that some differ from those
that a GPU runs.
"""

import argparse
import collections
import json
import os
import pathlib
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the GPU is compiled for, not looked for
os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # of libraries that only run it

import jax
from gpu_leads import CHOICES, choose
from gpu_profile import Program
from jax.experimental import topologies
from recipe import Detector, Recipe
from tpu_compile import least

from hourglass_jax.runtime import sharding

# Bytes/s and bytes of memory; the chip itself is the same.
GPUS = {"h100": (3_352_320_000_000, 84_978_434_048), "h200": (4_800_000_000_000, 150_110_011_392)}
TARGET = """
gpu_device_info {{
  cuda_compute_capability {{ major: 9 }}
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  l2_cache_size: 52428800
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  device_memory_size: {memory}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 12 }}
"""
OPTIONS = {"xla_gpu_autotune_level": 0}  # no kernel can be tried


def mesh_of(gpu: str) -> jax.sharding.Mesh:
    """Returns a mesh of one GPU that is not there."""
    bandwidth, memory = GPUS[gpu]
    target = TARGET.format(bandwidth=bandwidth, memory=memory)
    description = topologies.get_topology_desc(gpu, "cuda", target_config=target, topology="1x1x1")
    return sharding.make_mesh(list(description.devices))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gpu", choices=GPUS, default="h100")
    parser.add_argument("--preset", default="", help="a detector's, instead of --stacks")
    parser.add_argument("--stacks", type=int, default=2)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--optimizer", default="", help="instead of the recipe's")
    parser.add_argument("--without", default="", help=f"any of {','.join(CHOICES)}")
    parser.add_argument("--hlo", help="file to write the compiled program to")
    flags = parser.parse_args()
    choose(set(filter(None, flags.without.split(","))))
    mesh, fields = mesh_of(flags.gpu), {"input_size": flags.side, "dtype": flags.dtype}
    if flags.preset:
        recipe = Detector(mesh, flags.preset, **fields)
    else:
        fields |= {"num_stacks": flags.stacks, "features": flags.features, "order": flags.order}
        recipe = Recipe(mesh, flags.optimizer, **fields)

    start = time.perf_counter()
    lowered = recipe.step().lower(*recipe.shapes(flags.batch))
    traced = time.perf_counter()
    compiled = lowered.compile(compiler_options=OPTIONS)
    compile_seconds = time.perf_counter() - traced
    text = compiled.as_text()
    if flags.hlo:
        pathlib.Path(flags.hlo).write_text(text)
    program, memory = Program(text), compiled.memory_analysis()
    groups = collections.defaultdict(lambda: [0, 0.0])
    for name, group in program.groups.items():
        groups[group][0] += 1
        groups[group][1] += program.bytes[name] / 1e6 / flags.batch
    flops, least_bytes = least(recipe.model, recipe.config.model.input_size)
    result = {
        **vars(flags),
        "trace_seconds": round(traced - start, 1),
        "compile_seconds": round(compile_seconds, 1),
        "kernels": len(program.groups),
        "mb_an_image": sum(moved for _, moved in groups.values()),
        "least_mb_an_image": least_bytes / 1e6,
        "least_gflops_an_image": flops / 1e9,
        "temporary_gb": memory.temp_size_in_bytes / 1e9,
        "argument_gb": memory.argument_size_in_bytes / 1e9,
        "groups": groups,
    }
    print("kernels, MB an image, group")
    for group, (count, size) in sorted(groups.items(), key=lambda item: -item[1][1]):
        print(f"{count:7} {size:12.1f}  {group}")
    network = flags.preset or f"{flags.stacks} stacks"
    print(
        f"{flags.gpu}, {network}, batch {flags.batch}, {flags.dtype}: "
        f"{result['kernels']} kernels and {result['mb_an_image']:.0f} MB an image "
        f"({result['mb_an_image'] / result['least_mb_an_image']:.2f} of the least) for "
        f"{flops / 1e9:.1f} GFLOP, {result['temporary_gb']:.2f} GB temporary and "
        f"{result['argument_gb']:.2f} GB of arguments; traced in {traced - start:.0f} s, "
        f"compiled in {compile_seconds:.0f} s"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
