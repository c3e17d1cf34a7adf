"""Reads `mpii_human_pose_v1_u12_1.mat`, the official annotations, irregular as they are.

`RELEASE` holds, one entry a photograph, `annolist` (the picture's name and its people) and
`img_train` (0: a test picture, whose people have no joints). A list of one is stored as the thing
itself, a missing value as an absent field or an empty array, and `is_visible` as a number, a text
or nothing. Pixels count from 1.
"""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Bool, Float

from hourglass_jax.errors import UserError

NUM_JOINTS = 16
# The toolkit's SC_BIAS: the head size is this share of the head box's diagonal.
HEAD_SHARE = 0.6
# px beyond any picture, which damaged files name.
_LARGEST = 1e6


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """An `annorect`; px of the photograph, 0-based.

    Attributes:
      objpos: x, y of the person's middle, NaN where it lacks.
      scale: height in units of 200 px, NaN where it lacks.
      joints_source: x, y; zero where not labelled.
      labelled: whether a joint has coordinates.
      visible: labelled and not said to be hidden.
      head_size: 0.6 of the head box's diagonal, NaN where there is no such box.
    """

    objpos: Float[np.ndarray, "2"]
    scale: float
    joints_source: Float[np.ndarray, "16 2"]
    labelled: Bool[np.ndarray, " 16"]
    visible: Bool[np.ndarray, " 16"]
    head_size: float

    @property
    def has_box(self) -> bool:
        return bool(np.isfinite(self.objpos).all() and 0 < self.scale < math.inf)


@dataclasses.dataclass(frozen=True, eq=False)
class Photograph:
    """An entry of `annolist`: the picture's name, whether it is for training, and its people."""

    name: str
    train: bool
    people: list[Annotation]


def read(path: pathlib.Path) -> list[Photograph]:
    """Reads the official file, its photographs in their order.

    Raises:
      UserError: it is no such file, or is damaged.
    """
    try:
        content = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True)
        release = content["RELEASE"]
        images, train = _list(release.annolist), np.atleast_1d(release.img_train)
        if len(images) != len(train):
            raise ValueError(f"annolist has {len(images)} entries and img_train {len(train)}")
        if not images:
            raise ValueError("annolist is empty")
    # loadmat has no exception of its own: damaged files raise whatever its parser stumbles over.
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    photographs = []
    for i, (entry, is_train) in enumerate(zip(images, train, strict=True), start=1):
        try:
            photographs.append(_photograph(entry, is_train))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise _damaged(path, f"annolist({i}): {error}") from None
    return photographs


def _damaged(path: pathlib.Path, what: str) -> UserError:
    return UserError(
        f"{path} cannot be read as MPII's annotations ({' '.join(what.split())}); unpack "
        f"mpii_human_pose_v1_u12_2.zip again"
    )


def _photograph(entry: Any, is_train: Any) -> Photograph:
    name = entry.image.name
    if not isinstance(name, str) or not name or pathlib.PurePath(name).name != name:
        raise ValueError(f"image.name is {name!r}")
    people = [_annotation(rect) for rect in _list(getattr(entry, "annorect", None))]
    if _number(is_train) not in (0, 1):
        raise ValueError(f"img_train is {is_train!r}, not 0 or 1")
    return Photograph(name, bool(_number(is_train)), people)


def _annotation(rect: Any) -> Annotation:
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
        # Nobody said of neck and head whether they are visible; only a 0 means hidden.
        visible[joint] = _number(getattr(point, "is_visible", None)) != 0
    objpos = (_list(getattr(rect, "objpos", None)) or [None])[0]
    center = [_number(getattr(objpos, axis, None)) - 1 for axis in "xy"]
    x1, y1, x2, y2 = (_number(getattr(rect, side, None)) for side in ("x1", "y1", "x2", "y2"))
    return Annotation(
        objpos=np.array(center),
        scale=_number(getattr(rect, "scale", None)),
        joints_source=joints,
        labelled=labelled,
        visible=visible,
        head_size=HEAD_SHARE * math.hypot(x2 - x1, y2 - y1),
    )


def _list(value: Any) -> list:
    """What MATLAB stores as a list, one thing or nothing."""
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    return [value]


def _number(value: Any) -> float:
    """The number that MATLAB stores as a number, a text or nothing, which is NaN here."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size == 1 else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    return float(value)
