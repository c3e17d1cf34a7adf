"""Heatmaps and tags of several views of an image: its mirror image, and other sizes.

Heatmaps are averaged. Tags are not: those of a mirror image or of another size have other values,
so that each view adds a tag for each joint. Tags come from views near the size of training alone.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine

# Relative sizes between which tags are used, as by Newell et al.
_TAG_SIZES = 0.5, 1.5

Maps = tuple[Float[np.ndarray, "h w joints"], Float[np.ndarray, "h w tags joints"]]


def pool(
    views: Sequence[tuple[Maps, Affine]], flip_order: Int[np.ndarray, " joints"], side: float
) -> tuple[Maps, Affine]:
    """Returns the heatmaps and tags of all views in the pixels of the view with the finest ones.

    Args:
      views: for each view, heatmaps and tags, and the map from their px to a common frame.
      flip_order: for each joint, the joint that takes its place in a mirrored view.
      side: longer side of the heatmaps in training, px.
    """
    (first, _), to_frame = min(views, key=lambda view: geometry.scale_of(view[1]))
    sizes = [max(heatmaps.shape[:2]) / side for (heatmaps, _), _ in views]
    low, high = _TAG_SIZES
    with_tags = {i for i, size in enumerate(sizes) if low < size < high}
    with_tags = with_tags or {int(np.argmin(np.abs(np.log(sizes))))}
    heatmaps, tags = [], []
    for i, ((own, own_tags), own_to_frame) in enumerate(views):
        from_first = geometry.compose(geometry.invert(own_to_frame), to_frame)
        order = flip_order if geometry.mirrors(own_to_frame) else np.arange(len(flip_order))
        heatmaps.append(resampled(own, from_first, first.shape[:2])[..., order])
        if i in with_tags:
            tags.append(resampled(own_tags, from_first, first.shape[:2])[..., order])
    return (np.mean(heatmaps, axis=0), np.concatenate(tags, axis=2)), to_frame


def resampled(
    maps: Float[np.ndarray, "h w *channels"], affine: Affine, shape: tuple[int, int]
) -> Float[np.ndarray, "newh neww *channels"]:
    """Samples maps bilinearly, 0 outside; at their border pixels have no other neighbours.

    Args:
      maps: maps to sample.
      affine: map from px of the result to px of `maps`; must not rotate.
      shape: height and width of the result.
    """
    rows = _weights(affine[1, 1], affine[1, 2], shape[0], maps.shape[0])
    columns = _weights(affine[0, 0], affine[0, 2], shape[1], maps.shape[1])
    flat = np.tensordot(rows, maps.reshape(*maps.shape[:2], -1), 1)
    sampled = np.einsum("xw,ywc->yxc", columns, flat, optimize=True)
    return sampled.reshape(*shape, *maps.shape[2:]).astype(maps.dtype)


def _weights(step: float, first: float, count: int, side: int) -> Float[np.ndarray, "count side"]:
    """Returns the weights of `side` pixels at the positions first, first + step, ..."""
    positions = step * np.arange(count) + first
    inside = (positions >= -0.5 - 1e-6) & (positions <= side - 0.5 + 1e-6)
    positions = np.clip(positions, 0, side - 1)
    return np.maximum(1 - np.abs(positions[:, None] - np.arange(side)), 0) * inside[:, None]
