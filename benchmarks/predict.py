"""How many images a second the network takes on CPUs, ours and PyTorch's.

    python benchmarks/predict.py [--torch-python=PYTHON] [--stacks=1,2,8] [--batch=1,8]

256 px, 256 features, random weights: the bare model by `forward`, and by `apply` as one batch;
`PoseEstimator` from image to joints with a single forward pass; the same network in PyTorch,
channels_last, eager and by `torch.compile` with frozen weights. Each with glibc as it is and told
to keep memory, on two threads. Prints medians, spreads, ratios to PyTorch's better eager figure,
and a JSON line.
"""

import alternate
import numpy as np
from alternate import FEATURES, SIDE, Variant


def _recipe(flags):
    from recipe import Recipe

    from hourglass_jax.runtime import sharding, startup

    startup.enable_compilation_cache()
    if flags.kept:
        startup.keep_freed_memory()
    return Recipe(sharding.make_mesh(), num_stacks=flags.stacks, features=FEATURES)


def model(flags, together=False):
    recipe = _recipe(flags)
    import jax

    from hourglass_jax import forward
    from hourglass_jax.runtime import sharding

    def heatmaps(variables, images):
        if together:
            return recipe.model.apply(variables, images)
        return forward(recipe.model, variables, images)

    options = sharding.compiler_options(recipe.mesh)
    predict = jax.jit(heatmaps, compiler_options=options)
    variables, images = jax.device_put((recipe.variables(), _images(flags)))
    return lambda: predict(variables, images).block_until_ready()


def batch(flags):
    return model(flags, together=True)


def estimator(flags):
    recipe = _recipe(flags)
    from hourglass_jax import PoseEstimator

    estimate = PoseEstimator(
        recipe.model,
        recipe.variables(),
        recipe.task,
        flip_test=False,
        batch_size=flags.batch,
        input_size=SIDE,
    ).estimate
    photo = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    people = [(photo, np.array([100.0 * i, 100, 200, 500])) for i in range(flags.batch)]
    return lambda: estimate(people)


def _images(flags):
    shape = (flags.batch, SIDE, SIDE, 3)
    return np.random.default_rng(0).random(shape, np.float32)


def eager(flags, compiled=False):
    import torch
    from torch_hourglass import StackedHourglass

    torch.set_num_threads(flags.threads)
    network = StackedHourglass(flags.stacks, features=FEATURES).eval()
    network = network.to(memory_format=torch.channels_last)
    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        network = torch.compile(network, dynamic=False)
    # [B, 3, H, W] whose channels lie innermost, as the array's do.
    images = torch.from_numpy(_images(flags)).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def run():
        return network(images)

    return run


def frozen(flags):
    return eager(flags, compiled=True)


OURS = "ours, memory kept"
VARIANTS = (
    Variant("ours", model),
    Variant(OURS, model, kept=True),
    Variant("ours, as one batch, memory kept", batch, kept=True),
    Variant("PoseEstimator", estimator),
    Variant("PoseEstimator, memory kept", estimator, kept=True),
    Variant("PyTorch eager", eager, torch=True),
    Variant("PyTorch eager, memory kept", eager, torch=True, kept=True),
    Variant("PyTorch compiled", frozen, torch=True),
    Variant("PyTorch compiled, memory kept", frozen, torch=True, kept=True),
)

if __name__ == "__main__":
    alternate.main(__doc__, __file__, VARIANTS, ours=OURS, batch="1,8")
