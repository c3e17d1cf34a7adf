"""The modules of which the hourglasses of CornerNet and CornerNet-Squeeze consist."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hourglass_jax.nn import layers


class Residual(nn.Module):
    """Two 3x3 convolutions, added to the input, which is projected if its shape differs."""

    features: int
    stride: int = 1
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch newheight newwidth features"]:
        conv_norm = functools.partial(
            layers.ConvNorm, self.features, dtype=self.dtype, axis_name=self.axis_name
        )
        y = conv_norm(size=3, stride=self.stride, name="conv1")(x, train)
        y = conv_norm(size=3, relu=False, name="conv2")(y, train)
        if (x.shape[-1], self.stride) != (self.features, 1):
            x = conv_norm(stride=self.stride, relu=False, name="skip")(x, train)
        return nn.relu(x + y)


class Fire(nn.Module):
    """The fire module of CornerNet-Squeeze, in place of a residual module.

    It squeezes the input into half the output's channels, and expands these by a 1x1 and a
    depthwise 3x3 convolution. The input is added only if it has the output's shape.
    """

    features: int
    stride: int = 1
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch newheight newwidth features"]:
        half, shared = self.features // 2, {"dtype": self.dtype, "axis_name": self.axis_name}
        expand = functools.partial(
            layers.Conv, half, stride=self.stride, dtype=self.dtype, use_bias=False
        )
        y = layers.ConvNorm(half, relu=False, name="squeeze", **shared)(x, train)
        expanded = expand(name="expand1")(y), expand(size=3, groups=half, name="expand3")(y)
        y = jnp.concatenate(expanded, axis=-1)
        y = layers.Norm(name="bn", **shared)(y, train)
        return nn.relu(x + y if x.shape == y.shape and self.stride == 1 else y)


residual, fire = layers.traced_once(Residual), layers.traced_once(Fire)


class Blocks(nn.Module):
    """A sequence of residual or fire modules with the given widths; the first has the stride."""

    widths: tuple[int, ...]
    stride: int = 1
    squeeze: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        make = functools.partial(fire if self.squeeze else residual, self)
        for i, width in enumerate(self.widths):
            stride = self.stride if i == 0 else 1
            shared = {"dtype": self.dtype, "axis_name": self.axis_name}
            x = make(width, stride, name=f"block{i}", **shared)(x, train)
        return x
