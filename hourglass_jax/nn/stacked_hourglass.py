"""The network: residual modules, the recursive hourglass, and the stack of them.

Newell, Yang and Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016, section 3.
An hourglass pools its input down to a few pixels and comes back up, adding at every scale what a
skip branch kept. Each stack predicts one heatmap a joint, and the next stack starts from its
features and from that prediction. Stacks are a Python loop and not `nn.scan`: scanning triples the
memory of the compiled step and loses XLA's fast convolutions on CPUs.

Every submodule is named: the names are the checkpoint format.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from hourglass_jax.nn import layers

STEMS = ("paper", "bearpaw")
# The networks of the paper's comparison, and those of bearpaw/pytorch-pose and anibali; to be
# written as `StackedHourglass(**PRESETS["paper_8"], num_joints=16)`.
PRESETS = {f"{stem}_{n}": {"num_stacks": n, "stem": stem} for stem in STEMS for n in (1, 2, 4, 8)}


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """What is taken from a picture in [0, 1], per channel; the paper's network takes nothing."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(
        self, images: UInt8[Array, "batch height width 3"]
    ) -> Float[Array, "batch height width 3"]:
        return images / 255.0 - jnp.asarray(self.mean).reshape(1, 1, 1, 3)


class Residual(nn.Module):
    """The pre-activation bottleneck (He et al. 2016) that the whole network is made of (3.2)."""

    features: int
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch height width features"]:
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        norm_relu = functools.partial(layers.NormRelu, self.dtype, self.axis_name)
        skip = x if x.shape[-1] == self.features else conv(self.features, name="skip")(x)
        y = norm_relu(name="bn1")(x, train)
        y, bias = conv(self.features // 2, name="conv1")(y, add_bias=False)
        y = norm_relu(name="bn2")(y, train, bias)
        y, bias = conv(self.features // 2, size=3, name="conv2")(y, add_bias=False)
        y = norm_relu(name="bn3")(y, train, bias)
        y = conv(self.features, name="conv3")(y)
        return skip + y  # and nothing after the sum


_traced_once = nn.jit(Residual, static_argnums=(2,))


def _residual(module: nn.Module, *args, **kwargs) -> Residual:
    """A residual module of `module`: traced once for all of one shape, as most of them are.

    That halves the time that tracing takes. Initialising would compile each of them instead.
    """
    return (Residual if module.is_initializing() else _traced_once)(*args, **kwargs)


class Residuals(nn.Module):
    """`num_residuals` residual modules in a row, one location of the hourglass."""

    features: int
    num_residuals: int = 1
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        for i in range(self.num_residuals):
            name = f"residual{i}"
            x = _residual(self, self.features, self.dtype, self.axis_name, name=name)(x, train)
        return x


class Hourglass(nn.Module):
    """One hourglass of the given order, by recursion: order 4 on 64 px goes down to 4 px (3.1)."""

    order: int
    features: int
    num_residuals: int = 1
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width features"], train: bool
    ) -> Float[Array, "batch height width features"]:
        shared = (self.features, self.num_residuals, self.dtype, self.axis_name)
        up = Residuals(*shared, name="up")(x, train)
        low = layers.pool(x)
        low = Residuals(*shared, name="low1")(low, train)
        if self.order > 1:
            low = Hourglass(self.order - 1, *shared, name="low2")(low, train)
        else:
            low = Residuals(*shared, name="low2")(low, train)
        low = Residuals(*shared, name="low3")(low, train)
        return up + layers.upsample(low)


class Stem(nn.Module):
    """From the picture to features at a quarter of its size.

    The bearpaw and anibali networks widen once more in the second residual module.
    """

    features: int
    stem_features: int = 64
    stem: str = "paper"
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        shared = {"dtype": self.dtype, "axis_name": self.axis_name}
        residual = functools.partial(_residual, self, **shared)
        wide = 2 * self.stem_features
        conv = layers.Conv(self.stem_features, size=7, stride=2, dtype=self.dtype, name="conv")
        x, bias = conv(x, add_bias=False)
        x = layers.NormRelu(self.dtype, self.axis_name, name="bn")(x, train, bias)
        x = residual(wide, name="residual1")(x, train)
        x = layers.pool(x)
        x = residual(wide if self.stem == "paper" else 2 * wide, name="residual2")(x, train)
        return residual(self.features, name="residual3")(x, train)


class Stack(nn.Module):
    """One stack: an hourglass, its heatmaps, and what goes on to the next stack (3.3)."""

    num_joints: int
    order: int
    features: int
    num_residuals: int = 1
    last: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        shared = (self.features, self.num_residuals, self.dtype, self.axis_name)
        y = Hourglass(self.order, *shared, name="hourglass")(x, train)
        y = Residuals(*shared, name="out")(y, train)
        y, bias = layers.Conv(self.features, dtype=self.dtype, name="conv")(y, add_bias=False)
        y = layers.NormRelu(self.dtype, self.axis_name, name="bn")(y, train, bias)
        # Zero at first, so that training starts on the plateau of predicting nothing, not above.
        heatmaps = layers.Conv(self.num_joints, zero=True, dtype=self.dtype, name="heatmaps")(y)
        if not self.last:
            x = x + layers.Conv(self.features, dtype=self.dtype, name="merge_features")(y)
            x = x + layers.Conv(self.features, dtype=self.dtype, name="merge_heatmaps")(heatmaps)
        return x, heatmaps


class StackedHourglass(nn.Module):
    """Stacked hourglasses with a prediction after each: pictures to heatmaps.

    `model.init(key, images, train=False)` makes `variables` = {"params", "batch_stats"};
    `model.apply(variables, images, train=False)` returns the heatmaps of every stack, the last
    being the prediction. With `train=True` add `mutable=["batch_stats"]`.

    Attributes:
      num_stacks: hourglasses one after the other; the paper compares 1, 2, 4 and 8.
      num_joints: heatmaps a stack.
      features: channels throughout the hourglass.
      order: how often an hourglass halves its input; the picture's sides must be divisible by
        4 * 2**order.
      num_residuals: residual modules at each location.
      stem: "paper", or "bearpaw" for the networks of bearpaw/pytorch-pose and anibali.
      stem_features: channels of the first convolution; the stem's residuals have twice as many.
      dtype: of the computation; None takes that of the parameters and pictures. Parameters and
        BatchNorm statistics are float32 at least.
      remat: recompute each stack in the backward pass instead of keeping its activations.
      axis_name: of the devices that share BatchNorm's statistics in training; None: each its own.
    """

    num_stacks: int = 8
    num_joints: int = 16
    features: int = 256
    order: int = 4
    num_residuals: int = 1
    stem: str = "paper"
    stem_features: int = 64
    dtype: Any = None
    remat: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width 3"], train: bool = False
    ) -> Float[Array, "batch stacks height/4 width/4 joints"]:
        stack = nn.remat(Stack, static_argnums=(2,)) if self.remat else Stack
        if self.dtype is not None:
            images = images.astype(self.dtype)
        shared = {"dtype": self.dtype, "axis_name": self.axis_name}
        x = Stem(self.features, self.stem_features, self.stem, name="stem", **shared)(images, train)
        predictions = []
        for i in range(self.num_stacks):
            x, heatmaps = stack(
                self.num_joints,
                self.order,
                self.features,
                self.num_residuals,
                last=i == self.num_stacks - 1,
                name=f"stack{i}",
                **shared,
            )(x, train)
            predictions.append(heatmaps)
        heatmaps = jnp.stack(predictions, axis=1)
        return heatmaps.astype(jnp.promote_types(heatmaps.dtype, jnp.float32))


# Numbers that one picture has in an array of features: those of the paper's network, of which one
# layer's result is just in a CPU's cache when the next reads it.
_FILLS_CACHE = 64 * 64 * 256


def forward(
    model: StackedHourglass, variables: Mapping, pictures: Float[Array, "batch height width 3"]
) -> Float[Array, "batch stacks height/4 width/4 joints"]:
    """Returns `model.apply(variables, pictures, train=False)`, on CPUs up to a sixth sooner.

    There large pictures go through the network one by one. Small ones would take twice the time so.
    """
    height, width = pictures.shape[1:3]

    def together(variables, pictures):
        return model.apply(variables, pictures, train=False)

    def one_by_one(variables, pictures):
        return jax.lax.map(lambda picture: together(variables, picture[None])[0], pictures)

    features = getattr(model, "features", 0)  # anything with `apply` will do
    large = height // 4 * (width // 4) * features >= _FILLS_CACHE
    on_cpus = one_by_one if large else together
    return jax.lax.platform_dependent(variables, pictures, cpu=on_cpus, default=together)


def make_model(fields: Mapping[str, Any], num_joints: int) -> StackedHourglass:
    """Returns the network that a config's `model` describes; it takes any input size."""
    kept = {name: value for name, value in fields.items() if name != "input_size"}
    return StackedHourglass(num_joints=num_joints, **{**kept, "dtype": jnp.dtype(kept["dtype"])})
