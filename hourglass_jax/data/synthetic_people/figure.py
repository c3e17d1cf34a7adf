"""Flesh and clothes around a skeleton.

Front and back differ here and in the head: a shirt with a front, feet that point forward.
"""

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.synthetic_people.body import (
    AVERAGE_BUILD,
    LEFT,
    PELVIS,
    RIGHT,
    THORAX,
    UPPER_NECK,
    Build,
    Part,
    Pose,
    Skeleton,
)
from hourglass_jax.data.synthetic_people.head import Skull, draw_head
from hourglass_jax.data.synthetic_people.mesh import Front, Mesh, join, refine, tube, tube_cells
from hourglass_jax.data.synthetic_people.outfit import BLACK, WHITE, Outfit

SIDES = 16  # of the trunk

# Profiles: place along the axis, half-width, half-depth; lengths in statures.
TRUNK = refine(
    [
        (-0.34, 0.0, 0.0),
        (-0.30, 0.050, 0.045),
        (-0.15, 0.092, 0.070),
        (0.0, 0.101, 0.076),
        (0.25, 0.094, 0.070),
        (0.50, 0.090, 0.064),
        (0.75, 0.106, 0.072),
        (0.90, 0.116, 0.066),
        (1.0, 0.108, 0.052),
        (1.08, 0.060, 0.038),
        (1.12, 0.0, 0.0),
    ],
    26,
)
NECK = np.array([(-0.6, 0.034, 0.034), (0.5, 0.029, 0.03), (1.3, 0.03, 0.03)])
UPPER_ARM = refine(
    [
        (-0.2, 0.0, 0.0),
        (-0.15, 0.03, 0.03),
        (0.0, 0.041, 0.041),
        (0.5, 0.035, 0.035),
        (1.0, 0.029, 0.029),
        (1.12, 0.02, 0.02),
        (1.16, 0.0, 0.0),
    ],
    12,
)
FOREARM = refine(
    [
        (-0.12, 0.0, 0.0),
        (-0.06, 0.025, 0.025),
        (0.1, 0.030, 0.030),
        (0.4, 0.029, 0.029),
        (0.85, 0.021, 0.021),
        (1.0, 0.020, 0.018),
        (1.05, 0.0, 0.0),
    ],
    12,
)
HAND = refine(
    [(-0.1, 0, 0), (0, 0.017, 0.017), (0.4, 0.018, 0.026), (0.8, 0.014, 0.022), (1, 0, 0)], 8
)
THIGH = refine(
    [
        (-0.12, 0.0, 0.0),
        (-0.08, 0.045, 0.045),
        (0.0, 0.064, 0.07),
        (0.4, 0.06, 0.064),
        (0.8, 0.047, 0.048),
        (1.0, 0.042, 0.043),
        (1.1, 0.028, 0.028),
        (1.14, 0.0, 0.0),
    ],
    12,
)
SHANK = refine(
    [
        (-0.1, 0.0, 0.0),
        (-0.05, 0.035, 0.035),
        (0.1, 0.040, 0.041),
        (0.3, 0.041, 0.045),
        (0.7, 0.029, 0.031),
        (1.0, 0.024, 0.026),
        (1.06, 0.0, 0.0),
    ],
    12,
)
FOOT = refine(
    [
        (-0.34, 0.0, 0.0),
        (-0.30, 0.022, 0.026),
        (0.0, 0.028, 0.036),
        (0.4, 0.032, 0.028),
        (0.8, 0.034, 0.02),
        (1.05, 0.026, 0.014),
        (1.12, 0.0, 0.0),
    ],
    9,
)
BACKPACK = np.array([(0, 0, 0), (0.02, 0.08, 0.045), (0.9, 0.07, 0.04), (1, 0, 0)])
STOOL = np.array([(0, 0, 0), (0.01, 0.13, 0.13), (0.2, 0.13, 0.13), (1, 0.11, 0.11)])


def dress(skeleton: Skeleton, build: Build, pose: Pose, skull: Skull, outfit: Outfit) -> Mesh:
    """Returns the surface of a whole person in the body's own axes, in statures."""
    meshes = _trunk(skeleton, build, outfit) + draw_head(skull, outfit)
    meshes += _limbs(skeleton, build, outfit)
    if pose.seated:
        seat = skeleton.joints[PELVIS] + [0, -0.1, 0.06]
        colour, ahead = outfit.accent * 0.8, np.array([0.0, 0.0, 1.0])
        meshes.append(tube(seat, seat - [0, 0.22, 0], STOOL, ahead, colour, Part.PROP))
    elif outfit.skirt:
        meshes.append(_skirt(skeleton, build, outfit))
    return join(meshes)


def _trunk(skeleton: Skeleton, build: Build, outfit: Outfit) -> list[Mesh]:
    axes = skeleton.axes[Part.TORSO]
    pelvis, thorax = skeleton.joints[PELVIS], skeleton.joints[THORAX]
    shoulders = build.shoulder / AVERAGE_BUILD.shoulder
    width = np.interp(TRUNK[:, 0], [-0.1, 0.4, 0.9], [build.hips, 1, shoulders])
    profile = TRUNK * build.girth
    profile[:, 0] = TRUNK[:, 0]
    profile[:, 1] *= width
    colour = _cloth(profile, outfit)
    neck = skeleton.joints[UPPER_NECK]
    meshes = [
        tube(pelvis, thorax, profile, axes[:, 2], colour, Part.TORSO, SIDES),
        tube(thorax, neck, NECK, axes[:, 2], outfit.skin * 0.95, Part.HEAD),
    ]
    meshes += _shirt_front(Front(profile, pelvis, build.torso, axes, Part.TORSO), outfit)
    if outfit.backpack:
        back = pelvis - axes[:, 2] * (0.11 * build.girth)
        low, high = (back + axes[:, 1] * (place * build.torso) for place in (0.3, 1.0))
        meshes.append(tube(low, high, BACKPACK, axes[:, 2], outfit.accent, Part.PROP))
    return meshes


def _cloth(profile, outfit: Outfit) -> Float[np.ndarray, "rings-1 sides 3"]:
    """Returns the colours of a top, with the bottom's waist below and some neck above."""
    place, angle = tube_cells(profile, SIDES)
    place = place[:, 0]
    colour = np.tile(outfit.top, (len(place), SIDES, 1))
    ring, side = np.indices(colour.shape[:2])
    second = {
        "plain": np.zeros_like(ring, bool),
        "hoops": ring % 4 < 2,
        "stripes": (side + 1) % 4 < 2,  # the same on both sides, as the checks are
        "checks": (ring // 2 + (side + 1) // 2) % 2 == 0,
    }[outfit.pattern]
    colour[second] = outfit.top_second
    if outfit.front == "jacket":
        colour[:, np.sin(angle[0]) > 0.8] = outfit.accent
    colour[place < 0.06] = outfit.bottom
    colour[np.abs(place - 0.05) < 0.03] = outfit.bottom * 0.5  # a belt
    colour[place > 1.04] = outfit.skin
    return colour


def _shirt_front(chest: Front, outfit: Outfit) -> list[Mesh]:
    bold = WHITE if outfit.top.mean() < 110 else BLACK
    meshes = [
        chest.patch([(-0.3, 1.04), (0, 0.80), (0.3, 1.04)], outfit.skin),
        chest.patch([(-0.09, 0.08), (-0.09, 0.02), (0.09, 0.02), (0.09, 0.08)], WHITE),  # buckle
    ]
    if outfit.front in ("buttons", "collar", "tie"):
        lapel = [(0.2, 1.05), (0.05, 0.78), (0.42, 0.9)]
        cloth = (outfit.top + bold) / 2
        for sign in (-1, 1):
            meshes.append(chest.patch([(sign * x, y) for x, y in lapel[::sign]], cloth, level=2))
    if outfit.front == "buttons":
        placket = [(-0.05, 0.8), (-0.05, 0.08), (0.05, 0.08), (0.05, 0.8)]
        meshes.append(chest.patch(placket, bold))
    elif outfit.front == "tie":
        tie = [(-0.06, 0.84), (-0.13, 0.3), (0, 0.2), (0.13, 0.3), (0.06, 0.84)]
        meshes.append(chest.patch(tie, outfit.accent, level=3))
    elif outfit.front == "print":
        meshes.append(chest.spot(0, 0.6, 0.4, 0.14, outfit.accent))
        meshes.append(chest.spot(0, 0.6, 0.2, 0.07, bold, level=2))
    if outfit.backpack:
        strap = [(0.5, 1.0), (0.62, 0.45), (0.75, 0.45), (0.66, 1.0)]
        for sign in (-1, 1):
            outline = [(sign * x, y) for x, y in strap[::sign]]
            meshes.append(chest.patch(outline, outfit.accent * 0.7, level=4))
    return meshes


def _segment(start, end, profile, axes, part, colours, ends) -> Mesh:
    """Returns a part of a limb; its colour changes from first to second at `ends` of its length."""
    place, _ = tube_cells(profile)
    colour = np.where(place[..., None] < ends, *colours)
    return tube(start, end, profile, axes[:, 2], colour, part)


def _limbs(skeleton: Skeleton, build: Build, outfit: Outfit) -> list[Mesh]:
    meshes = []
    sleeve, leg = (outfit.top, outfit.skin), (outfit.bottom, outfit.skin)
    thick = np.array([1, build.girth, build.girth])
    loose = thick * ([1, 1.1, 1.1] if outfit.leg > 1 else 1)  # trousers
    for i, side in enumerate((RIGHT, LEFT)):
        upper, fore, thigh, shank = (skeleton.axes[part] for part in side.parts)
        upper_part, fore_part, thigh_part, shank_part = side.parts
        shoulder, elbow, wrist = skeleton.joints[list(side.arm)]
        hip, knee, ankle = skeleton.joints[list(side.leg)]
        heel, fingertip, toe = ankle - 0.012 * shank[:, 1], skeleton.fingertips[i], skeleton.toes[i]
        meshes += [
            _segment(shoulder, elbow, UPPER_ARM * thick, upper, upper_part, sleeve, outfit.sleeve),
            _segment(elbow, wrist, FOREARM * thick, fore, fore_part, sleeve, outfit.sleeve - 1),
            tube(wrist, fingertip, HAND, fore[:, 2], outfit.skin, fore_part, 8),
            _segment(hip, knee, THIGH * loose, thigh, thigh_part, leg, outfit.leg),
            _segment(knee, ankle, SHANK * loose, shank, shank_part, leg, outfit.leg - 1),
            tube(heel, toe, FOOT, shank[:, 1], outfit.shoe, shank_part, 8),
        ]
    return meshes


def _skirt(skeleton: Skeleton, build: Build, outfit: Outfit) -> Mesh:
    """Returns a cone around both thighs."""
    knees = skeleton.joints[[RIGHT.leg[1], LEFT.leg[1]]]
    ahead = skeleton.axes[Part.RIGHT_THIGH][:, 2] + skeleton.axes[Part.LEFT_THIGH][:, 2]
    # Where a stride parts the knees, the hem is as deep as the stride.
    across, stride = np.abs(knees[1] - knees[0])[[0, 2]] / 2
    length = np.clip(outfit.leg, 0.6, 1.1)
    hem = (length, across * length + 0.065, stride * length + 0.07)
    profile = [(-0.15, 0.09, 0.07), (0.05, build.hip + 0.048, 0.08), hem, (length, 0, 0)]
    profile = refine(profile, 10) * [1, build.girth, build.girth]
    start, end = skeleton.joints[PELVIS], knees.mean(0)
    return tube(start, end, profile, ahead, outfit.bottom, Part.SKIRT, SIDES)
