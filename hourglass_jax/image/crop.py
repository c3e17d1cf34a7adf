"""Cuts a person and the surroundings out of an image, at the resolution that is needed."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.image.geometry import Affine


def cut_out(
    image: UInt8[np.ndarray, "height width 3"],
    center: Float[np.ndarray, "2"],
    size: float,
    *,
    surroundings: float,
    resolution: int,
) -> tuple[UInt8[np.ndarray, "newheight newwidth 3"], Affine]:
    """Returns the part of an image around a box, and the map from it back to the image.

    Args:
      image: image to cut from.
      center: the box's centre, px of the image.
      size: the box's side, px of the image.
      surroundings: side of the part, in sides of the box; less where the image ends.
      resolution: largest side of the box, px of the part; larger boxes are reduced.
    """
    height, width = image.shape[:2]
    reach = size * surroundings / 2
    left, top = np.clip(np.floor(center - reach), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(center + reach), 0, (width - 1, height - 1)).astype(int) + 1
    kept = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    zoom = min(1.0, resolution / size)
    shape = np.maximum(np.round(np.array(kept.shape[1::-1]) * zoom), 1).astype(int)
    # Averages over the area, as bilinear sampling alone would skip pixels.
    small = cv2.resize(kept, shape.tolist(), interpolation=cv2.INTER_AREA) if zoom < 1 else kept
    step = np.array(kept.shape[1::-1]) / shape
    offset = step / 2 - 0.5 + (left, top)
    return small, np.concatenate([np.diag(step), offset[:, None]], axis=1)
