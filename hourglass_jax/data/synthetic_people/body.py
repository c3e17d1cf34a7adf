"""The 3-D skeleton of a drawn person: proportions, natural poses and forward kinematics.

Lengths are in statures (1 = the standing height). A body's own axes are x to the person's left,
y up and z out of the chest, so that a body that faces the viewer has its left on the image's
right.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Part(IntEnum):
    """Part of the body that a surface belongs to; hands count to forearms, feet to shanks."""

    NOTHING = 0
    TORSO = 1
    HEAD = 2
    RIGHT_UPPER_ARM = 3
    RIGHT_FOREARM = 4
    RIGHT_THIGH = 5
    RIGHT_SHANK = 6
    LEFT_UPPER_ARM = 7
    LEFT_FOREARM = 8
    LEFT_THIGH = 9
    LEFT_SHANK = 10
    SKIRT = 11
    PROP = 12


class Side(NamedTuple):
    """The limbs of one side of the body."""

    sign: int  # of x
    parts: tuple[Part, Part, Part, Part]  # upper arm, forearm, thigh, shank
    arm: tuple[int, int, int]  # joints: shoulder, elbow, wrist
    leg: tuple[int, int, int]  # joints: hip, knee, ankle


RIGHT = Side(
    -1,
    (Part.RIGHT_UPPER_ARM, Part.RIGHT_FOREARM, Part.RIGHT_THIGH, Part.RIGHT_SHANK),
    arm=(12, 11, 10),
    leg=(2, 1, 0),
)
LEFT = Side(
    1,
    (Part.LEFT_UPPER_ARM, Part.LEFT_FOREARM, Part.LEFT_THIGH, Part.LEFT_SHANK),
    arm=(13, 14, 15),
    leg=(3, 4, 5),
)
PELVIS, THORAX, UPPER_NECK, HEAD_TOP = 6, 7, 8, 9


class Build(NamedTuple):
    """Bone lengths and girths of one person, in statures; both sides of a body share them."""

    torso: float  # pelvis to thorax
    neck: float  # thorax to upper neck
    head: float  # upper neck to head top
    shoulder: float  # midline to shoulder joint
    hip: float  # midline to hip joint
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shank: float
    foot: float
    girth: float  # factor on the thickness of everything but the head
    hips: float  # factor on the width around the hips


AVERAGE_BUILD = Build(
    torso=0.285,
    neck=0.05,
    head=0.145,
    shoulder=0.112,
    hip=0.058,
    upper_arm=0.172,
    forearm=0.148,
    hand=0.075,
    thigh=0.24,
    shank=0.24,
    foot=0.105,
    girth=1.0,
    hips=1.0,
)
BUILD_SPREAD = Build(*[0.05] * 11, girth=0.1, hips=0.08)  # standard deviations of the logarithms


class Limb(NamedTuple):
    """Angles of an arm or a leg in degrees, zero when it hangs straight down.

    `flex` swings it forward and `spread` away from the midline; `turn` rotates it about its own
    length, outwards; `bend` closes the elbow (forward) or the knee (backward).
    """

    flex: float
    spread: float
    turn: float
    bend: float


class Pose(NamedTuple):
    """Joint angles of a body in degrees; limbs are (right, left)."""

    spine: tuple[float, float, float]  # forward lean, twist to the left, lean to the left
    head: tuple[float, float, float]  # nod, turn to the left, tilt to the right
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    seated: bool


class Skeleton(NamedTuple):
    """Joint positions in MPII's order and the axes of each part, in the body's own axes."""

    joints: Float[np.ndarray, "16 3"]
    axes: dict[Part, Float[np.ndarray, "3 3"]]  # columns: the part's left, up and forward
    toes: Float[np.ndarray, "2 3"]  # right, left
    fingertips: Float[np.ndarray, "2 3"]  # right, left


# Ranges of the angles of one limb: (lowest, highest) of flex, spread, turn, bend.
ARMS = {
    "hanging": ((-15, 20), (4, 18), (-30, 10), (3, 30)),
    "on_hip": ((-25, -8), (35, 50), (-85, -65), (75, 100)),
    "carrying": ((-10, 30), (5, 22), (-35, 5), (60, 115)),
    "spread_out": ((-10, 25), (65, 105), (-30, 30), (0, 40)),
    "waving": ((0, 25), (65, 105), (70, 110), (40, 115)),
    "overhead": ((150, 178), (5, 30), (-40, 20), (0, 55)),
    "reaching": ((55, 105), (0, 30), (-30, 10), (0, 40)),
    "at_head": ((105, 140), (10, 35), (-40, -10), (105, 135)),
    "folded": ((15, 32), (6, 16), (-75, -55), (90, 112)),
    "swung_forward": ((15, 45), (3, 12), (-20, 5), (15, 80)),
    "swung_back": ((-45, -15), (3, 14), (-20, 5), (5, 60)),
}
LEGS = {
    "straight": ((-5, 8), (1, 8), (0, 20), (0, 10)),
    "at_ease": ((5, 20), (3, 12), (5, 30), (10, 35)),
    "apart": ((-5, 12), (12, 26), (5, 30), (0, 15)),
    "stepping": ((15, 38), (0, 6), (0, 10), (0, 22)),
    "trailing": ((-28, -8), (0, 6), (0, 10), (8, 50)),
    "seated": ((72, 95), (2, 16), (-5, 15), (65, 100)),
    "squatting": ((85, 120), (6, 28), (5, 30), (95, 130)),
    "lunging": ((50, 85), (2, 12), (0, 10), (55, 90)),
    "kneeling": ((-15, 5), (2, 8), (0, 10), (60, 95)),
    "lifted": ((35, 90), (0, 20), (0, 20), (25, 105)),
}

# Activities: how frequent, legs, range of the forward lean, arms to choose from.
EVERYDAY_ARMS = ("hanging", "hanging", "on_hip", "carrying", "waving", "at_head", "folded")
ACTIVITIES = {
    "standing": (0.40, ("straight", "straight"), (-5, 8), EVERYDAY_ARMS),
    "at_ease": (0.14, ("straight", "at_ease"), (-5, 8), EVERYDAY_ARMS),
    "walking": (0.20, ("trailing", "stepping"), (0, 12), ("swung_forward", "swung_back")),
    "exercising": (
        0.13,
        ("apart", "apart"),
        (-8, 12),
        ("spread_out", "overhead", "waving", "on_hip", "reaching"),
    ),
    "bending": (0.03, ("at_ease", "at_ease"), (20, 50), ("reaching", "hanging", "carrying")),
    "sitting": (0.04, ("seated", "seated"), (-5, 20), ("carrying", "reaching", "hanging")),
    "crouching": (0.02, ("squatting", "squatting"), (10, 35), ("reaching", "carrying")),
    "lunging": (0.02, ("lunging", "kneeling"), (0, 20), EVERYDAY_ARMS),
    "on_one_leg": (0.02, ("straight", "lifted"), (-5, 12), ("spread_out", "overhead", "hanging")),
}


def sample_build(rng: np.random.Generator) -> Build:
    """Draws one person's proportions around the average adult's."""
    factors = np.exp(rng.normal(0.0, BUILD_SPREAD).clip(-0.2, 0.2))
    return Build(*(np.array(AVERAGE_BUILD) * factors).tolist())


def _sample_limb(ranges: tuple, position: Float[np.ndarray, "4"]) -> Limb:
    low, high = np.array(ranges, float).T
    return Limb(*(low + position * (high - low)).tolist())


def sample_pose(rng: np.random.Generator, activities: Sequence[str] = tuple(ACTIVITIES)) -> Pose:
    """Draws one of the given activities, by frequency, and a pose within it."""
    shares = np.array([ACTIVITIES[name][0] for name in activities])
    name = activities[rng.choice(len(activities), p=shares / shares.sum())]
    _, legs, lean, arms = ACTIVITIES[name]

    if name != "walking":  # where the arms swing against the legs
        first = arms[rng.integers(len(arms))]
        mirrored = first == "folded" or rng.random() < 0.55
        arms = (first, first if mirrored else arms[rng.integers(len(arms))])
    # Both sides of a body move alike: their positions within the ranges are correlated.
    position = rng.random((2, 4))
    other = (position + rng.normal(0.0, 0.25, (2, 4))).clip(0, 1)
    arm_pair = (_sample_limb(ARMS[arms[0]], position[0]), _sample_limb(ARMS[arms[1]], other[0]))
    leg_pair = (_sample_limb(LEGS[legs[0]], other[1]), _sample_limb(LEGS[legs[1]], position[1]))
    if rng.random() < 0.5:
        arm_pair, leg_pair = (arm_pair[1], arm_pair[0]), (leg_pair[1], leg_pair[0])

    forward = rng.uniform(*lean)
    spine = (forward, rng.normal(0, 7), rng.normal(0, 5))
    # People who lean forward lift the head to look ahead.
    head = (rng.normal(0, 8) - 0.6 * max(forward, 0), rng.normal(0, 12), rng.normal(0, 6))
    return Pose(spine, head, arm_pair, leg_pair, seated=name == "sitting")


def rotation_x(degrees: float) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation about x that takes y towards z."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(degrees: float) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation about y that takes z towards x."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(degrees: float) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation about z that takes x towards y."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def articulate(build: Build, pose: Pose) -> Skeleton:
    """Places the joints of a body with its pelvis at the origin, by forward kinematics."""
    lean, twist, side_lean = pose.spine
    torso = rotation_x(lean) @ rotation_z(-side_lean) @ rotation_y(twist)
    nod, shake, roll = pose.head
    head = torso @ rotation_y(shake) @ rotation_x(nod) @ rotation_z(roll)

    joints = np.zeros((16, 3))
    joints[THORAX] = torso @ [0, build.torso, 0]
    neck = torso @ rotation_x(nod / 2)
    joints[UPPER_NECK] = joints[THORAX] + neck @ [0, build.neck, 0.008]
    joints[HEAD_TOP] = joints[UPPER_NECK] + head @ [0, build.head, 0.012]

    axes = {Part.TORSO: torso, Part.HEAD: head}
    toes, fingertips = np.zeros((2, 3)), np.zeros((2, 3))
    down = np.array([0.0, -1.0, 0.0])
    for i, (sign, parts, (shoulder, elbow, wrist), (hip, knee, ankle)) in enumerate((RIGHT, LEFT)):
        flex, spread, turn, bend = pose.arms[i]
        # Raising an arm lifts the shoulder joint as well.
        lift = 0.035 * np.clip(max(flex, spread) - 60, 0, 90) / 90
        joints[shoulder] = joints[THORAX] + torso @ [sign * build.shoulder, lift - 0.012, 0]
        upper = torso @ rotation_x(-flex) @ rotation_z(sign * spread) @ rotation_y(sign * turn)
        fore = upper @ rotation_x(-bend)
        joints[elbow] = joints[shoulder] + upper @ down * build.upper_arm
        joints[wrist] = joints[elbow] + fore @ down * build.forearm
        fingertips[i] = joints[wrist] + fore @ rotation_x(-10) @ down * build.hand

        flex, spread, turn, bend = pose.legs[i]
        thigh = rotation_x(-flex) @ rotation_z(sign * spread) @ rotation_y(sign * turn)
        shank = thigh @ rotation_x(bend)
        foot = shank @ rotation_x(np.clip(flex - bend, -20, 40))  # flat on the ground if it can
        joints[hip] = [sign * build.hip, -0.01, 0]
        joints[knee] = joints[hip] + thigh @ down * build.thigh
        joints[ankle] = joints[knee] + shank @ down * build.shank
        toes[i] = joints[ankle] + foot @ [0, -0.028, build.foot]

        axes |= dict(zip(parts, (upper, fore, thigh, shank), strict=True))
    return Skeleton(joints, axes, toes, fingertips)
