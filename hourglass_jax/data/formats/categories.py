"""Which category of a file in COCO's format is meant, and its skeleton."""

import collections
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from hourglass_jax.data.formats import values
from hourglass_jax.data.formats.mirror import pairs_of
from hourglass_jax.data.formats.problems import Problems
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError

Id = int | str


def entries_of(
    content: Mapping[str, list], part: str, problems: Problems
) -> Iterator[tuple[int, dict]]:
    """Yields place and content of each entry that is an object."""
    for i, entry in enumerate(content[part]):
        if isinstance(entry, dict):
            yield i, entry
        else:
            problems.add("left out: it is not an object with fields", f"{part}[{i}]")


def by_id(entries: list, problems: Problems) -> dict[Id | None, dict]:
    """Returns the categories by id; the only one of a file may lack it."""
    found: dict[Id | None, dict] = {}
    for i, entry in entries_of({"categories": entries}, "categories", problems):
        try:
            alone = len(entries) == 1 and entry.get("id") is None
            number = None if alone else values.identity(entry.get("id"), "id")
            if found.setdefault(number, entry) is not entry:
                raise ValueError(f"its id {number} is that of another category")
        except ValueError as error:
            problems.add(f"left out: {error}", f"categories[{i}]")
    return found


def category_of(entry: Mapping[str, Any], known: Mapping[Id | None, dict]) -> Id | None:
    """Returns the id of an annotation's category; the only one of a file need not be named."""
    named = entry.get("category_id")
    (only, *more) = known
    if not more and (named is None or only is None):
        return only
    return values.identity(named, "category_id")


def meant(path: pathlib.Path, content: Mapping[str, list], known: Mapping) -> Id | None:
    """Returns the first category that has both keypoints and annotations."""
    able = [number for number, category in known.items() if category.get("keypoints")]
    boxes = any(isinstance(e, dict) and e.get("bbox") for e in content["annotations"])
    if not able and boxes:
        raise UserError(
            f"{path} has no category with `keypoints`, but boxes: learn them with "
            f"configs/custom_boxes.py, or add to the category the list of its joints' names"
        )
    if not able:
        raise UserError(
            f"{path} has no category with `keypoints`, the list of the joints' names; add it to "
            f"the category of your annotations"
        )
    counts = collections.Counter()
    for entry in content["annotations"]:
        if isinstance(entry, dict) and entry.get("keypoints"):
            try:
                counts[category_of(entry, known)] += 1
            except ValueError:
                continue
    return next((number for number in able if counts[number]), able[0])


def other(category: Id | None, known: Mapping[Id | None, dict], meant: Id | None) -> str:
    """Returns why annotations of a category are left out."""
    if category not in known:
        has = ", ".join(repr(number) for number in list(known)[:5])
        return f"its category_id {category!r} is no category of the file, which has {has}"
    other, name = known[category].get("name", category), known[meant].get("name", meant)
    why = "has other joints" if known[category].get("keypoints") else "has no `keypoints`"
    return f"the category {other!r} {why}; {name!r} is meant"


def skeleton_of(category: Mapping[str, Any], problems: Problems) -> tuple[Skeleton, bool]:
    """Returns a category's skeleton, and whether the file gives its pairs.

    Raises:
      ValueError, UserError: names or pairs are wrong.
    """
    names = category["keypoints"]
    if not isinstance(names, list) or any(not isinstance(n, (str, int, float)) for n in names):
        raise ValueError("`keypoints` is not a list of the joints' names")
    joints = tuple(str(name) for name in names)
    name = str(category.get("name", "custom"))
    Skeleton(name, joints, (), ())  # no name may be there twice
    pairs, given = pairs_of(category, joints)
    limbs = _limbs(category.get("skeleton"), joints, problems)
    return Skeleton(name, joints, pairs, limbs), given


def _limbs(entries: Any, joints: tuple[str, ...], problems: Problems) -> tuple:
    """Returns the limbs, which are for drawing alone: those that are wrong are left out."""
    limbs = []
    for i, limb in enumerate(entries if isinstance(entries, list) else []):
        try:
            a, b = (end if end in joints else values.whole(end) for end in limb)
            limbs.append((a, b))
        except (TypeError, ValueError):
            problems.add("left out: it is not two joints, counted from 1", f"skeleton[{i}]")
    numbers = {end for limb in limbs for end in limb if isinstance(end, int)}
    first = 0 if 0 in numbers and len(joints) not in numbers else 1
    found = []
    for limb in limbs:
        places = [joints.index(end) if isinstance(end, str) else end - first for end in limb]
        if not all(0 <= place < len(joints) for place in places):
            what = f"left out: a limb of {len(joints)} joints cannot be {list(limb)}"
            problems.add(what, "skeleton")
        elif places[0] != places[1]:
            found.append((joints[places[0]], joints[places[1]]))
    return tuple(found)
