"""The fraction of correct joints, as a `tasks.base.Metric`: PCKh on MPII, PCK elsewhere."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data.base import Tolerance
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.image import geometry
from hourglass_jax.tasks.base import Found, Record
from hourglass_jax.tasks.single_pose import metrics
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class People:
    """Predictions and the truth as arrays; px of the source images.

    Attributes:
      joints: predicted joints after each stack.
      truth: annotated joints, of any value if not labelled.
      labelled: whether each joint has coordinates.
      visible: whether each joint is labelled and not occluded.
      reference: length of which thresholds are fractions.
    """

    joints: Float[np.ndarray, "people stacks joints 2"]
    truth: Float[np.ndarray, "people joints 2"]
    labelled: Bool[np.ndarray, "people joints"]
    visible: Bool[np.ndarray, "people joints"]
    reference: Float[np.ndarray, " people"]

    @classmethod
    def of(cls, found: Found, truth: Sequence[Record]) -> "People":
        """Collects predictions and records into arrays."""
        joints = [np.array([person.joints for (person,) in stack]) for stack in found]
        columns = {
            name: np.stack([record[name] for record in truth])
            for name in ("joints_record", "record_to_source", "labelled", "visible", "reference")
        }
        to_source = columns.pop("record_to_source").astype(np.float64)
        joints_source = geometry.apply(to_source, columns.pop("joints_record"))
        return cls(np.stack(joints, axis=1), joints_source, **columns)

    @property
    def errors(self) -> Float[np.ndarray, "people joints"]:
        """Distances after the last stack, in reference lengths; NaN where nothing is labelled."""
        distances = np.linalg.norm(self.joints[:, -1] - self.truth, axis=-1)
        return np.where(self.labelled, distances / self.reference[:, None], np.nan)

    @property
    def kinds(self) -> dict[str, Bool[np.ndarray, "people joints"]]:
        """Masks of the labelled joints: all, the visible ones, and the occluded ones."""
        return {
            "all": self.labelled,
            "visible": self.labelled & self.visible,
            "occluded": self.labelled & ~self.visible,
        }


@dataclasses.dataclass(frozen=True)
class JointsFound:
    """The fraction of joints that lie within a tolerance of the truth.

    Figures are `headline` itself, `headline/<joint>`, `headline/<joint without its side>`,
    `headline/visible` and `headline/occluded`, and `headline/stack<i>` from 1. If the reference is
    the head size, there are also the figures of other publications: `headline/unweighted`,
    `headline/official_head`, "PCKh@0.1" and "PCKh/AUC".
    """

    skeleton: Skeleton
    tolerance: Tolerance

    @property
    def headline(self) -> str:
        return f"{'PCKh' if self.tolerance.heads else 'PCK'}@{self.tolerance.share}"

    def _score(self, people: People, joints, labelled, share: float | None = None) -> metrics.PCK:
        measure = metrics.pckh if self.tolerance.heads else metrics.pck
        share = self.tolerance.share if share is None else share
        return measure(people.truth, joints, labelled, people.reference, share)

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        people, name = People.of(found, truth), self.headline
        final = people.joints[:, -1]
        overall = self._score(people, final, people.labelled)
        figures = {name: overall.total}
        if isinstance(overall, metrics.PCKh):
            figures[f"{name}/unweighted"] = overall.unweighted
            figures[f"{name}/official_head"] = overall.official_head
            figures["PCKh@0.1"] = self._score(people, final, people.labelled, 0.1).total
            figures["PCKh/AUC"] = metrics.pckh_auc(
                people.truth, final, people.labelled, people.reference
            )
        shares = dict(zip(self.skeleton.joints, overall.per_joint, strict=True))
        figures |= {f"{name}/{joint}": share for joint, share in shares.items()}
        for left in self.skeleton.joints:  # as in papers: the mean of both sides
            right = left.replace("left_", "right_", 1)
            if left.startswith("left_") and right in shares:
                both = float(np.mean([shares[left], shares[right]]))
                figures[f"{name}/{left.removeprefix('left_')}"] = both
        for kind in ("visible", "occluded"):
            figures[f"{name}/{kind}"] = self._score(people, final, people.kinds[kind]).total
        for stack in range(people.joints.shape[1]):
            joints = people.joints[:, stack]
            figures[f"{name}/stack{stack + 1}"] = self._score(people, joints, people.labelled).total
        return {name: float(value) for name, value in figures.items()}

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        people, figures, name = People.of(found, truth), self(found, truth), self.headline
        correct, count = people.errors <= self.tolerance.share, people.labelled.sum(0)
        with np.errstate(invalid="ignore"):
            shares = [(correct & mask).sum(0) / mask.sum(0) for mask in people.kinds.values()]
        rows: list[list[str | int | float]] = [
            [joint, *(float(share[k]) for share in shares), int(count[k])]
            for k, joint in enumerate(self.skeleton.joints)
        ]
        totals = [figures[name], figures[f"{name}/visible"], figures[f"{name}/occluded"]]
        rows.append(["total", *totals, int(count.sum())])
        stacks = range(1, people.joints.shape[1] + 1)
        after = ", ".join(f"{100 * figures[f'{name}/stack{i}']:.2f}" for i in stacks)
        notes = [f"after each stack: {after}", *(self._summary(figures))]
        return Table(name, [*people.kinds, "labelled"], rows, notes)

    def _summary(self, figures: dict[str, float]) -> list[str]:
        """Returns all figures that are published as PCKh, and how they differ."""
        if not self.tolerance.heads:
            return []
        name = self.headline
        values = {
            "MPII toolkit's Total": figures[name],
            "unweighted mean": figures[f"{name}/unweighted"],
            "toolkit's Head": figures[f"{name}/official_head"],
            "head top": figures[f"{name}/head_top"],
            "PCKh@0.1": figures["PCKh@0.1"],
            "AUC": figures["PCKh/AUC"],
        }
        return [
            ", ".join(f"{name} {100 * value:.2f}" for name, value in values.items()),
            "All exclude pelvis and thorax. The toolkit's Total is correct over labelled joints;",
            "PyTorch projects average the 14 joints with equal weight. The toolkit's Head is the",
            "mean of upper neck and head top, theirs is the head top only.",
        ]

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " people"]:
        people = People.of(found, truth)
        mean = np.full(len(people.labelled), np.nan)
        known = people.labelled.any(axis=1)
        mean[known] = np.nanmean(people.errors[known], axis=1)
        return mean

    def plots(self, found: Found, truth: Sequence[Record]) -> Mapping[str, "Figure"]:
        # Needs matplotlib, which prediction does without.
        from hourglass_jax.tasks.single_pose import plots

        people, share = People.of(found, truth), self.tolerance.share
        if not people.labelled.any():  # predictions in boxes from a detector
            return {}
        reference = f"distance, fractions of the reference of {self.headline}"
        return {
            "Correct joints by allowed distance": plots.found_by_distance(
                people.errors, people.kinds, share, reference
            ),
            "Error by joint: 25th to 75th percentile, and median": (
                plots.error_by_joint(people.errors, self.skeleton.joints, share, reference)
            ),
        }
