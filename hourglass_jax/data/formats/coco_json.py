"""Reads keypoint annotations in COCO's JSON format, of any category and any joints.

x, y count from 0; a joint's third number is 0 (not labelled), 1 (labelled, occluded) or 2
(visible).
"""

import dataclasses
import json
import logging
import math
import pathlib
from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data import images
from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.skeleton import Skeleton, pairs_by_name
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry

logger = logging.getLogger(__name__)

BOX_MARGIN = 1.25
# px, beyond any image; its square is still finite.
_LARGEST = 1e6


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointFile:
    """The content of a keypoint file.

    Attributes:
      skeleton: skeleton of the category with keypoints.
      category_id: id of that category; of several with the same joints, the first.
      images: all images of the file, with their annotations of these categories.
      pairs_given: whether the file names the skeleton's pairs; else they come from the joints'
        names.
    """

    skeleton: Skeleton
    category_id: int
    images: list[AnnotatedImage]
    pairs_given: bool


def square_around(box: tuple[float, float, float, float]) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the square around x, y, width, height, 1.25 times as large.

    COCO measures boxes from the image's corner, which lies half a pixel before pixel 0's centre.
    """
    x, y, width, height = box
    center = np.array([x + width / 2 - 0.5, y + height / 2 - 0.5])
    return center, max(width, height, 2.0) * BOX_MARGIN


def annotation(
    id: str,
    joints: Float[np.ndarray, "joints 2"],
    labelled: Bool[np.ndarray, " joints"],
    visible: Bool[np.ndarray, " joints"],
    box: tuple[float, float, float, float] | None = None,
    crowd: bool = False,
) -> Annotation:
    """Returns an annotation with a square around `box`, else around the labelled joints.

    The reference is the square's side without the margin. Where there is neither a box nor a
    joint, the size is 0.
    """
    if box is not None:
        center, size = square_around(box)
    elif labelled.any():
        center, size = geometry.box_around(joints, labelled, BOX_MARGIN)
    else:
        center, size = np.zeros(2), 0.0
    return Annotation(
        id=id,
        center=center,
        size=size,
        box=box,
        joints=joints,
        labelled=labelled,
        visible=visible,
        crowd=crowd,
        reference=size / BOX_MARGIN,
    )


def read(
    path: pathlib.Path, folder: pathlib.Path, *, required: Collection[str] = ()
) -> KeypointFile:
    """Reads a file: its first category with keypoints, and others with the same joints.

    Args:
      path: JSON file.
      folder: folder that the images' file names are relative to.
      required: fields that the first category's annotations need for evaluation.

    Raises:
      UserError: the file is not in COCO's format; the entry is named.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    where = "the file"
    try:
        for name in ("images", "annotations", "categories"):
            if not isinstance(content[name], list):
                raise ValueError(f"{name!r} is not a list")
        where = "categories"
        category = next(c for c in content["categories"] if c.get("keypoints"))
        skeleton, given = _skeleton(category)
        same = [c for c in content["categories"] if c.get("keypoints") == category["keypoints"]]
        categories = {whole(c["id"]) for c in same}
        for other in content["categories"]:
            if other not in same:
                logger.info("%s: annotations of %r are left out", path, other.get("name"))
        names: dict[int, str] = {}
        sizes: dict[int, tuple[int, int]] = {}
        for i, image in enumerate(content["images"]):
            where = f"images[{i}]"
            number, name = whole(image["id"]), _file_name(image["file_name"])
            if names.setdefault(number, name) != name:
                raise ValueError(f"id {number} is {names[number]!r} already")
            if image.get("width") and image.get("height"):
                sizes[number] = (whole(image["width"]), whole(image["height"]))
        annotations: dict[int, list[Annotation]] = {number: [] for number in names}
        for i, entry in enumerate(content["annotations"]):
            where = f"annotations[{i}]"
            if entry["category_id"] not in categories:
                continue
            number = whole(entry["image_id"])
            if number not in names:
                raise ValueError(f"image_id {number} is not the id of an image in the file")
            annotations[number].append(_annotation(entry, number, skeleton.num_joints))
            missing = set(required) - entry.keys()
            if missing and entry["category_id"] == category["id"]:
                raise ValueError(f"there is no {min(missing)!r}, which evaluation needs")
        category_id = whole(category["id"])
    except StopIteration:
        raise UserError(f"{path} has no category with `keypoints`") from None
    except KeyError as error:
        raise UserError(f"{path}, {where}: there is no {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}, {where}: {' '.join(str(error).split())}") from None
    annotated = [
        images.image_file(folder / names[i], people, id=str(i), size=sizes.get(i))
        for i, people in annotations.items()
    ]
    return KeypointFile(skeleton, category_id, annotated, given)


def _skeleton(category: dict) -> tuple[Skeleton, bool]:
    joints = tuple(str(name) for name in category["keypoints"])
    ends = [(whole(a), whole(b)) for a, b in category.get("skeleton", [])]
    if ends and min(min(pair) for pair in ends) < 1:
        raise ValueError("skeleton counts joints from 1")
    limbs = tuple((joints[a - 1], joints[b - 1]) for a, b in ends)
    limbs = tuple(limb for limb in limbs if limb[0] != limb[1])
    given = "pairs" in category or "flip_pairs" in category
    if given:
        pairs = category["pairs" if "pairs" in category else "flip_pairs"]
    else:
        pairs = pairs_by_name(joints)
    return Skeleton(str(category.get("name", "custom")), joints, pairs, limbs), given


def _annotation(entry: dict, image_id: int, num_joints: int) -> Annotation:
    numbers = entry.get("keypoints") or [0] * (3 * num_joints)
    if len(numbers) != 3 * num_joints:
        raise ValueError(f"keypoints has {len(numbers)} numbers, not 3 for {num_joints} joints")
    joints = np.array(numbers, np.float64).reshape(num_joints, 3)
    # Partly missing labels are normal: a joint with a coordinate that is NaN is not labelled.
    labelled = (joints[:, 2] > 0) & (np.abs(joints[:, :2]) < _LARGEST).all(axis=1)
    box = entry.get("bbox")
    if box is not None:
        box = tuple(float(number) for number in box)
        if len(box) != 4:
            raise ValueError(f"bbox has {len(box)} numbers, not x, y, width, height")
        usable = all(abs(number) < _LARGEST for number in box) and min(box[2:]) > 0
        box = box if usable else None
    return annotation(
        id=f"{image_id}/{whole(entry['id'])}",
        joints=np.where(labelled[:, None], joints[:, :2], 0),
        labelled=labelled,
        visible=labelled & (joints[:, 2] == 2),
        box=box,
        crowd=bool(entry.get("iscrowd", 0)),
    )


def _file_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"file_name {name!r} is not a file name")
    return name


def whole(number: Any) -> int:
    """Returns a JSON number as a whole number; raises ValueError if it is not one."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number):
        raise ValueError(f"{number!r} is not a number")
    if int(number) != number:
        raise ValueError(f"{number!r} is not a whole number")
    return int(number)
