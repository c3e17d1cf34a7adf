"""Operations with a fast implementation for each platform.

Layers and networks call the functions below, and do not depend on the platform otherwise. The
benchmarks measure how much the variants differ.
"""

import functools

import jax
from jaxtyping import Array, Float

from hourglass_jax.nn.kernels import convolution, pooling, upsampling, winograd
from hourglass_jax.nn.kernels.platform import by_platform

# Maximum over each 2x2 pixels: halves height and width.
pool = by_platform(pooling.by_window, cpu=pooling.by_slices, gpu=pooling.by_slices)
# Repeats each pixel: doubles height and width.
upsample = by_platform(upsampling.by_broadcast, tpu=upsampling.by_convolution)
# Doubles height and width by a kernel of even size: a transposed convolution.
upsample_by = upsampling.by_kernel
_convolve_1x1 = by_platform(convolution.plain, cpu=convolution.by_product)
_convolve_3x3 = by_platform(convolution.plain, cpu=winograd.convolve)
# On CPUs the kernel's gradient transposes its operands. Without a barrier XLA computes them again
# in the loop that transposes them, which takes three times as long as two separate loops.
_computed = by_platform(lambda x: x, cpu=jax.lax.optimization_barrier)


def convolve(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "size size group features"],
    stride: int = 1,
) -> Float[Array, "batch newheight newwidth features"]:
    """Convolves with padding of half the kernel size, and groups of channels separately."""
    if kernel.shape[2:] == (1, x.shape[-1]) != (1, 1):
        plain, shifts = (
            functools.partial(f, stride=stride) for f in (convolution.plain, convolution.by_shifts)
        )
        return by_platform(plain, cpu=shifts)(x, kernel)
    if kernel.shape[0] == stride == 1 and kernel.shape[2] == x.shape[-1]:
        return _convolve_1x1(x, kernel)
    if winograd.pays(x, kernel, stride):
        return _convolve_3x3(x, kernel)
    return _computed(convolution.plain(_computed(x), kernel, stride))
