"""Averaging of heatmaps over several views of one crop: the flip test, and several scales."""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.single_pose.heatmap import flip_heatmaps


def merge(
    views: Sequence[tuple[Float[Array, "batch h w joints"], Affine]],
    flip_order: Int[np.ndarray, " joints"],
) -> Float[Array, "batch h w joints"]:
    """Returns the mean of the views' heatmaps, in the frame of the plain input.

    Args:
      views: for each view, the heatmaps and the map from the plain input to the view, which may be
        mirrored, scaled about the centre, or both.
      flip_order: for each joint, the joint that takes its place in a mirrored view.
    """
    by_scale: dict[float, list[Array]] = {}
    for heatmaps, affine in views:
        if geometry.mirrors(affine):
            heatmaps = flip_heatmaps(heatmaps, flip_order)
        by_scale.setdefault(geometry.scale_of(affine), []).append(heatmaps)
    return _mean([_to_scale_one(_mean(group), scale) for scale, group in by_scale.items()])


def _mean(arrays: list[Array]) -> Array:
    return cast(Array, sum(arrays)) / len(arrays)


def _to_scale_one(
    heatmaps: Float[Array, "batch h w joints"], scale: float
) -> Float[Array, "batch h w joints"]:
    """Scales heatmaps of a view magnified by `scale` back to the plain input, about the centre."""
    if scale == 1.0:
        return heatmaps
    sides = jnp.array(heatmaps.shape[1:3])
    return jax.image.scale_and_translate(
        heatmaps,
        heatmaps.shape,
        (1, 2),
        jnp.full(2, 1 / scale),
        sides / 2 * (1 - 1 / scale),
        "linear",
        antialias=False,
    )
