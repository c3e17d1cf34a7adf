"""Which way up images are that carry an orientation in EXIF: the way that their labels are.

Some programs show an image as EXIF says, others as it is stored, and labels follow the program.
The sizes in the file of annotations tell which it was, else labels that fit one way alone. Where
neither does, images are read as the source prefers, and a warning says so.
"""

import logging
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from hourglass_jax.data import images
from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.headers import Header, header, warn_of_turned

logger = logging.getLogger(__name__)

_WAYS = {True: "upright", False: "as stored"}

Stated = tuple[int | None, int | None]


def settle(
    found: Sequence[AnnotatedImage],
    *,
    where: str,
    prefer_upright: bool,
    sizes: Mapping[str, Stated] | None = None,
) -> list[AnnotatedImage]:
    """Returns the images, each to be read the way that its labels are, and with its size.

    Images that are missing, damaged or of another size than the file says stay as they are:
    reading them tells.

    Args:
      found: images that are files.
      where: name of the file of annotations, for messages.
      prefer_upright: how images are read where nothing tells.
      sizes: width and height by the image's id, as the file says them, or parts of them.
    """
    headers = list(images.in_threads(lambda image: header(image.name), found))
    stated = [(sizes or {}).get(image.id, image.size or (None, None)) for image in found]
    fitting = [_fitting(s, h) if h else [] for s, h in zip(stated, headers, strict=True)]
    turned = [i for i, h in enumerate(headers) if h and h.orientation != 1 and fitting[i]]
    ways = {i: fitting[i][0] for i in turned if len(fitting[i]) == 1}
    _say_of_sizes(where, list(ways.values()))
    others = [i for i in turned if i not in ways]
    if others:
        told, why = set(ways.values()), "like the others of the file"
        if not told and prefer_upright:
            told, why = _by_labels([(found[i], headers[i]) for i in others]), "as their labels fit"
        if len(told) != 1:
            told, why = {prefer_upright}, "as nothing tells"
        (way,) = told
        ways |= dict.fromkeys(others, way)
        logger.warning(
            "%s: %d images carry an orientation in EXIF (%s), and their sizes do not tell whether "
            "labels follow it; they are read %s, %s. If that is wrong, give each image its width "
            "and height in the file, or save the images without EXIF",
            *(where, len(others), found[others[0]].name, _WAYS[way], why),
        )
    return [
        _settled(image, head, stated[i], bool(fitting[i]), ways.get(i, False)) if head else image
        for i, (image, head) in enumerate(zip(found, headers, strict=True))
    ]


def check_stored(names: Sequence[str], where: str) -> None:
    """Warns of images with an orientation in a data set that is read as stored."""
    headers = zip(names, images.in_threads(header, names), strict=True)
    warn_of_turned([name for name, head in headers if head and head.orientation > 1], where)


def _settled(
    image: AnnotatedImage, head: Header, stated: Stated, fits: bool, upright: bool
) -> AnnotatedImage:
    width, height = head.seen(upright)
    if not fits:
        if image.size or None not in stated:
            return image
        width, height = stated[0] or width, stated[1] or height
    return images.image_file(
        pathlib.Path(image.name),
        image.annotations,
        id=image.id,
        size=(width, height),
        upright=upright,
        exhaustive=image.exhaustive,
    )


def _fitting(stated: Stated, head: Header) -> list[bool]:
    """Returns the ways to read an image, upright or not, that give it the stated size."""
    ways = (False,) if head.orientation == 1 else (False, True)
    return [
        way
        for way in ways
        if all(s in (None, side) for s, side in zip(stated, head.seen(way), strict=True))
    ]


def _by_labels(undecided: Sequence[tuple[AnnotatedImage, Header | None]]) -> set[bool]:
    """Returns the ways in which labels fit where they do not fit in the other way."""
    ways = set()
    for image, head in undecided:
        points = [
            a.joints[a.labelled]
            for a in image.annotations
            if a.joints is not None and a.labelled is not None and a.labelled.any()
        ]
        if head is None or not points:
            continue
        farthest = np.concatenate(points).max(axis=0)
        fit = [way for way in (False, True) if (farthest <= head.seen(way)).all()]
        if len(fit) == 1:
            ways |= set(fit)
    return ways


def _say_of_sizes(where: str, ways: Sequence[bool]) -> None:
    if ways:
        logger.info(
            "%s: %d images carry an orientation in EXIF; as their sizes say, %d are read upright "
            "and %d as stored",
            *(where, len(ways), sum(ways), len(ways) - sum(ways)),
        )
