"""Which people are in near-duplicates of one picture: held-out people must not be among the seen.

The collections hold frames of one burst, and one photograph in several crops. Two pictures are
alike where small grey copies of the whole, or of the people's boxes, correlate; the boxes find
crops of one photograph.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.image import geometry

# Looked at, in order of correlation, on LSP and its extended set: above are bursts, crops and
# pictures of one scene; from 0.9 downwards other people before similar backgrounds.
ALIKE = 0.9
_SIDE = 24


def thumbnails(
    image: UInt8[np.ndarray, "height width 3"], center: Float[np.ndarray, "2"], size: float
) -> Float[np.ndarray, "2 pixels"]:
    """Returns grey copies of the picture and of the person's box, of mean 0 and length 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    whole = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    to_box = geometry.crop_map(center, size, _SIDE)
    # What a pixel of the copy stands for; damaged files tell of boxes beyond any picture.
    width = max(1, int(min(size / _SIDE, max(grey.shape))))
    box = cv2.warpAffine(
        cv2.blur(grey, (width, width)), to_box, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    pixels = np.stack([whole, box]).reshape(2, -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)


def groups(copies: Iterable[Float[np.ndarray, "2 pixels"]]) -> list[int]:
    """Returns, for every person, the first person that is alike, directly or through others."""
    whole, box = np.stack(list(copies), axis=1)
    first = list(range(len(whole)))

    def root(i: int) -> int:
        while first[i] != i:
            i = first[i]
        return i

    for i in range(1, len(whole)):
        close = np.maximum(whole[:i] @ whole[i], box[:i] @ box[i]) > ALIKE
        for j in np.flatnonzero(close):
            one, other = sorted((root(i), root(int(j))))
            first[other] = one
    return [root(i) for i in range(len(first))]
