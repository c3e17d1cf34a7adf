"""The layers that the network is made of: convolution, BatchNorm with ReLU, pooling, upsampling.

Some are written twice, as what is quick differs between CPUs and TPUs; the benchmarks tell by how
much. XLA compiles the one that the platform asks for.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hourglass_jax.nn.kernels import winograd

# Of BatchNorm's running statistics, a step. Flax calls it "momentum": 0.1 in Torch's terms.
DECAY = 0.9
EPSILON = 1e-5


class Conv(nn.Module):
    """A convolution with bias, padded by half its size on every side, initialised as in Torch.

    Kernel and bias are uniform in +-1/sqrt(fan_in) (torch/nn, SpatialConvolution.lua), or zero.
    Flax's default initialiser leaves this network on the plateau of predicting nothing.
    """

    features: int
    size: int = 1
    stride: int = 1
    zero: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"], *, add_bias: bool = True):
        """Returns y [batch, newheight, newwidth, features], or y without the bias, and the bias."""
        channels = x.shape[-1]
        bound = 0.0 if self.zero else 1 / math.sqrt(self.size**2 * channels)

        uniform = functools.partial(_uniform, bound=bound)
        stored = jnp.promote_types(self.dtype or jnp.float32, jnp.float32)
        kernel_shape = (self.size, self.size, channels, self.features)
        kernel = self.param("kernel", uniform, kernel_shape, stored)
        bias = self.param("bias", uniform, (self.features,), stored)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.size == self.stride == 1:
            y = _pointwise(x, kernel)
        elif winograd.pays(x, kernel, self.stride):
            y = jax.lax.platform_dependent(x, kernel, cpu=winograd.convolve, default=_convolve)
        else:
            y = _computed(_convolve(_computed(x), kernel, self.stride))
        return y + bias.reshape(1, 1, 1, -1) if add_bias else (y, bias)


_BLOCK = 2**16


@functools.partial(jax.jit, static_argnames="dtype")
def _draw(key, bound, dtype):
    return jax.random.uniform(key, (_BLOCK,), dtype, -bound, bound)


def _uniform(key, shape, dtype, bound):
    # In blocks of one size, so that initialising compiles one kernel and not one for every shape.
    size = math.prod(shape)
    keys = [jax.random.fold_in(key, i) for i in range(-(-size // _BLOCK))]
    xp = jnp if isinstance(key, jax.core.Tracer) else np
    numbers = xp.concatenate([xp.asarray(_draw(key, bound, dtype)) for key in keys])
    return jnp.asarray(numbers[:size].reshape(shape))


def _convolve(x, kernel, stride=1):
    margin = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[(margin, margin)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _computed(x):
    # On CPUs an array to be transposed for the kernel's gradient must not be computed there once
    # more: that and the transposition in one loop take three times as long as both by themselves.
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


def _pointwise(x, kernel):
    # A matrix product runs twice as fast as XLA's 1x1 convolution on CPUs; on TPUs a convolution
    # fuses with its neighbours and moves a fifth fewer bytes.
    return jax.lax.platform_dependent(x, kernel, cpu=_multiply, default=_convolve)


def _multiply(x, kernel):
    flat = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
    return flat.reshape(*x.shape[:-1], -1)


class NormRelu(nn.Module):
    """BatchNorm, then ReLU: nothing in this network is normalised without being rectified.

    In training by the batch's own mean and variance, which move the running ones (collection
    "batch_stats"); else by these. Statistics are float32 at least, whatever `dtype` is.

    `bias` is that of the convolution before, not yet added to x. The batch's mean takes it away
    again, and with it its gradient: in training it only moves the running mean.
    """

    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channels"],
        train: bool,
        bias: Float[Array, " channels"] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        stored = jnp.promote_types(self.dtype or jnp.float32, jnp.float32)
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape, stored)
        offset = self.param("bias", nn.initializers.zeros, shape, stored)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, stored)
        var = self.variable("batch_stats", "var", jnp.ones, shape, stored)
        (x,) = nn.dtypes.promote_dtype(x, dtype=self.dtype)
        shift = jnp.zeros(shape, stored) if bias is None else bias.astype(stored)
        if not train:
            return _rectified(x, *_line(scale, offset, mean.value - shift, var.value))
        y, batch_mean, batch_var = _norm_relu(x, scale, offset, self.axis_name)
        if not self.is_initializing():
            mean.value = DECAY * mean.value + (1 - DECAY) * (batch_mean + shift)
            var.value = DECAY * var.value + (1 - DECAY) * batch_var
        return y


def _line(scale, bias, mean, var):
    """Slope and offset, a channel, of scale * (x - mean) / sqrt(var + epsilon) + bias."""
    slope = scale * jax.lax.rsqrt(var + EPSILON)
    return slope, bias - mean * slope


def _rectified(x, slope, offset):
    shape = (1, 1, 1, -1)
    y = x * slope.reshape(shape) + offset.reshape(shape)  # in the statistics' type
    return nn.relu(y).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _norm_relu(x, scale, bias, axis_name):
    """BatchNorm by the batch's statistics and ReLU: y, and the statistics, which have no gradient.

    The gradient is written out (Ioffe and Szegedy 2015, section 3), and from x alone: it makes the
    normalised and the rectified values anew, where automatic differentiation keeps them.
    """
    return _norm_relu_forward(x, scale, bias, axis_name)[0]


def _norm_relu_forward(x, scale, bias, axis_name):
    wide = x.astype(scale.dtype)
    mean, mean_square = _means(wide, wide**2, axis_name)
    var = jnp.maximum(mean_square - mean**2, 0)
    slope, offset = _line(scale, bias, mean, var)
    return (_rectified(x, slope, offset), mean, var), (x, slope, offset, mean, var)


def _norm_relu_backward(axis_name, kept, gradients):
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


_norm_relu.defvjp(_norm_relu_forward, _norm_relu_backward)


_LARGE = 2**20  # numbers in an array, from which on a mean is a sum on CPUs as well


def _means(x, y, axis_name):
    on_cpus = _means_by_sum if x.size >= _LARGE else _means_by_product
    means = jax.lax.platform_dependent(x, y, cpu=on_cpus, default=_means_by_sum)
    return means if axis_name is None else jax.lax.pmean(means, axis_name)


def _means_by_sum(*arrays):
    return tuple(x.mean((0, 1, 2)) for x in arrays)


def _means_by_product(*arrays):
    # XLA takes milliseconds for each sum when it reads a program that was kept, and with sums alone
    # as long as for compiling it; a product takes twice the time of a sum, which is little for
    # small arrays. Two rows: one is a kernel to be compiled.
    count = arrays[0].size // arrays[0].shape[-1]
    ones = jnp.full((2, count), 1 / count, arrays[0].dtype)
    return tuple((ones @ x.reshape(count, -1))[0] for x in arrays)


def pool(x):
    """The largest of each 2x2 pixels."""
    return jax.lax.platform_dependent(x, cpu=_pool_by_slices, default=_pool_by_window)


@jax.custom_jvp
def _pool_by_slices(x):
    return jnp.maximum(*_rows(x))


@_pool_by_slices.defjvp
def _pool_derivative(primals, tangents):
    # By the first of equal pixels, as a window's. Derivatives of slices are made of padded arrays.
    (x,), (d_x,) = primals, tangents
    (left, right), (top, bottom) = _columns(x), _rows(x)
    d_x = _pixels(d_x)
    column = (left >= right)[..., None, :] == (_position(d_x.shape, 4) == 0)
    row = (top >= bottom)[:, :, None, :, None] == (_position(d_x.shape, 2) == 0)
    return _pool_by_slices(x), jnp.where(row & column, d_x, 0).sum((2, 4))


def _pixels(x):
    """Returns [batch, newheight, 2, newwidth, 2, channels]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def _columns(x):
    """The left and the right pixels, each [batch, newheight, 2, newwidth, channels]."""
    return _pixels(x)[..., 0, :], _pixels(x)[..., 1, :]


def _rows(x):
    """The larger of each two: upper and lower, each [batch, newheight, newwidth, channels]."""
    larger = jnp.maximum(*_columns(x))
    return larger[:, :, 0], larger[:, :, 1]


def _position(shape, axis):
    return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


def _pool_by_window(x):
    return nn.max_pool(x, (2, 2), strides=(2, 2))


def upsample(x):
    """Doubles height and width by repeating each pixel."""
    return jax.lax.platform_dependent(
        x, tpu=_upsample_by_convolution, default=_upsample_by_broadcast
    )


def _upsample_by_broadcast(x):
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def _upsample_by_convolution(x):
    # TPUs have time to multiply, while moving pixels apart takes them long.
    once = jnp.eye(x.shape[-1], dtype=x.dtype)
    return jax.lax.conv_general_dilated(
        x,
        jnp.broadcast_to(once, (2, 2, *once.shape)),
        window_strides=(1, 1),
        padding=[(1, 1)] * 2,
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,  # pixels are copied, and not rounded to bfloat16
    )
