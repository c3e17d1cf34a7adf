"""Instances in other frames."""

import numpy as np
import pytest

from hourglass_jax.image import geometry
from hourglass_jax.tasks.base import Instance

pytestmark = pytest.mark.core


def test_a_box_covers_the_same_pixels_in_another_frame():
    """x, y of a box are edges: a box around a whole image is one around the whole larger image."""
    whole = Instance(0.5, box=np.array([0.0, 0, 30, 20]), category=3)
    larger = whole.mapped(geometry.enlargement(4))
    np.testing.assert_allclose(larger.box, [0, 0, 120, 80])
    assert (larger.score, larger.category, larger.joints) == (0.5, 3, None)
    one = Instance(1.0, box=np.array([2.0, 3, 10, 5]))
    np.testing.assert_allclose(one.mapped(geometry.mirror(30)).box, [18, 3, 10, 5])
    there = geometry.crop_map(np.array([9.0, 4.0]), 25.0, 64, scale=1.2, flip=True)
    back = one.mapped(there).mapped(geometry.invert(there))
    np.testing.assert_allclose(back.box, one.box)
    np.testing.assert_array_equal(one.box, [2, 3, 10, 5])


def test_a_turned_box_becomes_the_upright_one_around_it():
    quarter = geometry.crop_map(np.array([10.0, 10.0]), 64.0, 64, rotation=np.pi / 2)
    box = Instance(1.0, box=np.array([5.0, 5, 20, 10])).mapped(quarter).box
    np.testing.assert_allclose(box[2:], [10, 20])
    eighth = geometry.crop_map(np.array([10.0, 10.0]), 64.0, 64, rotation=np.pi / 4)
    box = Instance(1.0, box=np.array([5.0, 5, 10, 10])).mapped(eighth).box
    np.testing.assert_allclose(box[2:], [np.sqrt(200)] * 2)


def test_joints_move_by_the_map():
    joints = np.random.default_rng(0).uniform(0, 50, (5, 2))
    person = Instance(0.7, joints=joints, joint_scores=np.arange(5.0))
    affine = geometry.crop_map(np.array([20.0, 25.0]), 40.0, 64, rotation=0.3)
    mapped = person.mapped(affine)
    np.testing.assert_allclose(mapped.joints, geometry.apply(affine, joints))
    np.testing.assert_array_equal(mapped.joint_scores, person.joint_scores)
    assert mapped.box is None and person.joints is joints
