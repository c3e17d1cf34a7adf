"""Predicted or annotated people and objects."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """A predicted or annotated person or object.

    Attributes:
      score: confidence of the network; 1 for annotations.
      box: x, y, width, height, from the image's corner; None if unknown.
      category: index into the source's categories.
      joints: x, y of each joint; None for tasks without joints.
      joint_scores: confidence per joint; for annotations, 1 if the joint is labelled and else 0.
      number: number that a person or object keeps through a video; None outside of videos.
      agreement: how alike the joints after all stacks are, from 0 to 1; None if not compared.
    """

    score: float
    box: Float[np.ndarray, "4"] | None = None
    category: int = 0
    joints: Float[np.ndarray, "joints 2"] | None = None
    joint_scores: Float[np.ndarray, " joints"] | None = None
    number: int | None = None
    agreement: float | None = None

    def mapped(self, affine: Affine) -> "Instance":
        """Returns the instance in another frame; its box becomes the mapped box's bounding box."""
        box, joints = self.box, self.joints
        if box is not None:
            x, y, width, height = np.asarray(box, float)
            corners = [(x, y), (x + width, y), (x, y + height), (x + width, y + height)]
            corners = geometry.apply(affine, np.array(corners) - 0.5) + 0.5
            box = np.concatenate([corners.min(0), corners.max(0) - corners.min(0)])
        if joints is not None:
            joints = geometry.apply(affine, joints)
        return dataclasses.replace(self, box=box, joints=joints)


# Predictions for each record after each stack: found[stack][record] is a list of instances.
Found = Sequence[Sequence[list[Instance]]]
