"""Windows of images that are much longer than wide, such as panoramas.

Scaled to the network's input as a whole, such an image would show little. Square windows that
overlap by half are looked at as well: whatever is narrower than half a window is whole in one.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.detection import boxes

# Images have windows if their longer side is more than this many shorter sides.
LONG = 2.0
# Side of a window in shorter sides.
SIDE = 1.5
# Largest number of windows of an image, nearly.
MOST = 24
# A box that ends so near the border of its window, in shares of its side, is cut off.
_AT_BORDER = 0.02


@dataclasses.dataclass(frozen=True)
class Window:
    """A square part of an image.

    Attributes:
      middle: x and y, px of the image.
      side: px of the image.
      axis: the direction in which other windows follow, 0 for x and 1 for y.
      first: whether the image begins in it.
      last: whether the image ends in it.
    """

    middle: Float[np.ndarray, "2"]
    side: float
    axis: int = 0
    first: bool = True
    last: bool = True

    def cut(
        self, candidates: dict[str, Any], to_image: Affine, stride: float
    ) -> Bool[np.ndarray, " n"]:
        """Returns which boxes are cut off by a border of the window inside the image.

        Args:
          candidates: candidates of one view of the window, with `boxes` in cells.
          to_image: map from the view to the image.
          stride: px of the view per cell.
        """
        corners = boxes.moved(candidates["boxes"].astype(np.float64) * stride, to_image)
        low, high = self.middle[self.axis] + 0.5 + np.array([-0.5, 0.5]) * self.side
        near = _AT_BORDER * self.side
        begins = corners[:, self.axis] < low + near
        ends = corners[:, self.axis + 2] > high - near
        return (begins & (not self.first)) | (ends & (not self.last))


def of_image(width: int, height: int) -> list[Window]:
    """Returns the windows of an image: the whole, and those along it if it is very long."""
    middle, long = np.array([width - 1, height - 1]) / 2, max(width, height)
    whole, short = Window(middle, float(long)), min(width, height)
    if long <= LONG * short:
        return [whole]
    side = max(SIDE * short, 2 * long / MOST)
    count = math.ceil(2 * (long - side) / side) + 1
    axis = int(height > width)
    windows = [whole]
    for i, place in enumerate(np.linspace(side / 2, long - side / 2, count) - 0.5):
        center = middle.copy()
        center[axis] = place
        windows.append(Window(center, side, axis, i == 0, i == count - 1))
    return windows
