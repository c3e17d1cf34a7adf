"""The layers that the networks are made of: convolution, and BatchNorm with ReLU.

How each platform computes them is the business of `kernels`.
"""

import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax.core import Tracer
from jaxtyping import Array, Float

from hourglass_jax.nn import kernels
from hourglass_jax.nn.kernels import batch_norm

# Of BatchNorm's running statistics, a step. Flax calls it "momentum": 0.1 in Torch's terms.
DECAY = 0.9


class Unbiased(NamedTuple):
    """A convolution's result to which the bias has not been added yet."""

    y: Float[Array, "batch height width channels"]
    bias: Float[Array, " channels"]


class Conv(nn.Module):
    """A convolution with bias, padded by half its size on every side, initialised as in Torch.

    Kernel and bias start uniform in +-1/sqrt(fan_in) (torch/nn, SpatialConvolution.lua): Flax's
    default initialiser leaves these networks on the plateau of predicting nothing.

    Attributes:
      features: output channels.
      size: px of the kernel's side.
      stride: px of the input a px of the output.
      starts: what each output channel says at first, whatever the input: its kernel is zero and its
        bias the number. None: as above; (): all of them.
      dtype: of the computation; None: that of the parameters and the input.
    """

    features: int
    size: int = 1
    stride: int = 1
    starts: tuple[float | None, ...] = ()
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch newheight newwidth features"]:
        y, bias = self._convolve(x)
        return y + bias.reshape(1, 1, 1, -1)

    def _convolve(self, x) -> Unbiased:
        channels = x.shape[-1]
        bound = 1 / math.sqrt(self.size**2 * channels)
        zeros = tuple(None if start is None else 0.0 for start in self.starts)
        stored = jnp.promote_types(self.dtype or jnp.float32, jnp.float32)
        kernel_shape = (self.size, self.size, channels, self.features)
        kernel = self.param("kernel", _initial, kernel_shape, stored, bound, zeros)
        bias = self.param("bias", _initial, (self.features,), stored, bound, self.starts)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return Unbiased(kernels.convolve(x, kernel, self.stride), bias)


class ConvBeforeNorm(Conv):
    """A convolution that leaves its bias to the BatchNorm behind it; see `NormRelu`."""

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Float[Array, "batch height width channels"]
    ) -> Unbiased:
        return self._convolve(x)


_BLOCK = 2**16


@functools.partial(jax.jit, static_argnames="dtype")
def _draw(key, bound, dtype):
    return jax.random.uniform(key, (_BLOCK,), dtype, -bound, bound)


def _initial(key, shape, dtype, bound, starts):
    """Returns numbers in +-bound, but for channels (the last axis) whose start is given."""
    # In blocks of one size, so that initialising compiles one kernel and not one for every shape.
    size = math.prod(shape)
    keys = [jax.random.fold_in(key, i) for i in range(-(-size // _BLOCK))]
    xp = jnp if isinstance(key, Tracer) else np
    numbers = xp.concatenate([xp.asarray(_draw(key, bound, dtype)) for key in keys])
    numbers = numbers[:size].reshape(shape)
    if starts:
        given = np.broadcast_to([start is not None for start in starts], shape)
        constants = np.broadcast_to(np.array([start or 0 for start in starts], dtype), shape)
        numbers = xp.where(given, constants, numbers)
    return jnp.asarray(numbers)


class NormRelu(nn.Module):
    """BatchNorm, then ReLU: nothing in these networks is normalised without being rectified.

    In training by the batch's own mean and variance, which move the running ones (collection
    "batch_stats"); else by these. Statistics are float32 at least, whatever `dtype` is.

    The batch's mean takes away the bias of the convolution before, and with it the bias's gradient.
    `ConvBeforeNorm` therefore does not add it: in training it only moves the running mean.
    """

    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"] | Unbiased, train: bool
    ) -> Float[Array, "batch height width channels"]:
        y, shift = x if isinstance(x, Unbiased) else (x, jnp.zeros(x.shape[-1:]))
        stored = jnp.promote_types(self.dtype or jnp.float32, jnp.float32)
        shape = y.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape, stored)
        bias = self.param("bias", nn.initializers.zeros, shape, stored)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, stored)
        var = self.variable("batch_stats", "var", jnp.ones, shape, stored)
        (y,) = promote_dtype(y, dtype=self.dtype)
        shift = shift.astype(stored)
        if not train:
            return batch_norm.norm_relu_by(y, scale, bias, mean.value - shift, var.value)
        found: Any = batch_norm.norm_relu(y, scale, bias, self.axis_name)
        y, batch_mean, batch_var = found
        if not self.is_initializing():
            mean.value = DECAY * mean.value + (1 - DECAY) * (batch_mean + shift)
            var.value = DECAY * var.value + (1 - DECAY) * batch_var
        return y
