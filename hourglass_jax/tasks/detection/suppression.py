"""Non-maximum suppression, hard and soft, and averaging of boxes by votes.

Bodla et al., "Soft-NMS", ICCV 2017; Gidaris and Komodakis, "Object detection via a multi-region and
semantic segmentation-aware CNN model", ICCV 2015, section 5, for the votes.

Two faults of the published programs are not repeated: their callers also use the rows that soft-NMS
has discarded, which are copies of other boxes; and their votes weigh corners by the scores of other
boxes, as sorting leaves those scores behind.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

METHODS = ("gaussian", "linear", "hard")
# Defaults of `suppress`; CornerNet and CenterNet have the same.
IOU, SIGMA, MIN_SCORE = 0.5, 0.5, 0.001
_TINY = 1e-12  # instead of a division by 0


class Kept(NamedTuple):
    """The result of suppression, by decreasing score.

    Attributes:
      rows: index of each box among the given ones.
      scores: scores after decay.
      boxes: boxes, averaged if corners vote.
    """

    rows: Int[np.ndarray, " kept"]
    scores: Float[np.ndarray, " kept"]
    boxes: Float[np.ndarray, "kept 4"]


def suppress(
    boxes: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, " n"],
    categories: Int[np.ndarray, " n"],
    *,
    method: str = "gaussian",
    iou: float = IOU,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
    limit: int = 100,
    votes: Float[np.ndarray, "n 2"] | None = None,
    exponent: float = 10.0,
    border: float = 0.0,
) -> Kept:
    """Takes the boxes by decreasing score, and lowers the scores of others that overlap them.

    Boxes of different categories do not affect each other.

    Args:
      boxes: x1, y1, x2, y2.
      scores: scores of the boxes.
      categories: categories of the boxes.
      method: "gaussian" multiplies scores by exp(-IoU^2 / sigma), "linear" by 1 - IoU where the
        overlap is above `iou`, and "hard" by 0 there.
      iou: see `method`.
      sigma: see `method`.
      min_score: boxes are discarded when their score is below.
      limit: largest number of boxes to keep.
      votes: weights of the top-left and the bottom-right corner of each box. If given, corners are
        averaged over the boxes that lose a part of their score to a box, by these weights times
        (1 - factor of the score)^exponent; the box itself has the factor 0.
      exponent: see `votes`.
      border: px to add to the sides when overlaps are computed; the published programs add 1.
    """
    boxes = np.asarray(boxes, np.float64)
    scores = np.array(scores, np.float64)  # a copy, which decays
    rows, final, averaged = [], [], []
    areas = (boxes[:, 2:] - boxes[:, :2] + border).prod(1)
    while len(rows) < min(limit, len(boxes)):
        best = int(scores.argmax())
        if scores[best] < min_score:
            break
        same = np.flatnonzero((categories == categories[best]) & (scores >= min_score))
        same = same[same != best]
        low = np.maximum(boxes[best, :2], boxes[same, :2])
        high = np.minimum(boxes[best, 2:], boxes[same, 2:])
        shared = np.maximum(high - low + border, 0).prod(1)
        overlap = shared / np.maximum(areas[best] + areas[same] - shared, _TINY)
        factor = _factor(overlap, method, iou, sigma)
        rows.append(best)
        final.append(scores[best])
        if votes is None:
            averaged.append(boxes[best])
        else:
            voters = np.append(same, best)
            weights = votes[voters] * np.append((1 - factor) ** exponent, 1.0)[:, None]
            corners = boxes[voters].reshape(-1, 2, 2)
            total = np.maximum(weights.sum(0), _TINY)[:, None]
            averaged.append(((weights[..., None] * corners).sum(0) / total).ravel())
        scores[same] *= factor
        scores[best] = -np.inf  # taken
    return Kept(np.array(rows, np.int64), np.array(final), np.array(averaged).reshape(-1, 4))


def _factor(overlap: Float[np.ndarray, " n"], method: str, iou: float, sigma: float):
    if method == "gaussian":
        return np.exp(-(overlap**2) / sigma)
    if method == "linear":
        return np.where(overlap > iou, 1 - overlap, 1.0)
    if method == "hard":
        return np.where(overlap > iou, 0.0, 1.0)
    raise ValueError(f"unknown suppression {method!r}; it must be one of {', '.join(METHODS)}")
