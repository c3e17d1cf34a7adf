"""Colour augmentation: random affine maps of the channels."""

import itertools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

# Uniform random numbers per example.
DRAWS = 11
GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
# Standard deviations and principal directions of ImageNet's colours in [0, 1] (Krizhevsky et al.,
# "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012, section 4.1).
_DEVIATIONS = np.array([0.2141788, 0.01817699, 0.00341571])
_DIRECTIONS = np.array(
    [
        [-0.56089297, 0.71832671, 0.41158938],
        [-0.5832747, 0.00994535, -0.81221408],
        [-0.58752847, -0.69563484, 0.41340352],
    ]
)
_ORDERS = np.array(list(itertools.permutations(range(3))))


class Colours(NamedTuple):
    """Maps of several images' channels.

    Attributes:
      maps: linear parts, and constants as fourth columns.
      contrast: numbers to add, times the image's mean grey; None adds none.
    """

    maps: Float[np.ndarray, "batch 3 4"]
    contrast: Float[np.ndarray, "batch 3"] | None = None

    def map_of(
        self, i: int, image: UInt8[np.ndarray, "height width 3"]
    ) -> Float[np.ndarray, "3 4"]:
        """Returns the map of the i-th image, for `cv2.transform`."""
        if self.contrast is None:
            return self.maps[i]
        changed = self.maps[i].copy()
        changed[:, 3] += self.contrast[i] * np.dot(GREY, cv2.mean(image)[:3])
        return changed


def gains_alone(gains: Float[np.ndarray, "batch 3"]) -> Colours:
    """Returns maps that multiply each channel by a factor."""
    return Colours(gains[:, :, None] * np.eye(3, 4))


def jittered(
    gains: Float[np.ndarray, "batch 3"],
    uniform: Float[np.ndarray, "batch 8"],
    jitter: float,
    lighting: float,
) -> Colours:
    """Returns maps that also change brightness, contrast, saturation and the light's colour.

    Brightness, contrast and saturation follow each other in random order, each with a factor f:
    they multiply the image by f, and add 1 - f times nothing, the mean of the grey image, or the
    grey image. The grey image is that before any of them, as in CornerNet's program.

    Args:
      gains: factor of each channel, applied last.
      uniform: random numbers in [0, 1).
      jitter: factors are uniform in 1 -+ jitter.
      lighting: standard deviation of the shift along each principal direction of colours, in
        standard deviations of ImageNet's colours.
    """
    factors = 1 + (2 * uniform[:, :3] - 1) * jitter
    rank = _ORDERS[(uniform[:, 3] * len(_ORDERS)).astype(int)]
    later = rank[:, None] > rank[:, :, None]
    remaining = np.where(later, factors[:, None], 1).prod(-1)  # of what each of them adds
    _, contrast, saturation = ((1 - factors) * remaining).T
    linear = factors.prod(1)[:, None, None] * np.eye(3) + saturation[:, None, None] * GREY
    # Box and Muller's normal numbers.
    length = np.sqrt(-2 * np.log(1 - uniform[:, 4:6]))
    angle = 2 * np.pi * uniform[:, 6:8]
    normal = np.concatenate([length * np.cos(angle), length * np.sin(angle)], axis=1)[:, :3]
    shift = 255 * lighting * (normal * _DEVIATIONS) @ _DIRECTIONS.T
    maps = np.concatenate([linear, shift[..., None]], axis=2)
    return Colours(gains[:, :, None] * maps, gains * contrast[:, None])
