"""How many images a second a training step takes on CPUs, ours and PyTorch's.

    python benchmarks/train_step.py [--torch-python=PYTHON] [--stacks=1,2,8] [--batch=4]

256 px, 256 features, with the loss and RMSprop of configs/mpii.py: the step as train.py runs it
on one device, against the same network in PyTorch, channels_last, eager. Each with glibc as it is
and told to keep memory, on two threads. Prints medians, spreads, ratios to PyTorch's better
figure, and a JSON line.
"""

import pathlib
import sys

import alternate
import numpy as np
from alternate import FEATURES, JOINTS, SIDE, Variant


def batch_of(flags) -> dict[str, np.ndarray]:
    draw, side = np.random.default_rng(0), SIDE // 4
    return {
        "image": draw.integers(0, 256, (flags.batch, SIDE, SIDE, 3), np.uint8),
        "heatmaps": draw.random((flags.batch, side, side, JOINTS), np.float32),
        "weights": np.ones((flags.batch, JOINTS), np.float32),
    }


def step(flags):
    root = pathlib.Path(__file__).parent.parent
    sys.path.insert(0, str(root))
    import jax

    from hourglass_jax import config_files
    from hourglass_jax.nn.stacked_hourglass import make_model
    from hourglass_jax.runtime import sharding, startup
    from hourglass_jax.training import optimizer
    from hourglass_jax.training import step as steps

    jax.config.update("jax_num_cpu_devices", 1)
    startup.enable_compilation_cache()
    if flags.kept:
        startup.keep_freed_memory()
    config = config_files.load("mpii")
    config.model.update({"num_stacks": flags.stacks, "features": FEATURES})
    network, mesh = make_model(config.model.to_dict(), JOINTS), sharding.make_mesh()
    rmsprop, _ = optimizer.create_optimizer(config.optimizer, config.num_steps)
    train_step = steps.make_train_step(network, rmsprop, mesh)
    variables = steps.init_variables(network, config.seed)
    state = sharding.replicate(steps.create_train_state(variables, rmsprop), mesh)
    batch = batch_of(flags)

    def run():
        nonlocal state
        state, metrics = train_step(state, sharding.shard_batch(batch, mesh))
        return jax.block_until_ready((state, metrics))

    return run


def eager(flags):
    import torch
    from torch_hourglass import StackedHourglass

    torch.set_num_threads(flags.threads)
    network = StackedHourglass(flags.stacks, features=FEATURES).train()
    network = network.to(memory_format=torch.channels_last)
    rmsprop = torch.optim.RMSprop(network.parameters(), lr=2.5e-4, alpha=0.99, eps=1e-8)
    batch = {name: torch.from_numpy(array) for name, array in batch_of(flags).items()}
    targets = batch["heatmaps"].permute(0, 3, 1, 2)[:, None]

    def run():
        # [B, 3, H, W] whose channels lie innermost, as the array's do.
        pictures = batch["image"].permute(0, 3, 1, 2) / 255
        errors = batch["weights"][:, None, :, None, None] * (network(pictures) - targets) ** 2
        loss = errors.mean((0, 2, 3, 4)).sum()  # over stacks
        rmsprop.zero_grad()
        loss.backward()
        rmsprop.step()
        return loss.item()

    return run


OURS = "ours, memory kept"
VARIANTS = (
    Variant("ours", step),
    Variant(OURS, step, kept=True),
    Variant("PyTorch eager", eager, torch=True),
    Variant("PyTorch eager, memory kept", eager, torch=True, kept=True),
)

if __name__ == "__main__":
    alternate.main(__doc__, __file__, VARIANTS, ours=OURS, batch="4")
