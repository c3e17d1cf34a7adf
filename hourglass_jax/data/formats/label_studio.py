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
from hourglass_jax.data.formats.image_paths import folder_beside, moved
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Place
from hourglass_jax.data.formats.problems import Problems, text_of
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
    labelled = {"annotations", "predictions"} & content[0].keys()
    return bool("data" in content[0] and labelled) or _is_minimal(content[0])


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
            tasks.append((where, _task(entry, gathered.problems, where)))
        except WRONG as error:
            gathered.problems.add(f"left out: {text_of(error)}", where)
    joints = list(dict.fromkeys(point.name for _, task in tasks for point in task.points))
    root = folder or folder_beside(path, [task.image for _, task in tasks], _in_folder)
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


def _task(task: Any, problems: Problems, where: str) -> _Task:
    if not isinstance(task, dict):
        raise ValueError("it is not an object with fields")
    minimal = not isinstance(task.get("data"), dict)
    image = _image_of(task if minimal else task["data"])
    parts = list(_minimal(task)) if minimal else _result(task.get("annotations") or [])
    regions, related, size = _regions(parts, problems, where)
    if size is None and regions:
        raise ValueError("it has no original_width and original_height")
    rectangles, points = [], []
    for id, region in regions.items():
        try:
            assert size is not None
            shape = _shape(region, size, _first(related, id))
            if isinstance(shape, Point):
                points.append(shape)
            else:
                rectangles.append(shape)
        except WRONG as error:
            problems.add(f"a region is left out: {text_of(error)}", where)
    return _Task(image, size, rectangles, points)


def _regions(
    parts: Sequence[Any], problems: Problems, where: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str], tuple[int, int] | None]:
    """Returns the regions by id, which of them are of the same object, and the image's size."""
    regions: dict[str, dict[str, Any]] = {}
    relations, size = [], None
    for i, part in enumerate(parts):
        try:
            if not isinstance(part, dict):
                raise ValueError("it is not an object with fields")
            if part.get("type") == "relation":
                relations.append((str(part.get("from_id")), str(part.get("to_id"))))
                continue
            # A region's shape and its labels may be two parts.
            id = str(part.get("id", f"#{i}"))
            regions.setdefault(id, {}).update(part["value"])
            if part.get("parentID"):
                relations.append((id, str(part["parentID"])))
            if part.get("original_width"):
                size = (int(part["original_width"]), int(part["original_height"]))
        except WRONG as error:
            problems.add(f"a region is left out: {text_of(error)}", where)
    related: dict[str, str] = {}  # from a region to another one of the same object
    for one, other in relations:
        if {one, other} <= regions.keys():  # the other one may have been deleted
            _relate(related, one, other)
    return regions, related, size


def _shape(
    region: Mapping[str, Any], size: tuple[int, int], group: str | None
) -> Point | Rectangle:
    """Returns the point or rectangle of a region; raises ValueError for other things."""
    label, kind = _label(region)
    if kind is None or label is None or "points" in region:
        raise ValueError("it is neither a key point nor a rectangle")
    names = ("x", "y") if kind == _POINTS else ("x", "y", "width", "height")
    try:
        numbers = [float(region[name]) for name in names]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"its {', '.join(names)} are not numbers") from None
    x, y, *sides = (value * side / 100 for value, side in zip(numbers, size * 2, strict=False))
    if kind == _POINTS:
        return Point(label, x, y, group=group)
    if region.get("rotation"):
        raise ValueError("a rectangle that is turned is not a box")
    return Rectangle(label, (x, y, sides[0], sides[1]), group=group)


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
    return there if is_file(there) else _in_folder(root, name)


def _in_folder(root: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of an image in a folder, as it was called before it was uploaded, too."""
    short = _UPLOADED.sub("", pathlib.PurePath(name).name, count=1)
    tried = [moved(near, n) for near in (root, root / "images") for n in (name, short)]
    return next(filter(is_file, tried), tried[0])
