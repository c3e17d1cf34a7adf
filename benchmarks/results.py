"""What did trained networks reach? A table for people, from the files that evaluations leave.

    python benchmarks/results.py runs/lsp_small [runs/...] [--rounds=5]

For each workdir's evaluation.json: parameters, input, people a second through `PoseEstimator` from
image to joints with the flip test (measured here, batches of 8, alternating), and the share of
joints found. Prints Markdown and a JSON line.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()

    import jax

    from hourglass_jax import PoseEstimator
    from hourglass_jax.checkpoint import trained
    from hourglass_jax.runtime import startup

    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    results = [json.loads((workdir / "evaluation.json").read_text()) for workdir in flags.workdirs]
    networks = [trained.load(workdir).variables["params"] for workdir in flags.workdirs]
    estimators = [PoseEstimator.from_checkpoint(workdir, finder=None) for workdir in flags.workdirs]
    image = np.random.default_rng(0).integers(0, 256, (160, 120, 3), np.uint8)
    people = [(image, np.array([10.0, 10, 100, 140]))] * 8
    rates = [[] for _ in estimators]
    for i in range(flags.rounds + 1):
        for estimator, rate in zip(estimators, rates, strict=True):
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < 1:
                estimator.estimate(people)
                count += len(people)
            if i:  # the first compiles
                rate.append(count / (time.perf_counter() - start))

    header = [workdir.name for workdir in flags.workdirs]
    rows = {
        "data, split, people": [f"{r['dataset']}, {r['split']}, {r['persons']}" for r in results],
        "stacks, features, input": [
            "{num_stacks}, {features}, {input_size} px".format(**r["config"]["model"])
            for r in results
        ],
        "parameters": [f"{sum(x.size for x in jax.tree.leaves(p)):,}" for p in networks],
        "people a second": [f"{statistics.median(rate):.0f}" for rate in rates],
    }
    names = dict.fromkeys(name for r in results for name in r["metrics"])
    sides = ("left_", "right_", "stack")
    for name in names:
        if not name.rpartition("/")[2].startswith(sides):
            found = [r["metrics"].get(name) for r in results]
            rows[name] = ["-" if x is None else f"{100 * x:.1f}" for x in found]
    print("| | " + " | ".join(header) + " |\n" + "|---" * (len(header) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(json.dumps(dict(zip(header, zip(*rows.values(), strict=True), strict=True))))


if __name__ == "__main__":
    main()
