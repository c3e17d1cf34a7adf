"""The pixel convention: maps between picture, crop and heatmap, their inverses and flips."""

import numpy as np
import pytest

from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import geometry

pytestmark = pytest.mark.core

SIZE = 256
CENTER = np.array([310.25, 97.5])


def random_maps(count=20, **fixed):
    """The arguments of random crops, and points of the picture around each."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        arguments = {
            "center": rng.uniform(-50, 900, 2),
            "size": rng.uniform(40, 700),
            "crop_size": int(rng.choice([128, 255, 256])),
            "scale": rng.uniform(0.5, 1.5),
            "rotation": rng.uniform(-np.pi, np.pi),
            "translate": tuple(rng.uniform(-0.2, 0.2, 2)),
            "flip": bool(rng.integers(2)),
        } | fixed
        yield arguments, arguments["center"] + rng.uniform(-300, 300, (6, 2))


def close(actual, wanted):
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-9)


def test_there_and_back():
    for arguments, points in random_maps():
        there = geometry.crop_map(**arguments)
        back = geometry.invert(there)
        close(geometry.apply(back, geometry.apply(there, points)), points)
        close(geometry.compose(back, there), np.eye(2, 3))


def test_a_map_by_the_matrix():
    affine = np.array([[1.0, 2.0, 10.0], [3.0, 4.0, 20.0]])
    close(geometry.apply(affine, np.array([[1.0, 0.0], [0.0, 1.0]])), [[11, 23], [12, 24]])


def test_compose_applies_inner_first():
    inner, outer = (geometry.crop_map(**arguments) for arguments, _ in random_maps(2))
    points = np.random.default_rng(1).uniform(0, 300, (5, 2))
    wanted = geometry.apply(outer, geometry.apply(inner, points))
    close(geometry.apply(geometry.compose(outer, inner), points), wanted)
    assert np.abs(geometry.apply(geometry.compose(inner, outer), points) - wanted).max() > 1


def test_a_batch_of_maps_goes_with_a_batch_of_points():
    affines, points = zip(
        *((geometry.crop_map(**arguments), points) for arguments, points in random_maps(4)),
        strict=True,
    )
    wanted = [geometry.apply(a, p) for a, p in zip(affines, points, strict=True)]
    close(geometry.apply(np.stack(affines), np.stack(points)), wanted)
    square = [np.reshape(array, (2, 2, *np.shape(array)[1:])) for array in (affines, points)]
    close(geometry.apply(*square), np.reshape(wanted, (2, 2, 6, 2)))


@pytest.mark.parametrize("crop_size", [255, 256])
def test_the_box_fills_the_crop_to_its_pixels_edges(crop_size):
    affine = geometry.crop_map(CENTER, 80.0, crop_size)
    corners = CENTER + np.array([[-40, -40], [40, 40]])
    close(geometry.apply(affine, corners), [[-0.5, -0.5], [crop_size - 0.5, crop_size - 0.5]])


def test_the_box_center_lands_on_the_crops_whatever_is_turned():
    for arguments, _ in random_maps(translate=(0.0, 0.0)):
        landed = geometry.apply(geometry.crop_map(**arguments), arguments["center"][None])
        close(landed, np.full((1, 2), (arguments["crop_size"] - 1) / 2))


def test_translate_moves_by_shares_of_the_crop_in_the_crops_directions():
    for arguments, points in random_maps(translate=(0.0, 0.0), flip=False):
        moved = geometry.crop_map(**arguments | {"translate": (0.25, -0.125)})
        shift = geometry.apply(moved, points) - geometry.apply(
            geometry.crop_map(**arguments), points
        )
        close(shift, np.full((6, 2), [0.25, -0.125]) * arguments["crop_size"])


def test_scale_shows_the_person_larger():
    points = CENTER + np.array([[-20.0, 7.0], [20.0, 7.0]])
    for scale in (0.75, 1.0, 1.25):
        affine = geometry.crop_map(CENTER, 128.0, SIZE, scale=scale)
        left, right = geometry.apply(affine, points)
        close(right - left, [40 * scale * SIZE / 128, 0])


def test_rotation_is_clockwise_as_seen():
    affine = geometry.crop_map(CENTER, float(SIZE), SIZE, rotation=np.pi / 2)
    right_then_below = geometry.apply(affine, CENTER + np.array([[10.0, 0.0], [0.0, 10.0]]))
    # What was to the right of the centre is below it afterwards, what was below is to the left.
    close(right_then_below, (SIZE - 1) / 2 + np.array([[0.0, 10.0], [-10.0, 0.0]]))


def test_a_flip_mirrors_the_finished_crop():
    for arguments, points in random_maps(flip=False):
        plain = geometry.apply(geometry.crop_map(**arguments), points)
        flipped = geometry.apply(geometry.crop_map(**arguments | {"flip": True}), points)
        close(flipped[:, 0], arguments["crop_size"] - 1 - plain[:, 0])
        close(flipped[:, 1], plain[:, 1])


def test_heatmap_pixels_are_the_middles_of_the_crop_pixels_they_cover():
    # Pixel 0 of the heatmap covers the crop's 0 to 3, whose middle is 1.5; pixel 63 its 252 to 255.
    close(geometry.crop_to_heatmap(np.array([[1.5, 253.5]]), 4), [[0, 63]])
    close(geometry.heatmap_to_crop(np.array([[0.0, 63.0]]), 4), [[1.5, 253.5]])
    # The edges of the pictures lie on each other.
    close(geometry.crop_to_heatmap(np.array([[-0.5, 255.5]]), 4), [[-0.5, 63.5]])


@pytest.mark.parametrize("stride", [1, 2, 4, 3.5])
def test_crop_to_heatmap_and_back(stride):
    points = np.random.default_rng(0).uniform(-20, 280, (3, 5, 2))
    close(geometry.heatmap_to_crop(geometry.crop_to_heatmap(points, stride), stride), points)


def test_flipping_the_crop_flips_the_heatmap():
    points = np.random.default_rng(0).uniform(0, 256, (4, 16, 2))
    order = MPII.flip_order
    crop_first = geometry.crop_to_heatmap(geometry.flip_joints(points, 256, order), 4)
    close(crop_first, geometry.flip_joints(geometry.crop_to_heatmap(points, 4), 64, order))


def test_flip_joints_mirrors_and_renames():
    joints = np.array([[[0.0, 5.0], [2.0, 6.0], [9.0, 7.0]]])
    flipped = geometry.flip_joints(joints, 10, np.array([1, 0, 2]))
    close(flipped, [[[7, 6], [9, 5], [0, 7]]])
    close(geometry.flip_joints(flipped, 10, np.array([1, 0, 2])), joints)


def test_box_around_the_labelled_joints():
    joints = np.array([[10.0, 20.0], [30.0, 100.0], [-500.0, np.nan]])
    labelled = np.array([True, True, False])
    center, size = geometry.box_around(joints, labelled, margin=1.25)
    close(center, [20, 60])
    assert size == 100

    center, size = geometry.box_around(joints[:, ::-1], labelled, margin=1.0)
    close(center, [60, 20])
    assert size == 80


def test_a_single_joint_has_a_box_that_can_be_cropped():
    center, size = geometry.box_around(np.array([[7.0, 9.0]]), np.array([True]), margin=1.25)
    close(center, [7, 9])
    assert size == 2
    assert np.isfinite(geometry.crop_map(center, size, SIZE)).all()


def test_no_labelled_joint_has_no_box():
    with pytest.raises(ValueError, match="no labelled joint"):
        geometry.box_around(np.zeros((3, 2)), np.zeros(3, bool), margin=1.25)


def test_only_maps_that_exchange_left_and_right_mirror():
    for arguments, _ in random_maps():
        affine = geometry.crop_map(**arguments)
        assert geometry.mirrors(affine) is arguments["flip"]
        assert geometry.mirrors(geometry.invert(affine)) is arguments["flip"]
        twice = geometry.compose(geometry.mirror(SIZE), affine)
        assert geometry.mirrors(twice) is not arguments["flip"]


def test_the_scale_of_a_map_is_that_of_lengths():
    for arguments, points in random_maps():
        affine = geometry.crop_map(**arguments)
        mapped = geometry.apply(affine, points)
        ratio = np.linalg.norm(mapped[1] - mapped[0]) / np.linalg.norm(points[1] - points[0])
        assert geometry.scale_of(affine) == pytest.approx(ratio, abs=1e-8)


def test_views_of_one_scale_have_the_same_scale_to_the_bit():
    """It groups views: rounding must not make two scales of one."""
    for scale in (0.7, 1.0, 1.3):
        plain = geometry.scaling(scale, (240, 320))
        mirrored = geometry.compose(geometry.mirror(320), plain)
        assert geometry.scale_of(plain) == geometry.scale_of(mirrored) == scale


def test_scaling_keeps_the_middle():
    affine = geometry.scaling(1.5, (10, 21))
    close(geometry.apply(affine, np.array([[10.0, 4.5], [12.0, 4.5]])), [[10, 4.5], [13, 4.5]])
    close(geometry.scaling(1.0, (10, 21)), np.eye(2, 3))


def test_a_mirror_is_the_flip_of_the_image():
    image = np.arange(7)
    x = geometry.apply(geometry.mirror(7), np.stack([image, image], -1).astype(float))
    np.testing.assert_array_equal(image[::-1][x[:, 0].astype(int)], image)
    close(x[:, 1], image)
    close(geometry.compose(geometry.mirror(7), geometry.mirror(7)), np.eye(2, 3))
    for arguments, _ in random_maps(flip=False):
        flipped = geometry.crop_map(**arguments | {"flip": True})
        mirror = geometry.mirror(arguments["crop_size"])
        close(geometry.compose(mirror, geometry.crop_map(**arguments)), flipped)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_enlargement_lays_the_edges_on_each_other(factor):
    corners = np.array([[-0.5, -0.5], [9.5, 6.5]])
    close(geometry.apply(geometry.enlargement(factor), corners), (corners + 0.5) * factor - 0.5)
    close(geometry.enlargement(factor)[:, :2], factor * np.eye(2))


@pytest.mark.parametrize("flip", [False, True])
def test_stretching_keeps_the_middle_and_areas(flip):
    to_crop = geometry.crop_map(np.array([30.0, 40.0]), 50.0, 64, rotation=0.3, flip=flip)
    wide = geometry.stretched(to_crop, 2.25, 64)
    np.testing.assert_allclose(geometry.apply(wide, np.array([[30.0, 40.0]])), [[31.5, 31.5]])
    assert geometry.scale_of(wide) == geometry.scale_of(to_crop)
    points = np.array([[10.0, 20.0], [50.0, 70.0]])
    before, after = geometry.apply(to_crop, points) - 31.5, geometry.apply(wide, points) - 31.5
    np.testing.assert_allclose(after, before * [1.5, 1 / 1.5])
    np.testing.assert_array_equal(geometry.stretched(to_crop, 1.0, 64), to_crop)
