"""How fast do several processes find everybody in photographs: one, shards, and Ray's workers?

    python benchmarks/shares.py [--images=100] [--workers=2] [--times=3]

Scenes as in `photographs.py`, with the networks in the package. Each command runs with few and with
all images, with kept programs; their difference is the rate without the start. Shards run at once.
Prints medians, spreads and a JSON line. Needs the extra `ray`, and idle cores.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import photographs

FEW = 16
PREDICT = [sys.executable, "-m", "hourglass_jax.predict", "--no_overlays"]
RAY = [sys.executable, "-m", "hourglass_jax.inference.ray_data"]


def seconds(commands: list[list[str]], source: pathlib.Path, output: pathlib.Path) -> float:
    """Returns the time of commands that run at once, on the images of a folder."""
    begin = time.perf_counter()
    flags = [f"--input={source}", f"--output={output}"]
    running = [
        subprocess.Popen([*command, *flags], cwd=photographs.ROOT, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    statuses = [process.wait() for process in running]
    if any(statuses):
        sys.exit("a command failed")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    flags = parser.parse_args()
    shards = [[*PREDICT, f"--shards={flags.workers}", f"--shard={i}"] for i in range(flags.workers)]
    ways = {
        "one process": [PREDICT],
        f"{flags.workers} shards": shards,
        f"Ray, {flags.workers} workers": [[*RAY, f"--workers={flags.workers}"]],
    }
    figures = {way: {"start": [], "rate": []} for way in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for source, count in (("few", FEW), ("all", flags.images)):
            (folder / source).mkdir()
            photographs.draw(folder / source, count)
        for way, commands in ways.items():  # compiles
            seconds(commands, folder / "few", folder / way)
        for i in range(flags.times):
            for way, commands in ways.items():
                few = seconds(commands, folder / "few", folder / f"{way} {i} few")
                everything = seconds(commands, folder / "all", folder / f"{way} {i} all")
                rate = (flags.images - FEW) / (everything - few)
                figures[way]["rate"].append(rate)
                figures[way]["start"].append(few - FEW / rate)
    print("| way | images/s | start, s |\n|---|---|---|")
    for way, each in figures.items():
        cells = [
            f"{statistics.median(x):.1f} ({min(x):.1f} to {max(x):.1f})"
            for x in (each["rate"], each["start"])
        ]
        print(f"| {way} | {' | '.join(cells)} |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
