"""A person painted alone, to be laid over an image at any place."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from hourglass_jax.data.synthetic_people.drawing import (
    is_inside,
    own_visible,
    sample_plan,
    sample_planned,
)
from hourglass_jax.data.synthetic_people.mesh import Layer, overlay, paint

_SOLID = 128  # alpha from which a pixel shows the person
_BORDER = 2  # px around the body


class Cutout(NamedTuple):
    """A painted person, in px of the painting."""

    layer: Layer
    solid: Bool[np.ndarray, "height width"]
    joints: Float[np.ndarray, "16 2"]
    turned_here: Bool[np.ndarray, "16"]  # not behind another part of the body
    skull: Float[np.ndarray, "corners 2"]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.solid.shape
        return width, height


def sample_cutout(
    rng: np.random.Generator, stature: float, pitch: float, light: Float[np.ndarray, "3"]
) -> Cutout:
    """Draws a person.

    Args:
      rng: source of randomness.
      stature: height that the person would have standing upright, px.
      pitch: degrees by which the camera looks down.
      light: unit direction to the light.
    """
    figure = sample_planned(rng, sample_plan(rng)._replace(pitch=pitch)).move(stature, (0, 0))
    low, high = figure.box()
    figure = figure.move(1, _BORDER - low)
    width, height = np.ceil(high - low + 2 * _BORDER).astype(int).tolist()
    layer = paint(figure.mesh, stature, light, (height, width))
    return Cutout(
        layer=layer,
        solid=layer.rgba[..., 3] >= _SOLID,
        joints=figure.joints[:, :2],
        turned_here=own_visible(figure, layer, stature),
        skull=figure.skull[:, :2],
    )


def joints_inside(cutout: Cutout, place: tuple[int, int], size: tuple[int, int]) -> int:
    """Returns how many joints would lie in an image of `size` (width, height)."""
    return int(is_inside(cutout.joints + place, size[1], size[0]).sum())


def lay(
    cutout: Cutout,
    place: tuple[int, int],
    number: int,
    owner: UInt8[np.ndarray, "height width"],
    image: Float[np.ndarray, "height width 3"] | None = None,
) -> None:
    """Lays a cutout with its corner at `place` (x, y), in place.

    Args:
      cutout: the painted person.
      place: x and y of its corner; parts outside the image are cut off.
      number: what `owner` becomes where the person shows.
      owner: who shows at each pixel.
      image: image to draw into, if any.
    """
    (width, height), (x, y) = cutout.size, place
    left, top = max(-x, 0), max(-y, 0)
    right, bottom = min(width, owner.shape[1] - x), min(height, owner.shape[0] - y)
    if left >= right or top >= bottom:
        return
    part = np.s_[top:bottom, left:right]
    window = np.s_[y + top : y + bottom, x + left : x + right]
    owner[window][cutout.solid[part]] = number
    if image is not None:
        overlay(image[window], cutout.layer._replace(rgba=cutout.layer.rgba[part]))
