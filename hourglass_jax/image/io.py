"""Reads images of any kind as RGB: files, Pillow's images, arrays."""

import io
import pathlib
import threading

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from hourglass_jax.errors import UserError

# Files of a folder with these endings are treated as images, readable or not.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".avif", ".heic", ".heif"),
)
MAX_PIXELS = 250_000_000  # beyond any camera's: damaged, or an attack
_LOCK = threading.Lock()


def as_rgb(image: "str | pathlib.Path | Image.Image | np.ndarray") -> UInt8[np.ndarray, "h w 3"]:
    """Returns an image upright and in RGB.

    Follows the orientation in EXIF; grey and CMYK become RGB, 16 bits become 8, and transparency
    becomes white. Arrays of floats are in [0, 1].

    Raises:
      UserError: the image is damaged, or is not one.
    """
    if isinstance(image, Image.Image):
        return _from_pillow(ImageOps.exif_transpose(image))
    if isinstance(image, np.ndarray) or hasattr(image, "__array__"):
        return _from_array(np.asarray(image))
    return decode(image, str(image), upright=True)


def decode(
    file: "str | pathlib.Path | io.BytesIO",
    where: str,
    *,
    upright: bool,
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes a file to RGB.

    Args:
      file: file of any format that Pillow reads.
      where: name of the file in messages.
      upright: whether to follow the orientation in EXIF; else pixels are as stored.
      max_pixels: largest number of pixels that the file may claim.

    Raises:
      UserError: the file is not an image, is cut short, or claims to be enormous.
    """
    try:
        with open_image(file) as image:
            if image.width * image.height > max_pixels:
                raise ValueError(f"{image.width} x {image.height} px are more than {max_pixels}")
            return _from_pillow(ImageOps.exif_transpose(image) if upright else image)
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"the image {where} cannot be read ({reason})") from None


def open_image(file) -> Image.Image:
    """Opens an image without decoding it."""
    # Pillow's own limit is below what cameras make, and is one number for the whole process.
    with _LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _from_pillow(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        largest = values.max(initial=0)
        if image.mode.startswith("I;16") or largest > 255:
            top = 65535
        else:
            top = 1 if image.mode == "F" and largest <= 1 else 255
        return _grey(np.clip(np.round(values * (255 / top)), 0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.size == 0 or not good:
        raise UserError(
            f"an array of shape {array.shape} is not an image; it must be [height, width], or "
            f"[height, width, 3] in RGB, or with a fourth channel of opacity"
        )
    if array.dtype == np.uint16:
        array = np.round(array / 257)
    elif array.dtype == bool or np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise UserError(
                f"an image of {array.dtype} must lie in [0, 1], not in [{array.min()}, "
                f"{array.max()}]; give integers as uint8"
            )
        array = np.round(array * 255.0)
    elif array.min() < 0 or array.max() > 255:
        raise UserError(f"an image of {array.dtype} must lie in 0 to 255; got {array.max()}")
    array = array.astype(np.uint8)
    if array.ndim == 2:
        return _grey(array)
    return array if array.shape[2] == 3 else _from_pillow(Image.fromarray(array))


def _grey(array: np.ndarray) -> np.ndarray:
    return np.repeat(array[..., None], 3, axis=2)
