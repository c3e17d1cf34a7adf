"""The layers of the networks: convolutions, and BatchNorm with or without ReLU.

`kernels` chooses how each platform computes them.
"""

import functools
import math
from collections.abc import Callable, Sequence
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

# Decay of BatchNorm's running statistics per step ("momentum" in Flax); Torch's momentum is 0.1.
DECAY = 0.9


class Unbiased(NamedTuple):
    """The result of a convolution before its bias is added."""

    y: Float[Array, "batch height width channels"]
    bias: Float[Array, " channels"]


class Conv(nn.Module):
    """A convolution with bias, padded by half the kernel size, and initialised as in Torch.

    Kernel and bias start uniform in +-1/sqrt(fan_in) (torch/nn, SpatialConvolution.lua). With
    Flax's default initialiser these networks stay on the plateau of predicting nothing.

    Attributes:
      features: number of output channels.
      size: side of the kernel, px.
      stride: input px per output px.
      starts: initial value of each output channel for any input, by a kernel of zeros and the value
        as bias. Channels whose value is None, and all channels if empty, start as described above.
      dtype: dtype of the computation; None uses that of the parameters and the input.
      groups: number of groups of channels that are convolved separately; as many as channels for a
        depthwise convolution.
      use_bias: whether there is a bias; without one, the output before BatchNorm is the same.
    """

    features: int
    size: int = 1
    stride: int = 1
    starts: tuple[float | None, ...] = ()
    dtype: Any = None
    groups: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch newheight newwidth features"]:
        y, bias = self._convolve(x)
        return y + bias.reshape(1, 1, 1, -1) if self.use_bias else y

    def _convolve(self, x) -> Unbiased:
        kernel, bias = self._parameters(x.shape[-1] // self.groups)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return Unbiased(kernels.convolve(x, kernel, self.stride), bias)

    def _parameters(self, channels: int) -> tuple[Array, Array]:
        """Returns the kernel for a number of input channels, and the bias."""
        bound = 1 / math.sqrt(self.size**2 * channels)
        zeros = tuple(None if start is None else 0.0 for start in self.starts)
        stored = jnp.promote_types(self.dtype or jnp.float32, jnp.float32)
        kernel_shape = (self.size, self.size, channels, self.features)
        kernel = self.param("kernel", _initial, kernel_shape, stored, bound, zeros)
        if not self.use_bias:
            return kernel, jnp.zeros(self.features, stored)
        return kernel, self.param("bias", _initial, (self.features,), stored, bound, self.starts)


class ConvBeforeNorm(Conv):
    """A convolution that leaves its bias to the following BatchNorm; see `NormRelu`."""

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Float[Array, "batch height width channels"]
    ) -> Unbiased:
        return self._convolve(x)


class ConvTransposed(Conv):
    """A transposed convolution that doubles height and width; its kernel's size is even."""

    def _convolve(self, x) -> Unbiased:
        kernel, bias = self._parameters(x.shape[-1])
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return Unbiased(kernels.upsample_by(x, kernel), bias)


class JointConvs(Conv):
    """1x1 convolutions of several inputs, whose outputs are concatenated.

    Their kernels and biases lie in one array each, as the outputs do.

    Attributes:
      sizes: number of output channels for each input; `features` is their sum.
    """

    sizes: tuple[int, ...] = ()

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden: Sequence[Float[Array, "batch height width hidden"]]
    ) -> Float[Array, "batch height width channels"]:
        parameters = self._parameters(hidden[0].shape[-1])
        kernel, bias, *hidden = promote_dtype(*parameters, *hidden, dtype=self.dtype)
        parts = jnp.split(kernel, np.cumsum(self.sizes)[:-1], axis=-1)
        y = [kernels.convolve(x, part) for x, part in zip(hidden, parts, strict=True)]
        return jnp.concatenate(y, axis=-1) + bias.reshape(1, 1, 1, -1)


_BLOCK = 2**16


@functools.partial(jax.jit, static_argnames="dtype")
def _draw(key, bound, dtype):
    return jax.random.uniform(key, (_BLOCK,), dtype, -bound, bound)


@functools.partial(jax.jit, static_argnames=("blocks", "dtype"))
def _draw_all(key, bound, blocks, dtype):
    # In a loop: large networks have thousands of blocks to trace. Layers of one size share it.
    def draw(i):
        return _draw(jax.random.fold_in(key, i), bound, dtype)

    return jax.lax.map(draw, jnp.arange(blocks)).ravel()


def _initial(key, shape, dtype, bound, starts):
    """Draws numbers in +-bound, except for channels (the last axis) with a given start."""
    # Blocks of one size need one compiled kernel, instead of one for every shape.
    size = math.prod(shape)
    blocks = -(-size // _BLOCK)
    if isinstance(key, Tracer):
        xp, numbers = jnp, _draw_all(key, bound, blocks, dtype)
    else:
        keys = (jax.random.fold_in(key, i) for i in range(blocks))
        xp, numbers = np, np.concatenate([np.asarray(_draw(one, bound, dtype)) for one in keys])
    numbers = numbers[:size].reshape(shape)
    if starts:
        given = np.broadcast_to([start is not None for start in starts], shape)
        constants = np.broadcast_to(np.array([start or 0 for start in starts], dtype), shape)
        numbers = xp.where(given, constants, numbers)
    return jnp.asarray(numbers)


class Norm(nn.Module):
    """BatchNorm, followed by ReLU if `relu`.

    Training normalises with the mean and variance of the batch, and updates the running statistics
    (collection "batch_stats"); inference normalises with the running statistics. They are float32
    at least, for any `dtype`.

    Subtracting the batch's mean cancels the bias of the convolution before, and its gradient.
    `ConvBeforeNorm` therefore does not add the bias; in training it only shifts the running mean.
    """

    dtype: Any = None
    axis_name: str | None = None
    relu: bool = False

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
            return batch_norm.norm_by(y, scale, bias, mean.value - shift, var.value, self.relu)
        normalised: Any = batch_norm.norm(y, scale, bias, self.axis_name, self.relu)
        y, batch_mean, batch_var = normalised
        if not self.is_initializing():
            mean.value = DECAY * mean.value + (1 - DECAY) * (batch_mean + shift)
            var.value = DECAY * var.value + (1 - DECAY) * batch_var
        return y


class NormRelu(Norm):
    """BatchNorm followed by ReLU."""

    relu: bool = True


class ConvNorm(nn.Module):
    """A convolution without bias, BatchNorm and, if `relu`, ReLU."""

    features: int
    size: int = 1
    stride: int = 1
    relu: bool = True
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch newheight newwidth features"]:
        x = Conv(
            self.features, self.size, self.stride, dtype=self.dtype, use_bias=False, name="conv"
        )(x)
        return Norm(self.dtype, self.axis_name, self.relu, name="bn")(x, train)


def traced_once(kind: type[nn.Module]) -> Callable[..., Any]:
    """Returns a function that makes modules of a kind which are traced once per shape.

    This halves the tracing time of a network. The modules are called with (x, train). The
    function's first argument is the module around them: while that is initialised, compiling each
    of them would take longer.
    """
    compiled = nn.jit(kind, static_argnums=(2,))

    def make(within: nn.Module, *args, **kwargs):
        return (kind if within.is_initializing() else compiled)(*args, **kwargs)

    return make
