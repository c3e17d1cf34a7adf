"""Reads LabelMe's JSON files, one for each image: points, and rectangles around objects.

A point's label is a joint. Points and rectangles of a group ("group_id") are one object; see
`grouping` for those without.
"""

import base64
import binascii
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from hourglass_jax.data import images
from hourglass_jax.data.formats import coco_json, values
from hourglass_jax.data.formats.coco_content import WRONG
from hourglass_jax.data.formats.gathered import Gathered
from hourglass_jax.data.formats.grouping import Point, Rectangle, grouped
from hourglass_jax.data.formats.image_paths import folder_beside, moved
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Image, Place
from hourglass_jax.data.formats.problems import Problems, text_of
from hourglass_jax.errors import UserError


def is_labels(content: Any) -> bool:
    """Returns whether a JSON file's content is LabelMe's."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of labels in a folder and in folders inside, sorted."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            if is_labels(coco_json.load_json(path)):
                found.append(path)
        except UserError:  # a file of another program
            continue
    return found


def read(
    path: pathlib.Path, folder: pathlib.Path | None, *, outside: bool = False, boxes: bool = False
) -> KeypointFile:
    """Reads a file of labels, or all of a folder; other arguments as in `coco_json.read`.

    Images are looked for in `folder`, else beside the file of their labels, inside it, and near it.

    Raises:
      UserError: there are no points or rectangles that can be used.
    """
    gathered, labelled = Gathered(path), []
    for file in files_of(path) if path.is_dir() else [path]:
        where = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            content = coco_json.load_json(file)
            shapes = _shapes(content["shapes"], gathered.problems, where)
            place, size = _place(file, content, folder, outside), _size(content)
        except WRONG as error:
            gathered.problems.add(f"left out: {text_of(error)}", where)
            continue
        gathered.file(file)
        labelled.append((where, place, size, *shapes))
    joints = list(dict.fromkeys(point.name for *_, points in labelled for point in points))
    for where, place, size, rectangles, points in labelled:
        image = gathered.image(place, size)
        objects = grouped(rectangles, points, gathered.problems, where)
        gathered.objects(image, objects, joints, where)
    if gathered.is_empty:
        raise UserError(
            f"{path} looks like LabelMe's and has no points or rectangles that can be used: "
            f"{gathered.problems or 'there are none'}"
        )
    return gathered.result(boxes=boxes)


def _shapes(shapes: list, problems: Problems, where: str) -> tuple[list[Rectangle], list[Point]]:
    rectangles, points = [], []
    for shape in shapes:
        try:
            if not shape.get("label"):
                raise ValueError("it has no label")
            kind, label = shape.get("shape_type", "polygon"), str(shape["label"])
            group = None if shape.get("group_id") is None else f"group {shape['group_id']}"
            numbers = [(float(x), float(y)) for x, y in shape["points"]]
            if kind == "point":
                flags = shape.get("flags") or {}
                if len(numbers) != 1:
                    raise ValueError(f"a point has {len(numbers)} places")
                ((x, y),) = numbers
                points.append(Point(label, x, y, not flags.get("occluded"), group))
            elif kind == "rectangle":
                xs, ys = zip(*numbers, strict=True)
                box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
                rectangles.append(Rectangle(label, box, group))
            else:
                problems.add(f"left out: a {kind} is neither a point nor a rectangle", where)
        except WRONG as error:
            problems.add(f"a shape is left out: {text_of(error)}", where)
    return rectangles, points


def _size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = (values.side(content.get(name)) for name in ("imageWidth", "imageHeight"))
    return (width, height) if width and height else None


def _place(
    file: pathlib.Path, content: Mapping[str, Any], folder: pathlib.Path | None, outside: bool
) -> Place:
    name = content.get("imagePath")
    if not isinstance(name, str):
        raise ValueError("there is no imagePath")
    for root in (folder or file.parent, file.parent):
        there = moved(root, name, outside=outside)
        if images.is_file(there):
            return Place(there)
    data = content.get("imageData")
    if isinstance(data, str):
        return Place(file, pathlib.PurePath(name).name, functools.partial(_inside, file))
    return Place(moved(folder or folder_beside(file, [name], moved), name, outside=outside))


def _inside(file: pathlib.Path) -> Image:
    """Returns the image inside a file of labels; LabelMe stores it upright."""
    try:
        content = base64.b64decode(coco_json.load_json(file)["imageData"])
    except (binascii.Error, TypeError, KeyError) as error:
        raise UserError(f"{file}: its imageData cannot be decoded ({error})") from None
    return images.read_image(content, str(file), upright=True)
