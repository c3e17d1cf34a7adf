"""Augmentation: the random numbers of each example, and one affine warp of its image.

Images are sampled once, whatever the augmentation, and only the window of the JPEG that a sample
shows is decoded.
"""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.data import colour, jpeg
from hourglass_jax.data.colour import Colours
from hourglass_jax.tasks.base import Draws

# Uniform random numbers per example: six for the view, then those for colours, one for the aspect,
# one for any angle, two for half of a body, and eight for an occluder. More can be added at the end
# alone: the first ones stay the same.
_VIEW = 6
_ASPECT = _VIEW + colour.DRAWS
_ANGLE, _HALF, _OCCLUDER = _ASPECT + 1, _ASPECT + 2, _ASPECT + 4
DRAWS = _OCCLUDER + 8
# Sides of an occluder, as shares of the input's.
_SMALLEST, _LARGEST = 0.1, 0.45
# Bytes: TensorFlow copies arrays that do not begin at a multiple of this.
_ALIGNMENT = 64


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Limits of the augmentation.

    Attributes:
      scale: a person's scale is uniform in 1 -+ scale.
      rotation: largest angle either way, degrees.
      rotation_probability: share of the images that are rotated.
      translate: largest shift either way, as a share of the input's side.
      aspect: the ratio of width to height changes by a factor of up to 1 + aspect either way.
      flip: probability of a mirrored image.
      colour: each channel's gain is uniform in 1 -+ colour.
      jitter: factors of brightness, contrast and saturation are uniform in 1 -+ jitter.
      lighting: standard deviation of the light's colour; see `colour.jittered`.
      any_angle: share of the images that are rotated by any angle.
      half_body: share of the people of whom one end of the body is shown.
      occluder: share of the images that a rectangle of one colour partly covers.
    """

    scale: float
    rotation: float
    rotation_probability: float
    translate: float
    flip: float
    colour: float
    jitter: float = 0.0
    lighting: float = 0.0
    aspect: float = 0.0
    any_angle: float = 0.0
    half_body: float = 0.0
    occluder: float = 0.0

    def draw(self, uniform: Float[np.ndarray, " draws"]) -> Draws:
        """Returns the augmentation of an example, from numbers that are uniform in [0, 1)."""
        spread = (2 * uniform - 1).tolist()
        rotated = uniform[2] < self.rotation_probability
        rotation = spread[1] * math.radians(self.rotation) if rotated else 0.0
        if uniform[_ANGLE] < self.any_angle:
            rotation = spread[1] * math.pi
        return Draws(
            scale=1 + spread[0] * self.scale,
            rotation=rotation,
            translate=(spread[3] * self.translate, spread[4] * self.translate),
            flip=bool(uniform[5] < self.flip),
            uniform=uniform,
            aspect=(1 + self.aspect) ** spread[_ASPECT],
            half=float(uniform[_HALF + 1]) if uniform[_HALF] < self.half_body else None,
        )

    def occlude(
        self, images: UInt8[np.ndarray, "batch h w 3"], uniform: Float[np.ndarray, "batch draws"]
    ) -> None:
        """Covers parts of some images, in place; joints behind them keep their labels."""
        if not self.occluder:
            return
        size = np.array(images.shape[1:3])
        for image, (whether, *numbers) in zip(images, uniform[:, _OCCLUDER:], strict=True):
            if whether < self.occluder:
                middle, extent, colours = np.split(np.array(numbers), (2, 4))
                half = (_SMALLEST + extent * (_LARGEST - _SMALLEST)) * size / 2
                top, left = np.round(np.maximum(middle * size - half, 0)).astype(int)
                bottom, right = np.round(middle * size + half).astype(int)
                image[top:bottom, left:right] = np.round(255 * colours)

    def gains(self, uniform: Float[np.ndarray, "batch draws"]) -> Float[np.ndarray, "batch 3"]:
        """Returns the factor of each channel."""
        return 1 + (2 * uniform[:, _VIEW : _VIEW + 3] - 1) * self.colour

    def colours(self, uniform: Float[np.ndarray, "batch draws"]) -> Colours:
        """Returns the maps of the channels."""
        gains = self.gains(uniform)
        if not self.jitter and not self.lighting:
            return colour.gains_alone(gains)
        return colour.jittered(
            gains, uniform[:, _VIEW + 3 : _VIEW + colour.DRAWS], self.jitter, self.lighting
        )


def sample(
    jpegs: Sequence[memoryview],
    affines: Float[np.ndarray, "batch 2 3"],
    size: tuple[int, int],
    colours: Colours | None = None,
) -> UInt8[np.ndarray, "batch height width 3"]:
    """Samples images bilinearly, black beyond their borders, then maps the channels.

    Args:
      jpegs: the images, as records keep them.
      affines: maps from px of each image to px of its sample.
      size: height and width of the samples.
      colours: maps of the channels; None leaves them unchanged.

    Raises:
      ValueError: an image is not a JPEG.
    """
    # OpenCV releases Python's lock in each of these calls, so that threads do not wait for each
    # other, and takes it again to allocate an array that it is not given. It warps four channels in
    # half the time that it takes for three.
    height, width = size
    images = aligned((len(jpegs), height, width, 3), np.uint8)
    four, three = np.empty((height, width, 4), np.uint8), np.empty((height, width, 3), np.uint8)
    windows = _windows(affines, size)
    memory = jpeg.memory_for(windows)
    for i, ((a, b, c), (d, e, f)) in enumerate(affines.tolist()):
        image, (left, top) = jpeg.decode(jpegs[i], *windows[i], memory=memory)
        # From the whole image, which begins at -left, -top of the window.
        affine = np.array([[a, b, c + a * left + b * top], [d, e, f + d * left + e * top]])
        cv2.warpAffine(image, affine, (width, height), four, cv2.INTER_LINEAR)
        if colours is None:
            cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, images[i])
        else:
            cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, three)
            cv2.transform(three, colours.map_of(i, three), images[i])
    return images


def aligned(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Returns an uninitialised array that TensorFlow uses without a copy."""
    count = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(count + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return memory[first : first + count].view(dtype).reshape(shape)


def _windows(affines, size):
    """Returns the window of each image that its sample shows: left, top, right, bottom, px."""
    height, width = size
    corners = np.array([[0, 1, 0, 1], [0, 0, 1, 1]]) * [[width - 1.0], [height - 1.0]]
    corners = np.linalg.inv(affines[:, :, :2]) @ (corners - affines[:, :, 2:])
    # A pixel to blend with on each side, and one for rounding.
    return np.concatenate([corners.min(axis=2) - 1, corners.max(axis=2) + 3], axis=1).tolist()
