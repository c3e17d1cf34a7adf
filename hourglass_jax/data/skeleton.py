"""Skeletons: which joints a data set has, which of them mirror each other, and how they connect."""

import collections
import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from hourglass_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Joint names in the order of the heatmaps, left/right pairs and limbs, all by name.

    Attributes:
      name: name of the skeleton, such as "mpii".
      joints: names of the joints, in order.
      pairs: (left, right) joints that change places when an image is flipped.
      limbs: (joint, joint) to connect by a line.

    Raises:
      UserError: a joint named twice, a pair or limb of an unknown joint, or a joint in two pairs.
    """

    name: str
    joints: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    limbs: tuple[tuple[str, str], ...]

    def __post_init__(self):
        # JSON has lists only.
        object.__setattr__(self, "joints", tuple(self.joints))
        for field in ("pairs", "limbs"):
            value = tuple(tuple(pair) for pair in getattr(self, field))
            object.__setattr__(self, field, value)
            for pair in value:
                if len(pair) != 2 or pair[0] == pair[1]:
                    raise UserError(f"{field} of skeleton {self.name!r}: {pair} is not two joints")
        twice = _repeated(self.joints)
        if twice:
            raise UserError(f"skeleton {self.name!r} names the joint {twice!r} twice")
        for joint in (j for pair in self.pairs + self.limbs for j in pair):
            self.index(joint)
        twice = _repeated([joint for pair in self.pairs for joint in pair])
        if twice:
            raise UserError(f"joint {twice!r} of skeleton {self.name!r} is in more than one pair")

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Returns the joint's place in the order of the heatmaps."""
        if joint not in self.joints:
            raise UserError(
                f"unknown joint {joint!r} in skeleton {self.name!r}; "
                f"it has {', '.join(self.joints)}"
            )
        return self.joints.index(joint)

    @functools.cached_property
    def flip_order(self) -> Int[np.ndarray, " joints"]:
        """For each joint, the index of the one that takes its place in a flipped image."""
        order = np.arange(self.num_joints)
        for left, right in self.pairs:
            a, b = self.index(left), self.index(right)
            order[[a, b]] = b, a
        return order

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for name, count in collections.Counter(names).items() if count > 1), None)


def _sides(*parts: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"left_{part}", f"right_{part}") for part in parts)


def _both(*limbs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{s}_{a}", f"{s}_{b}") for s in ("right", "left") for a, b in limbs)


_ARM_AND_LEG = (("ankle", "knee"), ("knee", "hip"), ("wrist", "elbow"), ("elbow", "shoulder"))

MPII = Skeleton(
    name="mpii",
    joints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist"),
    ),
    pairs=_sides("ankle", "knee", "hip", "wrist", "elbow", "shoulder"),
    limbs=(
        *_both(*_ARM_AND_LEG),
        *(("right_hip", "pelvis"), ("left_hip", "pelvis"), ("pelvis", "thorax")),
        *(("right_shoulder", "thorax"), ("left_shoulder", "thorax")),
        *(("thorax", "upper_neck"), ("upper_neck", "head_top")),
    ),
)

LSP = Skeleton(
    name="lsp",
    joints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
    ),
    pairs=_sides("ankle", "knee", "hip", "wrist", "elbow", "shoulder"),
    limbs=(
        *_both(*_ARM_AND_LEG, ("hip", "shoulder")),
        *(("right_shoulder", "neck"), ("left_shoulder", "neck")),
        *(("left_hip", "right_hip"), ("neck", "head_top")),
    ),
)

COCO = Skeleton(
    name="coco",
    joints=(
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
        *("left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    pairs=_sides("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    limbs=(
        *_both(*_ARM_AND_LEG, ("hip", "shoulder"), ("eye", "ear"), ("ear", "shoulder")),
        *(("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")),
        *(("left_eye", "right_eye"), ("nose", "left_eye"), ("nose", "right_eye")),
    ),
)

FLIC = Skeleton(
    name="flic",
    joints=(
        *("left_shoulder", "left_elbow", "left_wrist"),
        *("right_shoulder", "right_elbow", "right_wrist"),
        *("left_hip", "right_hip", "left_eye", "right_eye", "nose"),
    ),
    pairs=_sides("shoulder", "elbow", "wrist", "hip", "eye"),
    limbs=(
        *_both(("wrist", "elbow"), ("elbow", "shoulder"), ("shoulder", "hip")),
        *(("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")),
        *(("left_eye", "nose"), ("right_eye", "nose")),
    ),
)
