"""How many images a second a GPU takes, ours and PyTorch's.

    python benchmarks/gpu.py [--torch-python=PYTHON] [--stacks=2,8] [--batch=16] [--dtype=bfloat16]

256 px, 256 features, random images that are on the GPU already: a training step with the loss and
RMSprop of configs/mpii.py, and a forward pass, against the same network in PyTorch, channels_last,
eager and by `torch.compile`. "float32" is what both make of it, products of TF32 on recent GPUs.
Programs take turns, each in its own process, and queue steps as training does, waiting once a
measurement. Prints medians, spreads, ratios to PyTorch's eager figure round by round, the memory
that a process took at most, and a JSON line.
"""

import argparse
import json
import os
import statistics
import sys
import time

from alternate import FEATURES, SIDE, Worker, random_batch, spread

WAYS = ("ours", "PyTorch eager", "PyTorch compiled")
PASSES = ("training step", "forward pass")


def ours(flags):
    """Returns what queues a step, what waits for all of them, and what tells the memory taken."""
    import jax
    from recipe import Recipe

    from hourglass_jax.runtime import sharding, startup

    if jax.default_backend() == "cpu":
        sys.exit("JAX finds no GPU: install the extra cuda; CPUs have train_step.py and predict.py")
    startup.enable_compilation_cache()
    mesh = sharding.make_mesh(jax.devices()[:1])
    recipe = Recipe(mesh, num_stacks=flags.stacks, features=FEATURES, dtype=flags.dtype)
    model = recipe.model
    batch = sharding.shard_batch(random_batch(flags.batch, SIDE), mesh)
    last = None

    if flags.passed == "forward pass":
        apply = jax.jit(lambda v, images: model.apply(v, model.normalisation(images)))
        variables = sharding.replicate(recipe.variables(), mesh)

        def run():
            nonlocal last
            last = apply(variables, batch["image"])
    else:
        train_step, state = recipe.step(), recipe.first_state()

        def run():
            nonlocal state, last
            state, last = train_step(state, batch)

    def memory():
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]

    return run, lambda: jax.block_until_ready(last), memory


def pytorch(flags, compiled=False):
    import torch
    from torch_hourglass import StackedHourglass

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    train = flags.passed == "training step"
    network = StackedHourglass(flags.stacks, features=FEATURES).train(train).cuda()
    network = network.to(memory_format=torch.channels_last)
    rmsprop = torch.optim.RMSprop(network.parameters(), lr=2.5e-4, alpha=0.99, eps=1e-8)
    arrays = random_batch(flags.batch, SIDE)
    batch = {name: torch.from_numpy(array).cuda() for name, array in arrays.items()}
    targets = batch["heatmaps"].permute(0, 3, 1, 2)[:, None]
    call = torch.compile(network, dynamic=False) if compiled else network
    narrow = torch.autocast("cuda", torch.bfloat16, enabled=flags.dtype == "bfloat16")

    def run():
        with torch.set_grad_enabled(train), narrow:
            heatmaps = call(batch["image"].permute(0, 3, 1, 2) / 255)
            if not train:
                return
            errors = batch["weights"][:, None, :, None, None] * (heatmaps.float() - targets) ** 2
            loss = errors.mean((0, 2, 3, 4)).sum()  # over stacks
        rmsprop.zero_grad()
        loss.backward()
        rmsprop.step()

    return run, torch.cuda.synchronize, torch.cuda.max_memory_allocated


def work(flags) -> None:
    """Answers each line with images/s; the first with the memory taken, in GB."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if flags.worker == "ours":
        run, wait, memory = ours(flags)
    else:
        run, wait, memory = pytorch(flags, compiled=flags.worker == "PyTorch compiled")
    run()
    wait()
    begin = time.perf_counter()
    for _ in range(5):
        run()
    wait()
    count = max(1, round(5 * flags.seconds / (time.perf_counter() - begin)))
    print(0.0, file=answers)
    for i, _ in enumerate(sys.stdin):
        if i == 0:
            print(memory() / 1e9, file=answers)
            continue
        run()
        wait()
        begin = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        print(count * flags.batch / (time.perf_counter() - begin), file=answers)


def compare(flags, stacks: int, passed: str) -> dict:
    workers = {}
    # None takes most of the GPU's memory for itself; the others are there as well.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    for way in flags.ways:
        python = sys.executable if way == "ours" else flags.torch_python
        command = [python, __file__, f"--worker={way}", f"--passed={passed}", f"--stacks={stacks}"]
        command += [f"--{key}={getattr(flags, key)}" for key in ("batch", "dtype", "seconds")]
        workers[way] = Worker(command, environment)
    memory = {way: worker.measure() for way, worker in workers.items()}
    rates = {way: [] for way in workers}
    for _ in range(flags.rounds):
        for way, worker in workers.items():
            rates[way].append(worker.measure())
    for worker in workers.values():
        worker.close()
    print(f"\n{passed}, {stacks} stacks, batch {flags.batch}, {flags.dtype}: images/s, GB, ratio")
    result = {"pass": passed, "stacks": stacks, "batch": flags.batch, "dtype": flags.dtype}
    for way, values in rates.items():
        line = f"  {way:18} {spread(values)} {memory[way]:6.2f} GB"
        result[way] = round(statistics.median(values), 2)
        if "PyTorch eager" in rates:
            ratios = [a / b for a, b in zip(values, rates["PyTorch eager"], strict=True)]
            line += f" {spread(ratios)}"
        print(line, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--stacks", default="2,8")
    add("--batch", type=int, default=16)
    add("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=2.0, help="of a measurement")
    add("--passes", default=",".join(PASSES))
    add("--ways", default=",".join(WAYS))
    add("--torch-python", default=sys.executable, help="an interpreter that has PyTorch")
    add("--worker", help=argparse.SUPPRESS)
    add("--passed", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        flags.stacks = int(flags.stacks)
        return work(flags)
    flags.ways = flags.ways.split(",")
    results = [
        compare(flags, int(stacks), passed)
        for stacks in flags.stacks.split(",")
        for passed in flags.passes.split(",")
    ]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
