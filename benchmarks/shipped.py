"""How many images a second the shipped networks take, ours and ONNX Runtime's.

    python benchmarks/shipped.py [--networks=people-pose,people-small] [--threads=1,2]

Both take the same images in [0, 1] and return all heads after each stack: ours by `forward`, as
`PoseEstimator` and `Detector` do, and ONNX Runtime by the exported file. It needs `pip install onnx
onnxruntime`. Prints medians, spreads, ratios, and a JSON line.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile

import alternate
import numpy as np


def _trained(flags):
    from hourglass_jax.checkpoint import trained

    return trained.load(flags.network)


def _images(flags, side):
    return np.random.default_rng(0).random((flags.batch, side, side, 3), np.float32)


def ours(flags):
    from hourglass_jax.runtime import startup

    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    import jax

    from hourglass_jax import forward
    from hourglass_jax.runtime import sharding

    trained = _trained(flags)

    def outputs(variables, images):
        return forward(trained.model, variables, trained.model.normalisation.standardise(images))

    options = sharding.compiler_options(jax.devices()[0])
    predict = jax.jit(outputs, compiler_options=options)
    placed = jax.device_put((trained.variables, _images(flags, trained.input_size)))
    return lambda: jax.block_until_ready(predict(*placed))


def onnx_runtime(flags):
    import onnxruntime

    from hourglass_jax.interop import export

    trained = _trained(flags)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = flags.threads
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "network.onnx"
        export.write_onnx(trained, export.MAPS, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = {"images": _images(flags, trained.input_size)}
    return lambda: session.run(None, images)


SIDES = {"ours": ours, "ONNX Runtime": onnx_runtime}


def _compare(flags, network, threads, batch):
    """Measures one setting, prints its line and returns its part of the JSON line."""
    if hasattr(os, "sched_setaffinity"):  # XLA takes a thread for each core that it may use
        os.sched_setaffinity(0, flags.cores[:threads])
    setting = {"network": network, "threads": threads, "batch": batch, "seconds": flags.seconds}
    arguments = [f"--{name}={value}" for name, value in setting.items()]
    workers = {
        side: alternate.Worker(
            [sys.executable, __file__, f"--worker={side}", *arguments], dict(os.environ)
        )
        for side in SIDES
    }
    rates = {side: [] for side in workers}
    for _ in range(flags.rounds):
        for side, worker in workers.items():
            rates[side].append(worker.measure())
    for worker in workers.values():
        worker.close()
    # Round by round, so that what slows a round down falls out of it.
    ratios = [theirs / our for our, theirs in zip(*rates.values(), strict=True)]
    cells = [network, f"{threads:7}", f"{batch:5}", *map(alternate.spread, rates.values())]
    print("  ".join([*cells, alternate.spread(ratios)]), flush=True)
    return {
        **setting,
        "images_per_second": {side: round(statistics.median(r), 2) for side, r in rates.items()},
        "time_ratio": round(statistics.median(ratios), 3),
        "time_ratio_min": round(min(ratios), 3),
        "time_ratio_max": round(max(ratios), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--networks", default="people-pose,lsp-small,people-small", help="names or workdirs")
    add("--threads", default="1,2")
    add("--batch", default="1,8,32")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2.0, help="of a measurement, at least")
    add("--network", help=argparse.SUPPRESS)
    add("--worker", choices=SIDES, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        flags.threads, flags.batch = int(flags.threads), int(flags.batch)
        alternate.serve(SIDES[flags.worker](flags), flags.batch, flags.seconds)
        return
    flags.cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    print("network, threads, batch; images/s of ours, of ONNX Runtime; our time as a share of its")
    results = [
        _compare(flags, network, threads, batch)
        for network in flags.networks.split(",")
        for threads in map(int, flags.threads.split(","))
        for batch in map(int, flags.batch.split(","))
    ]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
