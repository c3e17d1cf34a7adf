"""Crops of half a body: which joints they show, and what becomes of the others."""

import numpy as np
import pytest

from hourglass_jax.data.skeleton import LSP
from hourglass_jax.image import geometry
from hourglass_jax.tasks.base import Draws
from hourglass_jax.tasks.single_pose import half_body
from hourglass_jax.tasks.single_pose.task import SinglePose

pytestmark = pytest.mark.core

CENTER, SIDE = np.array([50.0, 100.0]), 250.0


def standing():
    """Joints on a line 200 px high, 40 px wide."""
    x = np.where(np.arange(14) % 2, 30.0, 70.0)
    return np.stack([x, np.linspace(0, 200, 14)], axis=1)


@pytest.mark.parametrize(("number", "count"), [(0.0, 5), (0.499, 10), (0.5, 5), (0.999, 10)])
@pytest.mark.parametrize("quarters", range(4))
def test_one_end_of_the_body_is_shown_whichever_way_up(number, count, quarters):
    turn = np.linalg.matrix_power(np.array([[0.0, -1], [1, 0]]), quarters)
    joints = (standing() - CENTER) @ turn.T + CENTER
    center, side = half_body.box(joints, CENTER, SIDE, number)
    inside = (abs(joints - center) <= side / 2 / 1.25 + 1e-6).all(1)
    ends = [inside[:count].all(), inside[-count:].all()]
    assert inside.sum() == count and sum(ends) == 1 and 75 < side < SIDE
    other, _ = half_body.box(joints, CENTER, SIDE, (number + 0.5) % 1)
    assert ((center - CENTER) @ (other - CENTER)) < 0


def test_few_joints_have_no_halves():
    center, side = half_body.box(standing()[:5], CENTER, SIDE, 0.2)
    assert center is CENTER and side == SIDE


def test_a_crop_is_not_smaller_than_a_part_of_the_box():
    joints = np.concatenate([np.zeros((7, 2)), np.full((7, 2), 200.0)])
    _, side = half_body.box(joints, CENTER, SIDE, 0.1)
    assert side == 0.3 * SIDE


@pytest.mark.parametrize("zero_outside", [False, True])
def test_joints_beyond_the_crop_are_left_out_or_empty(zero_outside):
    task = SinglePose(LSP, zero_outside=zero_outside)
    joints = standing().astype(np.float32)
    labelled = np.arange(14) != 13
    record = {
        "joints_record": joints,
        "labelled": labelled,
        "center_record": CENTER.astype(np.float32),
        "size_record": np.float32(SIDE),
    }
    draws = Draws(1.0, 0.0, (0.0, 0.0), False, np.zeros(9), half=0.25)
    to_input = task.view(record, draws, (64, 64))
    targets = task.targets(record, to_input, (64, 64))
    places = geometry.crop_to_heatmap(geometry.apply(to_input, joints.astype(float)), 4)
    inside = ((places >= -0.5) & (places < 15.5)).all(1)
    assert 5 <= inside.sum() <= 11
    np.testing.assert_array_equal(targets["heatmaps"].any((0, 1)), inside & labelled)
    expected = labelled if zero_outside else inside & labelled
    np.testing.assert_array_equal(targets["weights"], expected)
