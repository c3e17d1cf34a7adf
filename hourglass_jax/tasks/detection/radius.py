"""The radius within which a displaced corner still gives a good box.

Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", ECCV 2018, section 3.2.
"""

import numpy as np
from jaxtyping import Float

PUBLISHED = "published"
_PUBLISHED_IOU = 0.7


def gaussian_radius(
    height: Float[np.ndarray, "*boxes"], width: Float[np.ndarray, "*boxes"], min_iou: float | str
) -> Float[np.ndarray, "*boxes"]:
    """Returns the largest radius by which both corners may move with an IoU of at least `min_iou`.

    It is the smallest of the radii of three cases. With a box of h x w and an IoU of t:

    - one corner moves inwards and one outwards: r^2 - (h + w) r + hw (1 - t) / (1 + t) = 0;
    - both move inwards: 4 r^2 - 2 (h + w) r + (1 - t) hw = 0;
    - both move outwards: 4 t r^2 + 2 t (h + w) r - (1 - t) hw = 0.

    Args:
      height: heights of the boxes.
      width: widths of the boxes, in the same unit.
      min_iou: smallest IoU, between 0 and 1. "published" is the formula of CornerNet before March
        2019 and of CenterNet at 0.7: the third case times 4 * 0.7, as its root is divided by 2
        instead of by twice the leading coefficient.
    """
    height, width = np.asarray(height, np.float64), np.asarray(width, np.float64)
    total, area = height + width, height * width
    if min_iou == PUBLISHED:
        return 4 * _PUBLISHED_IOU * _both_outwards(total, area, _PUBLISHED_IOU)
    t = float(min_iou)
    one_each = (total - np.sqrt(total**2 - 4 * area * (1 - t) / (1 + t))) / 2
    both_inwards = (2 * total - np.sqrt(4 * total**2 - 16 * (1 - t) * area)) / 8
    return np.minimum(np.minimum(one_each, both_inwards), _both_outwards(total, area, t))


def _both_outwards(total, area, t: float):
    return (-2 * t * total + np.sqrt((2 * t * total) ** 2 + 16 * t * (1 - t) * area)) / (8 * t)
