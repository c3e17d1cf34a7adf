"""Reads images of any kind as RGB: files, Pillow's images, arrays."""

import contextlib
import io
import logging
import os
import pathlib
import threading
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from hourglass_jax.errors import UserError
from hourglass_jax.image import addresses, arrays, cut_short, formats

logger = logging.getLogger(__name__)

# Bytes that decoding one image may take: small files can claim to be enormous.
MEMORY = 2**30
# Bytes a pixel that decoders take beside the image, by Pillow's format (measured).
_DECODERS = {"WEBP": 12, "JPEG2000": 16, "TIFF": 4, "AVIF": 6, "GIF": 4}
_RESULT = 8
# Rows are converted a few at a time, to save memory.
_PIXELS = 2**20
_LOCK = threading.Lock()


def as_rgb(image: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Returns an image upright and in RGB.

    Follows the orientation in EXIF; grey and CMYK become RGB, 16 bits become 8, and transparency
    becomes white. Arrays of floats are in [0, 1]. Of several frames, the first is returned.

    Args:
      image: a path, an address that begins with https://, an open file such as io.BytesIO, a
        Pillow image, or an array.

    Raises:
      UserError: the image is damaged, or is not one.
    """
    if isinstance(image, (str, os.PathLike)) or hasattr(image, "read"):
        if isinstance(image, str) and addresses.is_address(image):
            return decode(addresses.download(image), image)
        where = image if isinstance(image, (str, os.PathLike)) else getattr(image, "name", "given")
        return decode(image, os.fsdecode(where) if isinstance(where, os.PathLike) else str(where))
    if isinstance(image, Image.Image):
        try:
            return frame_of(image)
        except Exception as error:  # it may not have been decoded yet
            raise UserError(f"the image given cannot be read ({reason(error)})") from None
    if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        try:
            array = arrays.to_bytes(np.asarray(image))
        except UserError:
            raise
        except Exception as error:  # such as those of another accelerator
            raise UserError(f"{_type(image)} is not an array ({reason(error)})") from None
        if array.ndim == 2:
            return _grey(array)
        return array if array.shape[2] == 3 else _to_rgb(Image.fromarray(array))
    raise UserError(
        f"an object of type {_type(image)} is not an image; give a path, an https address, an "
        f"array, a Pillow image, or a file's bytes as io.BytesIO(content)"
    )


def decode(file: Any, where: str, *, upright: bool = True) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes a file to RGB.

    A JPEG that lacks only its end, so that every pixel is there, is taken with a warning.

    Args:
      file: path, or open file, of one of `formats.PILLOW`.
      where: name of the file in messages.
      upright: whether to follow the orientation in EXIF; else pixels are as stored.

    Raises:
      UserError: the file is not an image, is cut short, or claims to be enormous.
    """
    where = where if len(where) <= 150 else f"...{where[-147:]}"
    try:
        with open_image(file) as image:
            pixels = _decode(image, upright)
            if _has_more(image):
                logger.warning("the image %s has several frames; the first is taken", where)
            return pixels
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        whole = _without_end(file, upright) if _is_cut(error) else None
        if whole is not None:
            logger.warning("the image %s lacks its end, but every pixel is there", where)
            return whole
        raise UserError(f"the image {where} cannot be read ({reason(error)})") from None


def open_image(file: Any) -> Image.Image:
    """Opens a file with Pillow, of `formats.PILLOW` alone; nothing is decoded yet.

    Raises:
      UserError: the file is of another format.
    """
    Image.init()
    names = [name for name in formats.PILLOW if name in Image.OPEN]
    # Pillow's own limit is below what cameras make, and is one number for the whole process.
    with _LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=names)
        except Image.UnidentifiedImageError:
            raise UserError(_unknown(_content(file, 12))) from None
        finally:
            Image.MAX_IMAGE_PIXELS = before


def size_of(file: Any) -> tuple[int, int] | None:
    """Returns width and height of an image file as `decode` returns it, or None if it is none."""
    try:
        with open_image(file) as image:
            # Pillow says a TIFF's size as it will be, and decodes a PNG to look behind its pixels.
            said = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
            turned = said and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size
    except Exception:  # Pillow's decoders raise many kinds on damaged files
        return None


def frame_of(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the current frame of a Pillow image upright and in RGB; leaves the image as it is.

    Raises:
      UserError: decoding would take too much memory.
    """
    _check_memory(image, copies=2)
    return _to_rgb(ImageOps.exif_transpose(image))


def _decode(image: Image.Image, upright: bool) -> np.ndarray:
    _check_memory(image)
    if image.format == "TIFF" and formats.is_thumbnail(image):
        raise UserError("it begins with a thumbnail, as cameras' raw files do; convert it")
    image.load()
    if upright:
        ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image)


def _has_more(image: Image.Image) -> bool:
    """Returns whether a decoded image has further frames; damage in those is of no interest."""
    with contextlib.suppress(Exception):
        return image.format in formats.ANIMATED and getattr(image, "is_animated", False)
    return False


def _to_rgb(image: Image.Image) -> np.ndarray:
    deep = image.mode.startswith("I") or image.mode == "F"
    top = _top(image) if deep else 0
    opaque = "A" not in image.getbands() and "transparency" not in image.info
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    step = max(_PIXELS // max(image.width, 1), 1)
    for y in range(0, image.height, step):
        rows = image.crop((0, y, image.width, min(y + step, image.height)))
        if deep:
            values = np.nan_to_num(np.asarray(rows).astype(np.float64)) * (255 / top)
            rows = _grey(np.clip(np.round(values), 0, 255).astype(np.uint8))
        elif not opaque:
            white = Image.new("RGBA", rows.size, (255, 255, 255, 255))
            rows = Image.alpha_composite(white, rows.convert("RGBA")).convert("RGB")
        else:
            rows = rows.convert("RGB")
        pixels[y : y + step] = np.asarray(rows)
    return pixels


def _check_memory(image: Image.Image, copies: int = 1) -> None:
    """Raises UserError if decoding would take more than `MEMORY`; nothing is allocated before."""
    stored = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    more = _DECODERS.get(image.format or "", 0)
    if image.info.get("progressive"):
        more = 6  # libjpeg keeps all coefficients
    # Beside the image: what the decoder needs, or the image turned upright. Then the result and a
    # drawing of it, in Pillow's form and ours.
    per_pixel = max(stored + max(more, stored), _RESULT) * copies
    needed = image.width * image.height * per_pixel
    if needed > MEMORY:
        raise UserError(
            f"its {image.width} x {image.height} px would take {needed / 1e9:.1f} GB of memory, "
            f"and {MEMORY / 1e9:.1f} GB are allowed; scale it down"
        )


def _top(image: Image.Image) -> float:
    """Returns the value that is white, for grey of 16 bits and more, or floats."""
    largest = float(np.max(image.getextrema()))
    if image.mode.startswith("I;16") and 0 < largest <= 255:
        raise UserError(
            f"grey of 16 bits must use 0 to 65535, and its largest value is {largest:.0f}; save it "
            f"with 8 bits"
        )
    if image.mode.startswith("I;16") or largest > 255:
        return 65535
    return 1 if image.mode == "F" and largest <= 1 else 255


def _without_end(file: Any, upright: bool) -> np.ndarray | None:
    """Returns a JPEG's image if it lacks its end and no pixel, else None."""
    try:
        ends = cut_short.completions(_content(file))
        images = [_decode(open_image(io.BytesIO(content)), upright) for content in ends]
        same = all(np.array_equal(images[0], image) for image in images)
        return images[0] if images and same else None
    except Exception:  # damaged in other ways as well
        return None


def _content(file: Any, size: int = -1) -> bytes:
    """Returns the first bytes of a path or an open file."""
    if isinstance(file, (str, os.PathLike)):
        with pathlib.Path(file).open("rb") as opened:
            return opened.read(size)
    file.seek(0)
    return file.read(size)


def _unknown(begin: bytes) -> str:
    if not begin:
        return "it is empty"
    if begin[4:8] == b"ftyp" and begin[8:12] in formats.HEIF:
        return "HEIC is not read; convert it to JPEG"
    return f"it is none of {', '.join(formats.PILLOW)}"


def _is_cut(error: Exception) -> bool:
    return isinstance(error, OSError) and "truncated" in str(error).lower()


def reason(error: Exception) -> str:
    """Returns an error of a decoder in few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if _is_cut(error):
        return "it is cut short"
    return " ".join(str(error).split())[:120] or type(error).__name__


def _type(value: Any) -> str:
    return type(value).__name__[:50]


def _grey(array: np.ndarray) -> np.ndarray:
    return np.repeat(array[..., None], 3, axis=2)
