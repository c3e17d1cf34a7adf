"""THE pixel convention, and the maps between an image, a person's crop and its heatmaps.

Coordinates are x, y, 0-based, and a pixel's index is its centre: an image of width W covers
-0.5 to W - 0.5. From this follow, without any further shift:

- crop to heatmap: h = (x + 0.5) / stride - 0.5, and back x = (h + 0.5) * stride - 0.5;
- a flip: x' = W - 1 - x, for images and heatmaps alike, so that averaging over flips is exact;
- coordinates of files that count from 1 (MATLAB's) are reduced by 1 when they are read.

Names carry the frame: `joints_source` (the source image), `joints_record` (the part of it that a
record keeps), `joints_crop` (the network's input) and `joints_heatmap`.

A person's box is a square: its `center` (x, y) and its `size`, the side, both in pixels.
A map is a 2x3 affine matrix M: p' = M[:, :2] @ p + M[:, 2].
"""

from typing import TypeVar

import numpy as np
from jaxtyping import Array, Bool, Float

Points = Float[np.ndarray, "*batch 2"]
AnyPoints = TypeVar("AnyPoints", np.ndarray, Array)  # [*batch, 2], in NumPy or JAX
Affine = Float[np.ndarray, "2 3"]


def box_around(
    joints: Float[np.ndarray, "joints 2"], labelled: Bool[np.ndarray, " joints"], margin: float
) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the square around the labelled joints, `margin` times as large.

    Raises:
      ValueError: no joint is labelled.
    """
    if not labelled.any():
        raise ValueError("no labelled joint to put a box around")
    low, high = joints[labelled].min(0), joints[labelled].max(0)
    # Where joints coincide, the box must still be large enough for a crop.
    return (low + high) / 2, max(float((high - low).max()) * margin, 2.0)


def crop_map(
    center: Float[np.ndarray, "2"],
    size: float,
    crop_size: int,
    *,
    scale: float = 1.0,
    rotation: float = 0.0,
    translate: tuple[float, float] = (0.0, 0.0),
    flip: bool = False,
) -> Affine:
    """Returns the map from the image that holds the box to a square crop of `crop_size` px.

    Args:
      center: the box's centre, px of the image.
      size: the box's side, px of the image.
      crop_size: the crop's side, px.
      scale: scale of the person in the crop; above 1 the crop shows less around the box.
      rotation: radians, clockwise as seen (y points down), about the box's centre.
      translate: shift of the person in the crop as a share of the crop's side, x and y.
      flip: whether to mirror the crop left to right, last.
    """
    zoom = scale * crop_size / size
    cos, sin = zoom * np.cos(rotation), zoom * np.sin(rotation)
    linear = np.array([[cos, -sin], [sin, cos]])
    middle = (crop_size - 1) / 2 + np.asarray(translate) * crop_size
    affine = np.concatenate([linear, (middle - linear @ center)[:, None]], axis=1)
    if flip:
        affine[0] *= -1
        affine[0, 2] += crop_size - 1
    return affine


def stretched(to_crop: Affine, aspect: float, crop_size: int) -> Affine:
    """Returns a map to a crop that changes the ratio of width to height, about the crop's middle.

    Args:
      to_crop: map to the square crop.
      aspect: factor of the ratio; areas stay the same.
      crop_size: the crop's side, px.
    """
    factors, middle = np.sqrt([aspect, 1 / aspect]), (crop_size - 1) / 2
    affine = to_crop * factors[:, None]
    affine[:, 2] += middle * (1 - factors)
    return affine


def invert(affine: Float[np.ndarray, "*batch 2 3"]) -> Float[np.ndarray, "*batch 2 3"]:
    """Returns the inverse maps."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], axis=-1)


def compose(
    outer: Float[np.ndarray, "*batch 2 3"], inner: Float[np.ndarray, "*batch 2 3"]
) -> Float[np.ndarray, "*batch 2 3"]:
    """Returns the maps that apply `inner` first and `outer` second."""
    linear = outer[..., :2]
    offset = linear @ inner[..., 2:] + outer[..., 2:]
    return np.concatenate([linear @ inner[..., :2], offset], axis=-1)


def apply(affine: Float[np.ndarray, "*batch 2 3"], points: Points) -> Points:
    """Returns the mapped points; a batch of maps takes points [..., points, 2]."""
    linear, offset = affine[..., :2], affine[..., 2]
    return points @ np.swapaxes(linear, -1, -2) + offset[..., None, :]


def crop_to_heatmap(points: AnyPoints, stride: float) -> AnyPoints:
    """Maps px of the crop to px of the heatmap, which is `stride` times smaller."""
    return (points + 0.5) / stride - 0.5


def heatmap_to_crop(points: AnyPoints, stride: float) -> AnyPoints:
    """Maps px of the heatmap to px of the crop."""
    return (points + 0.5) * stride - 0.5


def flip_joints(joints: Points, width: int, flip_order: np.ndarray) -> Points:
    """Mirrors joints [..., joints, 2] in an image `width` px wide; exchanges left and right."""
    mirrored = np.stack([width - 1 - joints[..., 0], joints[..., 1]], axis=-1)
    return mirrored[..., flip_order, :]


def mirrors(affine: Affine) -> bool:
    """Returns whether a map exchanges left and right: whether its determinant is negative."""
    (a, b, _), (c, d, _) = affine
    return bool(a * d < b * c)


def scale_of(affine: Affine) -> float:
    """Returns the scale factor of a map that keeps shapes."""
    (a, b, _), (c, d, _) = affine
    return round(float(np.sqrt(abs(a * d - b * c))), 9)


def scaling(scale: float, size: tuple[int, int]) -> Affine:
    """Returns the map that scales an image of `size` (height, width) about its middle."""
    middle = (np.array(size[::-1]) - 1) / 2
    return np.concatenate([scale * np.eye(2), (middle - scale * middle)[:, None]], axis=1)


def mirror(width: int) -> Affine:
    """Returns the map that mirrors an image `width` px wide left to right."""
    return np.array([[-1.0, 0, width - 1], [0, 1, 0]])


def enlargement(factor: int) -> Affine:
    """Returns the map from an image to one `factor` times as large."""
    shift = (factor - 1) / 2
    return np.array([[factor, 0, shift], [0, factor, shift]], float)
