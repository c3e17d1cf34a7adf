"""Reads the boxes of many images from a JSON or CSV file."""

import collections
import csv
import io
import json
import logging
import math
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from hourglass_jax.data.formats import values as json_values
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

RULE = "a box is x,y,width,height in px, the last two at least 1"
COLUMNS = ("image", "x", "y", "width", "height")
# Boxes whose numbers are all smaller are not in px: a whole image is 1.
_SHARE = 1.5
# px, for what is a box at all.
_LARGEST = 1e6
# A byte of a name that is not UTF-8, as predictions.csv has it.
_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")
# Problems that are reported in full.
_SHOWN = 10

Boxes = dict[str, list[list[float]]]


class _Found:
    """Boxes by image, and what is wrong with entries that are left out."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.boxes: Boxes = {}
        self.problems: list[str] = []
        self.largest: list[float] = []  # of each box's numbers

    def image(self, name: str) -> list:
        """Returns the boxes of an image, at first none."""
        return self.boxes.setdefault(name, [])

    def add(self, where: str, name: str, values: Any) -> None:
        boxes = self.image(name)
        numbers = four_numbers(values)
        if numbers is not None:
            self.largest.append(max(numbers))
        if numbers is None or min(numbers[2:]) < 1:
            self.problem(where, f"{RULE}, but this one is {repr(values)[:80]}")
        else:
            boxes.append(numbers)

    def problem(self, where: str, text: str) -> None:
        self.problems.append(f"{self.path}, {where}: {text}"[:400])


def four_numbers(values: Any) -> list[float] | None:
    """Returns a box's numbers, or None if the values are not four numbers of a px's size."""
    try:
        numbers = [float(value) for value in values] if isinstance(values, (list, tuple)) else []
    except (TypeError, ValueError, OverflowError):
        return None
    good = len(numbers) == 4 and all(math.isfinite(v) and abs(v) <= _LARGEST for v in numbers)
    return numbers if good else None


def are_shares(largest: list[float]) -> bool:
    """Returns whether boxes are in shares of the image, by the largest number of each."""
    return bool(largest) and max(largest) <= _SHARE


def read(path: pathlib.Path) -> tuple[Boxes, list[str]]:
    """Reads boxes from a file; entries that are not boxes are left out.

    A JSON file holds {"photo.jpg": [[x, y, width, height], ...]}, COCO annotations, or, as
    detectors write them, a list of objects with "bbox" and "file_name" or "image_id". A CSV file
    has the columns image, x, y, width, height.

    Returns:
      the boxes by image, and a sentence for each entry that is left out.

    Raises:
      UserError: the file cannot be read, or none of its boxes can be used.
    """
    try:
        content = path.read_bytes()
        # Spreadsheets write UTF-16, or a byte order mark; names need not be UTF-8.
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16") if wide else content.decode("utf-8-sig", "surrogateescape")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"--boxes={path} cannot be read: {reason}") from None
    found = _Found(path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        _from_json(text, found)
    else:
        _from_csv(text, found)
    if are_shares(found.largest):
        raise UserError(
            f"{path} has boxes in shares of the image, such as {max(found.largest):g}; {RULE}"
        )
    if found.problems and not any(found.boxes.values()):
        more = len(found.problems) - 3
        raise UserError(
            "; ".join(found.problems[:3]) + (f"; and {more} more such entries" if more > 0 else "")
        )
    if len(found.problems) > _SHOWN:
        more = len(found.problems) - _SHOWN
        found.problems[_SHOWN:] = [f"{path}: and {more} more such entries"]
    return found.boxes, found.problems


def _from_json(text: str, found: _Found) -> None:
    try:
        content = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)[:200]
        raise UserError(f"{found.path} is not valid JSON: {reason}") from None
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        _from_coco(content, found)
    elif isinstance(content, dict) and "bbox" not in content:
        for name, boxes in content.items():
            if not isinstance(boxes, list):
                found.problem(name, f"expected a list of boxes, not {repr(boxes)[:40]}")
                continue
            found.image(name)
            one = boxes and all(isinstance(value, (int, float, str)) for value in boxes)
            for box in [boxes] if one else boxes:
                found.add(name, name, box)
    else:
        entries = content if isinstance(content, list) else [content]
        _warn_of_several(entries, found)
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict) or "bbox" not in entry:
                found.problem(f"entry {i}", f'it has no "bbox", as {repr(entry)[:40]}')
                continue
            name = _name(entry.get("file_name", entry.get("image_id")))
            if name is None:
                found.problem(f"entry {i}", 'it has neither "file_name" nor "image_id" of an image')
            else:
                found.add(f"entry {i} ({name[-80:]})", name, entry["bbox"])


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object; JSON's rule that the last of several values counts would lose boxes."""
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"{twice[:80]!r} occurs more than once in an object")
    return made


def _from_coco(content: dict[str, Any], found: _Found) -> None:
    """Reads COCO's annotations: boxes of people, each of one person."""
    names = _image_names(content, found)
    wanted, others = _people(content.get("categories")), 0
    if wanted is None:
        _warn_of_several(content["annotations"], found)
    for i, entry in enumerate(content["annotations"]):
        where = f"annotation {i}"
        if not isinstance(entry, dict) or "bbox" not in entry:
            found.problem(where, f'it has no "bbox", as {repr(entry)[:40]}')
            continue
        try:
            crowd = json_values.flag(entry.get("iscrowd"), "iscrowd")
        except ValueError as error:
            found.problem(where, str(error))
            continue
        if crowd or (wanted is not None and _name(entry.get("category_id")) not in wanted):
            others += 1
            continue
        id = _name(entry.get("image_id"))
        name = id if names is None or id is None else names.get(id)
        if name is None:
            found.problem(where, f"there is no image of the id {repr(entry.get('image_id'))[:40]}")
        else:
            found.add(f"{where} ({name[-80:]})", name, entry["bbox"])
    if others:
        logger.info("left out %d boxes of crowds and of other categories in %s", others, found.path)


def _image_names(content: dict[str, Any], found: _Found) -> dict[str, str | None] | None:
    """Returns names by id, None for an id of several; None if the file has no list of images."""
    images = content.get("images", [])
    wrong = (
        [images]
        if not isinstance(images, list)
        else [image for image in images if not isinstance(image, dict)]
    )
    if wrong:
        text = repr(wrong[0])[:40]
        raise UserError(f'{found.path}: "images" must list objects, and not {text}')
    names: dict[str, str | None] = {}
    for i, image in enumerate(images):
        id, name = _name(image.get("id")), image.get("file_name")
        if id is None or not isinstance(name, str):
            lacks = '"id"' if id is None else '"file_name"'
            found.problem(f"image {i}", f"it has no {lacks}, as {repr(image)[:80]}")
        elif names.setdefault(id, name) != name:
            found.problem(f"image {i}", f"another one has its id {id[:40]}")
            names[id] = None
        else:
            found.image(name)
    return names if images else None


def _people(categories: Any) -> set[str | None] | None:
    """Returns the ids of the category of people; None if every box counts."""
    if not isinstance(categories, list):
        return None
    listed = [entry for entry in categories if isinstance(entry, dict)]
    people = {_name(c.get("id")) for c in listed if str(c.get("name")).strip().lower() == "person"}
    posed = {_name(entry.get("id")) for entry in listed if entry.get("keypoints")}
    return (posed or people or None) if len(listed) > 1 else None


def _warn_of_several(entries: list, found: _Found) -> None:
    """Warns if the boxes are of several categories, and nothing says which one is people."""
    each = {_name(entry.get("category_id")) for entry in entries if isinstance(entry, dict)} - {
        None
    }
    if len(each) > 1:
        logger.warning(
            "%s has boxes of %d categories, and does not say which is people: all are used",
            *(found.path, len(each)),
        )


def _name(value: Any) -> str | None:
    """Returns an image's name or id as text: 7, 7.0 and "7" are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) < 10**18:
        return str(value)
    return value if isinstance(value, str) and value else None


def _from_csv(text: str, found: _Found) -> None:
    delimiter = _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    numbered = _rows(rows, found)
    header = [name.strip().lower() for name in next(numbered, (0, []))[1]]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise UserError(
            f"{found.path} lacks the column {missing[0]!r}; it needs {', '.join(COLUMNS)}"
        )
    places = [header.index(column) for column in COLUMNS]
    for line, row in numbered:
        if len(row) != len(header):
            found.problem(f"line {line}", f"it has {len(row)} fields, not {len(header)}")
            continue
        name, *values = (row[place] for place in places)
        name = _BYTE.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), name)
        if not name:
            found.problem(f"line {line}", "it names no image")
            continue
        if delimiter == ";":  # where it separates columns, a comma may be the decimal point
            values = [value.replace(",", ".") for value in values]
        found.add(f"line {line} ({name[-80:]})", name, values)


def _rows(rows: Any, found: _Found) -> Iterator[tuple[int, list[str]]]:
    try:
        for row in rows:
            if any(fields := [field.strip() for field in row]):  # spreadsheets write empty rows
                yield rows.line_num, fields
    except csv.Error as error:
        raise UserError(f"{found.path}, line {rows.line_num}: {error}") from None


def _delimiter(text: str) -> str:
    header = text[: text.find("\n")] if "\n" in text else text
    return max(",;\t", key=header.count)
