"""BatchNorm, with or without ReLU, which keeps only its input for the backward pass."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hourglass_jax.nn.kernels.platform import by_platform

EPSILON = 1e-5
_PIXELS = (0, 1, 2)  # axes of images and pixels


def norm_by(
    x: Float[Array, "batch height width channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    var: Float[Array, " channels"],
    relu: bool = False,
) -> Float[Array, "batch height width channels"]:
    """Normalises with the given statistics, and applies ReLU if asked to."""
    return _apply(x, *_line(scale, bias, mean, var), relu)


def _line(scale, bias, mean, var):
    """Returns slope and offset per channel of scale * (x - mean) / sqrt(var + epsilon) + bias."""
    slope = scale * jax.lax.rsqrt(var + EPSILON)
    return slope, bias - mean * slope


def _apply(x, slope, offset, relu):
    shape = (1, 1, 1, -1)
    y = x * slope.reshape(shape) + offset.reshape(shape)  # in the statistics' dtype
    return (nn.relu(y) if relu else y).astype(x.dtype)


def sums_apart(
    x: Float[Array, "batch height width channels"], y: Float[Array, "batch height width channels"]
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Returns the sums of x and of y over images and pixels."""
    return x.sum(_PIXELS), y.sum(_PIXELS)


def sums_at_once(
    x: Float[Array, "batch height width channels"], y: Float[Array, "batch height width channels"]
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Returns the sums of x and of y by one reduction.

    A sum takes two kernels on GPUs. XLA fuses the first of x with that of y, but not the second.
    """
    zero = jnp.zeros((), x.dtype)
    return jax.lax.reduce(
        (x, y), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), dimensions=_PIXELS
    )


_sums = by_platform(sums_apart, gpu=sums_at_once)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def norm(
    x: Float[Array, "batch height width channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    axis_name: str | None,
    relu: bool,
) -> tuple[
    Float[Array, "batch height width channels"],
    Float[Array, " channels"],
    Float[Array, " channels"],
]:
    """Normalises with the batch's statistics, and applies ReLU if asked to.

    The gradient is written out (Ioffe and Szegedy 2015, section 3) and needs only x: it recomputes
    the normalised values, which automatic differentiation would keep.

    Args:
      x: input of any floating-point dtype.
      scale: scale, in the dtype of the statistics.
      bias: bias, in the dtype of the statistics.
      axis_name: mesh axis over which statistics are shared; None computes them on each device
        separately.
      relu: whether ReLU follows.

    Returns:
      y in the dtype of x, and the batch's mean and variance, which have no gradient.
    """
    return _forward(x, scale, bias, axis_name, relu)[0]


def _forward(x, scale, bias, axis_name, relu):
    wide, count = x.astype(scale.dtype), x.size // x.shape[-1]
    means = tuple(total / count for total in _sums(wide, wide**2))
    mean, mean_square = means if axis_name is None else jax.lax.pmean(means, axis_name)
    var = jnp.maximum(mean_square - mean**2, 0)
    slope, offset = _line(scale, bias, mean, var)
    return (_apply(x, slope, offset, relu), mean, var), (x, slope, offset, mean, var)


def _backward(axis_name, relu, kept, gradients):
    x, slope, offset, mean, var = kept
    shape, inverse = (1, 1, 1, -1), jax.lax.rsqrt(var + EPSILON)
    wide = x.astype(slope.dtype)
    d_y = gradients[0].astype(slope.dtype)
    if relu:
        d_y = jnp.where(wide * slope.reshape(shape) + offset.reshape(shape) > 0, d_y, 0)

    count = x.size // x.shape[-1]
    sums = _sums(d_y, d_y * wide)
    d_bias = sums[0]
    d_scale = inverse * (sums[1] - mean * sums[0])
    # x affects its y directly and, through mean and variance, its channel on all devices.
    whole = sums if axis_name is None else jax.lax.pmean(sums, axis_name)
    by_var = -slope * inverse**2 * (whole[1] - mean * whole[0]) / count
    by_mean = -slope * whole[0] / count - by_var * mean
    d_x = d_y * slope.reshape(shape) + wide * by_var.reshape(shape) + by_mean.reshape(shape)
    return d_x.astype(x.dtype), d_scale, d_bias


norm.defvjp(_forward, _backward)
