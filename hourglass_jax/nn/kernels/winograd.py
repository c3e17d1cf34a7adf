"""3x3 convolutions with fewer products, for CPUs: Winograd's F(2x2, 3x3).

A tile of 2x2 px of the result takes 16 products per pair of channels instead of 36. Sums transform
the tile's 4x4 px, the kernel and the products to and from another basis (Lavin and Gray 2016, "Fast
Algorithms for Convolutional Neural Networks", 4.1), which leaves 16 matrix products.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# B^T, G and A^T of the paper, for tiles, kernels and products.
_TO_TILE = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_TO_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_FROM_PRODUCT = ((1, 1, 1, 0), (0, 1, -1, -1))

# For smaller images or fewer channels, the sums cost as much as the products save, or compilation
# takes longer than they save.
_PIXELS, _CHANNELS = 32 * 32, 128
# Pixels per part. Tiles hold four numbers for each pixel of the image: more pixels would not fit
# the cache, fewer would make the products small.
_TOGETHER = 64 * 64


def pays(x: Array, kernel: Array, stride: int) -> bool:
    """Returns whether `convolve` can replace a plain convolution, and is faster."""
    height, width = x.shape[1:3]
    return (
        kernel.shape[:2] == (3, 3)
        and stride == 1
        and x.dtype == jnp.float32
        and height % 2 == width % 2 == 0
        and height * width >= _PIXELS
        and min(kernel.shape[2:]) >= _CHANNELS
    )


@jax.custom_vjp
def convolve(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "3 3 channels features"]
) -> Float[Array, "batch height width features"]:
    """Convolves with stride 1 and zero padding; height and width must be even.

    Rounding errors are a few times those of a plain convolution. There is no forward-mode
    derivative.
    """
    channels = kernel.shape[2:]
    kernel = (_to_kernel(x.dtype) @ kernel.reshape(9, -1)).reshape(16, *channels)
    y = jax.lax.map(lambda part: _convolve(part, kernel), _parts(x))
    return y.reshape(*x.shape[:3], -1)


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(kept, d_y):
    x, kernel = kept
    return convolve(d_y, kernel[::-1, ::-1].swapaxes(2, 3)), _kernel_gradient(x, d_y)


convolve.defvjp(_forward, _backward)


def _parts(x):
    """Returns [parts, images, height, width, channels]."""
    batch, height, width, _ = x.shape
    most = max(1, _TOGETHER // (height * width))
    images = max(n for n in range(1, most + 1) if batch % n == 0)
    return x.reshape(-1, images, *x.shape[1:])


def _convolve(x, kernel):
    batch, height, width, _ = x.shape
    # Sixteen separate products: a batched product would need the tiles in one array.
    products = [tiles @ channels for tiles, channels in zip(_tiles_of(x), kernel, strict=True)]
    products = [y.reshape(batch, height // 2, width // 2, -1) for y in products]
    y = _transform(_FROM_PRODUCT, [products[i : i + 4] for i in range(0, 16, 4)])
    rows = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2)
    return rows.reshape(batch, height, width, -1)


def _kernel_gradient(x, d_y):
    def add(totals, part):
        x, d_y = part
        # The gradients of a tile's 2x2 px; tiles lie 2 px apart.
        d_tiles = _flat(_transform(tuple(zip(*_FROM_PRODUCT, strict=True)), _grid(d_y, 2)))
        pairs = zip(totals, _tiles_of(x), d_tiles, strict=True)
        return [total + tiles.T @ d_product for total, tiles, d_product in pairs], None

    start = [jnp.zeros((x.shape[-1], d_y.shape[-1]), x.dtype)] * 16
    totals, _ = jax.lax.scan(add, start, (_parts(x), _parts(d_y)))
    d_kernel = _to_kernel(x.dtype).T @ jnp.stack(totals).reshape(16, -1)
    return d_kernel.reshape(3, 3, x.shape[-1], -1)


def _to_kernel(dtype):
    return jnp.asarray(np.kron(_TO_KERNEL, _TO_KERNEL), dtype)  # of rows and columns at once


def _tiles_of(x):
    """Returns the transformed 4x4 tiles, as 16 arrays [tiles, channels]."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return _flat(_transform(_TO_TILE, _grid(padded, 4)))


def _grid(x, size):
    """Returns the pixels at each position within tiles, whose corners lie 2 px apart."""
    batch, height, width, channels = x.shape
    return [
        [
            jax.lax.slice(
                x,
                (0, i, j, 0),
                (batch, i + height - size + 1, j + width - size + 1, channels),
                (1, 2, 2, 1),
            )
            for j in range(size)
        ]
        for i in range(size)
    ]


def _transform(matrix, grid):
    """Returns matrix @ grid @ matrix^T, for a square grid of arrays."""
    columns = [[_combine(row, column) for row in matrix] for column in zip(*grid, strict=True)]
    return [[_combine(row, line) for row in matrix] for line in zip(*columns, strict=True)]


def _flat(grid):
    return [array.reshape(-1, array.shape[-1]) for row in grid for array in row]


def _combine(factors, arrays):
    pairs = [(factor, x) for factor, x in zip(factors, arrays, strict=True) if factor]
    first, *others = [x if n == 1 else -x if n == -1 else n * x for n, x in pairs]
    return sum(others, first)
