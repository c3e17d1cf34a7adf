"""Targets of an image: which boxes there are, their sizes, and where background is certain."""

import numpy as np
import pytest

from hourglass_jax.tasks.detection import targets
from hourglass_jax.tasks.detection.radius import gaussian_radius

pytestmark = pytest.mark.core
SHAPE = (16, 20)
BOXES = np.array(
    [[2.25, 3.5, 8.75, 9.0], [-4, -4, 3, 2], [25, 1, 30, 5], [4, 4, 4, 9], [10, 6, 18, 15.5]]
)


def encode(boxes=BOXES, crowd=(), **options):
    crowd = np.isin(np.arange(len(boxes)), crowd)
    given = {"shape": SHAPE, "count": 8, "min_iou": 0.3, **options}
    return targets.encode(np.asarray(boxes, float), np.arange(len(boxes)), crowd, **given)


def test_boxes_are_clipped_and_empty_ones_left_out():
    found = encode()
    np.testing.assert_array_equal(found["mask"], [1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(found["categories"][:3], [0, 1, 4])
    np.testing.assert_array_equal(found["boxes"][:3], [BOXES[0], [0, 0, 3, 2], BOXES[4]])
    sizes = [(6, 7), (2, 3), (10, 8)]  # rounded up
    radii = [int(gaussian_radius(height, width, 0.3)) for height, width in sizes]
    np.testing.assert_array_equal(found["radii"][:3], radii)
    assert found["background"].all() and found["background"].shape == SHAPE
    assert {name: x.dtype for name, x in found.items()} == {
        "boxes": np.float32,
        "categories": np.int32,
        "radii": np.int32,
        "mask": bool,
        "background": bool,
    }


def test_the_largest_boxes_stay_if_there_are_too_many():
    np.testing.assert_array_equal(encode(count=2)["categories"], [0, 4])


def test_crowds_are_neither_targets_nor_background():
    found = encode(crowd=[0])
    np.testing.assert_array_equal(found["categories"][found["mask"]], [1, 4])
    expected = np.ones(SHAPE, bool)
    expected[3:9, 2:9] = False
    np.testing.assert_array_equal(found["background"], expected)


def test_background_around_boxes_where_others_may_be_unlabelled():
    found = encode(BOXES[[0, 4]], crowd=[1], exhaustive=False)
    middle, half = np.array([5.5, 6.25]), np.array([3.25, 2.75])
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cells = np.stack([columns + 0.5, rows + 0.5], axis=-1)
    near = (np.abs(cells - middle) < 1.5 * half + 0.5).all(-1)
    near[6:16, 10:18] = False  # the crowd
    np.testing.assert_array_equal(found["background"], near)


def test_joints_outside_or_without_a_label_are_left_out():
    joints = np.array([[[3.0, 4.0], [21.0, 4.0], [5.0, 5.0]]] * len(BOXES))
    labelled = np.array([[True, True, False]] * len(BOXES))
    found = encode(joints=joints, labelled=labelled)
    np.testing.assert_array_equal(found["joint_mask"][:3], [[1, 0, 0]] * 3)
    assert not found["joint_mask"][3:].any()
    np.testing.assert_array_equal(found["joints"][0], [[3, 4], [0, 0], [0, 0]])


def test_an_image_without_boxes():
    found = encode(np.zeros((0, 4)))
    assert not found["mask"].any() and not found["boxes"].any() and found["background"].all()
