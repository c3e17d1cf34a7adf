"""The network of associative embedding: hourglasses of single convolutions that widen inwards.

Newell, Huang and Deng, "Associative Embedding: End-to-End Learning for Joint Detection and
Grouping", NIPS 2017, section 4. It has the stacks and the recursion of Newell's first network, but
no residual modules and, as published, no BatchNorm: a block is a 3x3 convolution and a ReLU. Each
time an hourglass halves its input it adds `growth` channels, since an image with many people has
more to remember than a crop around one.

mmpose trains it with BatchNorm before each ReLU. Every submodule is named: the names are the
checkpoint format.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hourglass_jax.nn import kernels, layers
from hourglass_jax.nn.network import Normalisation, check_features
from hourglass_jax.rules import SWITCH, Whole, field

# The published networks, of pose-ae-train and of mmpose. Usage:
# `PoseAE(**PRESETS["pose_ae"], heads={"heatmaps": 17, "tags": 17})`.
PRESETS: dict[str, dict[str, Any]] = {
    "pose_ae": {"num_stacks": 4},
    "pose_ae_norm": {"num_stacks": 4, "batch_norm": True},
}


@dataclasses.dataclass(frozen=True)
class PoseAEOptions:
    """Fields of the config's `model` that only this network has; see `PoseAE`."""

    num_stacks: int = field(Whole(1, 64), default=4)
    order: int = field(Whole(1, 8), default=4)
    features: int = field(Whole(2, 8192), default=256)
    growth: int = field(Whole(0, 8192), default=128)
    stem_features: int = field(Whole(1, 8192), default=64)
    batch_norm: bool = field(SWITCH, default=False)


class Block(nn.Module):
    """A convolution, BatchNorm if `batch_norm`, and ReLU."""

    features: int
    stride: int = 1
    size: int = 3
    batch_norm: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch newheight newwidth features"]:
        x = layers.Conv(
            self.features,
            self.size,
            self.stride,
            use_bias=not self.batch_norm,
            dtype=self.dtype,
            name="conv",
        )(x)
        if not self.batch_norm:
            return nn.relu(x)
        return layers.NormRelu(self.dtype, self.axis_name, name="bn")(x, train)


_block = layers.traced_once(Block)


class Hourglass(nn.Module):
    """One hourglass, defined recursively; the inner one has `growth` more features."""

    order: int
    features: int
    growth: int
    batch_norm: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width features"], train: bool
    ) -> Float[Array, "batch height width features"]:
        norm = {"batch_norm": self.batch_norm, "dtype": self.dtype, "axis_name": self.axis_name}
        block, inner = functools.partial(_block, self, **norm), self.features + self.growth
        up = block(self.features, name="up")(x, train)
        low = block(inner, name="low1")(kernels.pool(x), train)
        if self.order > 1:
            low = Hourglass(self.order - 1, inner, self.growth, name="low2", **norm)(low, train)
        else:
            low = block(inner, name="low2")(low, train)
        low = block(self.features, name="low3")(low, train)
        return up + kernels.upsample(low)


class Stem(nn.Module):
    """Converts images to features at a quarter of the resolution."""

    features: int
    stem_features: int
    batch_norm: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        norm = {"batch_norm": self.batch_norm, "dtype": self.dtype, "axis_name": self.axis_name}
        block, wide = functools.partial(_block, self, **norm), 2 * self.stem_features
        x = block(self.stem_features, size=7, stride=2, name="block0")(x, train)
        x = block(wide, name="block1")(x, train)
        x = kernels.pool(x)
        x = block(wide, name="block2")(x, train)
        return block(self.features, name="block3")(x, train)


class Stack(nn.Module):
    """One stack: an hourglass, its outputs, and the input of the next stack."""

    starts: tuple[float | None, ...]
    order: int
    features: int
    growth: int
    batch_norm: bool = False
    last: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        norm = {"batch_norm": self.batch_norm, "dtype": self.dtype, "axis_name": self.axis_name}
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        y = Hourglass(self.order, self.features, self.growth, name="hourglass", **norm)(x, train)
        y = _block(self, self.features, name="block0", **norm)(y, train)
        y = _block(self, self.features, name="block1", **norm)(y, train)
        outputs = conv(len(self.starts), starts=self.starts, name="outputs")(y)
        if not self.last:
            for name, value in (("merge_features", y), ("merge_outputs", outputs)):
                merged = conv(self.features, use_bias=not self.batch_norm, name=name)(value)
                if self.batch_norm:
                    bn = layers.Norm(self.dtype, self.axis_name, name=f"{name}_bn")
                    merged = bn(merged, train)
                x = x + merged
        return x, outputs


class PoseAE(nn.Module):
    """Stacked hourglasses that predict everybody's joints and their tags, after each stack.

    `model.init(key, images, train=False)` returns `variables` = {"params"}, and "batch_stats" with
    BatchNorm. `model.apply(variables, images, train=False)` returns the outputs of every stack, of
    which the last are the final prediction.

    Attributes:
      heads: name -> number of channels; they are concatenated in this order.
      starts: initial value of each channel, by a kernel of zeros and the value as bias; None leaves
        it to the initialiser, as does an empty tuple for all. Tags must not all start equal: the
        gradients of pull and push are zero there.
      num_stacks: number of hourglasses.
      order: how often an hourglass halves its input; the image's sides must be divisible by
        stride * 2**order.
      features: channels at the outputs' resolution.
      growth: channels that an hourglass adds each time it halves its input.
      stem_features: channels of the first convolution; the next two have twice as many.
      batch_norm: BatchNorm instead of biases, as in mmpose; the outputs keep their biases.
      normalisation: normalisation of the images, which the module stores and its caller applies.
      dtype: dtype of the computation; None uses that of the parameters and images. Parameters and
        BatchNorm statistics are float32 at least.
      remat: recompute each stack in the backward pass instead of keeping its activations.
      axis_name: mesh axis over which BatchNorm shares its statistics in training; None computes
        them on each device separately.
    """

    heads: Mapping[str, int]
    starts: tuple[float | None, ...] = ()
    num_stacks: int = 4
    order: int = 4
    features: int = 256
    growth: int = 128
    stem_features: int = 64
    batch_norm: bool = False
    normalisation: Normalisation = Normalisation()
    dtype: Any = None
    remat: bool = False
    axis_name: str | None = None

    Options: ClassVar[type] = PoseAEOptions
    stride = 4  # without a type, which would make it a field of this dataclass
    channel_axes: ClassVar[Mapping[tuple[str, str], int]] = {
        ("outputs", "kernel"): 3,
        ("outputs", "bias"): 0,
        ("merge_outputs", "kernel"): 2,
    }

    @classmethod
    def from_options(cls, options: PoseAEOptions, heads: Mapping[str, Any], **fields) -> "PoseAE":
        """Makes a network with the channels of the heads; see `Network`."""
        check_features(heads, "pose_ae")
        return cls(
            heads={name: len(head.channels) for name, head in heads.items()},
            starts=tuple(head.start for head in heads.values() for _ in head.channels),
            **dataclasses.asdict(options),
            **fields,
        )

    @nn.nowrap
    def valid_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the largest valid input size up to the given one; see `Network`."""
        step = self.stride * 2**self.order
        return max(height // step, 1) * step, max(width // step, 1) * step

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width 3"], train: bool = False
    ) -> Float[Array, "batch stacks height/4 width/4 channels"]:
        starts = self.starts or (None,) * sum(self.heads.values())
        stack = nn.remat(Stack, static_argnums=(2,)) if self.remat else Stack
        if self.dtype is not None:
            images = images.astype(self.dtype)
        norm = {"batch_norm": self.batch_norm, "dtype": self.dtype, "axis_name": self.axis_name}
        x = Stem(self.features, self.stem_features, name="stem", **norm)(images, train)
        outputs = []
        for i in range(self.num_stacks):
            last = i == self.num_stacks - 1
            x, y = stack(
                *(starts, self.order, self.features, self.growth),
                **norm,
                last=last,
                name=f"stack{i}",
            )(x, train)
            outputs.append(y)
        outputs = jnp.stack(outputs, axis=1)
        return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
