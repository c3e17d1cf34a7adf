"""Heatmaps of everybody's joints: drawing targets and finding peaks, on the device."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

_TINY = 1e-6  # instead of values that have no logarithm, and of straight parabolas


@functools.partial(jax.jit, static_argnames=("sigma", "shape"))
def draw(
    positions: Float[Array, "batch people joints 2"],
    present: Bool[Array, "batch people joints"],
    sigma: float,
    shape: tuple[int, int],
) -> Float[Array, "batch h w joints"]:
    """Draws a Gaussian of amplitude 1 for each joint, and takes the maximum over people.

    It is cut off at 3 sigma + 1, horizontally and vertically, as by Newell et al.

    Args:
      positions: x, y in px of the heatmap; of any value where not present.
      present: joints to draw.
      sigma: standard deviation, px of the heatmap.
      shape: height and width of the heatmaps.
    """

    def along(side: int, middle: Float[Array, "batch people joints"]):
        distance = jnp.abs(jnp.arange(side).reshape(1, 1, 1, -1) - middle[..., None])
        gaussian = jnp.exp(-(distance**2) / (2 * sigma**2))
        return jnp.where(distance <= 3 * sigma + 1, gaussian, 0)

    height, width = shape
    columns = along(width, positions[..., 0]) * present[..., None]
    rows = along(height, positions[..., 1])

    def add(i, maps: Float[Array, "batch joints h w"]):
        return jnp.maximum(maps, rows[:, i, :, :, None] * columns[:, i, :, None, :])

    people = jnp.arange(1, present.shape[1] + 1)
    used = jnp.max(jnp.where(present.any((0, 2)), people, 0))  # most images have few people
    empty = jnp.zeros((len(present), present.shape[2], *shape), columns.dtype)
    return jnp.moveaxis(jax.lax.fori_loop(0, used, add, empty), 1, -1)


@functools.partial(jax.jit, static_argnames=("count", "window", "decoder"))
def peaks(
    heatmaps: Float[Array, "batch h w joints"],
    tags: Float[Array, "batch h w tags joints"],
    *,
    count: int,
    window: int = 3,
    decoder: str = "quarter",
) -> dict[str, Array]:
    """Finds the highest pixels of each heatmap that are maxima of their neighbourhood.

    Args:
      heatmaps: heatmaps of an image.
      tags: any number of tag maps for each joint.
      count: number of pixels; there may be fewer in small maps.
      window: side of the neighbourhood, px; equal neighbours are all maxima.
      decoder: method of `steps`.

    Returns:
      values: [batch, joints, count], in decreasing order; 0 where there are too few maxima.
      cells: [batch, joints, count, 2], x and y, px of the heatmap.
      steps: [batch, joints, count, 2]; see `steps`.
      tags: [batch, joints, count, tags].
    """
    batch, height, width, joints = heatmaps.shape
    highest = nn.max_pool(heatmaps, (window, window), padding="SAME")
    kept = jnp.where(heatmaps == highest, heatmaps, 0)
    kept = jnp.moveaxis(kept, -1, 1).reshape(batch, joints, -1)
    values, index = jax.lax.top_k(kept, min(count, height * width))
    y, x = jnp.divmod(index, width)
    joint = jnp.arange(joints)[:, None]
    found = functools.partial(steps, joint=joint, method=decoder)
    offsets = jax.vmap(found)(heatmaps, x, y)
    flat = jnp.moveaxis(tags, (3, 4), (2, 1)).reshape(batch, joints, -1, height * width)
    found = jnp.take_along_axis(flat, index[:, :, None], axis=-1)
    return {
        "values": values,
        "cells": jnp.stack([x, y], axis=-1),
        "steps": offsets,
        "tags": jnp.moveaxis(found, 2, 3),
    }


def steps(
    heatmaps: Float[Array | np.ndarray, "h w joints"],
    x: Int[Array | np.ndarray, "*points"],
    y: Int[Array | np.ndarray, "*points"],
    joint: Int[Array | np.ndarray, "*points"],
    method: str = "quarter",
) -> Any:
    """Returns the steps [*points, 2] from pixels to peaks between pixels.

    Args:
      heatmaps: heatmaps of one image, in NumPy or JAX.
      x: columns of the pixels.
      y: rows of the pixels.
      joint: heatmaps of the pixels.
      method: "quarter" goes a quarter pixel toward the higher neighbour, or to the left and up if
        both are equal; a neighbour beyond the border is the pixel itself, as in the program of
        Newell et al. "refined" goes to the maximum of a parabola through the logarithms of the
        pixel and its neighbours, at most half a pixel, and stays at the border.
    """

    def inside(position: Any, side: int) -> Any:
        if method == "quarter":
            return position.clip(0, side - 1)
        return side - 1 - abs(side - 1 - abs(position))  # reflected

    height, width, _ = heatmaps.shape
    columns, rows = (
        (inside(x + i, width) for i in (-1, 1)),
        (inside(y + i, height) for i in (-1, 1)),
    )
    neighbours = [
        [heatmaps[y, column, joint] for column in columns],
        [heatmaps[row, x, joint] for row in rows],
    ]
    xp = jnp if isinstance(neighbours[0][0], jax.Array) else np
    if method == "quarter":
        return xp.stack([0.5 * (after > before) - 0.25 for before, after in neighbours], axis=-1)
    middle = xp.log(xp.maximum(heatmaps[y, x, joint], _TINY))
    found = []
    for before, after in neighbours:
        low, high = (xp.log(xp.maximum(value, _TINY)) for value in (before, after))
        curvature = xp.minimum(low - 2 * middle + high, -_TINY)
        found.append(xp.clip(0.5 * (low - high) / curvature, -0.5, 0.5))
    return xp.stack(found, axis=-1)
