"""Boxes around people: one box for all images, or a file with boxes by image."""

import csv
import json
import logging
import math
import pathlib
from collections.abc import Sequence

from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)


class Boxes:
    """Boxes (x, y, width, height), px, by image name."""

    def __init__(self, everywhere: list | None = None, by_name: dict[str, list] | None = None):
        self._everywhere, self._by_name = everywhere, by_name
        # Keys by the shorter names that may stand for them.
        self._keys: dict[str, list[str]] = {}
        for key in by_name or {}:
            for short in {pathlib.PurePath(key).name, _number(key)}:
                self._keys.setdefault(short, []).append(key)

    @classmethod
    def from_flags(cls, box: str | None, file: str | None) -> "Boxes":
        """Reads boxes from --box or --boxes; without either, each image shows one person.

        A JSON file holds {"photo.jpg": [[x, y, width, height], ...]}, COCO annotations, or, as
        detectors write them, a list of objects with "bbox" and "file_name" or "image_id". A CSV
        file has the columns image, x, y, width, height.

        Args:
          box: value of --box, "x,y,width,height", for all images.
          file: value of --boxes, a JSON or CSV file.

        Raises:
          UserError: a box is invalid, or the file cannot be read.
        """
        if box is not None:
            return cls(everywhere=[_numbers(box.split(","), f"--box={box}")])
        if file is None:
            return cls()
        path = pathlib.Path(file)
        try:
            text = path.read_text("utf-8-sig")  # spreadsheets write a byte order mark
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--boxes={file} cannot be read: {error}") from None
        by_name: dict[str, list] = {}
        rows = _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text, path)
        for name, numbers in rows:
            by_name.setdefault(str(name), []).append(_numbers(numbers, f"{path}, {name}"))
        return cls(by_name=by_name)

    def of(self, name: str) -> list | None:
        """Returns the boxes of an image, maybe none; None stands for the whole image."""
        if self._by_name is None:
            return self._everywhere
        key = self._key(name)
        return [] if key is None else self._by_name[key]

    def _key(self, name: str) -> str | None:
        """Returns the key that matches an image name: COCO's 139 matches 000000000139.jpg."""
        if name in (self._by_name or {}):
            return name
        path = pathlib.PurePath(name)
        for form in (path.name, path.stem, _number(path.stem)):
            keys = self._keys.get(form, [])
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
        unused = [key for key in self._by_name if key not in keys.values()]
        if len(unused) == len(self._by_name):
            raise UserError(
                f"--boxes lists none of the images: it has {', '.join(unused[:3]) or 'no boxes'}, "
                f"and the input has {', '.join(names[:3])}"
            )
        if unused:
            logger.warning("boxes of %d images that do not exist: %s", len(unused), unused[0])
        # An image would get the boxes of an image with the same name in another folder.
        for name, key in keys.items():
            if key not in (None, name) and key in keys:
                raise UserError(
                    f"--boxes has {key}, but not {name}, which has the same name in another "
                    f"folder; list each of them by its path from the input"
                )


def _number(name: str) -> str:
    return name.lstrip("0") if name.isdigit() else name


def _numbers(values, where: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
        if len(numbers) == 4 and all(map(math.isfinite, numbers)) and min(numbers[2:]) > 0:
            return numbers
    except (TypeError, ValueError):
        pass
    raise UserError(
        f"{where}: a box is x,y,width,height in px, the last two above 0, but this one is "
        f"{repr(values)[:80]}"
    )


def _from_json(text: str, path: pathlib.Path):
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        names = {image["id"]: image["file_name"] for image in content.get("images", [])}
        content = [
            {**person, "file_name": names.get(person.get("image_id"), person.get("image_id"))}
            for person in content["annotations"]
        ]
    if isinstance(content, dict):
        for name, boxes in content.items():
            if not isinstance(boxes, list):
                raise UserError(f"{path}, {name}: expected a list of boxes")
            several = all(isinstance(box, (list, tuple)) for box in boxes)
            yield from ((name, box) for box in (boxes if several else [boxes]))
        return
    for i, entry in enumerate(content if isinstance(content, list) else [content]):
        if not isinstance(entry, dict) or "bbox" not in entry:
            raise UserError(f'{path}: entry {i} has no "bbox"')
        name = entry.get("file_name", entry.get("image_id"))
        if name is None:
            raise UserError(f'{path}: entry {i} has neither "file_name" nor "image_id"')
        yield name, entry["bbox"]


def _from_csv(text: str, path: pathlib.Path):
    columns = ["image", "x", "y", "width", "height"]
    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    rows.fieldnames = [name.strip() for name in rows.fieldnames or []]
    missing = [column for column in columns if column not in rows.fieldnames]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]!r}; it needs {', '.join(columns)}")
    for row in rows:
        yield row["image"], [row[column] for column in columns[1:]]
