"""Where people are in pictures: one box for all, or a file that lists them by picture."""

import csv
import json
import logging
import math
import pathlib
from collections.abc import Sequence

from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)


class Boxes:
    """Boxes (x, y, width, height), px, by the name of the picture."""

    def __init__(self, everywhere: list | None = None, by_name: dict[str, list] | None = None):
        self._everywhere, self._by_name = everywhere, by_name
        # The keys that a shorter name may stand for.
        self._keys: dict[str, list[str]] = {}
        for key in by_name or {}:
            for short in {pathlib.PurePath(key).name, _number(key)}:
                self._keys.setdefault(short, []).append(key)

    @classmethod
    def from_flags(cls, box: str | None, file: str | None) -> "Boxes":
        """Reads --box or --boxes; neither: the person fills the picture.

        A JSON file holds {"photo.jpg": [[x, y, width, height], ...]}, COCO's annotations, or a list
        of objects with "file_name" or "image_id", and "bbox", as detectors write them; a CSV file
        has the columns image, x, y, width, height.

        Raises:
          UserError: it cannot be read.
        """
        if box is not None:
            return cls(everywhere=[_numbers(box.split(","), f"--box={box}")])
        if file is None:
            return cls()
        path = pathlib.Path(file)
        try:
            text = path.read_text("utf-8-sig")  # spreadsheets begin a CSV with a mark
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--boxes={file} cannot be read: {error}") from None
        by_name: dict[str, list] = {}
        rows = _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text, path)
        for name, numbers in rows:
            by_name.setdefault(str(name), []).append(_numbers(numbers, f"{path}, {name}"))
        return cls(by_name=by_name)

    def of(self, name: str) -> list | None:
        """Returns a picture's boxes: none if its file lists others alone; None: the whole of it."""
        if self._by_name is None:
            return self._everywhere
        key = self._key(name)
        return [] if key is None else self._by_name[key]

    def _key(self, name: str) -> str | None:
        """The one key that a picture goes by: COCO's 139 is 000000000139.jpg."""
        if name in (self._by_name or {}):
            return name
        path = pathlib.PurePath(name)
        for form in (path.name, path.stem, _number(path.stem)):
            keys = self._keys.get(form, [])
            if len(keys) == 1:
                return keys[0]
        return None

    def check(self, names: Sequence[str]) -> None:
        """Raises UserError if a file's boxes are of none of these pictures; warns of the others."""
        if self._by_name is None:
            return
        found = {name: self._key(name) for name in names}
        lost = [key for key in self._by_name if key not in found.values()]
        if len(lost) == len(self._by_name):
            raise UserError(
                f"--boxes lists none of the pictures: it has {', '.join(lost[:3]) or 'no boxes'}, "
                f"and the input {', '.join(names[:3])}"
            )
        if lost:
            logger.warning("boxes of %d pictures that are not there: %s", len(lost), lost[0])
        # Of pictures in several folders, one may have the boxes of another of its name.
        for name, key in found.items():
            if key not in (None, name) and key in found:
                raise UserError(
                    f"--boxes has {key}, and not {name}, which is of the same name in another "
                    f"folder; list each by its path from the input"
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
        f"{where}: a box is x,y,width,height in px, the last two above 0, and not "
        f"{repr(values)[:80]}"
    )


def _from_json(text: str, path: pathlib.Path):
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}") from None
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
