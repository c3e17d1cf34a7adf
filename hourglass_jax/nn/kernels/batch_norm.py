"""BatchNorm with ReLU, whose gradient keeps nothing but its input."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-5


def norm_relu_by(
    x: Float[Array, "batch height width channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    var: Float[Array, " channels"],
) -> Float[Array, "batch height width channels"]:
    """Normalises by given statistics and rectifies."""
    return _rectified(x, *_line(scale, bias, mean, var))


def _line(scale, bias, mean, var):
    """Returns slope and offset, a channel, of scale * (x - mean) / sqrt(var + epsilon) + bias."""
    slope = scale * jax.lax.rsqrt(var + EPSILON)
    return slope, bias - mean * slope


def _rectified(x, slope, offset):
    shape = (1, 1, 1, -1)
    y = x * slope.reshape(shape) + offset.reshape(shape)  # in the statistics' type
    return nn.relu(y).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def norm_relu(
    x: Float[Array, "batch height width channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    axis_name: str | None,
) -> tuple[
    Float[Array, "batch height width channels"],
    Float[Array, " channels"],
    Float[Array, " channels"],
]:
    """Normalises by the batch's statistics and rectifies.

    The gradient is written out (Ioffe and Szegedy 2015, section 3), and needs x alone: it computes
    the normalised and the rectified values again, where automatic differentiation keeps them.

    Args:
      x: any floating-point type.
      scale: in the type of the statistics.
      bias: in the type of the statistics.
      axis_name: of the devices whose batches count as one; None: each its own.

    Returns:
      y in the type of x, and the batch's mean and variance, which pass no gradient on.
    """
    return _forward(x, scale, bias, axis_name)[0]


def _forward(x, scale, bias, axis_name):
    wide = x.astype(scale.dtype)
    means = wide.mean((0, 1, 2)), (wide**2).mean((0, 1, 2))
    mean, mean_square = means if axis_name is None else jax.lax.pmean(means, axis_name)
    var = jnp.maximum(mean_square - mean**2, 0)
    slope, offset = _line(scale, bias, mean, var)
    return (_rectified(x, slope, offset), mean, var), (x, slope, offset, mean, var)


def _backward(axis_name, kept, gradients):
    x, slope, offset, mean, var = kept
    shape, inverse = (1, 1, 1, -1), jax.lax.rsqrt(var + EPSILON)
    wide = x.astype(slope.dtype)
    live = wide * slope.reshape(shape) + offset.reshape(shape) > 0
    d_y = jnp.where(live, gradients[0].astype(slope.dtype), 0)

    count = x.size // x.shape[-1]
    sums = [d_y.sum((0, 1, 2)), (d_y * wide).sum((0, 1, 2))]
    d_bias = sums[0]
    d_scale = inverse * (sums[1] - mean * sums[0])
    # x moves its own y, and through mean and variance those of its channel on all devices.
    whole = sums if axis_name is None else jax.lax.pmean(sums, axis_name)
    by_var = -slope * inverse**2 * (whole[1] - mean * whole[0]) / count
    by_mean = -slope * whole[0] / count - by_var * mean
    d_x = d_y * slope.reshape(shape) + wide * by_var.reshape(shape) + by_mean.reshape(shape)
    return d_x.astype(x.dtype), d_scale, d_bias


norm_relu.defvjp(_forward, _backward)
