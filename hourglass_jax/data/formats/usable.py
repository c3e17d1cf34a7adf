"""Which annotations of a keypoint file can be learned from, and why the others cannot."""

import collections
import dataclasses
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from hourglass_jax.data import orientation
from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.plausible import check_units, checked_against_images
from hourglass_jax.data.formats.problems import Problems
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

_CROWD = "stand for a crowd (iscrowd)"
_NO_JOINT = "have no labelled joint"
_NO_BOX = "have neither a bbox nor two labelled joints at different places to put a box around"
_NO_BBOX = "have no bbox"


def usable(file: KeypointFile, *, by_joints: bool = True) -> list[AnnotatedImage]:
    """Returns the images with annotations that can be learned from, sorted by name.

    Args:
      file: keypoint file.
      by_joints: whether a box may be put around two joints where there is no bbox.

    Raises:
      UserError: no annotation can be used, or numbers mean something else than px.
    """
    annotated = sorted((i for i in file.images if i.annotations), key=lambda image: image.name)
    problems = Problems(file.problems.path)
    left_out: collections.Counter[str] = collections.Counter()
    found = []
    for image in fitted(annotated, file, problems):
        reasons = [_unusable(a, by_joints) for a in image.annotations]
        left_out.update(reason for reason in reasons if reason)
        kept = [a for a, why in zip(image.annotations, reasons, strict=True) if not why]
        if kept:
            found.append(dataclasses.replace(image, annotations=kept))
    problems.say()
    used = sum(len(image.annotations) for image in found)
    others = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
    lack = {_NO_BOX, _NO_BBOX} & left_out.keys()
    if not used:
        why = "; ".join(filter(None, [others, str(problems), str(file.problems)]))
        why = why or "there are none"
        remedy = "; give each annotation its bbox, in COCO's JSON format" if lack else ""
        raise UserError(f"{file.name} has no annotation that can be used: {why}{remedy}")
    logger.log(
        logging.WARNING if lack else logging.INFO,
        "%d of %d annotations of %s have joints and a box%s",
        *(used, file.count, file.name, f"; {others}" if others else ""),
    )
    return found


def fitted(
    annotated: Sequence[AnnotatedImage], file: KeypointFile, problems: Problems
) -> Iterator[AnnotatedImage]:
    """Yields images the way up that their labels are, with labels that fit them.

    Args:
      annotated: images of the file, with labels or with boxes of a detector.
      file: says the images' sizes.
      problems: takes note of what does not fit.

    Raises:
      UserError: numbers mean something else than px.
    """
    where, sizes = problems.path, file.sizes
    settled = orientation.settle(annotated, where=where, prefer_upright=True, sizes=sizes)
    check_units(where, settled)
    return checked_against_images(settled, problems)


def _unusable(a: Annotation, by_joints: bool) -> str:
    """Returns why there is nothing to learn from an annotation; "" if there is."""
    assert a.joints is not None and a.labelled is not None  # every keypoint file has joints
    if a.crowd:
        return _CROWD
    if not a.labelled.any():
        return _NO_JOINT
    if a.box is None and not by_joints:
        return _NO_BBOX
    apart = np.ptp(a.joints[a.labelled], axis=0).max() >= 1  # not all at one place
    return "" if a.box is not None or apart else _NO_BOX
