"""PCK and PCKh: the fraction of joints within a distance that is relative to the person's size.

A joint is correct if distance / reference <= threshold (`<=` as in the MPII toolkit; bearpaw's
pytorch-pose uses `<`). All labelled joints count, whether occluded or not. Results are kept as
integer counts of correct and labelled joints, so that they do not depend on the batching:

    PCK(first.counts + second.counts)

All results are fractions from 0 to 1, and NaN where nothing is labelled.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from hourglass_jax.data.skeleton import MPII

# The MPII toolkit excludes these two: they are hardly ever missed, and raise every mean.
_COUNTED = np.array([joint not in ("pelvis", "thorax") for joint in MPII.joints])
_HEAD_TOP, _UPPER_NECK = MPII.index("head_top"), MPII.index("upper_neck")

# The MPII toolkit's 0:0.01:0.5, each the float64 nearest to its decimal.
_AUC_THRESHOLDS = np.arange(51) / 100


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of labelled joints and of correct ones among them; `+` adds two batches."""

    correct: Int[np.ndarray, " joints"]
    labelled: Int[np.ndarray, " joints"]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.correct + other.correct, self.labelled + other.labelled)


@dataclasses.dataclass(frozen=True, eq=False)
class PCK:
    """Percentage of correct keypoints, as fractions from 0 to 1."""

    counts: Counts

    @property
    def total(self) -> float:
        """All correct joints divided by all labelled ones."""
        return float(_share(self.counts.correct.sum(), self.counts.labelled.sum()))

    @property
    def per_joint(self) -> Float[np.ndarray, " joints"]:
        """Fraction per joint; NaN for joints that are never labelled."""
        return _share(self.counts.correct, self.counts.labelled)


@dataclasses.dataclass(frozen=True, eq=False)
class PCKh(PCK):
    """PCK in head sizes for MPII's 16 joints, with the summaries of different publications."""

    @property
    def total(self) -> float:
        """The MPII toolkit's Total: correct divided by labelled joints, over 14 joints."""
        return float(
            _share(self.counts.correct[_COUNTED].sum(), self.counts.labelled[_COUNTED].sum())
        )

    @property
    def unweighted(self) -> float:
        """bearpaw/pytorch-pose's Mean: the mean of the fractions of the same 14 joints."""
        return _mean(self.per_joint[_COUNTED])

    @property
    def head_top(self) -> float:
        """Head as reported by bearpaw/pytorch-pose and HRNet: the head top only."""
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
    """Computes PCK, such as LSP's and FLIC's PCK@0.2 of the torso.

    Args:
      joints: true joints, px of any one frame; ignored where not labelled.
      predicted: predicted joints, px of the same frame; NaN counts as wrong.
      labelled: whether each joint has coordinates, visible or not.
      reference: reference length of each person, in the same px; for LSP the distance from left
        shoulder to right hip.
      threshold: largest distance of a correct joint, as a fraction of the reference.

    Raises:
      ValueError: the shapes do not match, or a reference is not positive and finite.
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
    """Computes PCKh: PCK of MPII's joints, in their order, relative to the head size.

    Args:
      joints: true joints, px; ignored where not labelled.
      predicted: predicted joints, px of the same frame; NaN counts as wrong.
      labelled: whether each joint has coordinates, visible or not.
      head_size: 0.6 times the diagonal of the head's box, in the same px (the toolkit's SC_BIAS).
      threshold: largest distance of a correct joint, in head sizes.

    Raises:
      ValueError: the shapes do not match or are not those of 16 joints, or a head size is not
        positive and finite.
    """
    return PCKh(_count(_head_errors(joints, predicted, labelled, head_size), labelled, threshold))


def pckh_auc(
    joints: Float[np.ndarray, "persons 16 2"],
    predicted: Float[np.ndarray, "persons 16 2"],
    labelled: Bool[np.ndarray, "persons 16"],
    head_size: Float[np.ndarray, " persons"],
) -> float:
    """Computes the area under the curve of PCKh's total for thresholds from 0 to 0.5.

    This is the MPII toolkit's AUC: the trapezoidal rule over 0:0.01:0.5, divided by its width, so
    that 1 is perfect. Takes the arguments and raises the errors of `pckh`.
    """
    errors = _head_errors(joints, predicted, labelled, head_size)
    totals = np.array([PCKh(_count(errors, labelled, t)).total for t in _AUC_THRESHOLDS])
    return float((totals[:-1] + totals[1:]).mean() / 2)


def _head_errors(joints, predicted, labelled, head_size) -> Float[np.ndarray, "persons 16"]:
    if np.shape(labelled)[1:] != (MPII.num_joints,):
        raise ValueError(
            f"PCKh needs MPII's {MPII.num_joints} joints: labelled has the shape "
            f"{np.shape(labelled)}"
        )
    return _relative_errors(joints, predicted, labelled, head_size, "head_size")


def _relative_errors(
    joints, predicted, labelled, reference, name: str
) -> Float[np.ndarray, "persons joints"]:
    """Distances in reference lengths; float64, since rounding may cross the threshold."""
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
            f"the shapes do not match: joints {joints.shape}, predicted {predicted.shape}, "
            f"labelled {persons_and_joints}, {name} {reference.shape}; "
            "they must be [N, K, 2], [N, K, 2], [N, K] and [N]"
        )
    wrong = np.flatnonzero(~(np.isfinite(reference) & (reference > 0)))
    if wrong.size:
        raise ValueError(
            f"{name} of person {wrong[0]} is {reference[wrong[0]]}; it must be positive and "
            "finite; leave out such persons"
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
    """Returns the mean over the joints that are labelled; small data sets lack some."""
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if known.size else float("nan")
