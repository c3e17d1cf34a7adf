"""Names and shapes of the tensors of published networks in PyTorch, as their sources make them."""

import numpy as np

CONVS = (("conv1", 1), ("conv2", 3), ("conv3", 1))


def conv(name, width, out, size=1):
    yield f"{name}.weight", (out, width, size, size)
    yield f"{name}.bias", (out,)


def norm(name, width):
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{leaf}", (width,)
    yield f"{name}.num_batches_tracked", ()


def residual(name, width, out, conv_suffix, skip, always_skip):
    widths = (width, out // 2, out // 2, out)
    for i, (layer, size) in enumerate(CONVS):
        yield from norm(f"{name}.bn{i + 1}", widths[i])
        yield from conv(f"{name}.{layer}{conv_suffix}", widths[i], widths[i + 1], size)
    if always_skip or width != out:
        yield from conv(f"{name}.{skip}", width, out)


def princeton(stacks, joints, features, order, stem=64):
    """Names and shapes of `PoseNet`."""

    def res(name, width=features, out=features):
        return residual(name, width, out, ".conv", "skip_layer.conv", always_skip=True)

    yield from conv("pre.0.conv", 3, stem, 7)
    yield from norm("pre.0.bn", stem)
    yield from res("pre.1", stem, 2 * stem)
    yield from res("pre.3", 2 * stem, 2 * stem)
    yield from res("pre.4", 2 * stem, features)
    for s in range(stacks):
        level = f"hgs.{s}.0"
        for _ in range(order):
            for place in ("up1", "low1", "low3"):
                yield from res(f"{level}.{place}")
            level += ".low2"
        yield from res(level)
        yield from res(f"features.{s}.0")
        yield from conv(f"features.{s}.1.conv", features, features)
        yield from norm(f"features.{s}.1.bn", features)
        yield from conv(f"outs.{s}.conv", features, joints)
        if s < stacks - 1:
            yield from conv(f"merge_features.{s}.conv.conv", features, features)
            yield from conv(f"merge_preds.{s}.conv.conv", joints, features)


def bearpaw(stacks, joints, features, order, stem=64, blocks=1):
    """Names and shapes of `hg`."""

    def res(name, width=features, out=features):
        return residual(name, width, out, "", "downsample.0", always_skip=False)

    yield from conv("conv1", 3, stem, 7)
    yield from norm("bn1", stem)
    yield from res("layer1.0", stem, 2 * stem)
    yield from res("layer2.0", 2 * stem, 4 * stem)
    yield from res("layer3.0", 4 * stem)
    for s in range(stacks):
        for d in range(order):
            for place in range(4 if d == 0 else 3):
                for b in range(blocks):
                    yield from res(f"hg.{s}.hg.{d}.{place}.{b}")
        for b in range(blocks):
            yield from res(f"res.{s}.{b}")
        yield from conv(f"fc.{s}.0", features, features)
        yield from norm(f"fc.{s}.1", features)
        yield from conv(f"score.{s}", features, joints)
        if s < stacks - 1:
            yield from conv(f"fc_.{s}", features, features)
            yield from conv(f"score_.{s}", joints, features)


def fill(tensors, seed=0):
    """Returns a state dict of random tensors."""
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in tensors}
