"""What benchmarks share: programs measured in turn, each in its own process, and their input.

A worker makes its network and then waits to be asked for a measurement, while the others are
measured. So whatever slows the machine down falls on all alike, and each has its own allocator.
OpenMP's threads sleep when theirs is not the turn; OMP_WAIT_POLICY=PASSIVE would slow PyTorch down.

Nothing else should run on the cores: PyTorch's threads spin while they wait for each other, and
where one has no core to run on it can take ten times as long.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

# What glibc is told so that memory freed stays with the process, instead of being handed back to
# the system and cleared, page by page, for the next step.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
JOINTS, FEATURES, SIDE = 16, 256, 256


def random_batch(count: int, side: int) -> dict[str, np.ndarray]:
    """Returns a training batch: noise for images and for heatmaps, all joints labelled."""
    draw, small = np.random.default_rng(0), side // 4
    return {
        "image": draw.integers(0, 256, (count, side, side, 3), np.uint8),
        "heatmaps": draw.random((count, small, small, JOINTS), np.float32),
        "weights": np.ones((count, JOINTS), np.float32),
    }


def write_jpegs(
    folder: pathlib.Path, count: int, size: tuple[int, int], real: Sequence[pathlib.Path]
) -> list[tuple[pathlib.Path, tuple[int, int]]]:
    """Writes JPEGs, real ones first, and returns the paths with their sizes (width, height).

    The others are noise at three sizes, 100 kB at 1280 x 720: as heavy to decode as photographs.
    """
    import cv2

    (width, height), rng, written = size, np.random.default_rng(0), []
    for i in range(count):
        path = folder / f"{i}.jpg"
        if i < len(real):
            path.write_bytes(real[i].read_bytes())
        else:
            image = sum(
                share * cv2.resize(rng.uniform(0, 255, (h, h * width // height, 3)), size)
                for h, share in ((9, 0.7), (45, 0.22), (240, 0.08))
            )
            cv2.imwrite(str(path), image.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
        written.append((path, cv2.imread(str(path)).shape[1::-1]))
    return written


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the programs that are compared.

    Attributes:
      name: in the table.
      make: called in the worker with the flags, returns what is timed. It must import what it
        needs: PyTorch's workers have no JAX, and ours no PyTorch.
      torch: whether it needs PyTorch's interpreter.
      kept: whether memory is kept: PyTorch's by the environment, ours by `keep_freed_memory`.
    """

    name: str
    make: Callable[[argparse.Namespace], Callable[[], object]]
    torch: bool = False
    kept: bool = False


class Worker:
    """A process that answers each line with a measurement, and ends when its parent does."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]):
        self._name = " ".join(command)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the worker
        self._process = subprocess.Popen(
            command, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self.answer()  # ready, with everything compiled

    def measure(self) -> float:
        """Returns what the worker measures, images a second."""
        self.ask()
        return self.answer()

    def ask(self) -> None:
        """Has the worker begin to measure; `answer` waits for what it tells."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def answer(self) -> float:
        if not (line := self._process.stdout.readline()):
            self._errors.seek(0)
            sys.exit(f"{self._errors.read()[-3000:]}\n{self._name} ended")
        return float(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def serve(run: Callable[[], object], batch: int, seconds: float) -> None:
    """The worker's side: images a second, for each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    run()
    run()
    print(0.0, file=answers)
    for _ in sys.stdin:
        run()  # wakes the threads, and brings weights back into the cache
        start, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            run()
            count += 1
        print(count * batch / passed, file=answers)


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):7.2f} ({min(values):.2f} to {max(values):.2f})"


def _compare(script: str, variants: Sequence[Variant], ours: str, flags) -> dict:
    """Measures one setting, prints its table and returns its part of the JSON line."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    workers = {}
    for variant in variants:
        python = flags.torch_python if variant.torch else sys.executable
        kept = KEEP_MEMORY if variant.torch and variant.kept else {}
        fields = {"worker": variant.name, "threads": flags.threads, "seconds": flags.seconds}
        fields |= {"stacks": flags.stacks, "batch": flags.batch}
        command = [python, script, *(f"--{name}={value}" for name, value in fields.items())]
        workers[variant.name] = Worker(command, environment | kept)
    rates = {name: [] for name in workers}
    for _ in range(flags.rounds):
        for name, worker in workers.items():
            rates[name].append(worker.measure())
    for worker in workers.values():
        worker.close()

    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max((v.name for v in variants if "eager" in v.name), key=medians.get)
    # Round by round, so that what slows a round down falls out of it.
    ratios = {
        v.name: [a / b for a, b in zip(rates[v.name], rates[best], strict=True)]
        for v in variants
        if not v.torch
    }
    print(f"\n{flags.stacks} stacks, batch {flags.batch}: images/s, and times {best}")
    for name, values in rates.items():
        ratio = f"   {spread(ratios[name])}" if name in ratios else ""
        print(f"  {name:28} {spread(values)}{ratio}", flush=True)
    return {
        "stacks": flags.stacks,
        "batch": flags.batch,
        "images_per_second": {name: round(median, 3) for name, median in medians.items()},
        "best_eager": best,
        "ratio": round(statistics.median(ratios[ours]), 3),
        "ratio_min": round(min(ratios[ours]), 3),
        "ratio_max": round(max(ratios[ours]), 3),
    }


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(doc: str, script: str, variants: Sequence[Variant], *, ours: str, batch: str) -> None:
    """Compares the variants, or is one of them; `ours` names the one that the ratio is of."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    add = parser.add_argument
    add("--stacks", type=_numbers, default="1,2,8")
    add("--batch", type=_numbers, default=batch)
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2.0, help="of a measurement, at least")
    add("--threads", type=int, default=2)
    add("--only", default="", help="variants whose names hold one of these words, by commas")
    add("--torch-python", default=sys.executable, help="an interpreter that has PyTorch")
    add("--worker", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker is not None:
        (flags.stacks,), (flags.batch,) = flags.stacks, flags.batch
        (variant,) = (v for v in variants if v.name == flags.worker)
        flags.kept = variant.kept
        serve(variant.make(flags), flags.batch, flags.seconds)
        return

    if subprocess.run([flags.torch_python, "-c", "import torch"], capture_output=True).returncode:
        parser.error(
            f"{flags.torch_python} has no PyTorch, which this compares with: install "
            "torch==2.13.0 into some environment, and name its interpreter by --torch-python"
        )
    if hasattr(os, "sched_setaffinity"):  # XLA takes a thread for each core that it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.threads])
    words = flags.only.split(",")
    kept = [v for v in variants if any(word in v.name for word in words)]
    results = []
    for stacks in flags.stacks:
        for size in flags.batch:
            setting = argparse.Namespace(**{**vars(flags), "stacks": stacks, "batch": size})
            results.append(_compare(script, kept, ours, setting))
    print(json.dumps(results))
