"""How many images a second a training step takes on CPUs, ours and PyTorch's.

    python benchmarks/train_step.py [--torch-python=PYTHON] [--stacks=1,2,8] [--batch=4]

256 px, 256 features, with the loss and RMSprop of configs/mpii.py: the step as train.py runs it
on one device, against the same network in PyTorch, channels_last, eager. Each with glibc as it is
and told to keep memory, on two threads. Prints medians, spreads, ratios to PyTorch's better
figure, and a JSON line.
"""

import alternate
from alternate import FEATURES, SIDE, Variant, random_batch


def step(flags):
    import jax
    from recipe import Recipe

    from hourglass_jax.runtime import sharding, startup

    jax.config.update("jax_num_cpu_devices", 1)
    startup.enable_compilation_cache()
    if flags.kept:
        startup.keep_freed_memory()
    mesh = sharding.make_mesh()
    recipe = Recipe(mesh, num_stacks=flags.stacks, features=FEATURES)
    train_step, state = recipe.step(), recipe.first_state()
    batch = random_batch(flags.batch, SIDE)

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
    batch = {
        name: torch.from_numpy(array) for name, array in random_batch(flags.batch, SIDE).items()
    }
    targets = batch["heatmaps"].permute(0, 3, 1, 2)[:, None]

    def run():
        # [B, 3, H, W] whose channels lie innermost, as the array's do.
        images = batch["image"].permute(0, 3, 1, 2) / 255
        errors = batch["weights"][:, None, :, None, None] * (network(images) - targets) ** 2
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
