"""The config section `detection`."""

import dataclasses
from typing import Any

from hourglass_jax.rules import SWITCH, Number, OneOf, Whole, field
from hourglass_jax.tasks.detection import suppression
from hourglass_jax.tasks.detection.corners import TAG_WEIGHT
from hourglass_jax.tasks.detection.radius import PUBLISHED

CORNERS, CENTRES, JOINTS = "corners", "centres", "centres_and_joints"
KINDS = (CORNERS, CENTRES, JOINTS)


class Overlap:
    """An IoU, or the name of the published formula."""

    def accepts(self, value: Any) -> bool:
        return value == PUBLISHED or (Number(0, above=True).accepts(value) and value < 1)

    def __str__(self) -> str:
        return f"a number between 0 and 1, or {PUBLISHED!r}"


@dataclasses.dataclass(frozen=True)
class Options:
    """Config section `detection`.

    Attributes:
      kind: keypoints of a box: its corners (CornerNet), its centre (CenterNet), or the centre and a
        person's joints.
      min_iou: smallest IoU of a box with corners at the edges of their Gaussians; "published" is
        CenterNet's formula. See `radius.gaussian_radius`.
      max_objects: number of boxes that an image may have.
      top_k: number of corners of each kind, or of centres, to read from the heatmaps.
      tag_weight: weight of the losses of corners' embeddings; CornerNet has 0.1. A short training
        needs more to tell objects apart.
      reach: how many cells around a centre's own, horizontally and vertically, learn the size,
        centre and joints, too. CenterNet has 0. A short training learns faster with 1, and a peak
        beside the right cell costs nothing.
      suppression: how boxes lower the scores of others; see `suppression.suppress`.
      published: compute losses, scores and flip test as the published programs do: probabilities
        clipped, pull and push summed over each device's images, pairs of corners scored by their
        mean and not by their product, corners averaged over several scales alone, people scored by
        their centres alone, joints placed by `joints.snapped`, and mirrored without their cell's
        width.
    """

    kind: str = field(OneOf(KINDS), default=CENTRES)
    min_iou: float | str = field(Overlap(), default=0.3)
    max_objects: int = field(Whole(1), default=128)
    top_k: int = field(Whole(1), default=100)
    tag_weight: float = field(Number(0), default=TAG_WEIGHT)
    reach: int = field(Whole(0, 8), default=0)
    suppression: str = field(OneOf(suppression.METHODS), default="gaussian")
    published: bool = field(SWITCH, default=False)
