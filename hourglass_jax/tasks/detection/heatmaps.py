"""Heatmaps of keypoints: drawing training targets, and finding peaks, on the device.

Positions are x, y in cells of the outputs, measured from the image's corner: the integer part is
the cell that holds the keypoint, the rest is its offset within the cell. Targets are drawn in the
training step, because maps take a thousand times the memory of the keypoints.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def split(
    positions: Float[Array, "*batch 2"], height: int, width: int
) -> tuple[Int[Array, "*batch 2"], Float[Array, "*batch 2"]]:
    """Splits positions into cells (x, y) and offsets; outside, into the nearest cell."""
    cells = jnp.stack(
        [
            jnp.clip(jnp.floor(positions[..., 0]), 0, width - 1),
            jnp.clip(jnp.floor(positions[..., 1]), 0, height - 1),
        ],
        axis=-1,
    )
    return cells.astype(jnp.int32), positions - cells


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def draw(
    cells: Int[Array, "batch objects points 2"],
    channels: Int[Array, "batch objects points"],
    mask: Bool[Array, "batch objects points"],
    radii: Int[Array, "batch objects"],
    shape: tuple[int, int, int],
    dtype=jnp.float32,
) -> Float[Array, "batch height width channels"]:
    """Draws a Gaussian at each point, and takes the maximum where several overlap.

    A Gaussian is exactly 1 at the point's cell, has a standard deviation of (2 radius + 1) / 6, and
    is cut off `radius` cells from it, horizontally and vertically (CornerNet, section 3.2).

    Args:
      cells: x, y of each point.
      channels: channel of each point, different for the points of an object.
      mask: False for points to leave out.
      radii: radius of an object's points.
      shape: height, width and channels of the maps.
      dtype: dtype of the maps.
    """
    height, width, count = shape
    batch = jnp.arange(len(cells)).reshape(-1, 1)
    columns = jnp.arange(width).reshape(1, 1, 1, -1)
    rows = jnp.arange(height).reshape(1, 1, -1, 1)

    def add(i, maps: Float[Array, "batch channels height width"]):
        radius = radii[:, i].reshape(-1, 1, 1, 1)
        dx = jnp.abs(columns - cells[:, i, :, 0, None, None])
        dy = jnp.abs(rows - cells[:, i, :, 1, None, None])
        near = (dx <= radius) & (dy <= radius) & mask[:, i, :, None, None]
        sigma = (2 * radius + 1).astype(dtype) / 6
        gaussian = jnp.exp(-(dx**2 + dy**2).astype(dtype) / (2 * sigma**2))
        return maps.at[batch, channels[:, i]].max(jnp.where(near, gaussian, 0))

    objects = jnp.arange(1, mask.shape[1] + 1)
    used = jnp.max(jnp.where(mask.any((0, 2)), objects, 0))  # most images have few objects
    maps = jax.lax.fori_loop(0, used, add, jnp.zeros((len(cells), count, height, width), dtype))
    return jnp.moveaxis(maps, 1, -1)


def count(
    cells: Int[Array, "batch points 2"],
    channels: Int[Array, "batch points"],
    mask: Bool[Array, "batch points"],
    height: int,
    width: int,
) -> Float[Array, ""]:
    """Counts the cells that `draw` sets to 1: several points of one cell and channel count once."""
    keys = (channels * height + cells[..., 1]) * width + cells[..., 0]
    keys = jnp.sort(jnp.where(mask, keys, -1), axis=1)
    new = jnp.concatenate([jnp.ones_like(keys[:, :1], bool), keys[:, 1:] != keys[:, :-1]], axis=1)
    return jnp.sum(new & (keys >= 0), dtype=jnp.float32)


def joined(x: Array) -> Array:
    """Returns [batch, objects, points, ...] as [batch, objects * points, ...]."""
    return x.reshape(len(x), -1, *x.shape[3:])


def around(
    cells: Int[Array, "batch points 2"], reach: int, height: int, width: int
) -> tuple[Int[Array, "batch points near 2"], Bool[Array, "batch points near"]]:
    """Returns the cells at most `reach` away from each cell in x and in y, itself included.

    Returns:
      Cells x, y, of which there are (2 reach + 1)^2 each, in the same order; those outside the map
      are moved to its border. And which of them lie inside.
    """
    steps = jnp.stack(jnp.meshgrid(*[jnp.arange(-reach, reach + 1)] * 2), axis=-1)
    near = cells[:, :, None] + steps.reshape(1, 1, -1, 2)
    clipped = jnp.clip(near, 0, jnp.array([width - 1, height - 1]).reshape(1, 1, 1, 2))
    return clipped, (near == clipped).all(-1)


def gather(
    maps: Float[Array, "*batch height width channels"], cells: Int[Array, "*batch points 2"]
) -> Float[Array, "*batch points channels"]:
    """Returns the channels' values at cells (x, y); sides of length 1 in `cells` broadcast."""
    *batch, height, width, channels = maps.shape
    index = cells[..., 1] * width + cells[..., 0]
    flat = maps.reshape(*batch, height * width, channels)
    return jnp.take_along_axis(flat, index[..., None], axis=-2)


def peaks(
    logits: Float[Array, "batch height width channels"], count: int
) -> tuple[Float[Array, "batch points"], Int[Array, "batch points 2"], Int[Array, "batch points"]]:
    """Returns the highest cells that are maxima of their 3 x 3 neighbours.

    Args:
      logits: heatmaps before the sigmoid.
      count: number of cells; there may be fewer in small maps.

    Returns:
      Scores in decreasing order, cells (x, y), and channels. Where there are too few maxima, the
      score is 0.
    """
    batch, height, width, channels = logits.shape
    kept = jnp.where(logits == nn.max_pool(logits, (3, 3), padding="SAME"), logits, -jnp.inf)
    count = min(count, height * width * channels)
    values, index = jax.lax.top_k(kept.reshape(batch, -1), count)
    cell, channel = jnp.divmod(index, channels)
    y, x = jnp.divmod(cell, width)
    return jax.nn.sigmoid(values), jnp.stack([x, y], axis=-1), channel
