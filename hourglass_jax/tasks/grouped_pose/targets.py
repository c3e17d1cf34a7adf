"""Training targets of an image: everybody's joints in cells, padded to a fixed number of people."""

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.tasks.detection import boxes as boxes_of
from hourglass_jax.tasks.detection.targets import background, padded


def encode(
    joints: Float[np.ndarray, "n joints 2"],
    labelled: Bool[np.ndarray, "n joints"],
    boxes: Float[np.ndarray, "n 4"],
    crowd: Bool[np.ndarray, " n"],
    *,
    shape: tuple[int, int],
    count: int,
    exhaustive: bool = True,
) -> dict[str, np.ndarray]:
    """Makes the targets of an image.

    People without a joint inside the outputs are left out, and those with the largest boxes are
    kept if there are too many.

    Args:
      joints: x, y in cells of the outputs, from the corner; of any value where not labelled.
      labelled: whether each joint has coordinates.
      boxes: x1, y1, x2, y2 in cells.
      crowd: whether a box holds many people.
      shape: height and width of the outputs.
      count: number of rows.
      exhaustive: False where there may be people without a box.

    Returns:
      joints: [count, J, 2], in cells.
      joint_mask: [count, J], whether a joint is labelled and inside.
      background: [height, width], where there is certainly nobody but those people: not in crowds,
        nor in boxes of people without labelled joints.
    """
    height, width = shape
    there = labelled & ((joints >= 0) & (joints < (width, height))).all(-1) & ~crowd[:, None]
    rows = np.flatnonzero(there.any(1))
    if len(rows) > count:
        largest = np.argsort(-boxes_of.areas(boxes[rows]), kind="stable")[:count]
        rows = np.sort(rows[largest])
    joints = np.where(there[..., None], joints, 0).astype(np.float32)
    return {
        "joints": padded(joints[rows], count),
        "joint_mask": padded(there[rows], count),
        "background": background(boxes, crowd | ~labelled.any(1), shape, exhaustive),
    }
