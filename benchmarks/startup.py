"""How long a start takes: the command to the end of its first step, 8 stacks, 256 px, batch 2.

    python benchmarks/startup.py [--times=3]

Cold (nothing compiled before) and warm (the first start's programs kept), alternating, with records
already made; the import of the network and `--help` beside them. Prints medians, spreads and a JSON
line.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
FIELDS = {
    "batch_size": 2,
    "num_steps": 1,
    "log_every_steps": 1,
    "data.resolution": 256,
    "data.num_train": 8,
    "data.num_validation": 2,
    "eval.batch_size": 2,
    "model.num_stacks": 8,
    "model.features": 256,
    "model.stem_features": 64,
    "model.order": 4,
    "model.input_size": 256,
    "optimizer.name": "rmsprop",
}


def command(folder, workdir, **fields):
    fields = FIELDS | {"data.data_dir": folder / "records"} | fields
    return [
        *(sys.executable, "-m", "hourglass_jax.main", "--config=configs/synthetic.py"),
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
    ]


def first_step(folder: pathlib.Path, number: int, cache: pathlib.Path) -> float:
    """Starts a run and returns the seconds until its first step is logged."""
    workdir = folder / f"run{number}"
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    # As the command has it, when the variable is not set.
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    start = time.perf_counter()
    process = subprocess.Popen(
        command(folder, workdir, num_steps=1000), cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = workdir / "metrics.jsonl"
    while not (log.exists() and '"step": 1,' in log.read_text()):
        if process.poll() is not None:
            sys.exit(process.stderr.read()[-2000:])
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    return seconds


def timed(*arguments) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    results = {"import": [], "help": [], "cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        small = {"model.num_stacks": 1, "model.features": 8, "model.stem_features": 4}
        subprocess.run(  # makes the records
            command(folder, folder / "records_run", **small), cwd=ROOT, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for i in range(times):
            cache = folder / f"cache{i}"
            results["cold"].append(first_step(folder, 2 * i, cache))
            results["warm"].append(first_step(folder, 2 * i + 1, cache))
            results["import"].append(timed("-c", "from hourglass_jax import StackedHourglass"))
            results["help"].append(timed("-m", "hourglass_jax.main", "--help"))
    for what, seconds in results.items():
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        print(f"{what:8} {statistics.median(seconds):6.1f} s ({spread}, {times} times)")
    print(json.dumps({what: statistics.median(s) for what, s in results.items()}))


if __name__ == "__main__":
    main()
