"""Reads sizes and orientations of image files without decoding them."""

import io
import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from PIL import ExifTags, Image

from hourglass_jax.image import io as image_io

logger = logging.getLogger(__name__)

_SWAPPED = (5, 6, 7, 8)  # orientations that exchange width and height


class Header(NamedTuple):
    """Width and height of an image as it is stored, and its orientation in EXIF, 1 to 8."""

    size: tuple[int, int]
    orientation: int

    def seen(self, upright: bool) -> tuple[int, int]:
        """Returns the size if EXIF is followed, or not."""
        width, height = self.size
        return (height, width) if upright and self.orientation in _SWAPPED else self.size


def header(file: str | io.BytesIO) -> Header | None:
    """Reads an image's header; None if it cannot be read, as decoding will tell."""
    try:
        with image_io.open_image(file) as image:
            return Header(image.size, _orientation(image, file))
    except Exception:  # Pillow's parsers raise many kinds on damaged files
        return None


def _orientation(image: Image.Image, file: str | io.BytesIO) -> int:
    if image.format == "TIFF":  # Pillow itself turns them
        return 1
    # Pillow decodes a whole PNG to look for EXIF behind the pixels.
    if image.format == "PNG" and "exif" not in image.info:
        is_path = isinstance(file, str)
        content = pathlib.Path(file).read_bytes() if is_path else file.getvalue()
        if not any(chunk in content for chunk in (b"eXIf", b"exif", b"XML:com.adobe.xmp")):
            return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def warn_of_turned(names: Sequence[str], where: str) -> None:
    """Warns of images with an orientation in a data set that was labelled with MATLAB.

    MATLAB reads pixels as they are stored, and so are these images read.
    """
    if names:
        logger.warning(
            "%s: %d images carry an orientation in EXIF, for example %s; they are read as stored, "
            "as MATLAB read them for labelling",
            *(where, len(names), names[0]),
        )
