"""The network: residual modules, the recursive hourglass, and the stack of them.

Newell, Yang and Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016, section 3.
An hourglass pools its input down to a few pixels and comes back up, adding at every scale what a
skip branch kept. Each stack predicts one heatmap a joint, and the next stack starts from its
features and from that prediction. Stacks are a Python loop and not `nn.scan`: scanning triples the
memory of the compiled step and loses XLA's fast convolutions on CPUs.

Every submodule is named: the names are the checkpoint format.
"""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

STEMS = ("paper", "bearpaw")
# Of BatchNorm's running statistics, a step. Flax calls it "momentum": 0.1 in Torch's terms.
DECAY = 0.9


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """What is taken from a picture in [0, 1], per channel; the paper's network takes nothing."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(
        self, images: UInt8[Array, "batch height width 3"]
    ) -> Float[Array, "batch height width 3"]:
        return images / 255.0 - jnp.asarray(self.mean).reshape(1, 1, 1, 3)


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
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch newheight newwidth features"]:
        channels = x.shape[-1]
        bound = 0.0 if self.zero else 1 / math.sqrt(self.size**2 * channels)

        uniform = functools.partial(_uniform, bound=bound)
        stored = jnp.promote_types(self.dtype or jnp.float32, jnp.float32)
        kernel_shape = (self.size, self.size, channels, self.features)
        kernel = self.param("kernel", uniform, kernel_shape, stored)
        bias = self.param("bias", uniform, (self.features,), stored)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = _pointwise(x, kernel) if self.size == 1 else _convolve(x, kernel, self.stride)
        return y + bias.reshape(1, 1, 1, -1)


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


def _pointwise(x, kernel):
    # A matrix product runs twice as fast as XLA's 1x1 convolution on CPUs; on TPUs a convolution
    # fuses with its neighbours and moves a fifth fewer bytes.
    def product(x, kernel):
        flat = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
        return flat.reshape(*x.shape[:-1], -1)

    return jax.lax.platform_dependent(x, kernel, cpu=product, default=_convolve)


def _batch_norm(dtype, axis_name, train, name):
    # Statistics stay in float32.
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=DECAY,
        epsilon=1e-5,
        dtype=dtype,
        param_dtype=jnp.promote_types(dtype or jnp.float32, jnp.float32),
        axis_name=axis_name if train else None,
        name=name,
    )


class Residual(nn.Module):
    """The pre-activation bottleneck (He et al. 2016) that the whole network is made of (3.2)."""

    features: int
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], train: bool
    ) -> Float[Array, "batch height width features"]:
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(_batch_norm, self.dtype, self.axis_name, train)
        skip = x if x.shape[-1] == self.features else conv(self.features, name="skip")(x)
        y = conv(self.features // 2, name="conv1")(nn.relu(norm("bn1")(x)))
        y = conv(self.features // 2, size=3, name="conv2")(nn.relu(norm("bn2")(y)))
        y = conv(self.features, name="conv3")(nn.relu(norm("bn3")(y)))
        return skip + y  # and nothing after the sum


class Residuals(nn.Module):
    """`num_residuals` residual modules in a row, one location of the hourglass."""

    features: int
    num_residuals: int = 1
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        for i in range(self.num_residuals):
            x = Residual(self.features, self.dtype, self.axis_name, name=f"residual{i}")(x, train)
        return x


class Hourglass(nn.Module):
    """One hourglass of the given order, by recursion: order 4 on 64 px goes down to 4 px (3.1)."""

    order: int
    features: int
    num_residuals: int = 1
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width features"], train: bool
    ) -> Float[Array, "batch height width features"]:
        shared = (self.features, self.num_residuals, self.dtype, self.axis_name)
        up = Residuals(*shared, name="up")(x, train)
        low = _pool(x)
        low = Residuals(*shared, name="low1")(low, train)
        if self.order > 1:
            low = Hourglass(self.order - 1, *shared, name="low2")(low, train)
        else:
            low = Residuals(*shared, name="low2")(low, train)
        low = Residuals(*shared, name="low3")(low, train)
        return up + _upsample(low)


def _pool(x):
    """The largest of each 2x2 pixels, by slices: their gradient costs far less than a window's."""
    batch, height, width, channels = x.shape
    rows = x.reshape(batch, height // 2, 2, width // 2, 2 * channels)
    x = jnp.maximum(rows[:, :, 0], rows[:, :, 1])
    return jnp.maximum(x[..., :channels], x[..., channels:])


def _upsample(x):
    """Doubles height and width by repeating each pixel."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


class Stem(nn.Module):
    """From the picture to features at a quarter of its size.

    The bearpaw and anibali networks widen once more in the second residual module.
    """

    features: int
    stem_features: int = 64
    stem: str = "paper"
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        residual = functools.partial(Residual, dtype=self.dtype, axis_name=self.axis_name)
        wide = 2 * self.stem_features
        x = Conv(self.stem_features, size=7, stride=2, dtype=self.dtype, name="conv")(x)
        x = nn.relu(_batch_norm(self.dtype, self.axis_name, train, "bn")(x))
        x = residual(wide, name="residual1")(x, train)
        x = _pool(x)
        x = residual(wide if self.stem == "paper" else 2 * wide, name="residual2")(x, train)
        return residual(self.features, name="residual3")(x, train)


class Stack(nn.Module):
    """One stack: an hourglass, its heatmaps, and what goes on to the next stack (3.3)."""

    num_joints: int
    order: int
    features: int
    num_residuals: int = 1
    last: bool = False
    dtype: Any = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        shared = (self.features, self.num_residuals, self.dtype, self.axis_name)
        y = Hourglass(self.order, *shared, name="hourglass")(x, train)
        y = Residuals(*shared, name="out")(y, train)
        y = Conv(self.features, dtype=self.dtype, name="conv")(y)
        y = nn.relu(_batch_norm(self.dtype, self.axis_name, train, "bn")(y))
        # Zero at first, so that training starts on the plateau of predicting nothing, not above.
        heatmaps = Conv(self.num_joints, zero=True, dtype=self.dtype, name="heatmaps")(y)
        if not self.last:
            x = x + Conv(self.features, dtype=self.dtype, name="merge_features")(y)
            x = x + Conv(self.features, dtype=self.dtype, name="merge_heatmaps")(heatmaps)
        return x, heatmaps


class StackedHourglass(nn.Module):
    """Stacked hourglasses with a prediction after each: pictures to heatmaps.

    `model.init(key, images, train=False)` makes `variables` = {"params", "batch_stats"};
    `model.apply(variables, images, train=False)` returns the heatmaps of every stack, the last
    being the prediction. With `train=True` add `mutable=["batch_stats"]`.

    Attributes:
      num_stacks: hourglasses one after the other; the paper compares 1, 2, 4 and 8.
      num_joints: heatmaps a stack.
      features: channels throughout the hourglass.
      order: how often an hourglass halves its input; the picture's sides must be divisible by
        4 * 2**order.
      num_residuals: residual modules at each location.
      stem: "paper", or "bearpaw" for the networks of bearpaw/pytorch-pose and anibali.
      stem_features: channels of the first convolution; the stem's residuals have twice as many.
      dtype: of the computation; None takes that of the parameters and pictures. Parameters and
        BatchNorm statistics are float32 at least.
      remat: recompute each stack in the backward pass instead of keeping its activations.
      axis_name: of the devices that share BatchNorm's statistics in training; None: each its own.
    """

    num_stacks: int = 8
    num_joints: int = 16
    features: int = 256
    order: int = 4
    num_residuals: int = 1
    stem: str = "paper"
    stem_features: int = 64
    dtype: Any = None
    remat: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width 3"], train: bool = False
    ) -> Float[Array, "batch stacks height/4 width/4 joints"]:
        stack = nn.remat(Stack, static_argnums=(2,)) if self.remat else Stack
        if self.dtype is not None:
            images = images.astype(self.dtype)
        shared = {"dtype": self.dtype, "axis_name": self.axis_name}
        x = Stem(self.features, self.stem_features, self.stem, name="stem", **shared)(images, train)
        predictions = []
        for i in range(self.num_stacks):
            x, heatmaps = stack(
                self.num_joints,
                self.order,
                self.features,
                self.num_residuals,
                last=i == self.num_stacks - 1,
                name=f"stack{i}",
                **shared,
            )(x, train)
            predictions.append(heatmaps)
        heatmaps = jnp.stack(predictions, axis=1)
        return heatmaps.astype(jnp.promote_types(heatmaps.dtype, jnp.float32))
