"""Boxes in NumPy: as x1, y1, x2, y2, measured from the image's corner.

An image of width W covers 0 to W here, while a pixel's index is its centre in `image/geometry.py`;
`moved` accounts for the half pixel.
"""

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine

Boxes = Float[np.ndarray, "*boxes 4"]


def from_sizes(boxes: Boxes) -> Boxes:
    """Converts x, y, width, height to x1, y1, x2, y2."""
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def to_sizes(boxes: Boxes) -> Boxes:
    """Converts x1, y1, x2, y2 to x, y, width, height."""
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def moved(boxes: Float[np.ndarray, "boxes 4"], affine: Affine) -> Float[np.ndarray, "boxes 4"]:
    """Maps boxes to another frame; where they are rotated, returns the boxes around them."""
    corners = boxes[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 2) - 0.5
    corners = geometry.apply(affine, corners).reshape(-1, 4, 2) + 0.5
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def clipped(boxes: Boxes, width: float, height: float) -> Boxes:
    """Cuts boxes at the image's borders."""
    return np.clip(boxes, 0, np.array([width, height, width, height]))


def intersections(first: Boxes, second: Boxes) -> Float[np.ndarray, "..."]:
    """Returns the areas that boxes share, broadcast."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    return np.maximum(high - low, 0).prod(-1)


def areas(boxes: Boxes) -> Float[np.ndarray, "*boxes"]:
    """Returns the areas of boxes."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def iou(
    first: Float[np.ndarray, "m 4"],
    second: Float[np.ndarray, "n 4"],
    crowd: Bool[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "m n"]:
    """Returns intersection over union; with crowds, over the first box's area (as COCO does)."""
    first, second = first[:, None], second[None]
    shared = intersections(first, second)
    whole = areas(first) + areas(second) - shared
    if crowd is not None:
        whole = np.where(crowd, np.broadcast_to(areas(first), whole.shape), whole)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
