"""Skeletons and heatmaps on pictures. Left limbs are blue, right limbs orange, others green."""

import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from hourglass_jax.data.skeleton import Skeleton

LEFT, RIGHT, MIDDLE = (64, 156, 255), (255, 140, 26), (80, 220, 100)
# A predicted joint whose heatmap peaks lower is not drawn.
SURE = 0.1
# Picture coordinates are given to OpenCV in sixteenths of a pixel.
_SHIFT = 4


def draw_skeleton(
    image: UInt8[np.ndarray, "height width 3"],
    joints: Float[np.ndarray, "joints 2"],
    shown: Bool[np.ndarray, " joints"],
    skeleton: Skeleton,
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns the picture with the limbs whose two ends are shown, and the joints that are shown.

    Args:
      image: RGB.
      joints: x, y in px of the picture.
      shown: joints to draw.
      skeleton: gives the limbs and which side they are on.
    """
    image = np.array(image, order="C")  # a copy: OpenCV draws in place
    # OpenCV's line drawing overflows far outside the picture.
    limit = 4 * max(image.shape)
    points = np.clip(np.nan_to_num(joints), -limit, limit)
    points = [tuple(p) for p in np.round(points * 2**_SHIFT).astype(int).tolist()]
    width = max(round(max(image.shape) / 160), 1)
    for a, b in skeleton.limbs:
        i, j = skeleton.index(a), skeleton.index(b)
        if shown[i] and shown[j]:
            colour = _colour(a if _colour(b) == MIDDLE else b)
            cv2.line(image, points[i], points[j], colour, width, cv2.LINE_AA, _SHIFT)
    for i in np.flatnonzero(shown):
        radius, colour = (width + 1) * 2**_SHIFT, _colour(skeleton.joints[i])
        cv2.circle(image, points[i], radius, colour, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, points[i], radius, (20, 20, 20), 1, cv2.LINE_AA, _SHIFT)
    return image


def _colour(joint: str) -> tuple[int, int, int]:
    return LEFT if joint.startswith("left") else RIGHT if joint.startswith("right") else MIDDLE


def overlay_heatmaps(
    image: UInt8[np.ndarray, "height width 3"], heatmaps: Float[np.ndarray, "h w joints"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns the picture, darkened, under the highest of the joints' heatmaps at every place."""
    highest = np.clip(heatmaps.max(-1), 0, 1).astype(np.float32)
    highest = cv2.resize(highest, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * highest).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = highest[..., None]
    mixed = 0.5 * image * (1 - share) + colours[..., ::-1] * share
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def enlarge(
    image: UInt8[np.ndarray, "height width 3"], joints: Float[np.ndarray, "joints 2"], factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture `factor` times as large, to draw finer lines on, and its joints."""
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), (joints + 0.5) * factor - 0.5


def caption(image: UInt8[np.ndarray, "height width 3"], text: str) -> np.ndarray:
    """Returns the picture with a line of text in its upper left corner, in place."""
    image[:22] //= 3
    cv2.putText(
        image, text, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA
    )
    return image


def grid(images: Sequence[UInt8[np.ndarray, "height width 3"]], columns: int) -> np.ndarray:
    """Returns pictures of one size side by side, row after row, 4 px apart."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + 4) - 4, columns * (width + 4) - 4, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * (height + 4), i % columns * (width + 4)
        sheet[y : y + height, x : x + width] = image
    return sheet


def save_png(path: pathlib.Path, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Writes RGB as a PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
