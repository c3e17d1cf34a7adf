"""Reads Label Studio's JSON and JSON-MIN: key points, and the rectangles around objects.

Numbers are percent of the image's width and height. Points belong to the rectangle that they are
related to or placed in ("parent"), else to the smallest one that they lie in; without rectangles
to one object. Of several annotations of a task, the one marked as true counts, else the last.
"""

import pathlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hourglass_jax.data.formats import coco_json
from hourglass_jax.data.formats.coco_content import WRONG
from hourglass_jax.data.formats.gathered import Gathered
from hourglass_jax.data.formats.grouping import Point, Rectangle, grouped
from hourglass_jax.data.formats.image_paths import moved
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Place
from hourglass_jax.data.formats.problems import text_of
from hourglass_jax.data.images import is_file
from hourglass_jax.errors import UserError
from hourglass_jax.image import formats

_POINTS, _BOXES = "keypointlabels", "rectanglelabels"
_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before a name


class _Task(NamedTuple):
    image: str
    size: tuple[int, int] | None
    rectangles: list[Rectangle]
    points: list[Point]


def is_tasks(content: Any) -> bool:
    """Returns whether a JSON file's content is Label Studio's."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return ("annotations" in content[0] and "data" in content[0]) or _is_minimal(content[0])


def read(
    path: pathlib.Path, folder: pathlib.Path | None, *, outside: bool = False, boxes: bool = False
) -> KeypointFile:
    """Reads a file; arguments as in `coco_json.read`.

    Images are looked for by the ends of their names, also without what Label Studio has put before
    them.

    Raises:
      UserError: nothing in it can be read.
    """
    gathered, tasks = Gathered(path), []
    for i, entry in enumerate(coco_json.load_json(path)):
        where = f"task {entry.get('id', i)}" if isinstance(entry, dict) else f"task {i}"
        try:
            tasks.append((where, _task(entry, gathered, where)))
        except WRONG as error:
            gathered.problems.add(f"left out: {text_of(error)}", where)
    joints = list(dict.fromkeys(point.name for _, task in tasks for point in task.points))
    root = folder or path.parent
    for where, task in tasks:
        try:
            there = _there(root, task.image, outside)
        except ValueError as error:
            gathered.problems.add(f"left out: {text_of(error)}", where)
            continue
        image = gathered.image(Place(there), task.size)
        objects = grouped(task.rectangles, task.points, gathered.problems, where)
        gathered.objects(image, objects, joints, where)
    if gathered.is_empty:
        raise UserError(
            f"{path} looks like Label Studio's and has no key points or rectangles that can be "
            f"used: {gathered.problems or 'there are none'}"
        )
    return gathered.result(boxes=boxes)


def _is_minimal(task: Mapping[str, Any]) -> bool:
    return any(
        isinstance(value, list)
        and value
        and isinstance(value[0], dict)
        and {"original_width", "x"} <= value[0].keys()
        for value in task.values()
    )


def _task(task: Mapping[str, Any], gathered: Gathered, where: str) -> _Task:
    minimal = "annotations" not in task
    image = _image_of(task if minimal else task["data"])
    regions: dict[str, dict[str, Any]] = {}
    size = None
    related: dict[str, str] = {}  # from a region to another one of the same object
    for i, part in enumerate(_minimal(task) if minimal else _result(task["annotations"])):
        if part.get("type") == "relation":
            _relate(related, part["from_id"], part["to_id"])
            continue
        # A region's shape and its labels may be two parts.
        id = str(part.get("id", f"#{i}"))
        regions.setdefault(id, {}).update(part["value"])
        if part.get("parentID"):
            _relate(related, id, part["parentID"])
        if part.get("original_width"):
            size = (int(part["original_width"]), int(part["original_height"]))
    if size is None and regions:
        raise ValueError("it has no original_width and original_height")
    rectangles, points = [], []
    for id, region in regions.items():
        (label, kind) = _label(region)
        if kind is None or label is None or "points" in region:
            gathered.problems.add("left out: it is neither a key point nor a rectangle", where)
            continue
        assert size is not None
        scale = (size[0] / 100, size[1] / 100)
        x, y = region["x"] * scale[0], region["y"] * scale[1]
        if kind == _POINTS:
            points.append(Point(label, x, y, group=_first(related, id)))
        elif region.get("rotation"):
            gathered.problems.add("left out: a rectangle that is turned is not a box", where)
        else:
            sides = region["width"] * scale[0], region["height"] * scale[1]
            rectangles.append(Rectangle(label, (x, y, *sides), group=_first(related, id)))
    return _Task(image, size, rectangles, points)


def _relate(related: dict[str, str], one: str, other: str) -> None:
    """Notes that two regions are of the same object: the first one's leads to the other's."""
    for id in (one, other):
        related.setdefault(id, id)
    related[_first(related, one) or one] = _first(related, other) or other


def _first(related: Mapping[str, str], id: str) -> str | None:
    """Returns the region that stands for all of an object; None for a region without relations."""
    if id not in related:
        return None
    while related[id] != id:
        id = related[id]
    return id


def _result(annotations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the parts of the annotation that counts."""
    done = [a for a in annotations if not a.get("was_cancelled") and a.get("result")]
    chosen = [a for a in done if a.get("ground_truth")] or done
    return chosen[-1]["result"] if chosen else []


def _minimal(task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for value in task.values():
        for region in value if isinstance(value, list) else []:
            if isinstance(region, dict) and "original_width" in region:
                yield {**{k: region[k] for k in ("original_width", "original_height")},
                       "value": region}  # fmt: skip


def _label(region: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Returns the label of a region, and whether it is a point or a rectangle."""
    for kind in (_POINTS, _BOXES):
        if region.get(kind):
            return str(region[kind][0]), kind
    labels = region.get("labels")
    kind = _BOXES if region.get("height") is not None else _POINTS
    return (str(labels[0]), kind) if labels and "x" in region else (None, None)


def _image_of(data: Mapping[str, Any]) -> str:
    """Returns the name of a task's image: the part of an address that can be its path."""
    texts = [value for value in data.values() if isinstance(value, str)]
    for text in texts:
        address = urllib.parse.urlsplit(text)
        query = urllib.parse.parse_qs(address.query)
        name = query["d"][0] if "d" in query else urllib.parse.unquote(address.path or text)
        if pathlib.PurePath(name).suffix.lower() in formats.IMAGES:
            return name
    raise ValueError("its data names no image")


def _there(root: pathlib.Path, name: str, outside: bool) -> pathlib.Path:
    there = moved(root, name, outside=outside)
    if is_file(there):
        return there
    short = _UPLOADED.sub("", pathlib.PurePath(name).name, count=1)
    for near in (root, root / "images"):
        for candidate in (pathlib.PurePath(name).name, short):
            if is_file(moved(near, candidate)):
                return moved(near, candidate)
    return there
