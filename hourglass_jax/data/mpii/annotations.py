"""Reads `mpii_human_pose_v1_u12_1.mat`, the official annotations.

`RELEASE` holds, one entry for each image, `annolist` (the image's name and its people) and
`img_train` (0: a test image, whose people have no joints). A list of one item is stored as the
item, a missing value as an absent field or an empty array, and `is_visible` as a number, a text or
nothing. Pixels count from 1.
"""

import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from hourglass_jax.data.base import Annotation
from hourglass_jax.data.formats import matlab
from hourglass_jax.errors import UserError

NUM_JOINTS = 16
# The toolkit's SC_BIAS: the head size is this share of the head box's diagonal.
HEAD_SHARE = 0.6
# px, beyond any image: damaged files hold such numbers.
_LARGEST = 1e6


class Entry(NamedTuple):
    """An entry of `annolist`: its image's name, whether it is for training, and its `annorect`s.

    Values that the file lacks are NaN: an annotation's center, its size, or its reference, which
    is the head size.
    """

    name: str
    train: bool
    annotations: list[Annotation]


def read(path: pathlib.Path) -> list[Entry]:
    """Reads the entries of the official file, in order.

    Raises:
      UserError: the file is not in MPII's format, or is damaged.
    """
    try:
        release = matlab.load(path, "RELEASE")
        images, train = _list(release.annolist), np.atleast_1d(release.img_train)
        if len(images) != len(train):
            raise ValueError(f"annolist has {len(images)} entries and img_train {len(train)}")
        if not images:
            raise ValueError("annolist is empty")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _damaged(path, str(error)) from None
    entries = []
    for i, (entry, is_train) in enumerate(zip(images, train, strict=True), start=1):
        try:
            entries.append(_entry(entry, is_train))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise _damaged(path, f"annolist({i}): {error}") from None
    return entries


def _damaged(path: pathlib.Path, what: str) -> UserError:
    return UserError(
        f"{path} cannot be read as MPII's annotations ({' '.join(what.split())}); unpack "
        f"mpii_human_pose_v1_u12_2.zip again"
    )


def _entry(entry: Any, is_train: Any) -> Entry:
    name = entry.image.name
    if not isinstance(name, str) or not name or pathlib.PurePath(name).name != name:
        raise ValueError(f"image.name is {name!r}")
    rects = _list(getattr(entry, "annorect", None))
    people = [_annotation(rect, f"{name}/{i}") for i, rect in enumerate(rects, start=1)]
    if _number(is_train) not in (0, 1):
        raise ValueError(f"img_train is {is_train!r}, not 0 or 1")
    return Entry(name, bool(_number(is_train)), people)


def _annotation(rect: Any, id: str) -> Annotation:
    joints, labelled, visible = np.zeros((NUM_JOINTS, 2)), *np.zeros((2, NUM_JOINTS), bool)
    points = _list(getattr(rect, "annopoints", None))
    for point in _list(getattr(points[0], "point", None)) if points else []:
        joint = _number(getattr(point, "id", None))
        if math.isnan(joint):
            continue
        if joint not in range(NUM_JOINTS):
            raise ValueError(f"a point's id is {getattr(point, 'id', None)!r}, not 0 to 15")
        xy = np.array([_number(getattr(point, "x", None)), _number(getattr(point, "y", None))])
        if not (np.abs(xy) < _LARGEST).all():  # NaN is not
            continue
        joint = int(joint)
        joints[joint], labelled[joint] = xy - 1, True
        # The visibility of neck and head is not given; only a 0 means hidden.
        visible[joint] = _number(getattr(point, "is_visible", None)) != 0
    objpos = (_list(getattr(rect, "objpos", None)) or [None])[0]
    place = [_number(getattr(objpos, axis, None)) - 1 for axis in "xy"]
    scale = _number(getattr(rect, "scale", None))
    x1, y1, x2, y2 = (_number(getattr(rect, side, None)) for side in ("x1", "y1", "x2", "y2"))
    return Annotation(
        id=id,
        center=np.array(place) + np.array([0, 15 * scale]),
        size=200 * 1.25 * scale,
        joints=joints,
        labelled=labelled,
        visible=visible,
        reference=HEAD_SHARE * math.hypot(x2 - x1, y2 - y1),
    )


def _list(value: Any) -> list:
    """Returns as a list what MATLAB stores as an array, a single item or nothing."""
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    return [value]


def _number(value: Any) -> float:
    """Returns as a number what MATLAB stores as a number, a text or nothing (NaN)."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size == 1 else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    return float(value)
