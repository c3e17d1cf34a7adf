"""What differs by platform: a table of the functions that each platform runs fastest.

Layers and networks call the functions below and know of no platform; the benchmarks tell by how
much the variants differ.
"""

import jax
from jaxtyping import Array, Float

from hourglass_jax.nn.kernels import convolution, pooling, upsampling, winograd
from hourglass_jax.nn.kernels.platform import by_platform

# The largest of each 2x2 pixels: height and width are halved.
pool = by_platform(pooling.by_window, cpu=pooling.by_slices)
# Each pixel repeated: height and width are doubled.
upsample = by_platform(upsampling.by_broadcast, tpu=upsampling.by_convolution)
_convolve_1x1 = by_platform(convolution.plain, cpu=convolution.by_product)
_convolve_3x3 = by_platform(convolution.plain, cpu=winograd.convolve)
# On CPUs an array to be transposed for the kernel's gradient must not be computed there a second
# time: that and the transposition in one loop take three times as long as one after the other.
_computed = by_platform(lambda x: x, cpu=jax.lax.optimization_barrier)


def convolve(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "size size channels features"],
    stride: int = 1,
) -> Float[Array, "batch newheight newwidth features"]:
    """Convolves, padded by half the kernel's size on every side."""
    if kernel.shape[0] == stride == 1:
        return _convolve_1x1(x, kernel)
    if winograd.pays(x, kernel, stride):
        return _convolve_3x3(x, kernel)
    return _computed(convolution.plain(_computed(x), kernel, stride))
