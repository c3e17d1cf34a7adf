"""What would make a training step on a GPU faster: a profile by kernel, and variants in turn.

    python benchmarks/gpu_leads.py [--limit=165] [--out=DIR] [--torch-python=PYTHON | --no-torch]

256 px, 256 features, 2 stacks, bfloat16. Everything is compiled first, in threads of one process,
so that all variants use the same algorithms for the same convolutions; then the variants take
turns. Prints what is there as it comes, and ends after `--limit` seconds with what it has. The
folder has the profiles as JSON and the compiled programs.
"""

import argparse
import concurrent.futures
import copy
import functools
import gzip
import os
import pathlib
import statistics
import sys
import tempfile
import time

START = time.monotonic()
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.6")  # the rest is PyTorch's

import jax
import numpy as np
from alternate import Worker, random_batch, spread
from gpu_profile import Program, profile
from recipe import Recipe

import jax.numpy as jnp

from hourglass_jax import nn
from hourglass_jax.checkpoint.state import create_train_state
from hourglass_jax.nn import kernels
from hourglass_jax.nn.kernels import batch_norm, convolution, pooling
from hourglass_jax.runtime import sharding

# Everything that can be recorded is one CUDA graph, convolutions included.
GRAPHS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,"
    "DYNAMIC_SLICE_FUSION,CONVOLUTION",
    "xla_gpu_graph_min_graph_size": 1,
}
CONV_FUSION = {"xla_gpu_experimental_enable_conv_fusion": True}
CUBLAS = {"xla_gpu_enable_triton_gemm": False}
# name, code that differs, XLA's options; most promising first. Code: "pool" by slices instead of a
# scatter, "flat": parameters in one vector, as cuDNN reads them, "sums" of BatchNorm in pairs,
# "dots" for 1x1 convolutions.
LARGE = (
    ("base", (), {}),
    ("pool+flat+sums, graphs", ("pool", "flat", "sums"), GRAPHS),
    ("pool+flat+sums", ("pool", "flat", "sums"), {}),
    ("pool+flat", ("pool", "flat"), {}),
    ("pool", ("pool",), {}),
    ("pool+flat, conv fusion", ("pool", "flat"), CONV_FUSION),
    ("pool+flat+dots, cuBLAS", ("pool", "flat", "dots"), CUBLAS),
)
SMALL = (
    ("base", (), {}),
    ("pool+flat+sums, graphs", ("pool", "flat", "sums"), GRAPHS),
    ("pool+flat+sums", ("pool", "flat", "sums"), {}),
)
_PLAIN = {
    "pool": kernels.pool,
    "_convolve_1x1": kernels._convolve_1x1,
    "norm": batch_norm.norm,
}


def say(*words) -> None:
    print(f"{time.monotonic() - START:6.1f} s ", *words, flush=True)


@jax.custom_vjp
def pool(x):
    """Pools with the maximum of slices; the gradient is computed from the input."""
    return pooling.by_slices(x)


def _pool_gradient(x, d_y):
    (left, right), (top, bottom) = pooling._columns(x), pooling._rows(x)
    shape = (*left.shape[:4], 2, x.shape[-1])
    column = (left >= right)[..., None, :] == (pooling._position(shape, 4) == 0)
    row = (top >= bottom)[:, :, None, :, None] == (pooling._position(shape, 2) == 0)
    return (jnp.where(row & column, d_y[:, :, None, :, None], 0).reshape(x.shape),)


pool.defvjp(lambda x: (pool(x), x), _pool_gradient)


def vector(leaves):
    """Joins arrays in the order in which kernels lie in memory; their norm is the same."""
    leaves = [x.transpose(3, 0, 1, 2) if x.ndim == 4 else x for x in leaves]
    return jnp.concatenate([x.ravel() for x in leaves])


def sums(x, y):
    """Returns both sums over images and pixels, each step of which is one kernel for both."""
    zero = jnp.zeros((), x.dtype)
    return jax.lax.reduce((x, y), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), (0, 1, 2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def norm(x, scale, bias, axis_name, relu):
    """As `batch_norm.norm`, on one device, with sums in pairs."""
    return _norm_forward(x, scale, bias, axis_name, relu)[0]


def _norm_forward(x, scale, bias, axis_name, relu):
    wide, count = x.astype(scale.dtype), x.size // x.shape[-1]
    mean, mean_square = (total / count for total in sums(wide, wide**2))
    var = jnp.maximum(mean_square - mean**2, 0)
    slope, offset = batch_norm._line(scale, bias, mean, var)
    y = batch_norm._apply(x, slope, offset, relu)
    return (y, mean, var), (x, slope, offset, mean, var)


def _norm_backward(axis_name, relu, kept, gradients):
    x, slope, offset, mean, var = kept
    shape, inverse = (1, 1, 1, -1), jax.lax.rsqrt(var + batch_norm.EPSILON)
    wide = x.astype(slope.dtype)
    d_y = gradients[0].astype(slope.dtype)
    if relu:
        d_y = jnp.where(wide * slope.reshape(shape) + offset.reshape(shape) > 0, d_y, 0)
    count = x.size // x.shape[-1]
    d_bias, product = sums(d_y, d_y * wide)
    d_scale = inverse * (product - mean * d_bias)
    by_var = -slope * inverse * d_scale / count
    by_mean = -slope * d_bias / count - by_var * mean
    d_x = d_y * slope.reshape(shape) + wide * by_var.reshape(shape) + by_mean.reshape(shape)
    return d_x.astype(x.dtype), d_scale, d_bias


norm.defvjp(_norm_forward, _norm_backward)


def split(joined, shapes):
    """Returns the arrays, of the shapes of a tree, that `vector` joined."""
    leaves, structure = jax.tree.flatten(shapes)
    pieces = jnp.split(joined, np.cumsum([x.size for x in leaves])[:-1])
    return structure.unflatten(
        piece.reshape([x.shape[i] for i in (3, 0, 1, 2)]).transpose(1, 2, 3, 0)
        if x.ndim == 4
        else piece.reshape(x.shape)
        for piece, x in zip(pieces, leaves, strict=True)
    )


class Flat:
    """A network whose parameters are one vector, and its statistics another."""

    def __init__(self, model, variables):
        self._model, self.normalisation = model, model.normalisation
        self._variables = variables

        @jax.custom_vjp
        def parameters(joined):
            return split(joined, variables["params"])

        # Automatic differentiation would add up one vector for each array.
        parameters.defvjp(lambda x: (parameters(x), None), lambda _, g: (self.join(g),))
        self._parameters = parameters

    @staticmethod
    def join(tree):
        return vector(jax.tree.leaves(tree))

    def clone(self, **fields):
        return Flat(self._model.clone(**fields), self._variables)

    def apply(self, variables, images, **options):
        params = self._parameters(variables["params"])
        stats = split(variables["batch_stats"], self._variables["batch_stats"])
        outputs, updated = self._model.apply(
            {"params": params, "batch_stats": stats}, images, **options
        )
        return outputs, {"batch_stats": self.join(updated["batch_stats"])}


class Step:
    """A variant of the training step."""

    def __init__(self, name, code, options, recipe, batch):
        """Traces it; `code` names what differs from the package's."""
        self.name, self.size, self._options = name, batch, options
        kernels.pool = pool if "pool" in code else _PLAIN["pool"]
        batch_norm.norm = norm if "sums" in code else _PLAIN["norm"]
        kernels._convolve_1x1 = (
            convolution.by_product if "dots" in code else _PLAIN["_convolve_1x1"]
        )
        self._recipe = recipe = copy.copy(recipe)
        self._flat = "flat" in code
        state, shapes = recipe.shapes(batch)
        if self._flat:
            variables = nn.variable_shapes(recipe.model)
            recipe.model = Flat(recipe.model, variables)
            state = jax.eval_shape(self._flattened, state)
            state = sharding.with_sharding(state, recipe.mesh, sharding.REPLICATED)

        self._lowered = recipe.step().lower(state, shapes)
        self._state = self._last = self.compiled = None

    def _flattened(self, state):
        variables = {name: Flat.join(getattr(state, name)) for name in ("params", "batch_stats")}
        return create_train_state(variables, self._recipe._optimizer)

    def compile(self):
        begin = time.monotonic()
        options = {**sharding.compiler_options(self._recipe.mesh), **self._options}
        self.compiled = self._lowered.compile(compiler_options=options)
        say(f"compiled {self.size}: {self.name} in {time.monotonic() - begin:.1f} s")
        return self

    def prepare(self, state, batch):
        self._batch = batch
        self._state = jax.tree.map(lambda x: x.copy(), state)  # the step consumes it
        if self._flat:
            self._state = sharding.replicate(
                jax.jit(self._flattened)(self._state), self._recipe.mesh
            )
        losses = []
        for _ in range(3):
            self.run()
            losses.append(float(self._last["loss"]))
        say(f"{self.size}: {self.name}: losses", *(f"{loss:.6g}" for loss in losses))

    def run(self):
        self._state, self._last = self.compiled(self._state, self._batch)

    def wait(self):
        jax.block_until_ready(self._state)

    def measure(self, seconds):
        """Returns images/s."""
        self.run()
        self.wait()
        begin, count = time.perf_counter(), 0
        while True:
            for _ in range(4):
                self.run()
            count += 4
            self.wait()
            if (passed := time.perf_counter() - begin) > seconds:
                return count * self.size / passed


def traced(variants, recipe, batch):
    """Traces variants; yields them one by one, so that each can be compiled meanwhile."""
    for name, code, options in variants:
        jax.clear_caches()  # else layers would be those that were traced before
        yield Step(name, code, options, recipe, batch)
        say(f"traced {batch}: {name}")


def finished(futures, until):
    """Returns the variants that are compiled in time, and says which failed."""
    concurrent.futures.wait(futures, max(0, until - (time.monotonic() - START)))
    steps = []
    for future in futures:
        if not future.done():
            continue
        if error := future.exception():
            say("FAILED", str(error)[:400])
        else:
            steps.append(future.result())
    return steps


def rounds(steps, worker, flags, until):
    """Measures all in turn and prints images/s, ms a step, and ratios to the first."""
    rates = {step.name: [] for step in steps}
    if worker:
        rates["PyTorch, eager"] = []
    for i in range(flags.rounds):
        if i and time.monotonic() - START > until:
            break
        for step in steps:
            rates[step.name].append(step.measure(flags.seconds))
        if worker:
            rates["PyTorch, eager"].append(worker.measure())
    size, first = steps[0].size, rates[steps[0].name]
    say(f"batch {size}, {len(first)} rounds: images/s, ms a step, ratio to the first")
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(values, first, strict=True)]
        ms = 1e3 * size / statistics.median(values)
        print(f"  {name:26} {spread(values)} {ms:7.2f} ms {spread(ratios)}", flush=True)
    return rates


def save(out, name, step):
    with gzip.open(out / f"{name}.hlo.gz", "wt") as file:
        file.write(step.compiled.as_text())


def prepared(steps, state, batch):
    ready = []
    for step in steps:
        try:
            step.prepare(state, batch)
            ready.append(step)
        except Exception as error:
            say("FAILED", step.name, str(error)[:400])
    return ready


def torch_worker(flags):
    command = [flags.torch_python, str(pathlib.Path(__file__).with_name("gpu.py"))]
    command += ["--worker=PyTorch eager", "--passed=training step", f"--stacks={flags.stacks}"]
    command += [f"--batch={flags.batch}", "--dtype=bfloat16", "--seconds=1"]
    try:
        worker = Worker(command, dict(os.environ))
        worker.measure()  # the memory taken
    except (SystemExit, Exception) as error:
        say("FAILED", "PyTorch", str(error)[-400:])
        return None
    say("PyTorch is ready")
    return worker


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--limit", type=float, default=165, help="s, for everything")
    add("--out", type=pathlib.Path, default=os.environ.get("OUT"))
    add("--batch", type=int, default=64)
    add("--small", type=int, default=16, help="the smaller batch; 0 for none")
    add("--stacks", type=int, default=2)
    add("--features", type=int, default=256)
    add("--side", type=int, default=256)
    add("--order", type=int, default=4)
    add("--dtype", default="bfloat16")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.5, help="of a measurement")
    add("--large-until", type=float, default=105, help="s, when compiling for --batch must end")
    add("--torch-python", default=sys.executable)
    add("--no-torch", action="store_true")
    add("--only", default="", help="variants by name, separated by semicolons")
    flags = parser.parse_args()
    out = flags.out or pathlib.Path(tempfile.mkdtemp())
    say(jax.devices(), f"writes to {out}")

    mesh = sharding.make_mesh(jax.devices()[:1])
    fields = {"num_stacks": flags.stacks, "features": flags.features, "dtype": flags.dtype}
    fields |= {"order": flags.order, "input_size": flags.side}
    recipe = Recipe(mesh, **fields)
    only = set(filter(None, flags.only.split(";")))
    variants = [[v for v in vs if not only or v[0] in only] for vs in (LARGE, SMALL)]
    pool = concurrent.futures.ThreadPoolExecutor(8)
    large = [pool.submit(s.compile) for s in traced(variants[0], recipe, flags.batch)]
    small = list(traced(variants[1], recipe, flags.small)) if flags.small else []
    state = recipe.first_state()
    say("the first state is ready")

    def batch(size):
        arrays = random_batch(size, flags.side)
        return sharding.shard_batch(arrays, mesh)

    steps = prepared(finished(large, flags.large_until), state, batch(flags.batch))
    if not steps:
        return
    best = steps[0]
    save(out, "base", best)
    Program(best.compiled.as_text()).table(
        profile(best.run, best.wait), out / "profile_base.json", say
    )
    rounds(steps, None, flags, flags.limit - 30)
    if len(steps) > 1:
        best = max(steps[1:], key=lambda step: step.measure(flags.seconds))
        say("profile of", best.name)
        save(out, "best", best)
        program = Program(best.compiled.as_text())
        program.table(profile(best.run, best.wait), out / "profile_best.json", say)
    if not flags.no_torch and time.monotonic() - START < flags.limit - 25:
        if worker := torch_worker(flags):
            rounds([steps[0], best], worker, argparse.Namespace(rounds=3, seconds=0.5), flags.limit)
            worker.close()
    for step in steps:
        step._state = None
    futures = [pool.submit(step.compile) for step in small]
    steps = finished(futures, flags.limit - 8)
    if steps := prepared(steps, state, batch(flags.small)):
        rounds(steps, None, flags, flags.limit - 4)
    say("end")


if __name__ == "__main__":
    import threading

    # Compilations cannot be stopped; what is done by then has been printed.
    seconds = next((float(a[8:]) for a in sys.argv if a.startswith("--limit=")), 165.0)
    timer = threading.Timer(seconds, lambda: (say("the limit is reached"), os._exit(0)))
    timer.daemon = True
    timer.start()
    main()
    os._exit(0)  # without waiting for compilations
