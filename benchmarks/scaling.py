"""What the network costs as it grows, on whatever device JAX finds.

    python benchmarks/scaling.py [--stacks=1,2,4,8] [--features=64,128,256] [--sides=128,192,256]

Seconds and images/s of a training step and of a forward pass, one dimension at a time and the
others at their base; then the temporary memory of the compiled step against stacks, with and
without recomputing each stack's activations (`remat`). Prints medians, spreads and a JSON line.
"""

import argparse
import functools
import json
import statistics
import time

import jax
import numpy as np
from alternate import random_batch
from recipe import Recipe

from hourglass_jax.runtime import sharding, startup


@functools.cache
def _compiled_step(stacks: int, features: int, side: int, batch: int, remat: bool = False):
    """Returns the compiled step of configs/mpii.py, and the recipe that it is a part of."""
    mesh = sharding.make_mesh(jax.devices()[:1])
    fields = {"num_stacks": stacks, "features": features, "input_size": side, "remat": remat}
    recipe = Recipe(mesh, **fields)
    return recipe.step().lower(*recipe.shapes(batch)).compile(), recipe


def _seconds(run, rounds: int) -> list[float]:
    jax.block_until_ready(run())
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return seconds


def measure(point: dict[str, int], rounds: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of each training step and of each forward pass."""
    step, recipe = _compiled_step(**point)
    state, side, batch = recipe.first_state(), point["side"], point["batch"]
    rows = sharding.shard_batch(random_batch(batch, side), recipe.mesh)

    def train():
        nonlocal state
        state, metrics = step(state, rows)
        return state, metrics

    training = _seconds(train, rounds)
    options = sharding.compiler_options(recipe.mesh)
    forward = jax.jit(recipe.model.apply, compiler_options=options)
    images = np.random.default_rng(0).random((batch, side, side, 3), np.float32)
    images = jax.device_put(images)
    return training, _seconds(lambda: forward(state.evaluated, images), rounds)


def _cost(seconds: list[float], batch: int) -> str:
    median = statistics.median(seconds)
    spread = f"({min(seconds):.3f} to {max(seconds):.3f})"
    return f"{median:8.3f} s {spread:18} {batch / median:7.1f}/s"


def main():
    def numbers(text):
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--stacks", type=numbers, default="1,2,4,8")
    add("--features", type=numbers, default="64,128,256")
    add("--sides", type=numbers, default="128,192,256")
    add("--batch", type=numbers, default="1,2,4,8")
    add("--base", type=numbers, default="1,128,256,4", help="stacks, features, side, batch")
    add("--rounds", type=int, default=5)
    flags = parser.parse_args()
    startup.keep_freed_memory()

    values = {
        "stacks": flags.stacks,
        "features": flags.features,
        "side": flags.sides,
        "batch": flags.batch,
    }
    base = dict(zip(values, flags.base, strict=True))
    print(f"{'stacks features side batch':28} {'training step':>33} {'forward':>37}")
    measured, results = {}, []
    for dimension, choices in values.items():
        for choice in choices:
            point = base | {dimension: choice}
            key = tuple(point.values())
            if key not in measured:  # the base lies on all four lines
                measured[key] = measure(point, flags.rounds)
            training, forward = measured[key]
            text = f"{point['stacks']:6} {point['features']:8} {point['side']:4} {point['batch']:5}"
            costs = [_cost(seconds, point["batch"]) for seconds in (training, forward)]
            print(f"{text:28} {costs[0]}  {costs[1]}", flush=True)
            medians = {
                "step_seconds": statistics.median(training),
                "forward_seconds": statistics.median(forward),
            }
            results.append({"against": dimension, **point, **medians})

    print("\nstacks   temporary GB of a step, and with remat")
    memory = []
    for stacks in flags.stacks:
        kept, remat = (
            _compiled_step(**base | {"stacks": stacks}, **fields)[0].memory_analysis()
            for fields in ({}, {"remat": True})
        )
        sizes = [analysis.temp_size_in_bytes / 1e9 for analysis in (kept, remat)]
        print(f"{stacks:6}   {sizes[0]:8.2f} {sizes[1]:8.2f}", flush=True)
        memory.append({"stacks": stacks, "temporary_gb": sizes[0], "with_remat_gb": sizes[1]})
    print(json.dumps({"cost": results, "memory": memory}))


if __name__ == "__main__":
    main()
