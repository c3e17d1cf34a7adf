"""How fast does the command `predict` find everybody in photographs, and what takes the time?

    python benchmarks/photographs.py [--finder=NAME] [--checkpoint=NAME] [--images=48] [--times=3]
        [--node_modules=DIR]

Drawn scenes of three people, 640x480, as JPEGs: the command from files to predictions.json without
overlays, in fresh processes. Images a second after the first batch, with the share of each part;
and the time that a command for one image takes, with nothing compiled before (cold) and with kept
programs (warm). `--node_modules` also times the networks of `other_finders.mjs`, in turn, on the
same images. Prints medians, spreads and a JSON line. Seconds of CPUs say more than those of the
clock where other programs run.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SIZE = (640, 480)
PEOPLE = 3
DRAWN = 8  # different scenes; further images differ from them by noise


def draw(folder: pathlib.Path, count: int) -> None:
    import cv2
    import numpy as np

    from hourglass_jax.data.synthetic_scenes.scene import draw_scene

    scenes, index, rng = [], 0, np.random.default_rng(0)
    while len(scenes) < min(DRAWN, count):
        scene = draw_scene(0, index)
        if len(scene.people) == PEOPLE:
            scenes.append(cv2.resize(scene.image, SIZE, interpolation=cv2.INTER_CUBIC))
        index += 1
    for i in range(count):
        noise = rng.normal(0, 4, (*SIZE[::-1], 3))
        image = np.clip(scenes[i % len(scenes)] + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(f"{folder}/{i:03d}.jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


class Clock:
    """Seconds spent in functions, each without those of others that it calls."""

    def __init__(self):
        self.seconds, self.inner = {}, [0.0]

    def watch(self, owner, name: str, part: str) -> None:
        function = getattr(owner, name)

        def timed(*arguments, **options):
            self.inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds = time.perf_counter() - start
                own = seconds - self.inner.pop()
                self.inner[-1] += seconds
                self.seconds[part] = self.seconds.get(part, 0.0) + own

        setattr(owner, name, timed)


def watched(arguments: list[str]) -> None:
    """Runs the command, and prints what took the time after the first batch."""
    from hourglass_jax import predict
    from hourglass_jax.inference.estimator import PoseEstimator
    from hourglass_jax.inference.files import Files
    from hourglass_jax.inference.finder import Finder

    clock, ends = Clock(), []
    clock.watch(Files, "_read", "reading")
    clock.watch(Finder, "__call__", "finder")
    clock.watch(PoseEstimator, "_crops", "crops")
    clock.watch(PoseEstimator, "predict", "poses")
    clock.watch(Files, "_file", "writing")
    call = Files.__call__

    def batch(self, *given):
        call(self, *given)
        ends.append((time.perf_counter(), time.process_time(), dict(clock.seconds)))

    Files.__call__ = batch
    predict.main(arguments)
    (start, cpu, before), (end, cpu_end, after) = ends[0], ends[-1]
    parts = {part: after[part] - before[part] for part in after}
    print(json.dumps({"seconds": end - start, "cpu": cpu_end - cpu, "parts": parts}))


def run(flags, folder: pathlib.Path, name: str, source: pathlib.Path, *, watch: bool = False):
    """Runs the command with kept programs in `folder/name`.

    Returns:
      Its seconds, those of CPUs, and its output.
    """
    start = [sys.executable, __file__, "--watched"] if watch else [sys.executable]
    start += [] if watch else ["-m", "hourglass_jax.predict"]
    command = [*start, f"--input={source}", f"--output={folder / 'out'}", "--overwrite"]
    command += [f"--finder={flags.finder}", "--no_overlays"]
    command += [f"--checkpoint={flags.checkpoint}"] if flags.checkpoint else []
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / name)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    begin, used = time.perf_counter(), children()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    return time.perf_counter() - begin, children() - used, done.stdout


def others(flags, source: pathlib.Path) -> dict[str, float]:
    """Returns the milliseconds that other networks take for an image."""
    if not flags.node_modules:
        return {}
    command = ["node", ROOT / "benchmarks/other_finders.mjs", flags.node_modules, source]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def said(values) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--finder", default="people-small", help="network that finds people")
    parser.add_argument("--checkpoint", help="network of poses; default: the command's")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--node_modules", help="folder with what other_finders.mjs needs")
    flags = parser.parse_args()
    cold, warm, rates, cpu, parts, peers = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "in").mkdir()
        draw(folder / "in", flags.images)
        one = folder / "in/000.jpg"
        run(flags, folder, "kept", folder / "in")  # compiles
        for i in range(flags.times):
            cold.append(run(flags, folder, f"cold{i}", one)[:2])
            run(flags, folder, "kept", one)  # compiles for one image
            warm.append(run(flags, folder, "kept", one)[:2])
            *_, output = run(flags, folder, "kept", folder / "in", watch=True)
            seen = json.loads(output.splitlines()[-1])
            count = flags.images - 8  # without the first batch
            rates.append(count / seen["seconds"])
            cpu.append(1000 * seen["cpu"] / count)
            rest = seen["seconds"] - sum(seen["parts"].values())
            times = {**seen["parts"], "others": rest}
            parts.append({part: 1000 * seconds / count for part, seconds in times.items()})
            peers.append(others(flags, folder / "in"))
        people = json.loads((folder / "out/predictions.json").read_text())
    medians = {part: statistics.median(one[part] for one in parts) for part in parts[0]}
    print(f"{flags.images} images, {len(people)} people found")
    print(f"images a second: {said(rates)}; ms of CPUs an image: {said(cpu)}")
    print(", ".join(f"{part} {value:.1f} ms" for part, value in medians.items()))
    for name in peers[0]:
        print(f"{name}: {said([one[name] for one in peers])} ms")
    results = {"images a second": rates, "CPU ms": cpu}
    for what, times in (("cold", cold), ("warm", warm)):
        seconds, used = zip(*times, strict=True)
        print(f"a command for one image, {what}: {said(seconds)} s; CPUs: {said(used)} s")
        results |= {f"{what} s": seconds, f"{what} CPU s": used}
    results |= {f"{name} ms": [one[name] for one in peers] for name in peers[0]}
    results = {what: statistics.median(values) for what, values in results.items()}
    print(json.dumps({**results, "ms": medians}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watched"]:
        watched(sys.argv[2:])
    else:
        main()
