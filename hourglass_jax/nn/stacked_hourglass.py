"""The network: residual modules, the recursive hourglass, and the stack of them.

Newell, Yang and Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016, section 3.
An hourglass pools its input down to a few pixels and upsamples it again, adding the features of a
skip branch at every scale. Each stack predicts one heatmap per joint, and passes its features and
that prediction on to the next stack. The stacks are a Python loop rather than `nn.scan`: scanning
triples the memory of the compiled step and loses XLA's fast convolutions on CPUs.

Every submodule is named: the names are the checkpoint format.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hourglass_jax.errors import UserError
from hourglass_jax.nn import kernels, layers
from hourglass_jax.nn.network import Normalisation, check_features
from hourglass_jax.rules import OneOf, Whole, field

STEMS = ("paper", "bearpaw")
# The networks that the paper compares, and those of bearpaw/pytorch-pose and anibali. Usage:
# `StackedHourglass(**PRESETS["paper_8"], num_joints=16)`.
PRESETS = {f"{stem}_{n}": {"num_stacks": n, "stem": stem} for stem in STEMS for n in (1, 2, 4, 8)}

_MOST_RESIDUALS = 512  # the paper's network has 112; more would only be traced for minutes


@dataclasses.dataclass(frozen=True)
class HourglassOptions:
    """Fields of the config's `model` that only this network has; see `StackedHourglass`."""

    num_stacks: int = field(Whole(1, 64), default=8)
    order: int = field(Whole(1, 8), default=4)
    features: int = field(Whole(2, 8192), default=256)
    num_residuals: int = field(Whole(1, 16), default=1)
    stem: str = field(OneOf(STEMS), default="paper")
    stem_features: int = field(Whole(1, 8192), default=64)

    def __post_init__(self):
        residuals = self.num_stacks * self.num_residuals * (3 * self.order + 2)
        if residuals > _MOST_RESIDUALS:
            raise UserError(
                f"num_stacks={self.num_stacks}, order={self.order} and num_residuals="
                f"{self.num_residuals} make {residuals} residual modules; lower one of them, so "
                f"that there are at most {_MOST_RESIDUALS}"
            )


class Residual(nn.Module):
    """The pre-activation bottleneck (He et al. 2016) of which the network consists (3.2)."""

    features: int
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch height width features"]:
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        conv_before_norm = functools.partial(layers.ConvBeforeNorm, dtype=self.dtype)
        norm_relu = functools.partial(layers.NormRelu, self.dtype, self.axis_name)
        skip = x if x.shape[-1] == self.features else conv(self.features, name="skip")(x)
        y = norm_relu(name="bn1")(x, train)
        y = conv_before_norm(self.features // 2, name="conv1")(y)
        y = norm_relu(name="bn2")(y, train)
        y = conv_before_norm(self.features // 2, size=3, name="conv2")(y)
        y = norm_relu(name="bn3")(y, train)
        y = conv(self.features, name="conv3")(y)
        return skip + y  # no activation after the sum


_residual = layers.traced_once(Residual)


class Residuals(nn.Module):
    """A sequence of `num_residuals` residual modules at one location of the hourglass."""

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
    """One hourglass, defined recursively: order 4 pools 64 px down to 4 px (3.1)."""

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
        low = kernels.pool(x)
        low = Residuals(*shared, name="low1")(low, train)
        if self.order > 1:
            low = Hourglass(self.order - 1, *shared, name="low2")(low, train)
        else:
            low = Residuals(*shared, name="low2")(low, train)
        low = Residuals(*shared, name="low3")(low, train)
        return up + kernels.upsample(low)


class Stem(nn.Module):
    """Converts images to features at a quarter of the resolution.

    In the bearpaw and anibali networks the second residual module is already wider.
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
        conv_before_norm = functools.partial(layers.ConvBeforeNorm, dtype=self.dtype)
        norm_relu = functools.partial(layers.NormRelu, **shared)
        x = conv_before_norm(self.stem_features, size=7, stride=2, name="conv")(x)
        x = norm_relu(name="bn")(x, train)
        x = residual(wide, name="residual1")(x, train)
        x = kernels.pool(x)
        x = residual(wide if self.stem == "paper" else 2 * wide, name="residual2")(x, train)
        return residual(self.features, name="residual3")(x, train)


class Stack(nn.Module):
    """One stack: an hourglass, its heatmaps, and the input of the next stack (3.3)."""

    starts: tuple[float | None, ...]
    order: int
    features: int
    num_residuals: int = 1
    last: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        shared = (self.features, self.num_residuals, self.dtype, self.axis_name)
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        conv_before_norm = functools.partial(layers.ConvBeforeNorm, dtype=self.dtype)
        norm_relu = functools.partial(layers.NormRelu, self.dtype, self.axis_name)
        y = Hourglass(self.order, *shared, name="hourglass")(x, train)
        y = Residuals(*shared, name="out")(y, train)
        y = conv_before_norm(self.features, name="conv")(y)
        y = norm_relu(name="bn")(y, train)
        heatmaps = conv(len(self.starts), starts=self.starts, name="heatmaps")(y)
        if not self.last:
            x = x + conv(self.features, name="merge_features")(y)
            x = x + conv(self.features, name="merge_heatmaps")(heatmaps)
        return x, heatmaps


class StackedHourglass(nn.Module):
    """Stacked hourglasses that predict heatmaps from images, after each stack.

    `model.init(key, images, train=False)` returns `variables` = {"params", "batch_stats"}.
    `model.apply(variables, images, train=False)` returns the heatmaps of every stack, of which the
    last are the final prediction. With `train=True` add `mutable=["batch_stats"]`.

    Attributes:
      num_stacks: number of hourglasses; the paper compares 1, 2, 4 and 8.
      num_joints: heatmaps per stack.
      features: channels throughout the hourglass.
      order: how often an hourglass halves its input; the image's sides must be divisible by
        stride * 2**order.
      num_residuals: residual modules at each location.
      stem: "paper", or "bearpaw" for the networks of bearpaw/pytorch-pose and anibali.
      stem_features: channels of the first convolution; the stem's residuals have twice as many.
      starts: initial value of each heatmap; None leaves it to the initialiser. If empty, all start
        at zero, so that training begins on the plateau of predicting nothing, and not above it.
      normalisation: normalisation of the images, which the module stores and its caller applies.
      dtype: dtype of the computation; None uses that of the parameters and images. Parameters and
        BatchNorm statistics are float32 at least.
      remat: recompute each stack in the backward pass instead of keeping its activations.
      axis_name: mesh axis over which BatchNorm shares its statistics in training; None computes
        them on each device separately.
    """

    num_stacks: int = 8
    num_joints: int = 16
    features: int = 256
    order: int = 4
    num_residuals: int = 1
    stem: str = "paper"
    stem_features: int = 64
    starts: tuple[float | None, ...] = ()
    normalisation: Normalisation = Normalisation()
    dtype: Any = None
    remat: bool = False
    axis_name: str | None = None

    Options: ClassVar[type] = HourglassOptions
    stride = 4  # without a type, which would make it a field of this dataclass
    channel_axes: ClassVar[Mapping[tuple[str, str], int]] = {
        ("heatmaps", "kernel"): 3,
        ("heatmaps", "bias"): 0,
        ("merge_heatmaps", "kernel"): 2,
    }

    @classmethod
    def from_options(
        cls, options: HourglassOptions, heads: Mapping[str, Any], **fields
    ) -> "StackedHourglass":
        """Makes a network with a heatmap for each channel of the heads; see `Network`."""
        check_features(heads, "stacked_hourglass")
        starts = tuple(head.start for head in heads.values() for _ in head.channels)
        return cls(num_joints=len(starts), starts=starts, **dataclasses.asdict(options), **fields)

    @nn.nowrap
    def valid_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the largest valid input size up to the given one; see `Network`."""
        step = self.stride * 2**self.order
        return max(height // step, 1) * step, max(width // step, 1) * step

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width 3"], train: bool = False
    ) -> Float[Array, "batch stacks height/4 width/4 joints"]:
        starts = self.starts or (0.0,) * self.num_joints
        if len(starts) != self.num_joints:
            raise ValueError(f"{len(starts)} starts for {self.num_joints} joints")
        stack = nn.remat(Stack, static_argnums=(2,)) if self.remat else Stack
        if self.dtype is not None:
            images = images.astype(self.dtype)
        shared = {"dtype": self.dtype, "axis_name": self.axis_name}
        x = Stem(self.features, self.stem_features, self.stem, name="stem", **shared)(images, train)
        predictions = []
        for i in range(self.num_stacks):
            x, heatmaps = stack(
                starts,
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
