"""The config section `heatmap`, and the settings of the task in a checkpoint."""

import dataclasses
from collections.abc import Sequence

from hourglass_jax.rules import SWITCH, Anything, Each, Number, Text, Texts, Whole, field
from hourglass_jax.tasks.single_pose.limits import Limits


@dataclasses.dataclass(frozen=True)
class Heatmap:
    """Config section `heatmap`.

    Attributes:
      sigma: standard deviation of the Gaussians, px of the heatmap.
      zero_target: train unlabelled joints to empty maps instead of leaving them out of the loss.
      zero_outside: train joints that are labelled beyond the crop to empty maps.
    """

    sigma: float = field(Number(0, above=True), default=1.0)
    zero_target: bool = field(SWITCH, default=False)
    zero_outside: bool = field(SWITCH, default=False)


@dataclasses.dataclass(frozen=True)
class SkeletonSettings:
    """A skeleton as a checkpoint has it; `Skeleton` checks which joints are named."""

    name: str = field(Text())
    joints: Sequence[str] = field(Texts())
    pairs: Sequence[Sequence[str]] = field(Each(Each(Text(), 2)))
    limbs: Sequence[Sequence[str]] = field(Each(Each(Text(), 2)))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings in a checkpoint, of which former versions left some out."""

    skeleton: SkeletonSettings
    sigma: float = field(Number(0, above=True), default=1.0)
    zero_target: bool = field(SWITCH, default=False)
    zero_outside: bool = field(SWITCH, default=False)
    decoder: str = field(Anything(), default="quarter")  # `SinglePose` checks it
    stride: int = field(Whole(1), default=4)
    limits: Limits = dataclasses.field(default_factory=Limits)
