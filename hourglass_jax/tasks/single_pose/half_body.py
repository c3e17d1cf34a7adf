"""Crops of half a body, as people look who are cut off at the waist or stand behind a table."""

import numpy as np
from jaxtyping import Float

# Fewest joints that have two halves.
_FEWEST = 6
# Share of the joints that stay, at least, and how much more it may be.
_KEPT, _MORE = 0.35, 0.35
# Side of the crop, in sides of the square around the joints that stay, and at least that share of
# the person's box.
_MARGIN, _SMALLEST = 1.25, 0.3


def box(
    joints: Float[np.ndarray, "joints 2"],
    center: Float[np.ndarray, "2"],
    side: float,
    number: float,
) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and side of a square around the joints at one end of the body.

    The body is cut across the direction in which its joints spread most, whichever way up it is
    and whatever its skeleton.

    Args:
      joints: x, y of the labelled joints, px.
      center: centre of the person's box, px; returned where there are too few joints.
      side: side of the person's box, px; likewise.
      number: uniform in [0, 1); says which end stays, and how much of it.
    """
    if len(joints) < _FEWEST:
        return center, side
    x, y = (joints - joints.mean(0)).T.astype(np.float64)
    angle = 0.5 * np.arctan2(2 * (x * y).sum(), (x * x - y * y).sum())
    along = x * np.cos(angle) + y * np.sin(angle)
    first, share = number < 0.5, 2 * number % 1
    order = np.argsort(along if first else -along)
    kept = joints[order[: round(len(joints) * (_KEPT + share * _MORE))]]
    low, high = kept.min(0).astype(np.float64), kept.max(0).astype(np.float64)
    return (low + high) / 2, max(float((high - low).max()) * _MARGIN, _SMALLEST * side)
