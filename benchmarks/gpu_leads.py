"""Whether what is chosen for GPUs makes a training step faster, in one run of 150 s.

    python benchmarks/gpu_leads.py [--limit=150] [--out=DIR] [--torch-python=PYTHON | --no-torch]

256 px, 256 features, 2 stacks, bfloat16, batches of 64. Programs are compiled one after another,
the most important first, since XLA tries kernels on the GPU, and two programs at once would disturb
each other's times. PyTorch starts at the same time, in processes of its own. The programs that are
ready in time take turns; then two steps are profiled by kernel. Results are printed as they come,
until `--limit` seconds have passed. The folder has the profiles as JSON and the compiled programs.
"""

import argparse
import concurrent.futures
import gzip
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

import jax
from alternate import Worker, random_batch, spread
from gpu_profile import Program, profile
from recipe import Recipe

from hourglass_jax.nn import kernels
from hourglass_jax.nn.kernels import batch_norm, pooling
from hourglass_jax.runtime import sharding

START = time.monotonic()
# By default XLA 0.11.2 tries several kernels for every fusion, which takes minutes.
QUICK = (
    "--xla_gpu_experimental_enable_fusion_autotuner=false "
    "--xla_gpu_enable_triton_gemm=false --xla_gpu_autotune_level=1"
)
# Everything that can be recorded is one CUDA graph, convolutions included.
GRAPHS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,"
    "DYNAMIC_SLICE_FUSION,CONVOLUTION",
    "xla_gpu_graph_min_graph_size": 1,
}
# What GPUs do otherwise than other platforms: module, attribute, what it would be.
CHOICES = {
    "pool": (kernels, "pool", pooling.by_window),
    "sums": (batch_norm, "_sums", batch_norm.sums_apart),
}
_CHOSEN = {name: getattr(*where[:2]) for name, where in CHOICES.items()}
# Name, the choices that are left out, XLA's options; what matters most first.
VARIANTS = (
    ("ours", set(), {}),
    ("without choices", set(CHOICES), {}),
    ("ours, graphs", set(), GRAPHS),
)


def choose(without: set[str]) -> None:
    """Has networks traced from now on use the choices for GPUs, except some by name."""
    for name, (module, attribute, plain) in CHOICES.items():
        setattr(module, attribute, plain if name in without else _CHOSEN[name])
    jax.clear_caches()  # else layers would be those that were traced before


def say(*words) -> None:
    print(f"{time.monotonic() - START:6.1f} s ", *words, flush=True)


class Step:
    """A variant of the training step."""

    def __init__(self, name, without, options, recipe, size):
        """Traces it for batches of a size."""
        choose(without)
        self.name, self._size = name, size
        self._options = sharding.compiler_options(recipe.mesh) | options
        self._lowered = recipe.step().lower(*recipe.shapes(size))
        say("traced", name)

    def compile(self, state, batch) -> None:
        """Compiles it, and runs three steps."""
        begin = time.monotonic()
        self.compiled = self._lowered.compile(compiler_options=self._options)
        say(f"compiled {self.name} in {time.monotonic() - begin:.1f} s")
        self._batch = batch
        self._state = jax.tree.map(lambda x: x.copy(), state)  # the step consumes it
        losses = []
        for _ in range(3):
            self.run()
            losses.append(f"{float(self._last['loss']):.6g}")
        say("losses of", self.name, *losses)

    def run(self) -> None:
        self._state, self._last = self.compiled(self._state, self._batch)

    def wait(self) -> None:
        jax.block_until_ready(self._state)

    def measure(self, seconds: float = 0.5) -> float:
        """Returns images/s."""
        self.run()
        self.wait()
        begin, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - begin) < seconds:
            for _ in range(4):
                self.run()
            count += 4
            self.wait()
        return count * self._size / passed

    def profile(self, out: pathlib.Path) -> None:
        """Prints its kernels, and writes them and the program to files."""
        name, text = self.name.replace(" ", "_"), self.compiled.as_text()
        with gzip.open(out / f"{name}.hlo.gz", "wt") as file:
            file.write(text)
        say("profile of", self.name)
        Program(text).table(profile(self.run, self.wait), out / f"{name}.json", say)


class PyTorch:
    """PyTorch's step, in a process by itself."""

    def __init__(self, way, flags):
        """Starts it, which ends with everything compiled."""
        self.name = way
        command = [flags.torch_python, str(pathlib.Path(__file__).with_name("gpu.py"))]
        command += [f"--worker={way}", "--passed=training step", f"--stacks={flags.stacks}"]
        command += [f"--batch={flags.batch}", "--dtype=bfloat16", "--seconds=0.5"]
        worker = Worker(command, dict(os.environ))
        worker.measure()  # the memory taken
        self.measure = worker.measure
        say(way, "is ready")


def compiled(recipe, flags):
    """Yields what is there in time: variants, and then PyTorch, which starts in a thread."""
    steps = [Step(*variant, recipe, flags.batch) for variant in VARIANTS]
    state = recipe.first_state()
    batch = sharding.shard_batch(random_batch(flags.batch, flags.side), recipe.mesh)
    threads, futures = concurrent.futures.ThreadPoolExecutor(2), []
    for step in steps:
        if time.monotonic() - START > flags.compile_until:
            say("no time for", step.name)
            continue
        try:
            step.compile(state, batch)
            yield step
        except Exception as error:  # the others are still worth measuring
            say("FAILED", step.name, str(error)[:400])
        if not futures and not flags.no_torch:
            ways = ("PyTorch eager", "PyTorch compiled")
            futures = [threads.submit(PyTorch, way, flags) for way in ways]
    left = flags.limit - 40 - (time.monotonic() - START)
    done, late = concurrent.futures.wait(futures, timeout=max(left, 0))
    for future in done:
        if error := future.exception():  # also of SystemExit
            say("FAILED", str(error)[-400:])
        else:
            yield future.result()
    if late:
        say(f"PyTorch is late: {len(late)} of {len(futures)}")


def compare(ways, flags) -> None:
    """Measures all in turn, and prints images/s, ms a step, and ratios to each that is not ours."""
    rates = {way.name: [] for way in ways}
    for _ in range(flags.rounds):
        if time.monotonic() - START > flags.limit - 20:
            break
        for way in ways:
            rates[way.name].append(way.measure())
    first = rates[ways[0].name]
    if not first:
        return say("no time to measure")
    say(f"batch {flags.batch}, {len(first)} rounds: images/s, ms a step, {ways[0].name} to it")
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(first, values, strict=True)]
        ms = 1e3 * flags.batch / statistics.median(values)
        print(f"  {name:18} {spread(values)} {ms:7.2f} ms {spread(ratios)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--limit", type=float, default=150, help="s, for everything")
    add("--compile-until", type=float, default=85, help="s, after which no compilation begins")
    add("--out", type=pathlib.Path, default=os.environ.get("OUT"))
    add("--batch", type=int, default=64)
    add("--stacks", type=int, default=2)
    add("--features", type=int, default=256)
    add("--side", type=int, default=256)
    add("--order", type=int, default=4)
    add("--dtype", default="bfloat16")
    add("--optimizer", default="", help="instead of the recipe's")
    add("--rounds", type=int, default=5)
    add("--torch-python", default=sys.executable)
    add("--no-torch", action="store_true")
    flags = parser.parse_args()
    # Compilations cannot be stopped; what is done by then has been printed.
    timer = threading.Timer(flags.limit, lambda: (say("the limit is reached"), os._exit(0)))
    timer.daemon = True
    timer.start()
    os.environ.setdefault("XLA_FLAGS", QUICK)
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.6")  # the rest is PyTorch's
    out = flags.out or pathlib.Path(tempfile.mkdtemp())
    say(jax.devices(), f"writes to {out}")

    fields = {"num_stacks": flags.stacks, "features": flags.features, "dtype": flags.dtype}
    fields |= {"order": flags.order, "input_size": flags.side}
    recipe = Recipe(sharding.make_mesh(jax.devices()[:1]), flags.optimizer, **fields)
    ways = list(compiled(recipe, flags))
    if ways:
        compare(ways, flags)
    for way in ways[:2]:
        if isinstance(way, Step):
            way.profile(out)
    say("end")
    os._exit(0)  # without waiting for what is late


if __name__ == "__main__":
    main()
