"""PCKh of a published network on MPII's first hundred validation persons, by a plain loop and ours.

mpii_first_hundred.npz has numbers only, of the customary validation split in its usual order:

- `truth` [100, 16, 2], `labelled` [100, 16] and `head_size` [100], px: from the annotations of the
  MPII Human Pose data set (Andriluka, Pishchulin, Gehler and Schiele, CVPR 2014), as
  detections_our_format.mat of anibali/eval-mpii-pose has them. A head size is 0.6 of the diagonal
  of the head's box.
- `predicted` [100, 16, 2], px: from preds/reference/bearpaw-hg_s2_b1.mat of the same repository,
  predictions of the 2-stack network of bearpaw/pytorch-pose.

All 2,958 persons get the figures that bearpaw/pytorch-pose publishes: see test_metrics.py.
"""

import math
import pathlib

import numpy as np
import pytest

from hourglass_jax import MPII, pckh, pckh_auc

pytestmark = pytest.mark.core

# Persons whose joint is found at thresholds 0.5 and 0.1, and persons who have it labelled.
COUNTS = {
    "right_ankle": (37, 4, 65),
    "right_knee": (64, 15, 83),
    "right_hip": (78, 11, 97),
    "left_hip": (73, 8, 96),
    "left_knee": (64, 13, 83),
    "left_ankle": (44, 9, 66),
    "pelvis": (81, 15, 96),
    "thorax": (94, 36, 98),
    "upper_neck": (94, 28, 98),
    "head_top": (90, 32, 98),
    "right_wrist": (70, 21, 97),
    "right_elbow": (83, 27, 99),
    "right_shoulder": (90, 31, 98),
    "left_shoulder": (89, 34, 99),
    "left_elbow": (86, 25, 100),
    "left_wrist": (86, 29, 98),
}
# The toolkit's Total at either threshold, and the area under its curve from 0 to 0.5.
FIGURES = {"total": 0.820673, "total@0.1": 0.224745, "area": 0.527103}


@pytest.fixture(scope="module")
def persons():
    with np.load(pathlib.Path(__file__).with_name("mpii_first_hundred.npz")) as file:
        return tuple(file[name] for name in ("truth", "predicted", "labelled", "head_size"))


def count(persons, threshold):
    """Returns for each joint how many of its labelled persons have it, and how many are labelled.

    This is computePCK.m of the MPII toolkit, in plain Python.
    """
    found, labelled_of = [0] * 16, [0] * 16
    for truth, predicted, labelled, head_size in zip(*(x.tolist() for x in persons), strict=True):
        for joint in range(16):
            if labelled[joint]:
                labelled_of[joint] += 1
                found[joint] += math.dist(truth[joint], predicted[joint]) / head_size <= threshold
    return found, labelled_of


def total(persons, threshold):
    """Returns found over labelled of the 14 joints that the toolkit counts, without the torso's."""
    found, labelled = count(persons, threshold)
    counted = [i for i in range(16) if MPII.joints[i] not in ("pelvis", "thorax")]
    return sum(found[i] for i in counted) / sum(labelled[i] for i in counted)


def test_a_plain_loop_counts_as_written_here(persons):
    (half, labelled), (tenth, _) = count(persons, 0.5), count(persons, 0.1)
    assert dict(zip(MPII.joints, zip(half, tenth, labelled, strict=True), strict=True)) == COUNTS
    curve = [total(persons, i / 100) for i in range(51)]
    area = sum(curve) - (curve[0] + curve[-1]) / 2  # trapezoids
    assert {"total": curve[50], "total@0.1": curve[10], "area": area / 50} == pytest.approx(
        FIGURES, abs=6e-7
    )


@pytest.mark.parametrize(("threshold", "column"), [(0.5, 0), (0.1, 1)])
def test_joints_are_found_as_often(persons, threshold, column):
    counts = pckh(*persons, threshold=threshold).counts
    expected = np.array([COUNTS[joint] for joint in MPII.joints])
    np.testing.assert_array_equal(counts.correct, expected[:, column])
    np.testing.assert_array_equal(counts.labelled, expected[:, 2])


def test_figures(persons):
    found = {
        "total": pckh(*persons).total,
        "total@0.1": pckh(*persons, threshold=0.1).total,
        "area": pckh_auc(*persons),
    }
    assert found == pytest.approx(FIGURES, abs=6e-7)


def test_the_means_of_other_tables(persons):
    share = {joint: half / labelled for joint, (half, _, labelled) in COUNTS.items()}
    result = pckh(*persons)
    counted = [value for joint, value in share.items() if joint not in ("pelvis", "thorax")]
    assert result.unweighted == pytest.approx(sum(counted) / 14)
    assert result.head_top == pytest.approx(share["head_top"])
    assert result.official_head == pytest.approx((share["upper_neck"] + share["head_top"]) / 2)
