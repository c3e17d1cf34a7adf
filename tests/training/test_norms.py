"""Norms over many arrays: the same number by each platform's way, and few sums on a GPU."""

import jax
import numpy as np
import pytest

from hourglass_jax.training import norms

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def tree(seed, count=70):
    rng, sides = np.random.default_rng(seed), np.random.default_rng(2).permutation(count) + 1
    return {f"{i}": rng.normal(size=(2, side)).astype(np.float32) for i, side in enumerate(sides)}


def sums(function, *trees, platform):
    """Counts the sums in the program that a platform is given."""
    lowered = jax.jit(function).trace(*trees).lower(lowering_platforms=(platform,))
    return lowered.as_text().count("stablehlo.reduce(")


def expected(arrays):
    return np.sqrt(sum((x.astype(np.float64) ** 2).sum() for x in arrays.values()))


def test_a_norm_is_that_of_all_numbers():
    arrays = tree(0)
    np.testing.assert_allclose(norms.global_norm(arrays), expected(arrays), rtol=1e-6)
    leaves = jax.tree.leaves(arrays)
    np.testing.assert_allclose(norms.by_pieces(leaves), expected(arrays), rtol=1e-6)


def test_an_updates_norm_is_that_of_the_change():
    before, updates = tree(0), {name: 0.01 * x for name, x in tree(1).items()}
    after = {name: before[name] + updates[name] for name in before}
    found = norms.update_norm(updates, before, after)
    np.testing.assert_allclose(found, expected(updates), rtol=1e-5)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_only_tpus_sum_array_by_array(platform):
    arrays = tree(0)
    expected_sums = {"cpu": 1, "cuda": 3, "rocm": 3, "tpu": 70}[platform]
    assert sums(norms.global_norm, arrays, platform=platform) == expected_sums
    assert sums(norms.update_norm, arrays, arrays, arrays, platform=platform) == expected_sums
