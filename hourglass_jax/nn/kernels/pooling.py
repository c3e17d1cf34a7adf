"""Max pooling of 2x2 pixels, by windows and, for CPUs and GPUs, by slices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def by_window(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height/2 width/2 channels"]:
    """Pools with XLA's reduction over windows."""
    return nn.max_pool(x, (2, 2), strides=(2, 2))


@jax.custom_jvp
def by_slices(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height/2 width/2 channels"]:
    """Pools with the maximum of slices, and the derivative of `by_window`."""
    return jnp.maximum(*_rows(x))


@by_slices.defjvp
def _derivative(primals, tangents):
    # Of equal pixels the first one counts, as in a window. Derivatives of slices would pad arrays.
    (x,), (d_x,) = primals, tangents
    (left, right), (top, bottom) = _columns(x), _rows(x)
    d_x = _pixels(d_x)
    column = (left >= right)[..., None, :] == (_position(d_x.shape, 4) == 0)
    row = (top >= bottom)[:, :, None, :, None] == (_position(d_x.shape, 2) == 0)
    return by_slices(x), jnp.where(row & column, d_x, 0).sum((2, 4))


def _pixels(x):
    """Returns [batch, newheight, 2, newwidth, 2, channels]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def _columns(x):
    """Returns the left and the right pixels, each [batch, newheight, 2, newwidth, channels]."""
    return _pixels(x)[..., 0, :], _pixels(x)[..., 1, :]


def _rows(x):
    """Returns the maxima of upper and lower rows, each [batch, newheight, newwidth, channels]."""
    larger = jnp.maximum(*_columns(x))
    return larger[:, :, 0], larger[:, :, 1]


def _position(shape, axis):
    return jax.lax.broadcasted_iota(jnp.int32, shape, axis)
