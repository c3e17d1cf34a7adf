"""The config section `grouped_pose`."""

import dataclasses

from hourglass_jax.rules import SWITCH, Number, OneOf, Whole, field

NEWELL, HIGHER = "newell", "higher_hrnet"


@dataclasses.dataclass(frozen=True)
class Options:
    """Config section `grouped_pose`.

    Attributes:
      sigma: standard deviation of the Gaussians, px of the heatmap.
      max_people: number of people to learn from and to predict in an image, the largest ones, and
        number of peaks to read from each heatmap.
      tag_weight: weight of pull and of push; heatmaps have weight 1.
      threshold: value of a heatmap above which a peak is a joint.
      variant: how joints are grouped, as by Newell et al. or as in HigherHRNet; see
        `grouping.group`.
      published: do as the published programs do: Gaussians at the middles of cells, and people who
        share a tag's value are one person.
    """

    sigma: float = field(Number(0, above=True), default=2.0)
    max_people: int = field(Whole(1), default=30)
    tag_weight: float = field(Number(0), default=1e-3)
    threshold: float = field(Number(0, 1), default=0.1)
    variant: str = field(OneOf((NEWELL, HIGHER)), default=NEWELL)
    published: bool = field(SWITCH, default=False)

    @property
    def window(self) -> int:
        """Side of the neighbourhood of which a peak is the maximum, px of the heatmap."""
        return 5 if self.variant == HIGHER else 3
