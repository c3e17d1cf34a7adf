"""Several images for one call: lists, arrays of images, and iterators over images."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from hourglass_jax.errors import UserError
from hourglass_jax.image import io


def are_several(image: Any) -> bool:
    """Returns whether an argument is several images: a list, a tuple, an iterator, or an array."""
    if isinstance(image, (list, tuple)) or getattr(image, "ndim", None) == 4:
        return True
    return isinstance(image, Iterator) and not hasattr(image, "read")  # as open files have


def each(
    predict: Callable[[list[np.ndarray], list[Any]], Sequence[Any]],
    images: Iterable[Any],
    boxes: Iterable[Any] | None,
    size: int,
) -> Iterator[Any]:
    """Yields what is in each image; no more than `size` images are in memory at a time.

    Args:
      predict: function of images and their boxes.
      images: images of any kind that `io.as_rgb` takes.
      boxes: boxes of each image, or None for none.
      size: number of images that are predicted together.

    Raises:
      UserError: an image cannot be read, or there are more or fewer boxes than images.
    """
    given = itertools.repeat(None) if boxes is None else iter(boxes)
    remaining = iter(images)
    while batch := [io.as_rgb(image) for image in itertools.islice(remaining, size)]:
        several = list(itertools.islice(given, len(batch)))
        if len(several) < len(batch):
            raise UserError("boxes must have an entry for each image, None where there are none")
        yield from predict(batch, several)
    if isinstance(boxes, Sized) and next(given, given) is not given:
        raise UserError("boxes has more entries than there are images")
