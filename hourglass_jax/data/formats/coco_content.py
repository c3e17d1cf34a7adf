"""Annotations in COCO's form, whichever format a file has: images, annotations and categories.

x, y count from 0; a joint's third number is 0 (not labelled), 1 (labelled, occluded) or 2
(visible). An entry that is wrong is left out; the file's other entries are taken.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hourglass_jax.data.base import NO_JOINTS, Annotation
from hourglass_jax.data.formats import categories, keypoint_file, values
from hourglass_jax.data.formats.image_paths import OutsideError
from hourglass_jax.data.formats.keypoint_file import LARGEST, Box, KeypointFile, Side
from hourglass_jax.data.formats.places import Place
from hourglass_jax.data.formats.problems import Problems, text_of
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError

# Field of an image: false where there may be people or objects without an annotation.
_ALL_LISTED = "all_people_listed"
# Field of an image or annotation that other formats' readers set: what messages call it.
WHERE = "_where"
# What values of other kinds than expected raise.
WRONG = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError)


def of_content(
    path: pathlib.Path,
    content: Mapping[str, list],
    place_of: Callable[[Mapping[str, Any]], Place],
    *,
    problems: Problems,
    boxes: bool = False,
) -> KeypointFile:
    """Returns the annotations of the first category with keypoints, and of others with the same.

    Categories without annotations are passed over.

    Args:
      path: path of the file, for messages.
      content: images, annotations and categories in COCO's format, whichever format the file has.
      place_of: function of an image's entry that says where the image is; raises OutsideError, or
        ValueError to leave the image out.
      problems: takes note of entries that are wrong.
      boxes: whether to read all categories, also those with other joints or without any.

    Raises:
      UserError: no category has joints, or the name of an image leads out of its folder.
    """
    known = categories.by_id(content["categories"], problems)
    if boxes and not known:
        raise UserError(f"{path} has no categories; add those of your annotations")
    able = any(category.get("keypoints") for category in known.values())
    meant = categories.meant(path, content, known) if able or not boxes else None
    skeleton, given, same = NO_JOINTS, False, set()
    if able:
        skeleton, given = _skeleton(path, known[meant], problems)
        same = {i for i, c in known.items() if c.get("keypoints") == known[meant]["keypoints"]}
    wanted = {i: str(c.get("name", i)) for i, c in known.items() if boxes or i in same}
    places = {i: place if boxes else 0 for place, i in enumerate(wanted)}
    paths, sizes, partly = _images(path, content["images"], place_of, problems)
    annotations: dict[categories.Id, list[Annotation]] = {number: [] for number in paths}
    taken: dict[str, int] = {}
    for i, entry in categories.entries_of(content, "annotations", problems):
        where = str(entry.get(WHERE, f"annotations[{i}]"))
        try:
            category = categories.category_of(entry, known)
            if category not in wanted:
                problems.add(f"left out: {categories.other(category, known, meant)}", where)
                continue
            image = values.identity(entry.get("image_id"), "image_id")
            if image not in paths:
                raise ValueError("its image_id is not the id of an image in the file")
            if paths[image] is None:
                raise ValueError("its image_id is the id of several images")
            id = f"{image}/{_own_id(entry, i)}"
            if id in taken:
                if content["annotations"][taken[id]] == entry:
                    raise ValueError("it is in the file twice")
                problems.add("taken, though its id occurs more than once in the image", where)
            while id in taken:
                id = f"{id}.{i}"
            if category not in same:  # other joints than the skeleton's, or none
                if entry.get("keypoints"):
                    why = categories.other(category, known, meant)
                    problems.add(f"its joints are left out: {why}", where)
                entry = {**entry, "keypoints": []}
            made = _annotation(entry, id, skeleton.num_joints, problems, where)
            annotations[image].append(dataclasses.replace(made, category=places[category]))
            taken[id] = i
        except WRONG as error:
            problems.add(f"left out: {text_of(error)}", where)
    annotated = [
        there.image(
            annotations[number],
            id=str(number),
            size=_whole(sizes[number]),
            exhaustive=number not in partly,
        )
        for number, there in paths.items()
        if there is not None
    ]
    return KeypointFile(
        name=str(path),
        skeleton=skeleton,
        images=annotated,
        problems=problems,
        categories=wanted,
        pairs_given=given,
        sizes={str(number): size for number, size in sizes.items()},
    )


def _skeleton(
    path: pathlib.Path, category: Mapping[str, Any], problems: Problems
) -> tuple[Skeleton, bool]:
    """Returns a category's skeleton, and whether the file gives its pairs."""
    try:
        return categories.skeleton_of(category, problems)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except WRONG as error:
        raise UserError(f"{path}, category {category.get('name')!r}: {text_of(error)}") from None


def _images(
    path: pathlib.Path,
    entries: list,
    place_of: Callable[[Mapping[str, Any]], Place],
    problems: Problems,
) -> tuple[
    dict[categories.Id, Place | None],
    dict[categories.Id, tuple[Side, Side]],
    set[categories.Id],
]:
    """Returns places and sizes of the images by id, and the ids of those that list only a part.

    The place of an ambiguous id is None.
    """
    paths: dict[categories.Id, Place | None] = {}
    sizes: dict[categories.Id, tuple[Side, Side]] = {}
    partly: set[categories.Id] = set()
    for i, image in categories.entries_of({"images": entries}, "images", problems):
        where = str(image.get(WHERE, f"images[{i}]"))
        try:
            number = values.identity(image.get("id"), "id")
            there = place_of(image)
        except OutsideError as error:
            raise UserError(f"{path}, {where}: {error}") from None
        except ValueError as error:
            problems.add(f"left out: {text_of(error)}", where)
            continue
        if image.get(_ALL_LISTED) is False:
            partly.add(number)
        if paths.setdefault(number, there) != there:
            paths[number] = None
            problems.add(f"left out: its id {number} is that of another image", where)
        sizes.setdefault(
            number, (values.side(image.get("width")), values.side(image.get("height")))
        )
    return paths, sizes, partly


def _whole(size: tuple[Side, Side]) -> tuple[int, int] | None:
    width, height = size
    return None if width is None or height is None else (width, height)


def _own_id(entry: Mapping[str, Any], place: int) -> str:
    """Returns the part of an annotation's id behind the slash; its place where it has none."""
    try:
        return str(values.identity(entry.get("id"), "id")).replace("/", "_")
    except ValueError:
        return f"#{place}"


def _annotation(
    entry: Mapping[str, Any], id: str, num_joints: int, problems: Problems, where: str
) -> Annotation:
    joints = _keypoints(entry.get("keypoints"), num_joints)
    xy, flags = joints[:, :2], joints[:, 2]
    if not ((flags == 0) | (flags == 1) | (flags == 2)).all():
        problems.add("a visibility other than 0, 1 and 2; above 0 counts as labelled", where)
    # Partly missing labels are normal: a joint with a coordinate that is NaN is not labelled.
    usable = (np.abs(xy) < LARGEST).all(axis=1)
    labelled = (flags > 0) & usable
    if ((flags > 0) & ~usable).any():
        problems.add("a joint whose coordinates are not px counts as not labelled", where)
    return keypoint_file.annotation(
        id=id,
        joints=np.where(labelled[:, None], xy, 0),
        labelled=labelled,
        visible=labelled & (flags == 2),
        box=_box(entry.get("bbox"), problems, where),
        crowd=values.flag(entry.get("iscrowd"), "iscrowd"),
        area=_area(entry.get("area")),
        track=_track(entry.get("track_id")),
    )


def _track(number: Any) -> int | None:
    whole = isinstance(number, int) and not isinstance(number, bool)
    return number if whole and number >= 0 else None


def _keypoints(numbers: Any, num_joints: int) -> np.ndarray:
    """Returns x, y and visibility [joints, 3], also of nested lists, and of pairs x, y."""
    if not numbers:
        return np.zeros((num_joints, 3))
    if not isinstance(numbers, list):
        raise ValueError("keypoints is not a list")
    if any(isinstance(joint, list) for joint in numbers):
        numbers = [number for joint in numbers for number in _triple(joint)]
    if len(numbers) != 3 * num_joints:
        raise ValueError(f"keypoints has {len(numbers)} numbers, not 3 for {num_joints} joints")
    try:
        return np.array(numbers, np.float64).reshape(num_joints, 3)
    except (TypeError, ValueError):
        raise ValueError("keypoints holds other things than numbers") from None


def _triple(joint: Any) -> list:
    if not joint:
        return [0, 0, 0]
    if len(joint) == 2:  # without a visibility; 0, 0 stands for no label
        return [*joint, 0 if joint[0] is None or (joint[0] == 0 and joint[1] == 0) else 2]
    if len(joint) != 3:
        raise ValueError(f"a joint has {len(joint)} numbers, not x, y and visibility")
    return joint


def _box(box: Any, problems: Problems, where: str) -> Box | None:
    if not box:
        return None
    try:
        x, y, width, height = (float(number) for number in box)
    except WRONG:
        problems.add("its bbox is left out: it is not the numbers x, y, width, height", where)
        return None
    if not all(abs(number) < LARGEST for number in (x, y, width, height)):
        problems.add("its bbox is left out: its numbers are not px", where)
    elif min(width, height) <= 0:
        problems.add("its bbox is left out: it has no width or height", where)
    else:
        return x, y, width, height
    return None


def _area(area: Any) -> float | None:
    try:
        number = float(area)
    except WRONG:
        return None
    return number if 0 < number < LARGEST**2 else None
