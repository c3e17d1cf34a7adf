"""The loss of each stack against a plain loop, and its value while nothing is predicted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.tasks.single_pose import heatmap
from hourglass_jax.tasks.single_pose.losses import heatmap_loss, plateau

pytestmark = pytest.mark.core


@pytest.fixture(autouse=True)
def strict_jax():
    """Neither ranks nor dtypes of what these functions add up are left to JAX to make fit."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def batch():
    """Heatmaps [4, 3, 6, 5, 7] of three stacks, targets, and weights of which some are 0."""
    rng = np.random.default_rng(0)
    heatmaps = rng.normal(size=(4, 3, 6, 5, 7)).astype(np.float32)
    targets = rng.random((4, 6, 5, 7), np.float32)
    weights = (rng.random((4, 7)) < 0.6).astype(np.float32)
    assert len(set(weights.sum(1))) > 1, "persons must differ in how many joints count"
    return tuple(map(jnp.asarray, (heatmaps, targets, weights)))


def test_loss_is_that_of_a_plain_loop(batch):
    heatmaps, targets, weights = (np.float64(array) for array in batch)
    persons, stacks, height, width, joints = heatmaps.shape
    wanted = np.zeros(stacks)
    for stack in range(stacks):
        for person in range(persons):
            for joint in range(joints):
                error = heatmaps[person, stack, :, :, joint] - targets[person, :, :, joint]
                wanted[stack] += weights[person, joint] * np.sum(error**2)
    wanted /= persons * joints * height * width
    np.testing.assert_allclose(heatmap_loss(*batch), wanted, rtol=1e-6)


def test_mean_over_parts_of_a_batch_is_the_whole(batch):
    parts = [heatmap_loss(*(array[part] for array in batch)) for part in np.s_[:2, 2:]]
    assert not np.allclose(*parts, rtol=0.01)
    np.testing.assert_allclose(np.mean(parts, axis=0), heatmap_loss(*batch), rtol=1e-6)


def test_joints_of_weight_zero_have_neither_loss_nor_gradient(batch):
    heatmaps, targets, weights = batch
    off = np.asarray(weights) == 0

    spoilt = jnp.where(jnp.asarray(off)[:, None, None, :], 1e3, targets)
    np.testing.assert_array_equal(
        heatmap_loss(heatmaps, spoilt, weights), heatmap_loss(heatmaps, targets, weights)
    )

    gradient = jax.grad(lambda maps: heatmap_loss(maps, targets, weights).sum())(heatmaps)
    moves = np.abs(gradient).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(moves == 0, off)


def test_plateau_is_the_loss_of_zeros_in_every_stack(batch):
    heatmaps, targets, weights = batch
    zeros = heatmap_loss(jnp.zeros_like(heatmaps), targets, weights)
    np.testing.assert_allclose(zeros, np.full(3, plateau(targets, weights)), rtol=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 1.75, 2.0])
def test_plateau_is_near_what_the_gaussians_area_says(sigma):
    side, joints, labelled_joints = 64, 16, 12
    positions = np.random.default_rng(0).uniform(12, side - 13, (joints, 2))
    labelled = np.arange(joints) < labelled_joints
    targets, weights = heatmap.encode(positions, labelled, side, sigma)
    # The integral of exp(-r^2 / sigma^2) is pi sigma^2, and pixels sum it up to 1 in 10^4.
    wanted = np.pi * sigma**2 / side**2 * labelled_joints / joints
    value = plateau(jnp.asarray(targets)[None], jnp.asarray(weights)[None])
    np.testing.assert_allclose(value, wanted, rtol=3e-4)
