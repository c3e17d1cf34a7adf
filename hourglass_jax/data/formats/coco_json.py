"""Reads keypoint annotations in COCO's JSON format, of any category and any joints.

x, y count from 0; a joint's third number is 0 (not labelled), 1 (labelled, hidden) or 2 (visible).
"""

import dataclasses
import json
import logging
import math
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data.skeleton import Skeleton, pairs_by_name
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry

logger = logging.getLogger(__name__)

BOX_MARGIN = 1.25
# Beyond any picture; finite, and squares of it are, too.
_LARGEST = 1e6


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """An annotation; px of the picture.

    Attributes:
      id: of the annotation.
      image_id: of its picture.
      image: the picture's file name.
      joints_source: x, y; zero where not labelled.
      labelled: whether a joint has coordinates.
      visible: labelled and not hidden.
      box: x, y, width, height; None where there is none that can be used.
      crowd: a group of people marked as one.
      picture_size: width and height of the picture, where the file tells.
    """

    id: int
    image_id: int
    image: str
    joints_source: Float[np.ndarray, "joints 2"]
    labelled: Bool[np.ndarray, " joints"]
    visible: Bool[np.ndarray, " joints"]
    box: tuple[float, float, float, float] | None
    crowd: bool
    picture_size: tuple[int, int] | None = None

    def square(self) -> tuple[Float[np.ndarray, "2"], float]:
        """Returns center and size of the person's box: around `box`, else around the joints."""
        if self.box is None:
            return geometry.box_around(self.joints_source, self.labelled, BOX_MARGIN)
        return square_around(self.box)


def square_around(box: tuple[float, float, float, float]) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the square around x, y, width, height, 1.25 times as large.

    COCO measures boxes from the picture's corner, which lies half a pixel before pixel 0's centre.
    """
    x, y, width, height = box
    center = np.array([x + width / 2 - 0.5, y + height / 2 - 0.5])
    return center, max(width, height, 2.0) * BOX_MARGIN


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointFile:
    """A file's content: what the joints are called, and everybody who has the category.

    `pairs_given` tells whether the file names its pairs; else they were found in the names.
    """

    skeleton: Skeleton
    category_id: int
    instances: list[Instance]
    images: dict[int, str]
    pairs_given: bool


def read(path: pathlib.Path) -> KeypointFile:
    """Reads a file; of several categories with keypoints the first, and those of the same joints.

    Raises:
      UserError: it is no such file; names the entry.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    where = "the file"
    try:
        for name in ("images", "annotations", "categories"):
            if not isinstance(content[name], list):
                raise ValueError(f"{name!r} is no list")
        where = "categories"
        category = next(c for c in content["categories"] if c.get("keypoints"))
        skeleton, given = _skeleton(category)
        alike = [c for c in content["categories"] if c.get("keypoints") == category["keypoints"]]
        categories = {whole(c["id"]) for c in alike}
        for other in content["categories"]:
            if other not in alike:
                logger.info("%s: left out are annotations of %r", path, other.get("name"))
        images, sizes = {}, {}
        for i, image in enumerate(content["images"]):
            where = f"images[{i}]"
            number, name = whole(image["id"]), _file_name(image["file_name"])
            if images.setdefault(number, name) != name:
                raise ValueError(f"id {number} is {images[number]!r} already")
            if image.get("width") and image.get("height"):
                sizes[number] = (whole(image["width"]), whole(image["height"]))
        instances = []
        for i, annotation in enumerate(content["annotations"]):
            where = f"annotations[{i}]"
            if annotation["category_id"] in categories:
                instances.append(_instance(annotation, images, sizes, skeleton.num_joints))
        category_id = whole(category["id"])
    except StopIteration:
        raise UserError(f"{path} has no category with `keypoints`") from None
    except KeyError as error:
        raise UserError(f"{path}, {where}: there is no {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}, {where}: {' '.join(str(error).split())}") from None
    return KeypointFile(skeleton, category_id, instances, images, given)


def _skeleton(category: dict) -> tuple[Skeleton, bool]:
    joints = [str(name) for name in category["keypoints"]]
    ends = [(whole(a), whole(b)) for a, b in category.get("skeleton", [])]
    if ends and min(min(pair) for pair in ends) < 1:
        raise ValueError("skeleton counts joints from 1")
    limbs = [(joints[a - 1], joints[b - 1]) for a, b in ends]
    limbs = [limb for limb in limbs if limb[0] != limb[1]]
    given = "pairs" in category or "flip_pairs" in category
    if given:
        pairs = [tuple(pair) for pair in category.get("pairs", category.get("flip_pairs"))]
    else:
        pairs = pairs_by_name(joints)
    return Skeleton(str(category.get("name", "custom")), joints, pairs, limbs), given


def _instance(
    annotation: dict, images: dict[int, str], sizes: dict[int, tuple], num_joints: int
) -> Instance:
    image_id = whole(annotation["image_id"])
    if image_id not in images:
        raise ValueError(f"image_id {image_id} is no picture of the file")
    numbers = annotation.get("keypoints") or [0] * (3 * num_joints)
    if len(numbers) != 3 * num_joints:
        raise ValueError(f"keypoints has {len(numbers)} numbers, not 3 for {num_joints} joints")
    joints = np.array(numbers, np.float64).reshape(num_joints, 3)
    # Labels that are partly missing are normal: a coordinate that is none is no label.
    labelled = (joints[:, 2] > 0) & (np.abs(joints[:, :2]) < _LARGEST).all(axis=1)
    box = annotation.get("bbox")
    if box is not None:
        box = tuple(float(number) for number in box)
        if len(box) != 4:
            raise ValueError(f"bbox has {len(box)} numbers, not x, y, width, height")
        usable = all(abs(number) < _LARGEST for number in box) and min(box[2:]) > 0
        box = box if usable else None
    return Instance(
        id=whole(annotation["id"]),
        image_id=image_id,
        image=images[image_id],
        joints_source=np.where(labelled[:, None], joints[:, :2], 0),
        labelled=labelled,
        visible=labelled & (joints[:, 2] == 2),
        box=box,
        crowd=bool(annotation.get("iscrowd", 0)),
        picture_size=sizes.get(image_id),
    )


def _file_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"file_name {name!r} is no name")
    return name


def whole(number: Any) -> int:
    """Returns a JSON number as the whole number that it is; ValueError if it is none."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number):
        raise ValueError(f"{number!r} is no number")
    if int(number) != number:
        raise ValueError(f"{number!r} is no whole number")
    return int(number)
