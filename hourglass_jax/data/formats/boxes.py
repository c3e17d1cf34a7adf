"""Which boxes of a file in COCO's format can be learned from, and of which categories."""

import collections
import dataclasses
import logging
from collections.abc import Sequence

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.problems import Problems
from hourglass_jax.data.formats.usable import fitted
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)


def seen_categories(files: Sequence[KeypointFile]) -> dict[str, int | str | None]:
    """Returns the categories that at least one box of the files shows: name -> id in its file.

    Warns of the others, which cannot be learned.

    Raises:
      UserError: no annotation has a box.
    """
    known: dict[str, int | str | None] = {}
    seen: set[str] = set()
    for file in files:
        names = list(file.categories.values())
        for id, name in file.categories.items():
            known.setdefault(name, id)
        seen |= {
            names[a.category]
            for image in file.images
            for a in image.annotations
            if a.box is not None and not a.crowd
        }
    where = ", ".join(file.name for file in files)
    if not seen:
        raise UserError(
            f"{where} has no annotation with a box; give annotations their bbox (x, y, width, "
            f"height, px)"
        )
    without = [name for name in known if name not in seen]
    if without:
        logger.warning(
            "%s: categories without a box are left out, as they cannot be learned: %s",
            *(where, ", ".join(without)),
        )
    return {name: id for name, id in known.items() if name in seen}


def with_boxes(file: KeypointFile) -> list[AnnotatedImage]:
    """Returns the images with the boxes that can be learned from, sorted by name.

    Images without annotations stay, as they show what is no object. Where an annotation has to be
    left out, not everything in its image is annotated any longer.

    Raises:
      UserError: no box can be used, or numbers mean something else than px.
    """
    problems, count = Problems(file.problems.path), 0
    left_out: collections.Counter[str] = collections.Counter()
    counts = {image.id: len(image.annotations) for image in file.images}
    found = []
    annotated = sorted(file.images, key=lambda image: image.name)
    for image in fitted(annotated, file, problems):
        boxes = [a for a in image.annotations if a.box is not None]
        left_out["have no bbox"] += len(image.annotations) - len(boxes)
        left_out["show nothing"] += counts[image.id] - len(image.annotations)
        count += len(boxes)
        exhaustive = image.exhaustive and len(boxes) == counts[image.id]
        found.append(dataclasses.replace(image, annotations=boxes, exhaustive=exhaustive))
    problems.say()
    others = "; ".join(f"{number} {reason}" for reason, number in left_out.most_common() if number)
    if not count:
        why = "; ".join(filter(None, [others, str(problems), str(file.problems)]))
        raise UserError(f"{file.name} has no box that can be used: {why or 'there are none'}")
    logger.log(
        logging.WARNING if others else logging.INFO,
        "%d of %d annotations of %s have a box%s",
        *(count, file.count, file.name, f"; {others}" if others else ""),
    )
    return found
