"""Training targets of an image: its boxes and joints in cells, padded to a fixed number."""

import numpy as np
from jaxtyping import Bool, Float, Int

from hourglass_jax.tasks.detection import boxes as boxes_of
from hourglass_jax.tasks.detection.radius import gaussian_radius

# Where not everything is labelled, background counts within this multiple of a labelled box.
_SURROUNDINGS = 1.5


def encode(
    boxes: Float[np.ndarray, "n 4"],
    categories: Int[np.ndarray, " n"],
    crowd: Bool[np.ndarray, " n"],
    *,
    shape: tuple[int, int],
    count: int,
    min_iou: float | str,
    exhaustive: bool = True,
    joints: Float[np.ndarray, "n joints 2"] | None = None,
    labelled: Bool[np.ndarray, "n joints"] | None = None,
) -> dict[str, np.ndarray]:
    """Makes the targets of an image.

    Boxes are clipped to the outputs; those outside are left out, and the largest are kept if there
    are too many.

    Args:
      boxes: x1, y1, x2, y2 in cells of the outputs.
      categories: categories of the boxes.
      crowd: whether a box holds many objects, of which none is a target.
      shape: height and width of the outputs.
      count: number of rows.
      min_iou: see `radius.gaussian_radius`.
      exhaustive: False where there may be objects without a box.
      joints: x, y in cells; of any value where not labelled.
      labelled: whether each joint has coordinates.

    Returns:
      boxes: [count, 4], clipped.
      categories: [count].
      radii: [count], cells by which a keypoint may be misplaced.
      mask: [count], False in padding.
      background: [height, width], where the absence of objects is certain outside their boxes.
      joints: [count, J, 2], if given.
      joint_mask: [count, J], whether a joint is labelled and inside.
    """
    height, width = shape
    inside = boxes_of.clipped(boxes, width, height)
    sides = inside[:, 2:] - inside[:, :2]
    rows = np.flatnonzero((sides > 0).all(1) & ~crowd)
    if len(rows) > count:
        rows = np.sort(rows[np.argsort(-sides[rows].prod(1), kind="stable")[:count]])
    cells = np.ceil(sides[rows])
    radii = gaussian_radius(cells[:, 1], cells[:, 0], min_iou)
    targets = {
        "boxes": padded(inside[rows].astype(np.float32), count),
        "categories": padded(categories[rows].astype(np.int32), count),
        "radii": padded(np.maximum(radii, 0).astype(np.int32), count),
        "mask": np.arange(count) < len(rows),
        "background": background(boxes, crowd, shape, exhaustive),
    }
    if joints is not None and labelled is not None:
        places = joints[rows]
        there = labelled[rows] & ((places >= 0) & (places < (width, height))).all(-1)
        places = np.where(there[..., None], places, 0).astype(np.float32)
        targets |= {"joints": padded(places, count), "joint_mask": padded(there, count)}
    return targets


def padded(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns the rows, followed by zeros so that there are `count`."""
    filled = np.zeros((count, *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled


def background(
    boxes: Float[np.ndarray, "n 4"],
    crowd: Bool[np.ndarray, " n"],
    shape: tuple[int, int],
    exhaustive: bool,
) -> Bool[np.ndarray, "height width"]:
    """Returns where nothing unlabelled can be; published programs take crowds for background.

    Args:
      boxes: x1, y1, x2, y2 in cells.
      crowd: boxes with unlabelled objects in them.
      shape: height and width in cells.
      exhaustive: False where there may be objects without a box.
    """
    background = np.full(shape, exhaustive)
    if not exhaustive:
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        wide = np.concatenate(
            [middle - _SURROUNDINGS * half, middle + _SURROUNDINGS * half], axis=1
        )
        _fill(background, wide[~crowd], True)
    _fill(background, boxes[crowd], False)
    return background


def _fill(mask: Bool[np.ndarray, "height width"], boxes, value: bool) -> None:
    """Sets the cells that boxes touch, in place."""
    height, width = mask.shape
    low = np.floor(boxes_of.clipped(boxes, width, height)[:, :2]).astype(int)
    high = np.ceil(boxes_of.clipped(boxes, width, height)[:, 2:]).astype(int)
    for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True):
        mask[y1:y2, x1:x2] = value
