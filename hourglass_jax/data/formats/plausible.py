"""Checks labels against the images that they belong to.

Numbers can be well-formed and still mean something else than px of the image: shares of its size,
corners instead of sizes, places in another image. Where most of a file is so, it is refused; a
single annotation is left out, or what is wrong of it.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.formats.keypoint_file import Box, annotation
from hourglass_jax.data.formats.problems import Problems
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

_SLACK = 0.1  # of a side: how far a box may reach out of its image, or joints out of their box


def check_units(where: str, images: Sequence[AnnotatedImage]) -> None:
    """Refuses files whose numbers are not px, or whose boxes are not x, y, width, height.

    Raises:
      UserError: says what the numbers seem to be.
    """
    entries = [(image.size, a) for image in images for a in image.annotations if not a.crowd]
    joints = [_labelled(a) for _, a in entries if np.any(a.labelled)]
    if joints and all(np.abs(xy).max() <= 1 for xy in joints):
        raise UserError(
            f"{where}: no joint lies beyond 1 px in any image, so coordinates seem to be shares of "
            f"the image's width and height; multiply them, as keypoints must be in px"
        )
    boxes = [(size, a.box, _labelled(a)) for size, a in entries if a.box is not None]
    shares = sum(max(box) <= 1 for _, box, _ in boxes)
    if 2 * shares > len(boxes):
        raise UserError(
            f"{where}: {shares} of {len(boxes)} bbox lie within 1 px, so they seem to be shares of "
            f"the image's width and height; bbox must be x, y, width, height in px"
        )
    _warn_of_percent(where, [(size, _labelled(a)) for size, a in entries if np.any(a.labelled)])
    areas = [(a.box, a.area) for _, a in entries if a.box is not None and a.area is not None]
    with_corners = sum(_area_is_of_corners(box, area) for box, area in areas)
    if with_corners > 2 and with_corners >= 0.95 * len(areas):
        raise UserError(
            f"{where}: the area of {with_corners} of {len(areas)} annotations is that of their "
            f"bbox as corners x1, y1, x2, y2; bbox must be x, y, width, height"
        )
    sized = [(size, box, xy) for size, box, xy in boxes if size is not None]
    beyond = sum(_reaches_out(size, box) for size, box, _ in sized)
    corners = sum(_may_be_corners(size, box, xy) for size, box, xy in sized)
    if 5 * beyond > len(sized) and corners >= 0.95 * len(sized):
        raise UserError(
            f"{where}: {beyond} of {len(sized)} bbox reach out of their images, and as corners x1, "
            f"y1, x2, y2 they would not; bbox must be x, y, width, height"
        )


def checked_against_images(
    images: Sequence[AnnotatedImage], problems: Problems
) -> Iterator[AnnotatedImage]:
    """Yields the images with the annotations that show something of them."""
    for image in images:
        kept = []
        for a in image.annotations:
            checked = _checked(a, image.size, problems, f"{a.id} in {_name(image)}")
            if checked is not None:
                kept.append(checked)
        yield dataclasses.replace(image, annotations=kept)


def _checked(
    a: Annotation, size: tuple[int, int] | None, problems: Problems, where: str
) -> Annotation | None:
    assert a.joints is not None and a.labelled is not None and a.visible is not None
    if a.crowd and (a.box is None or size is None or _shows(size, a.box)):
        return a
    labelled, box, xy = a.labelled, a.box, _labelled(a)
    if len(xy) > 1 and np.abs(xy).max() <= 1:
        problems.add("left out: no joint lies beyond 1 px", where)
        return None
    if box is not None and (max(box) <= 1 or max(box[2:]) < 1):
        what = "lies within" if max(box) <= 1 else "is smaller than"
        problems.add(f"its bbox is left out: it {what} 1 px", where)
        box = None
    if size is not None:
        if box is not None and not _shows(size, box):
            problems.add("its bbox is left out: it shows nothing of the image", where)
            box = None
        # How far each joint lies out of the image, which covers -0.5 to its side - 0.5.
        out = np.maximum(-0.5 - a.joints, a.joints - np.array(size) + 0.5).max(axis=1)
        if len(xy) and (out[a.labelled] > 1).all():
            problems.add("left out: none of its joints lies in the image", where)
            return None
        if (labelled & (out > max(size))).any():
            problems.add("a joint far outside the image counts as not labelled", where)
            labelled = labelled & (out <= max(size))
        if (labelled & (out > 1)).any():
            problems.add("a joint outside the image stays labelled", where)
    if box is not None and len(xy) > 1 and 2 * np.sum(_inside(box, xy, _SLACK)) < len(xy):
        problems.add("taken, though most of its joints lie outside its bbox", where)
    if len(xy) > 1 and (xy == 0).all(axis=1).any():
        problems.add("a joint at exactly 0, 0 stays labelled", where)
    if box is a.box and labelled is a.labelled:
        return a
    joints = np.where(labelled[:, None], a.joints, 0)
    visible = a.visible & labelled
    return annotation(a.id, joints, labelled, visible, box, a.crowd, a.area, a.category, a.track)


def _warn_of_percent(
    where: str, people: Sequence[tuple[tuple[int, int] | None, np.ndarray]]
) -> None:
    """Warns if joints may be in percent: all lie within 100 px of images that are far larger."""
    sides = [min(size) for size, _ in people if size is not None]
    if len(sides) > 1 and min(sides) > 150 and 50 < max(xy.max() for _, xy in people) <= 100:
        logger.warning(
            "%s: no joint lies beyond 100 px in any image, though all of them are larger; if "
            "coordinates are percentages, multiply them, as keypoints must be in px",
            where,
        )


def _area_is_of_corners(box: Box, area: float) -> bool:
    """Returns whether an area is that between corners, and not that of a width and height."""
    left, top, right, bottom = box
    between = (right - left) * (bottom - top) if right > left and bottom > top else 0
    return abs(area / between - 1) < 0.01 if between and between < 0.98 * right * bottom else False


def _labelled(a: Annotation) -> np.ndarray:
    return a.joints[a.labelled]  # pyright: ignore  # keypoint files have joints


def _name(image: AnnotatedImage) -> str:
    return pathlib.PurePath(image.name).name


def _shows(size: tuple[int, int], box: Box) -> bool:
    x, y, width, height = box
    return x < size[0] and y < size[1] and x + width > 0 and y + height > 0


def _reaches_out(size: tuple[int, int], box: Box) -> bool:
    x, y, width, height = box
    return x + width > (1 + _SLACK) * size[0] or y + height > (1 + _SLACK) * size[1]


def _may_be_corners(size: tuple[int, int], box: Box, joints: np.ndarray) -> bool:
    left, top, right, bottom = box
    inside = 0 <= left < right <= size[0] + 1 and 0 <= top < bottom <= size[1] + 1
    return inside and bool(_inside((left, top, right - left, bottom - top), joints, _SLACK).all())


def _inside(box: Box, joints: np.ndarray, slack: float) -> np.ndarray:
    corner, sides = np.array(box[:2]), np.array(box[2:])
    low, high = corner - slack * sides - 1, corner + (1 + slack) * sides + 1
    return np.all((joints >= low) & (joints <= high), axis=1)
