"""Corner pooling: the maximum of everything on one side of a pixel, in each of four directions.

Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", ECCV 2018, section 3.2. A box's
corner usually lies outside the object. Its top-left corner is recognised by what lies below it and
to the right: the object's left and top edges. Hence `top` looks down, and `left` looks right.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hourglass_jax.nn.layers import ConvNorm

Maps = Float[Array, "batch height width channels"]


def top(x: Maps) -> Maps:
    """Returns, at each pixel, the maximum over it and the pixels below."""
    return _running_maximum(x, 1, True)


def bottom(x: Maps) -> Maps:
    """Returns, at each pixel, the maximum over it and the pixels above."""
    return _running_maximum(x, 1, False)


def left(x: Maps) -> Maps:
    """Returns, at each pixel, the maximum over it and the pixels to the right."""
    return _running_maximum(x, 2, True)


def right(x: Maps) -> Maps:
    """Returns, at each pixel, the maximum over it and the pixels to the left."""
    return _running_maximum(x, 2, False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _running_maximum(x, axis, reverse):
    """Returns the running maximum along an axis.

    Of equal pixels, the one that is met first has the whole gradient, as in the published operators
    (`jax.lax.cummax` alone would share it). Ties are frequent: zeros after ReLU, and bfloat16.
    """
    return jax.lax.cummax(x, axis, reverse)


def _forward(x, axis, reverse):
    y = jax.lax.cummax(x, axis, reverse)
    return y, y


def _backward(axis, reverse, y, d_y):
    # The maximum stays the same along a run, whose first pixel has the sum of the run's gradients.
    # Pixel by pixel: an associative scan takes twice as long on CPUs.
    part = functools.partial(jax.lax.slice_in_dim, y, axis=axis)
    rises = part(1, y.shape[axis]) != part(0, y.shape[axis] - 1)
    edge = jnp.ones_like(part(0, 1), bool)
    first = jnp.concatenate([rises, edge] if reverse else [edge, rises], axis)

    def add(later, pixel):
        begins, total = pixel[0], later + pixel[1]
        return jnp.where(begins, 0, total), jnp.where(begins, total, 0)

    wide = d_y.astype(jnp.promote_types(d_y.dtype, jnp.float32))
    pixels = jax.tree.map(lambda x: jnp.moveaxis(x, axis, 0), (first, wide))
    _, sums = jax.lax.scan(add, jnp.zeros_like(pixels[1][0]), pixels, reverse=not reverse)
    return (jnp.moveaxis(sums, 0, axis).astype(d_y.dtype),)


_running_maximum.defvjp(_forward, _backward)

DIRECTIONS = {"top_left": (top, left), "bottom_right": (bottom, right)}


class CornerModule(nn.Module):
    """Features of one corner: pooled in two directions, and added to a shortcut (3.2, figure 7).

    Attributes:
      corner: "top_left" or "bottom_right".
      features: output channels.
      pooled_features: channels that are pooled in each direction.
    """

    corner: str
    features: int
    pooled_features: int = 128
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch height width features"]:
        conv_norm = functools.partial(ConvNorm, dtype=self.dtype, axis_name=self.axis_name)
        vertical, horizontal = DIRECTIONS[self.corner]
        pooled = vertical(conv_norm(self.pooled_features, size=3, name="vertical")(x, train))
        pooled += horizontal(conv_norm(self.pooled_features, size=3, name="horizontal")(x, train))
        y = conv_norm(self.features, size=3, relu=False, name="pooled")(pooled, train)
        y += conv_norm(self.features, relu=False, name="skip")(x, train)
        return conv_norm(self.features, size=3, name="out")(nn.relu(y), train)
