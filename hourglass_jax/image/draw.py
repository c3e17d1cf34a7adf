"""Images to look at: enlarging, captions, grids and PNG files."""

import colorsys
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine

# px: lines would hide what a smaller image shows.
_SIDE = 256
_GOLDEN = 0.618034  # turn between the hues of consecutive numbers


def colour(number: int) -> tuple[int, ...]:
    """Returns an RGB colour that differs from those of neighbouring numbers."""
    hue = (0.55 + number * _GOLDEN) % 1
    return tuple(round(255 * x) for x in colorsys.hls_to_rgb(hue, 0.55, 0.9))


def enlarge(
    image: UInt8[np.ndarray, "height width 3"],
) -> tuple[UInt8[np.ndarray, "newheight newwidth 3"], Affine]:
    """Returns an image enlarged to at least 256 px of width, and the map to it."""
    factor = -(-_SIDE // image.shape[1])
    size = (image.shape[1] * factor, image.shape[0] * factor)
    enlarged = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return enlarged, geometry.enlargement(factor)


def overlay_heatmaps(
    image: UInt8[np.ndarray, "height width 3"], heatmaps: Float[np.ndarray, "h w joints"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns the darkened image overlaid with the maximum over the joints' heatmaps."""
    highest = np.clip(heatmaps.max(-1), 0, 1).astype(np.float32)
    highest = cv2.resize(highest, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * highest).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = highest[..., None]
    mixed = 0.5 * image * (1 - share) + colours[..., ::-1] * share
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def caption(image: UInt8[np.ndarray, "height width 3"], text: str) -> np.ndarray:
    """Writes a line of text into the image's upper left corner, in place, and returns it."""
    image[:22] //= 3
    cv2.putText(
        image, text, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA
    )
    return image


def grid(images: Sequence[UInt8[np.ndarray, "height width 3"]], columns: int) -> np.ndarray:
    """Returns images of one size side by side, row after row, 4 px apart."""
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
    with path.open("wb") as file:
        Image.fromarray(image).save(file, "png")
