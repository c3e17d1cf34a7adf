"""Heatmaps: the Gaussians by their formula, and joints read back from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose import heatmap

pytestmark = pytest.mark.core

each_recipe = pytest.mark.parametrize(
    ("side", "sigma"), [(side, sigma) for side in (32, 64) for sigma in (1.0, 1.75, 2.0)]
)
each_method = pytest.mark.parametrize("method", heatmap.DECODERS)


@pytest.fixture(autouse=True)
def strict_jax():
    """Neither ranks nor dtypes of what these functions add up are left to JAX to make fit."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def encode(joints, side=64, sigma=1.0):
    return heatmap.encode(joints, np.ones(len(joints), bool), side, sigma)[0]


compiled_decode = jax.jit(heatmap.decode, static_argnames="method")


def decode(heatmaps, method):
    return [np.asarray(array) for array in compiled_decode(heatmaps, method=method)]


def positions(side, margin, count=200):
    """Float positions at least `margin` px inside the outermost pixels' centres."""
    return np.random.default_rng(side).uniform(margin, side - 1 - margin, (count, 2))


@each_recipe
def test_encode_is_the_gaussian_of_the_formula(side, sigma):
    joints = positions(side, margin=-0.5, count=30).astype(np.float32).astype(float)
    y, x, _ = np.ogrid[:side, :side, :1]
    wanted = np.exp(-((x - joints[:, 0]) ** 2 + (y - joints[:, 1]) ** 2) / (2 * sigma**2))
    heatmaps = encode(joints, side, sigma)
    assert heatmaps.dtype == np.float32
    np.testing.assert_allclose(heatmaps, wanted, rtol=0, atol=1e-6)


def test_encode_rounds_positions_to_float32_first():
    joints = positions(64, margin=1, count=16)
    np.testing.assert_array_equal(encode(joints), encode(joints.astype(np.float32)))


def test_encode_has_amplitude_one_where_the_joint_is_on_a_pixel():
    heatmaps = encode(np.array([[7.0, 20.0], [0.0, 63.0]]))
    assert heatmaps[20, 7, 0] == heatmaps[63, 0, 1] == heatmaps.max() == 1
    assert (heatmaps == 1).sum() == 2


@pytest.mark.parametrize("zero_target", [False, True])
def test_joints_unlabelled_or_outside_have_an_empty_map(zero_target):
    inside = [[5.0, 5.0], [-0.5, 63.4], [63.4, -0.5]]
    outside = [[-0.6, 5.0], [5.0, -0.6], [63.5, 5.0], [5.0, 63.5], [1e9, 5.0]]
    unlabelled = [[5.0, 5.0], [np.nan, np.nan]]
    labelled = np.array([True] * 8 + [False] * 2)
    heatmaps, weights = heatmap.encode(
        np.array(inside + outside + unlabelled), labelled, 64, 1.0, zero_target=zero_target
    )
    assert (heatmaps.max(axis=(0, 1)) > 0).tolist() == [True] * 3 + [False] * 7
    assert weights.dtype == np.float32
    assert weights.tolist() == [1] * 3 + [float(zero_target)] * 7
    assert np.isfinite(heatmaps).all()


@each_recipe
@pytest.mark.parametrize(("method", "tolerance"), [("quarter", 0.26), ("refined", 1e-5)])
def test_decode_finds_what_was_encoded(side, sigma, method, tolerance):
    joints = positions(side, margin=1.5)
    found, score = decode(encode(joints, side, sigma), method)
    np.testing.assert_allclose(found, joints, rtol=0, atol=tolerance)
    # The highest pixel is at most half a pixel away on each axis.
    assert np.all((score <= 1) & (score >= np.exp(-0.25 / sigma**2) - 1e-6))


@pytest.mark.parametrize(("method", "tolerance"), [("quarter", 0.26), ("refined", 1e-5)])
@each_recipe
def test_decode_stops_at_the_outermost_pixels_and_not_before(side, sigma, method, tolerance):
    along = np.linspace(-0.5, side - 0.5 - 1e-3, 77)
    joints = np.concatenate(
        [np.stack([np.full(77, at), along], axis=1) for at in (-0.5, 0.2, side - 0.6)]
    )
    joints = np.concatenate([joints, joints[:, ::-1]])
    found, _ = decode(encode(joints, side, sigma), method)
    # On the axis that ends there is no step, which loses half a pixel at most.
    on_border = (joints < 0.5) | (joints > side - 1.5)
    np.testing.assert_array_equal(found[on_border], np.clip(joints, 0, side - 1)[on_border].round())
    np.testing.assert_allclose(found[~on_border], joints[~on_border], rtol=0, atol=tolerance)


def test_quarter_steps_toward_the_higher_neighbour():
    maps = np.zeros((8, 8, 2), np.float32)
    maps[3, 4] = 1
    maps[3, 5, 0] = maps[2, 4, 0] = 0.5
    found, score = decode(maps, "quarter")
    assert found.tolist() == [[4.25, 2.75], [4, 3]]
    assert score.tolist() == [1, 1]


def test_refined_does_not_depend_on_the_amplitude():
    joints = positions(64, margin=1.5, count=20)
    found, score = decode(0.2 * encode(joints), "refined")
    np.testing.assert_allclose(found, joints, rtol=0, atol=1e-4)
    assert score.max() <= 0.2


def test_refined_stays_within_half_a_pixel_beside_neighbours_of_zero_and_less():
    maps = np.full((8, 8, 3), -1, np.float32)
    maps[3, 4] = 1
    maps[3, 5, 1] = maps[2, 4, 2] = 1 - 1e-6
    found, _ = decode(maps, "refined")
    np.testing.assert_allclose(found, [[4, 3], [4.5, 3], [4, 2.5]], atol=1e-4)


@each_method
@pytest.mark.parametrize("value", [0, -0.3])
def test_a_map_with_nothing_above_zero_scores_zero(value, method):
    maps = np.full((16, 16, 2), value, np.float32)
    maps[5, 5] = value / 2
    found, score = decode(maps, method)
    assert score.tolist() == [0, 0]
    assert np.isfinite(found).all()


@each_method
def test_decode_takes_any_batch_and_maps_that_are_not_square(method):
    joints = np.random.default_rng(3).uniform(2, 20, (2, 3, 5, 2))
    maps = np.stack([[encode(one, 32)[:24] for one in row] for row in joints])
    assert maps.shape == (2, 3, 24, 32, 5)
    found, score = decode(maps, method)
    assert found.shape == (2, 3, 5, 2)
    assert score.shape == (2, 3, 5)
    assert found.dtype == score.dtype == np.float32
    np.testing.assert_allclose(found, joints, rtol=0, atol=0.26)
    each_alone = [[decode(one, method)[0] for one in row] for row in maps]
    np.testing.assert_allclose(found, each_alone, rtol=0, atol=1e-5)


@each_method
def test_decode_without_jit_is_the_same(method):
    maps = encode(positions(32, margin=-0.5), 32)
    plain = heatmap.decode(jnp.asarray(maps), method)
    for compiled, array in zip(decode(maps, method), plain, strict=True):
        np.testing.assert_allclose(compiled, array, rtol=0, atol=1e-5)


def test_unknown_decoders_are_refused_by_name():
    with pytest.raises(ValueError, match="'half'; it must be one of quarter, refined"):
        heatmap.decode(jnp.zeros((8, 8, 1)), "half")


def test_flipped_heatmaps_of_the_flipped_image_are_those_of_the_image():
    joints = positions(64, margin=-0.5, count=16)
    mirrored = geometry.flip_joints(joints, 64, MPII.flip_order)
    flipped = heatmap.flip_heatmaps(jnp.asarray(encode(mirrored))[None, None], MPII.flip_order)
    assert flipped.shape == (1, 1, 64, 64, 16)
    # Positions are rounded to float32, which at 64 px is 2e-6.
    np.testing.assert_allclose(flipped[0, 0], encode(joints), rtol=0, atol=3e-6)
