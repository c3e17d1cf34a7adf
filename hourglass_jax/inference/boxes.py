"""Boxes around people: one box for all images, or a file with boxes by image."""

import collections
import itertools
import logging
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hourglass_jax.errors import UserError
from hourglass_jax.image import io
from hourglass_jax.inference import boxes_file
from hourglass_jax.inference.boxes_file import RULE
from hourglass_jax.runtime import paths

logger = logging.getLogger(__name__)

# Side of a person's crop as a multiple of the side of the box, as in training.
BOX_MARGIN = 1.25
# Images that are looked at to tell corners from sizes.
_LOOKED_AT = 50
# Boxes that tell them apart with certainty.
_CERTAIN = 3
_LATIN = {0xDC00 + code: code for code in range(128, 256)}


class Boxes:
    """Boxes (x, y, width, height), px, by image name.

    Attributes:
      problems: a sentence for each entry of the file that is left out.
    """

    def __init__(
        self,
        everywhere: list | None = None,
        by_name: dict[str, list] | None = None,
        problems: Sequence[str] = (),
    ):
        self._everywhere, self._by_name = everywhere, by_name
        self.problems = list(problems)
        # Keys by the names that may stand for them, first as they are written.
        self._indices = [_index(by_name or {}, fold) for fold in (str, str.casefold)]

    @classmethod
    def from_flags(cls, box: str | None, file: str | None) -> "Boxes":
        """Reads boxes from --box or --boxes; without either, no boxes are given.

        Args:
          box: value of --box, "x,y,width,height", for all images.
          file: value of --boxes, a file as `boxes_file.read` takes it.

        Raises:
          UserError: a box is invalid, or the file cannot be read.
        """
        if box is not None:
            numbers = boxes_file.four_numbers(box.split(","))
            if numbers is None or min(numbers[2:]) < 1:
                raise UserError(f"--box={box[:80]}: {RULE}")
            return cls(everywhere=[numbers])
        if file is None:
            return cls()
        by_name, problems = boxes_file.read(paths.path(file, "--boxes"))
        return cls(by_name=by_name, problems=problems)

    def of(self, name: str) -> list | None:
        """Returns the boxes of an image, maybe none; None if no boxes are given."""
        if self._by_name is None:
            return self._everywhere
        key = self._key(name)
        return [] if key is None else self._by_name[key]

    def on(self, name: str, shape: tuple[int, ...]) -> tuple[list | None, list[str]]:
        """Returns the boxes of an image as `of` does, and a sentence for each one left out.

        Args:
          name: name of the image.
          shape: shape of the image, outside of which a box shows nothing.
        """
        boxes = self.of(name)
        if boxes is None:
            return None, []
        problems = [f"{name}: {_outside(box, shape)}" for box in boxes if not _shows(box, shape)]
        return [box for box in boxes if _shows(box, shape)], problems

    def _key(self, name: str) -> str | None:
        """Returns the key that matches an image name: COCO's 139 matches 000000000139.jpg."""
        if name in (self._by_name or {}):
            return name
        for fold, index in zip((str, str.casefold), self._indices, strict=True):
            for form in _lookups(fold(name)):
                keys = index.get(form, [])
                if len(keys) == 1:
                    return keys[0]
        return None

    def check(self, names: Sequence[str]) -> None:
        """Checks that the file's boxes belong to these images; warns of boxes that do not.

        Raises:
          UserError: no box belongs to these images, or an image would get the boxes of another one
            with the same name.
        """
        if self._by_name is None:
            return
        keys = {name: self._key(name) for name in names}
        used = collections.Counter(key for key in keys.values() if key is not None)
        unused = [key for key, boxes in self._by_name.items() if boxes and key not in used]
        if not used:
            listed = unused or list(self._by_name)
            raise UserError(
                f"--boxes lists none of the images: it has {', '.join(listed[:3]) or 'no boxes'}, "
                f"and the input has {', '.join(names[:3])}"
            )
        if unused:
            logger.warning("boxes of %d images that do not exist: %s", len(unused), unused[0])
        without = len(names) - used.total()
        if without:
            logger.info("--boxes lists %d of %d files", used.total(), len(names))
        # An image would get the boxes of an image with the same name in another folder.
        for name, key in keys.items():
            if key not in (None, name) and used[key] > 1:
                raise UserError(
                    f"--boxes has {key}, but not {name}, which has the same name in another "
                    f"folder; list each of them by its path from the input"
                )

    def check_sizes(self, files: Iterable[tuple[pathlib.Path, str]]) -> None:
        """Checks that the boxes are not corners, by the sizes of the first images that have boxes.

        Read as sizes, corners reach beyond their images, and corners themselves do not.

        Args:
          files: images with their names.

        Raises:
          UserError: the boxes are certainly corners.
        """
        if self._by_name is None:
            return
        listed = ((path, name, self.of(name)) for path, name in files)
        looked_at = itertools.islice((entry for entry in listed if entry[2]), _LOOKED_AT)
        beyond, example = [], ""
        for path, name, boxes in looked_at:
            with paths.local(path) as file:
                size = io.size_of(file)
            if size is None:
                continue
            for x, y, width, height in boxes or []:
                within = -1 <= x < width <= size[0] + 1 and -1 <= y < height <= size[1] + 1
                if not within:  # as x2 and y2
                    return
                beyond.append(x + width > 1.02 * size[0] + 1 or y + height > 1.02 * size[1] + 1)
                if beyond[-1]:
                    example = f"{[x, y, width, height]} of {name}, {size[0]} x {size[1]} px"
        if sum(beyond) * 2 <= len(beyond):
            return
        text = f"most boxes reach beyond their images, such as {example}: are they corners? {RULE}"
        if len(beyond) >= _CERTAIN:
            raise UserError(text)
        logger.warning(text)


def square_around(
    box: Float[np.ndarray, "4"], margin: float = BOX_MARGIN
) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the square crop for a box, `margin` times as large."""
    # A box at x = 10 that is 10 px wide covers the pixels 10 to 19, with the centre at 14.5.
    return box[:2] + (box[2:] - 1) / 2, max(float(box[2:].max()) * margin, 2.0)


def from_corners(box_format: str) -> Callable[[Any], Any]:
    """Returns a function that turns boxes of a format to (x, y, width, height).

    Args:
      box_format: "xywh", which is left as it is, or "xyxy".

    Raises:
      UserError: there is no such format; the function raises it for corners that are no box.
    """
    if box_format == "xywh":
        return lambda boxes: boxes
    if box_format != "xyxy":
        raise UserError(f"box_format={box_format!r} must be xywh or xyxy")

    def converted(boxes: Any) -> Any:
        if boxes is None or not np.size(boxes):
            return boxes
        try:
            corners = np.atleast_2d(np.asarray(boxes, float))
            x1, y1, x2, y2 = corners.T
        except (TypeError, ValueError):
            raise UserError(f"each box must be (x1, y1, x2, y2), but boxes={boxes!r:.80}") from None
        if not ((x2 > x1) & (y2 > y1)).all():
            raise UserError(
                f"boxes={corners[:3].tolist()} as xyxy: x2 must be above x1, and y2 above y1"
            )
        return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)

    return converted


def check_boxes(
    boxes, shape: tuple[int, ...], margin: float = BOX_MARGIN
) -> Float[np.ndarray, "people 4"]:
    """Returns boxes as an array; for None, a box whose crop is the image.

    Args:
      boxes: one or several boxes (x, y, width, height), px of the image, or None.
      shape: shape of the image.
      margin: side of the crop as a multiple of the side of the box.

    Raises:
      UserError: a box is invalid, or shows nothing of the image.
    """
    height, width = shape[:2]
    if boxes is None:  # the crop is the image, where people rarely touch the borders
        sides = np.array([width, height])
        return np.concatenate([sides * (1 - 1 / margin) / 2, sides / margin])[None]
    try:
        array = np.atleast_2d(np.asarray(boxes, float)) if np.size(boxes) else np.zeros((0, 4))
    except (TypeError, ValueError):
        array = None
    if array is None or array.ndim != 2 or array.shape[1] != 4:
        raise UserError(f"each box must be (x, y, width, height), but boxes={repr(boxes)[:80]}")
    if boxes_file.are_shares([float(box.max()) for box in array]):
        raise UserError(f"boxes={array[:3].tolist()} are shares of the image; {RULE}")
    for box in array:
        if boxes_file.four_numbers(box.tolist()) is None or box[2:].min() < 1:
            raise UserError(f"{box.tolist()} is not a box; {RULE}")
        if not _shows(box, shape):
            raise UserError(_outside(box.tolist(), shape))
    return array


def _shows(box: Sequence[float] | np.ndarray, shape: tuple[int, ...]) -> bool:
    """Returns whether a box covers a part of an image."""
    x, y, width, height = box
    return x < shape[1] and y < shape[0] and x + width > 0 and y + height > 0


def _outside(box: Sequence[float], shape: tuple[int, ...]) -> str:
    return f"the box {list(box)} shows nothing of the image, which is {shape[1]} x {shape[0]} px"


def _index(keys: Iterable[str], fold) -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for key in keys:
        folded = fold(key)
        for form in {*_tails(folded), _number(folded)}:
            index.setdefault(form, []).append(key)
    return index


def _lookups(name: str) -> Iterator[str]:
    """Yields what may stand for an image, the most exact first."""
    tails = _tails(name)
    yield from tails
    stem = pathlib.PurePath(tails[-1]).stem
    yield stem
    yield _number(stem)


def _tails(name: str) -> list[str]:
    """Returns the ends of a path, the longest first: a/b/c, b/c, c.

    Windows separates folders by backslashes, macOS takes letters apart from their accents, and old
    programs write Latin-1, which Python reads as surrogates.
    """
    name = unicodedata.normalize("NFC", name.replace("\\", "/").translate(_LATIN))
    parts = pathlib.PurePosixPath(name).parts
    return ["/".join(parts[i:]) for i in range(len(parts))] or [name]


def _number(name: str) -> str:
    return name.lstrip("0") if name.isdigit() else name
