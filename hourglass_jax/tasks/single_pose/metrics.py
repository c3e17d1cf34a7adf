"""PCK and PCKh: the share of joints found, to within a share of the person's own size.

A joint counts as found where distance / reference <= threshold (the MPII toolkit's `<=`; bearpaw's
pytorch-pose uses `<`). Labelled joints count, occluded or not; others do not. Persons come in as
the numbers of found and labelled joints, exact integers, so that any batching gives one result:

    PCK(first.counts + second.counts)

All shares are fractions from 0 to 1, and NaN where nothing is labelled.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from hourglass_jax.data.skeleton import MPII

# The MPII toolkit leaves these two out: they are hardly ever missed, and raise every mean.
_COUNTED = np.array([joint not in ("pelvis", "thorax") for joint in MPII.joints])
_HEAD_TOP, _UPPER_NECK = MPII.index("head_top"), MPII.index("upper_neck")

# The MPII toolkit's 0:0.01:0.5, each the float64 that is nearest to its decimal.
_AUC_THRESHOLDS = np.arange(51) / 100


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """How many joints were labelled and how many of these were found; `+` joins two batches."""

    correct: Int[np.ndarray, " joints"]
    labelled: Int[np.ndarray, " joints"]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.correct + other.correct, self.labelled + other.labelled)


@dataclasses.dataclass(frozen=True, eq=False)
class PCK:
    """Percentage of correct keypoints, as fractions."""

    counts: Counts

    @property
    def total(self) -> float:
        """All found joints over all labelled ones: a joint weighs as often as it is labelled."""
        return float(_share(self.counts.correct.sum(), self.counts.labelled.sum()))

    @property
    def per_joint(self) -> Float[np.ndarray, " joints"]:
        """Of each joint; NaN where no person has it labelled."""
        return _share(self.counts.correct, self.counts.labelled)


@dataclasses.dataclass(frozen=True, eq=False)
class PCKh(PCK):
    """PCK in head sizes over MPII's 16 joints, with the summaries that different tables print."""

    @property
    def total(self) -> float:
        """The MPII toolkit's Total: 14 joints, all found over all labelled."""
        return float(
            _share(self.counts.correct[_COUNTED].sum(), self.counts.labelled[_COUNTED].sum())
        )

    @property
    def unweighted(self) -> float:
        """bearpaw/pytorch-pose's Mean: of the shares of the same 14 joints, each weighing alike."""
        return _mean(self.per_joint[_COUNTED])

    @property
    def head_top(self) -> float:
        """What bearpaw/pytorch-pose and HRNet print as Head: the head top alone."""
        return float(self.per_joint[_HEAD_TOP])

    @property
    def official_head(self) -> float:
        """The MPII toolkit's Head: the mean of upper neck and head top."""
        return _mean(self.per_joint[[_UPPER_NECK, _HEAD_TOP]])


def pck(
    joints: Float[np.ndarray, "persons joints 2"],
    predicted: Float[np.ndarray, "persons joints 2"],
    labelled: Bool[np.ndarray, "persons joints"],
    reference: Float[np.ndarray, " persons"],
    threshold: float,
) -> PCK:
    """Measures PCK, e.g. LSP's and FLIC's PCK@0.2 of the torso.

    Args:
      joints: the truth, px of any one frame; of no meaning where not labelled.
      predicted: px of the same frame; NaN is a miss.
      labelled: whether the joint has coordinates, visible or not.
      reference: a length of each person in the same px; LSP's: left shoulder to right hip.
      threshold: the largest distance that counts, as a share of the reference.

    Raises:
      ValueError: shapes that do not belong together, or a person whose reference is no length.
    """
    errors = _relative_errors(joints, predicted, labelled, reference, "reference")
    return PCK(_count(errors, labelled, threshold))


def pckh(
    joints: Float[np.ndarray, "persons 16 2"],
    predicted: Float[np.ndarray, "persons 16 2"],
    labelled: Bool[np.ndarray, "persons 16"],
    head_size: Float[np.ndarray, " persons"],
    threshold: float = 0.5,
) -> PCKh:
    """Measures PCKh: `pck` of persons in MPII's order of joints, relative to their heads.

    Args:
      joints: the truth, px; of no meaning where not labelled.
      predicted: px of the same frame; NaN is a miss.
      labelled: whether the joint has coordinates, visible or not.
      head_size: 0.6 of the diagonal of the head's box, in the same px (the toolkit's SC_BIAS).
      threshold: the largest distance that counts, in head sizes.

    Raises:
      ValueError: shapes that do not belong together or are not of 16 joints, or a person whose
        head size is no length.
    """
    return PCKh(_count(_head_errors(joints, predicted, labelled, head_size), labelled, threshold))


def pckh_auc(
    joints: Float[np.ndarray, "persons 16 2"],
    predicted: Float[np.ndarray, "persons 16 2"],
    labelled: Bool[np.ndarray, "persons 16"],
    head_size: Float[np.ndarray, " persons"],
) -> float:
    """Measures the area under PCKh's total over the thresholds 0 to 0.5, where 1 is perfect.

    The MPII toolkit's AUC: the trapezoids over 0:0.01:0.5, divided by their width. Arguments and
    errors are `pckh`'s.
    """
    errors = _head_errors(joints, predicted, labelled, head_size)
    totals = np.array([PCKh(_count(errors, labelled, t)).total for t in _AUC_THRESHOLDS])
    return float((totals[:-1] + totals[1:]).mean() / 2)


def _head_errors(joints, predicted, labelled, head_size) -> Float[np.ndarray, "persons 16"]:
    if np.shape(labelled)[1:] != (MPII.num_joints,):
        raise ValueError(
            f"PCKh is of MPII's {MPII.num_joints} joints: labelled has the shape "
            f"{np.shape(labelled)}"
        )
    return _relative_errors(joints, predicted, labelled, head_size, "head_size")


def _relative_errors(
    joints, predicted, labelled, reference, name: str
) -> Float[np.ndarray, "persons joints"]:
    """Distances in references; float64, as float32 would move joints across the threshold."""
    joints, predicted, reference = (
        np.asarray(array, np.float64) for array in (joints, predicted, reference)
    )
    persons_and_joints = np.shape(labelled)
    if (
        len(persons_and_joints) != 2
        or not joints.shape == predicted.shape == (*persons_and_joints, 2)
        or reference.shape != persons_and_joints[:1]
    ):
        raise ValueError(
            f"shapes do not belong together: joints {joints.shape}, predicted {predicted.shape}, "
            f"labelled {persons_and_joints}, {name} {reference.shape}; "
            "wanted are [N, K, 2], [N, K, 2], [N, K] and [N]"
        )
    wrong = np.flatnonzero(~(np.isfinite(reference) & (reference > 0)))
    if wrong.size:
        raise ValueError(
            f"{name} of person {wrong[0]} is {reference[wrong[0]]}, which is no length to measure "
            "by: leave such persons out"
        )
    return np.linalg.norm(predicted - joints, axis=-1) / reference[:, None]


def _count(
    errors: Float[np.ndarray, "persons joints"],
    labelled: Bool[np.ndarray, "persons joints"],
    threshold: float,
) -> Counts:
    labelled = np.asarray(labelled, bool)
    return Counts((labelled & (errors <= threshold)).sum(0), labelled.sum(0))


def _share(
    correct: Int[np.ndarray, "*joints"], labelled: Int[np.ndarray, "*joints"]
) -> Float[np.ndarray, "*joints"]:
    return np.divide(correct, labelled, out=np.full(labelled.shape, np.nan), where=labelled > 0)


def _mean(shares: Float[np.ndarray, " joints"]) -> float:
    """The mean over the joints that have a share, since small data sets lack some."""
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if known.size else float("nan")
