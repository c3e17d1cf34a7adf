"""The network of CornerNet and CenterNet: hourglasses that become wider as they become smaller.

Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", ECCV 2018, section 3.4, with two
stacks of 104 layers; Zhou, Wang and Krähenbühl, "Objects as Points", 2019, use it, too. It shares
with Newell's network the recursion and the loop over stacks. But its residual modules are
post-activation, of two 3x3 convolutions, one of which halves the image where Newell's network
pools; and predictions are not passed on to the next stack.

CornerNet-Squeeze (Law, Teng, Russakovsky and Deng, "CornerNet-Lite", 2019, section 4) replaces
those modules by fire modules, and upsamples by transposed convolutions.

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
from hourglass_jax.nn.corner_pooling import DIRECTIONS, CornerModule
from hourglass_jax.nn.hourglass104_blocks import Blocks, residual
from hourglass_jax.nn.network import Normalisation, check_features
from hourglass_jax.rules import SWITCH, Each, OneOf, Whole, field

_LARGE = {
    "num_stacks": 2,
    "widths": (256, 256, 384, 384, 384, 512),
    "blocks": (2, 2, 2, 2, 2, 4),
}
# The published networks, and a small one for CPUs. Usage:
# `Hourglass104(**PRESETS["centernet_104"], heads={"hm": 80, "wh": 2, "reg": 2})`.
PRESETS: dict[str, dict[str, Any]] = {
    "cornernet_104": _LARGE,
    "centernet_104": _LARGE,
    "centernet_52": {**_LARGE, "num_stacks": 1},
    "cornernet_squeeze": {
        "num_stacks": 2,
        "widths": (256, 256, 384, 384, 512),
        "blocks": (2, 2, 2, 2, 4),
        "stride": 8,
        "squeeze": True,
    },
    "detection_small": {
        "num_stacks": 1,
        "widths": (32, 48, 64, 96),
        "blocks": (1, 1, 1, 1),
        "stem_features": 16,
        "corner_features": 32,
    },
}


@dataclasses.dataclass(frozen=True)
class Hourglass104Options:
    """Fields of the config's `model` that only this network has; see `Hourglass104`."""

    num_stacks: int = field(Whole(1, 64), default=2)
    widths: tuple[int, ...] = field(Each(Whole(2, 8192)), default=_LARGE["widths"])
    blocks: tuple[int, ...] = field(Each(Whole(1, 16)), default=_LARGE["blocks"])
    stem_features: int = field(Whole(1, 8192), default=128)
    corner_features: int = field(Whole(1, 8192), default=128)
    stride: int = field(OneOf((4, 8)), default=4)
    squeeze: bool = field(SWITCH, default=False)


class Hourglass(nn.Module):
    """One hourglass, defined recursively; it halves its input once less often than it has widths.

    Attributes:
      widths: channels at each resolution, from the input's to the lowest.
      blocks: number of modules in a row at each resolution.
      squeeze: fire modules and transposed convolutions instead of residual modules and repetition.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    squeeze: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch height width channels"]:
        (outer, inner, *_), (count, inner_count, *_) = self.widths, self.blocks
        shared = {"squeeze": self.squeeze, "dtype": self.dtype, "axis_name": self.axis_name}
        blocks = functools.partial(Blocks, **shared)
        up = blocks((outer,) * count, name="up")(x, train)
        low = blocks((inner,) * count, stride=2, name="low1")(x, train)
        if len(self.widths) > 2:
            low = Hourglass(self.widths[1:], self.blocks[1:], name="low2", **shared)(low, train)
        else:
            low = blocks((inner,) * inner_count, name="low2")(low, train)
        low = blocks((inner,) * (count - 1) + (outer,), name="low3")(low, train)
        if self.squeeze:
            low = layers.ConvTransposed(outer, size=4, dtype=self.dtype, name="upsample")(low)
        else:
            low = kernels.upsample(low)
        return up + low


class Stem(nn.Module):
    """Converts images to features, at the outputs' resolution."""

    features: int
    stem_features: int
    stride: int
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        shared = {"dtype": self.dtype, "axis_name": self.axis_name}
        conv_norm = layers.ConvNorm(self.stem_features, size=7, stride=2, name="conv", **shared)
        x = conv_norm(x, train)
        for i in range(1, self.stride.bit_length() - 1):
            x = residual(self, self.features, stride=2, name=f"residual{i}", **shared)(x, train)
        return x


class Stack(nn.Module):
    """One stack: an hourglass, its outputs, and the input of the next stack."""

    heads: Mapping[str, int]
    corners: Mapping[str, str]
    starts: tuple[float | None, ...]
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    corner_features: int = 128
    squeeze: bool = False
    last: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        shared, width = {"dtype": self.dtype, "axis_name": self.axis_name}, self.widths[0]
        conv_norm = functools.partial(layers.ConvNorm, width, **shared)
        y = Hourglass(self.widths, self.blocks, self.squeeze, name="hourglass", **shared)(x, train)
        features = conv_norm(size=3, name="features")(y, train)
        read = {"": features}
        for corner in sorted(set(self.corners.values())):
            pooled = CornerModule(corner, width, self.corner_features, name=corner, **shared)
            read[corner] = pooled(features, train)
        hidden = []
        for name in self.heads:
            size = 1 if self.squeeze else 3
            conv = layers.Conv(width, size, dtype=self.dtype, name=f"head_{name}")
            hidden.append(nn.relu(conv(read[self.corners.get(name, "")])))
        sizes = tuple(self.heads.values())
        outputs = layers.JointConvs(
            sum(sizes), sizes=sizes, starts=self.starts, dtype=self.dtype, name="outputs"
        )(hidden)
        if not self.last:
            y = conv_norm(relu=False, name="merge_features")(features, train)
            x = nn.relu(y + conv_norm(relu=False, name="merge_input")(x, train))
            x = residual(self, width, name="merge", **shared)(x, train)
        return x, outputs


class Hourglass104(nn.Module):
    """Stacked hourglasses with any heads, after each stack.

    `model.init(key, images, train=False)` returns `variables` = {"params", "batch_stats"}.
    `model.apply(variables, images, train=False)` returns the outputs of every stack, of which the
    last are the final prediction. With `train=True` add `mutable=["batch_stats"]`.

    Attributes:
      heads: name -> number of channels; they are concatenated in this order.
      corners: name of a head -> "top_left" or "bottom_right", if it reads the features that are
        pooled for this corner.
      starts: initial value of each channel, by a kernel of zeros and the value as bias; None leaves
        it to the initialiser, as does an empty tuple for all.
      num_stacks: number of hourglasses.
      widths: channels at each resolution of an hourglass, from the outputs' to the lowest.
      blocks: number of modules in a row at each resolution.
      stem_features: channels of the first convolution.
      corner_features: channels that are pooled in each direction.
      stride: input px per output px, 4 or 8.
      squeeze: fire modules, transposed convolutions and heads of 1x1 convolutions, as in
        CornerNet-Squeeze.
      normalisation: normalisation of the images, which the module stores and its caller applies.
      dtype: dtype of the computation; None uses that of the parameters and images. Parameters and
        BatchNorm statistics are float32 at least.
      remat: recompute each stack in the backward pass instead of keeping its activations.
      axis_name: mesh axis over which BatchNorm shares its statistics in training; None computes
        them on each device separately.
    """

    heads: Mapping[str, int]
    corners: Mapping[str, str] = dataclasses.field(default_factory=dict)
    starts: tuple[float | None, ...] = ()
    num_stacks: int = 2
    widths: tuple[int, ...] = _LARGE["widths"]
    blocks: tuple[int, ...] = _LARGE["blocks"]
    stem_features: int = 128
    corner_features: int = 128
    stride: int = 4
    squeeze: bool = False
    normalisation: Normalisation = Normalisation()
    dtype: Any = None
    remat: bool = False
    axis_name: str | None = None

    Options: ClassVar[type] = Hourglass104Options
    channel_axes: ClassVar[Mapping[tuple[str, str], int]] = {
        ("outputs", "kernel"): 3,
        ("outputs", "bias"): 0,
    }

    @classmethod
    def from_options(
        cls, options: Hourglass104Options, heads: Mapping[str, Any], **fields
    ) -> "Hourglass104":
        """Makes a network with the channels of the heads; see `Network`."""
        if len(options.widths) != len(options.blocks) or len(options.widths) < 2:
            raise UserError(
                f"config.model.widths={options.widths} and config.model.blocks={options.blocks} "
                f"must have a number for each resolution of an hourglass, and at least two"
            )
        if options.squeeze and any(width % 2 for width in options.widths):
            raise UserError(
                f"config.model.widths={options.widths} must be even with config.model.squeeze=True"
            )
        check_features(heads, "hourglass104", DIRECTIONS)
        return cls(
            heads={name: len(head.channels) for name, head in heads.items()},
            corners={name: head.features for name, head in heads.items() if head.features},
            starts=tuple(head.start for head in heads.values() for _ in head.channels),
            **dataclasses.asdict(options),
            **fields,
        )

    @property
    def features(self) -> int:
        """Number of channels at the outputs' resolution."""
        return self.widths[0]

    @nn.nowrap
    def valid_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the largest valid input size up to the given one; see `Network`.

        Each side rounded up to a multiple of the stride must be a multiple of the coarsest pixel:
        509 to 512 px become 128 px, of which an hourglass makes 4.
        """
        coarsest = self.stride * 2 ** (len(self.widths) - 1)

        def valid(side: int) -> int:
            below = side // coarsest * coarsest
            return side if side > below + coarsest - self.stride else max(below, coarsest)

        return valid(height), valid(width)

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width 3"], train: bool = False
    ) -> Float[Array, "batch stacks height/stride width/stride channels"]:
        height, width = images.shape[1:3]
        if (height, width) != self.valid_size(height, width):
            coarsest, _ = self.valid_size(0, 0)
            raise UserError(
                f"images of {height}x{width} px do not fit this network; their sides must be "
                f"multiples of {coarsest} px, or up to {self.stride - 1} px less, such as "
                f"{2 * coarsest - 1} or {2 * coarsest}"
            )
        starts = self.starts or (None,) * sum(self.heads.values())
        stack = nn.remat(Stack, static_argnums=(2,)) if self.remat else Stack
        if self.dtype is not None:
            images = images.astype(self.dtype)
        shared = {"dtype": self.dtype, "axis_name": self.axis_name}
        stem = Stem(self.features, self.stem_features, self.stride, name="stem", **shared)
        x = stem(images, train)
        outputs = []
        for i in range(self.num_stacks):
            x, y = stack(
                self.heads,
                self.corners,
                starts,
                self.widths,
                self.blocks,
                self.corner_features,
                self.squeeze,
                last=i == self.num_stacks - 1,
                name=f"stack{i}",
                **shared,
            )(x, train)
            outputs.append(y)
        outputs = jnp.stack(outputs, axis=1)
        return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
