"""Which image files show the same image: one file by two names, or copies of it.

What is held out must not be trained on under another name.
"""

import collections
import hashlib
import logging
import os
from collections.abc import Sequence

from hourglass_jax.data import images
from hourglass_jax.data.base import AnnotatedImage

logger = logging.getLogger(__name__)


def same_images(names: Sequence[str]) -> list[int]:
    """Groups image files of the same content.

    Only files of the same size are read. Files that are missing are alone.

    Args:
      names: paths.

    Returns:
      For each path, the index of the first one of its group.
    """
    sizes = [_size(name) for name in names]
    counts = collections.Counter(sizes)
    shared = [i for i, size in enumerate(sizes) if size is not None and counts[size] > 1]
    real = {os.path.realpath(names[i]) for i in shared}
    digests = dict(zip(real, images.in_threads(_digest, real), strict=True))
    first: dict[bytes, int] = {}
    groups = list(range(len(names)))
    for i in shared:
        digest = digests[os.path.realpath(names[i])]
        if digest is not None:
            groups[i] = first.setdefault(digest, i)
    return groups


def groups_of(annotated: Sequence[AnnotatedImage]) -> list[int]:
    """Groups annotated images as `same_images` does; frames of a video are different images."""
    files = same_images([image.file for image in annotated])
    inside = [image.name.removeprefix(image.container) for image in annotated]
    keys = [
        (group, place if image.container else "")
        for group, place, image in zip(files, inside, annotated, strict=True)
    ]
    first: dict[tuple[int, str], int] = {}
    return [first.setdefault(key, i) for i, key in enumerate(keys)]


def _size(name: str) -> int | None:
    try:
        return os.stat(name).st_size
    except (OSError, ValueError):
        return None


def _digest(name: str) -> bytes | None:
    try:
        with open(name, "rb") as stream:
            return hashlib.file_digest(stream, "blake2b").digest()
    except OSError:
        return None


def seen_in(names: Sequence[str], others: Sequence[str]) -> list[int]:
    """Returns the indices of those files that are also among others, by path or content."""
    sizes = {_size(name) for name in names} - {None}
    both = [name for name in others if _size(name) in sizes]
    groups = same_images([*both, *names])
    return [i for i, group in enumerate(groups[len(both) :]) if group < len(both)]


def warn_of_seen(
    validation: Sequence[AnnotatedImage], train: Sequence[AnnotatedImage], where: str
) -> None:
    """Warns of images to validate on that are also trained on."""
    files = seen_in([image.file for image in validation], [image.file for image in train])
    maybe = [validation[i] for i in files]
    groups = groups_of([*train, *maybe])[len(train) :]
    seen = [
        image
        for image, group in zip(maybe, groups, strict=True)
        if group < len(train) or not image.container
    ]
    if seen:
        logger.warning(
            "%d of %d images of %s are also trained on, for example %s; what is measured on them "
            "says little about new images",
            *(len(seen), len(validation), where, seen[0].name),
        )
