"""Suppression against the published loop without its faults, and at its corners."""

import numpy as np
import published_suppression
import pytest

from hourglass_jax.tasks.detection import suppression

pytestmark = pytest.mark.core


def some_rows(seed, count=40):
    """Boxes around a few places: [n, 8] with scores, scores of two corners, and categories."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(20, 80, (5, 2))[rng.integers(5, size=count)]
    half = rng.uniform(8, 16, (count, 2))
    middle = middle + rng.normal(scale=3, size=(count, 2))
    corners = rng.uniform(0.05, 1, (count, 2))
    category = rng.integers(2, size=count)
    return np.c_[middle - half, middle + half, corners.mean(1), corners, category]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("votes", [False, True])
@pytest.mark.parametrize("method", suppression.METHODS)
def test_a_plain_loop_gives_the_same(method, votes, seed):
    rows = some_rows(seed)
    found = suppression.suppress(
        rows[:, :4],
        rows[:, 4],
        rows[:, 7],
        method=method,
        votes=rows[:, 5:7] if votes else None,
        border=1,
    )
    expected = published_suppression.by_category(rows, method, votes=votes, faults=False)
    expected = expected[np.argsort(-expected[:, 4])]
    np.testing.assert_allclose(
        np.c_[found.boxes, found.scores, rows[found.rows, 7]], expected, atol=1e-9
    )


def test_categories_do_not_affect_each_other():
    boxes = np.array([[0, 0, 10, 10]] * 3, float)
    found = suppression.suppress(boxes, np.array([0.9, 0.8, 0.7]), np.array([0, 1, 0]))
    np.testing.assert_array_equal(found.rows, [0, 1, 2])
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.7 * np.exp(-2)])


def test_the_best_are_kept_up_to_a_limit_and_above_a_score():
    rows = some_rows(0)
    every = suppression.suppress(rows[:, :4], rows[:, 4], rows[:, 7])
    assert (np.diff(every.scores) <= 0).all() and every.scores.min() >= 0.001
    few = suppression.suppress(rows[:, :4], rows[:, 4], rows[:, 7], limit=5)
    np.testing.assert_array_equal(few.rows, every.rows[:5])


def test_no_boxes_and_boxes_without_an_area():
    nothing = suppression.suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert nothing.boxes.shape == (0, 4) and not len(nothing.rows)
    points = suppression.suppress(np.ones((2, 4)), np.array([0.5, 0.4]), np.zeros(2, int))
    np.testing.assert_allclose(points.scores, [0.5, 0.4])
