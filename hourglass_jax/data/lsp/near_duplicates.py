"""Finds near-duplicate images: held-out people must not be seen in training.

The collections hold frames of one burst, and one image in several crops. Two images are
near-duplicates if small grey copies of the whole images, or of the people's boxes, correlate; the
boxes find crops of one image.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.image import geometry

# The correlation above which images are near-duplicates. Chosen by eye on LSP and its extended
# set: bursts, crops and images of one scene lie above; other people before similar backgrounds
# lie below.
SIMILARITY = 0.9
_SIDE = 24
_AT_ONCE = 256


def thumbnails(
    image: UInt8[np.ndarray, "height width 3"], center: Float[np.ndarray, "2"], size: float
) -> Float[np.ndarray, "2 pixels"]:
    """Returns grey copies of the image and of the person's box, of mean 0 and length 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    whole = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    to_box = geometry.crop_map(center, size, _SIDE)
    # Image px per px of the copy; damaged files have boxes beyond any image.
    width = max(1, int(min(size / _SIDE, max(grey.shape))))
    box = cv2.warpAffine(
        cv2.blur(grey, (width, width)), to_box, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    pixels = np.stack([whole, box]).reshape(2, -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)


def groups(copies: Iterable[Float[np.ndarray, "2 pixels"]]) -> list[int]:
    """Groups images that are near-duplicates, directly or through others.

    Args:
      copies: `thumbnails` of each image.

    Returns:
      For each image, the index of the first image of its group.
    """
    whole, box = np.stack(list(copies), axis=1)
    first = list(range(len(whole)))

    def root(i: int) -> int:
        while first[i] != i:
            i = first[i]
        return i

    # Several images at once: a product of matrices takes a tenth of the time of as many of vectors.
    for begin in range(0, len(whole), _AT_ONCE):
        end = begin + _AT_ONCE
        alike = np.maximum(whole[begin:end] @ whole[:end].T, box[begin:end] @ box[:end].T)
        for i, j in np.argwhere(np.tril(alike > SIMILARITY, begin - 1)).tolist():
            one, other = sorted((root(begin + i), root(j)))
            first[other] = one
    return [root(i) for i in range(len(first))]
