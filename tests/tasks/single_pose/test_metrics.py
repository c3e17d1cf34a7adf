"""PCK and PCKh: the published figures of a published network, and cases counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from hourglass_jax.data.skeleton import MPII
from hourglass_jax.tasks.single_pose.metrics import PCK, PCKh, pck, pckh, pckh_auc

pytestmark = pytest.mark.core

MPII_DATA = Path(__file__).parents[4] / "shared/data/mpii"


@pytest.fixture(scope="module")
def published():
    """The truth of MPII's validation persons and a published 2-stack network's predictions."""
    files = [MPII_DATA / name for name in ("validation_ground_truth.npz", "predictions_hg2.npz")]
    if not all(file.is_file() for file in files):
        pytest.skip("shared/data/mpii is not beside the project")
    truth, prediction = (np.load(file) for file in files)
    return truth["joints"], prediction["joints"], truth["labelled"], truth["head_size"]


def percent(share):
    return round(100 * share, 2)


def test_published_predictions_get_their_published_figures(published):
    result = pckh(*published)
    assert percent(result.total) == 87.30
    assert percent(result.unweighted) == 86.76
    assert percent(result.head_top) == 95.80
    assert percent(result.official_head) == 96.74
    assert percent(pckh(*published, threshold=0.1).total) == 23.91
    assert percent(pckh_auc(*published)) == 57.38


@pytest.mark.parametrize(
    ("joint", "expected"),
    [
        *(("shoulder", 94.57), ("elbow", 88.12), ("wrist", 83.31)),
        *(("hip", 86.24), ("knee", 80.88), ("ankle", 77.44)),
    ],
)
def test_published_predictions_get_their_published_figure_of_each_joint(published, joint, expected):
    left_and_right = [MPII.index(f"{side}_{joint}") for side in ("left", "right")]
    assert percent(pckh(*published).per_joint[left_and_right].mean()) == expected


def persons(count=37, joints=16, seed=0):
    """Random persons, whose joints are missed about as often as found."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 200, (count, joints, 2))
    predicted = truth + rng.normal(0, 8, truth.shape)
    return truth, predicted, rng.random((count, joints)) < 0.7, rng.uniform(10, 30, count)


@pytest.mark.parametrize(("measure", "result"), [(pck, PCK), (pckh, PCKh)])
@pytest.mark.parametrize("batch", [1, 5, 36])
def test_batches_add_up_to_exactly_the_whole(measure, result, batch):
    arrays = persons()
    whole = measure(*arrays, threshold=0.5)
    assert 0.2 < whole.total < 0.8

    first, *others = (
        measure(*(array[start : start + batch] for array in arrays), threshold=0.5).counts
        for start in range(0, 37, batch)
    )
    joined = result(sum(others, first))

    assert np.issubdtype(joined.counts.correct.dtype, np.integer)
    np.testing.assert_array_equal(joined.counts.correct, whole.counts.correct)
    np.testing.assert_array_equal(joined.counts.labelled, whole.counts.labelled)
    np.testing.assert_array_equal(joined.per_joint, whole.per_joint)
    assert joined.total == whole.total


@pytest.mark.parametrize("threshold", [0, 0.1, 0.5])
def test_perfect_predictions_are_all_found(threshold):
    truth, _, labelled, head_size = persons()
    result = pckh(truth, truth, labelled, head_size, threshold)
    assert result.total == result.unweighted == result.head_top == result.official_head == 1
    np.testing.assert_array_equal(result.per_joint, np.ones(16))
    assert pck(truth, truth, labelled, head_size, threshold).total == 1


def test_area_under_the_curve():
    truth, _, labelled, head_size = persons()
    assert pckh_auc(truth, truth, labelled, head_size) == 1
    assert pckh_auc(truth, truth + 1000, labelled, head_size) == 0
    # Everything is found from 0.25 on: 25 of 50 intervals, and half of the one that leads there.
    truth, head_size = np.zeros((2, 16, 2)), np.array([8.0, 16.0])
    predicted = truth + np.array([0, 0.25]) * head_size[:, None, None]
    assert pckh_auc(truth, predicted, np.ones((2, 16), bool), head_size) == pytest.approx(0.51)


def test_the_boundary_belongs_to_the_found():
    truth = np.zeros((1, 3, 2))
    # 3-4-5 triangles around 0.5 of 10; float32 could not tell the last from the boundary.
    predicted = np.array([[[3, 4], [3, -4.001], [3, 4 + 1e-9]]])
    result = pck(truth, predicted, np.ones((1, 3), bool), np.array([10.0]), threshold=0.5)
    assert result.per_joint.tolist() == [1, 0, 0]


def test_each_person_is_measured_by_their_own_reference():
    truth = np.zeros((2, 1, 2))
    predicted = np.full((2, 1, 2), [0, 3.0])
    result = pck(truth, predicted, np.ones((2, 1), bool), np.array([10.0, 20.0]), threshold=0.2)
    assert result.counts.correct.tolist() == [1]
    assert result.total == 0.5


def test_joints_without_label_do_not_count_wherever_they_are_said_to_be():
    truth, predicted, labelled, reference = persons()
    wanted = pck(truth, predicted, labelled, reference, 0.5)
    for value in (0, 1e6, np.nan):
        elsewhere = np.where(labelled[..., None], truth, value)
        result = pck(elsewhere, predicted, labelled, reference, 0.5)
        np.testing.assert_array_equal(result.counts.correct, wanted.counts.correct)
        np.testing.assert_array_equal(result.counts.labelled, labelled.sum(0))


def test_a_prediction_that_is_nan_is_a_miss():
    truth, _, labelled, reference = persons()
    result = pck(truth, np.full_like(truth, np.nan), labelled, reference, 0.5)
    assert result.total == 0
    np.testing.assert_array_equal(result.counts.labelled, labelled.sum(0))


def test_a_joint_that_is_never_labelled_has_no_share():
    truth, _, labelled, head_size = persons()
    ankle, neck = MPII.index("left_ankle"), MPII.index("upper_neck")
    labelled[:, [ankle, neck]] = False
    result = pckh(truth, truth, labelled, head_size)
    assert np.flatnonzero(np.isnan(result.per_joint)).tolist() == [ankle, neck]
    assert result.total == result.unweighted == result.official_head == 1

    nothing = pckh(truth, truth, np.zeros_like(labelled), head_size)
    summaries = [nothing.total, nothing.unweighted, nothing.head_top, nothing.official_head]
    assert np.isnan([*summaries, *nothing.per_joint]).all()


def test_weighted_and_unweighted_means_counted_by_hand():
    labelled = np.zeros((2, 16), bool)
    labelled[0] = True
    labelled[1, MPII.index("right_ankle")] = True
    truth = np.zeros((2, 16, 2))
    predicted = truth.copy()
    for person, joint in [(0, "head_top"), (0, "pelvis"), (0, "thorax"), (1, "right_ankle")]:
        predicted[person, MPII.index(joint)] = 100

    result = pckh(truth, predicted, labelled, np.array([10.0, 10.0]))

    # Without pelvis and thorax 15 are labelled, and all but the head top and an ankle are found.
    assert result.total == pytest.approx(13 / 15)
    # 12 joints are always found, the right ankle every other time and the head top never.
    assert result.unweighted == pytest.approx(12.5 / 14)
    assert result.head_top == 0
    assert result.official_head == 0.5
    assert result.per_joint[MPII.index("right_ankle")] == 0.5
    assert result.per_joint[[MPII.index("pelvis"), MPII.index("thorax")]].tolist() == [0, 0]
    # Plain PCK leaves no joint out.
    assert pck(truth, predicted, labelled, [10.0, 10.0], 0.5).total == pytest.approx(13 / 17)


@pytest.mark.parametrize("length", [0.0, -3.0, np.nan, np.inf])
@pytest.mark.parametrize(("measure", "name"), [(pck, "reference"), (pckh, "head_size")])
def test_a_person_without_a_length_to_measure_by_is_named(measure, name, length):
    truth, predicted, labelled, reference = persons()
    reference[3] = length
    with pytest.raises(ValueError, match=f"{name} of person 3 is {length}"):
        measure(truth, predicted, labelled, reference, threshold=0.5)


@pytest.mark.parametrize("wrong", range(4))
@pytest.mark.parametrize("part", [np.s_[:1], np.s_[..., :1], np.s_[..., None]])
def test_shapes_that_do_not_belong_together_are_refused(wrong, part):
    # NumPy would broadcast most of them.
    arrays = list(persons())
    arrays[wrong] = arrays[wrong][part]
    with pytest.raises(ValueError, match="the shapes do not match"):
        pck(*arrays, threshold=0.5)


@pytest.mark.parametrize("measure", [pckh, pckh_auc])
def test_pckh_is_of_sixteen_joints(measure):
    with pytest.raises(ValueError, match=r"16 joints.*\(37, 14\)"):
        measure(*persons(joints=14))
