"""The head: a skull with a face in front and hair on top and behind."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.synthetic_people.body import (
    AVERAGE_BUILD,
    HEAD_TOP,
    UPPER_NECK,
    Build,
    Part,
    Skeleton,
)
from hourglass_jax.data.synthetic_people.mesh import (
    DECAL_BIAS,
    Front,
    Mesh,
    refine,
    select,
    tube,
    tube_cells,
)
from hourglass_jax.data.synthetic_people.outfit import BLACK, WHITE, Outfit

SIDES = 24

# Profiles: place along the axis, half-width, half-depth; lengths in statures.
SKULL = refine(
    [
        (0.0, 0.0, 0.0),
        (0.03, 0.024, 0.034),
        (0.18, 0.042, 0.054),
        (0.45, 0.055, 0.066),
        (0.70, 0.057, 0.070),
        (0.88, 0.044, 0.055),
        (0.97, 0.023, 0.029),
        (1.0, 0.0, 0.0),
    ],
    14,
)
NOSE = np.array([(0, 0, 0), (0.15, 0.013, 0.026), (0.4, 0.011, 0.02), (1, 0.003, 0.004)])
EAR = np.array([(0, 0, 0), (0.2, 0.008, 0.014), (0.8, 0.01, 0.018), (1, 0, 0)])
BRIM = np.array([(0, 0.05, 0.004), (0.6, 0.045, 0.004), (1, 0.02, 0.003)])
MANE = np.array([(0, 0.05, 0.02), (0.4, 0.06, 0.032), (0.9, 0.062, 0.022), (1, 0, 0)])
BUN = np.array([(0, 0, 0), (0.15, 0.02, 0.02), (0.5, 0.03, 0.03), (0.85, 0.02, 0.02), (1, 0, 0)])
# How far down the back of the head the hair goes, from 1 at the top to 0 at the chin.
NAPES = {"short": 0.3, "medium": 0.08, "long": 0.0, "bun": 0.28, "cap": 0.28}


class Skull(NamedTuple):
    """Position, size and shape of a head."""

    chin: Float[np.ndarray, "3"]
    height: float
    axes: Float[np.ndarray, "3 3"]  # columns: left, up, ahead
    profile: Float[np.ndarray, "rings 3"]

    def at(self, left: float, up: float, ahead: float) -> Float[np.ndarray, "3"]:
        """Returns a point: `up` in heights above the chin, `left` and `ahead` in statures."""
        return self.chin + self.axes @ [left, up * self.height, ahead]

    def shell(self, colour, profile: Float[np.ndarray, "rings 3"]) -> Mesh:
        """Returns the surface from chin to top with the given profile."""
        return tube(self.chin, self.at(0, 1, 0), profile, self.axes[:, 2], colour, Part.HEAD, SIDES)


def measure_skull(skeleton: Skeleton, build: Build) -> Skull:
    """Returns the skull that fits a skeleton; its top is the joint "head top"."""
    axes = skeleton.axes[Part.HEAD]
    chin = skeleton.joints[UPPER_NECK] + axes @ [0, -0.012, 0.012]
    height = float((skeleton.joints[HEAD_TOP] - chin) @ axes[:, 1])
    size = build.head / AVERAGE_BUILD.head
    return Skull(chin, height, axes, SKULL * [1, size, size])


def draw_head(skull: Skull, outfit: Outfit) -> list[Mesh]:
    """Returns a head's surfaces in the body's axes."""
    return _face(skull, outfit) + _hair(skull, outfit)


def _face(skull: Skull, outfit: Outfit) -> list[Mesh]:
    up, ahead = skull.axes.T[1:]
    place, angle = tube_cells(skull.profile, SIDES)
    colour = np.tile(outfit.skin, (*np.broadcast_shapes(place.shape, angle.shape), 1))
    if outfit.beard:
        colour[(place < 0.3) & (np.sin(angle) > -0.3)] = outfit.hair
    front = Front(skull.profile, skull.chin, skull.height, skull.axes, Part.HEAD)
    lips = outfit.skin * [0.75, 0.45, 0.45]
    tip, bridge = front.points([(0, 0.32), (0, 0.58)])
    meshes = [
        skull.shell(colour, skull.profile),
        front.spot(0, 0.2, 0.40, 0.035, lips),
        tube(tip, bridge, NOSE, ahead, outfit.skin * 0.88, Part.HEAD, 8),
    ]
    for sign in (-1, 1):
        brow = [(0.18, 0.64), (0.18, 0.60), (0.64, 0.60), (0.62, 0.64)]
        ear = skull.at(sign * skull.profile[:, 1].max(), 0.48, -0.004)
        meshes += [
            front.spot(sign * 0.40, 0.52, 0.22, 0.055, WHITE),
            front.spot(sign * 0.40, 0.52, 0.12, 0.05, BLACK, level=2),
            front.patch([(sign * x, y) for x, y in brow[::sign]], outfit.hair * 0.6),
            tube(ear - 0.02 * up, ear + 0.022 * up, EAR, ahead, outfit.skin * 0.9, Part.HEAD, 8),
        ]
    return meshes


def _hair(skull: Skull, outfit: Outfit) -> list[Mesh]:
    left, up, ahead = skull.axes.T
    place, angle = tube_cells(skull.profile, SIDES)
    front = np.sin(angle)
    nape = NAPES[outfit.hair_style]
    hairline = np.interp(place, [nape, nape + 0.1, 0.6, 0.8, 0.86], [-0.9, -0.2, 0.15, 0.7, 2.0])
    grown = (front < hairline) & (place > nape)
    colour = np.tile(outfit.hair, (len(place), SIDES, 1))
    if outfit.hair_style == "cap":
        colour[place[:, 0] > 0.66] = outfit.accent
        grown |= place > 0.74
    # Hair is a slightly larger skull without its face.
    shell = skull.shell(colour, skull.profile * [1.03, 1.12, 1.12])
    shell = select(shell, grown.ravel())
    meshes = [shell._replace(bias=shell.bias + DECAL_BIAS / 2)]

    if outfit.hair_style == "cap":
        root = skull.at(0, 0.76, 0.045)
        cloth = outfit.accent * 0.8
        meshes.append(tube(root, root + 0.075 * ahead, BRIM, up, cloth, Part.HEAD, 8))
    elif outfit.hair_style == "long":
        root = skull.at(0, 0.6, -0.045)
        end = root - 0.165 * up - 0.03 * ahead
        meshes.append(tube(root, end, MANE, ahead, outfit.hair * 0.95, Part.HEAD))
    elif outfit.hair_style == "bun":
        root = skull.at(0, 0.8, -0.05)
        end = root + 0.05 * up - 0.04 * ahead
        meshes.append(tube(root, end, BUN, left, outfit.hair * 0.9, Part.HEAD))
    return meshes
