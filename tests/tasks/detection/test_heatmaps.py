"""Heatmaps of keypoints against plain loops."""

import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.tasks.detection import heatmaps
from hourglass_jax.tasks.detection.radius import gaussian_radius

pytestmark = pytest.mark.core
HEIGHT, WIDTH, CHANNELS = 9, 12, 3


def points(seed=0, batch=2, objects=5, group=2):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-1, (WIDTH + 1, HEIGHT + 1), (batch, objects, group, 2))
    channels = np.stack([rng.permutation(CHANNELS)[:group] for _ in range(batch * objects)])
    return (
        jnp.asarray(positions, jnp.float32),
        jnp.asarray(channels.reshape(batch, objects, group)),
        jnp.asarray(rng.random((batch, objects, group)) < 0.7),
        jnp.asarray(rng.integers(0, 4, (batch, objects))),
    )


def test_gaussians_are_drawn_as_a_plain_loop_draws_them():
    positions, channels, mask, radii = points()
    cells, offsets = heatmaps.split(positions, HEIGHT, WIDTH)
    np.testing.assert_allclose(cells + offsets, positions, atol=1e-6)
    drawn = heatmaps.draw(cells, channels, mask, radii, (HEIGHT, WIDTH, CHANNELS))
    expected = np.zeros(drawn.shape)
    for b, k, g in np.argwhere(np.asarray(mask)):
        x, y = np.clip(np.floor(positions[b, k, g]), 0, (WIDTH - 1, HEIGHT - 1)).astype(int)
        r, c = int(radii[b, k]), int(channels[b, k, g])
        for row in range(max(y - r, 0), min(y + r + 1, HEIGHT)):
            for column in range(max(x - r, 0), min(x + r + 1, WIDTH)):
                sigma = (2 * r + 1) / 6
                value = np.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
                expected[b, row, column, c] = max(expected[b, row, column, c], value)
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    joined = (x.reshape(2, -1, *x.shape[3:]) for x in (cells, channels, mask))
    assert heatmaps.count(*joined, HEIGHT, WIDTH) == (expected == 1).sum() > 5


def test_nothing_to_draw():
    positions, channels, mask, radii = points()
    cells, _ = heatmaps.split(positions, HEIGHT, WIDTH)
    nothing = jnp.zeros_like(mask)
    drawn = heatmaps.draw(cells, channels, nothing, radii, (HEIGHT, WIDTH, CHANNELS))
    assert not drawn.any()
    joined = (x.reshape(2, -1, *x.shape[3:]) for x in (cells, channels, nothing))
    assert heatmaps.count(*joined, HEIGHT, WIDTH) == 0


def test_values_are_gathered_at_cells():
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, HEIGHT, WIDTH, 4)))
    cells = jnp.array([[[1, 2], [11, 8]], [[0, 0], [5, 3]]])[:, None]
    found = heatmaps.gather(maps, cells)
    for b in range(2):
        for s in range(3):
            for k in range(2):
                x, y = cells[b, 0, k]
                np.testing.assert_array_equal(found[b, s, k], maps[b, s, y, x])


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_cells_around_a_cell(reach):
    cells = np.array([[[0, 0], [5, 3], [WIDTH - 1, HEIGHT - 1]], [[1, 2], [11, 0], [5, 8]]])
    near, inside = heatmaps.around(jnp.asarray(cells), reach, HEIGHT, WIDTH)
    steps = range(-reach, reach + 1)
    for b, k in np.ndindex(cells.shape[:2]):
        x, y = cells[b, k]
        expected = np.array([(x + dx, y + dy) for dy in steps for dx in steps])
        shown = ((expected >= 0) & (expected < [WIDTH, HEIGHT])).all(-1)
        np.testing.assert_array_equal(inside[b, k], shown)
        np.testing.assert_array_equal(near[b, k][shown], expected[shown])
    assert (np.asarray(near) >= 0).all() and (np.asarray(near) < [WIDTH, HEIGHT]).all()


def test_peaks_are_maxima_of_their_neighbours():
    logits = np.random.default_rng(0).normal(size=(1, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)
    scores, cells, channels = heatmaps.peaks(jnp.asarray(logits), 12)
    padded = np.pad(logits, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = sorted(
        (-logits[0, y, x, c], x, y, c)
        for y in range(HEIGHT)
        for x in range(WIDTH)
        for c in range(CHANNELS)
        if logits[0, y, x, c] == padded[0, y : y + 3, x : x + 3, c].max()
    )[:12]
    np.testing.assert_array_equal(np.c_[cells[0], channels[0]], [place for _, *place in expected])
    np.testing.assert_allclose(scores[0], [1 / (1 + np.exp(v)) for v, *_ in expected], rtol=1e-6)


def test_fewer_peaks_than_asked_for_have_no_score():
    logits = jnp.full((1, 4, 4, 1), -2.0).at[0, 1, 1, 0].set(3.0).at[0, 3, 3, 0].set(-3.0)
    scores, _, _ = heatmaps.peaks(logits, 100)
    assert scores.shape == (1, 16) and scores[0, 0] > 0.9
    assert (scores[0, -8:] == 0).all()


@pytest.mark.parametrize("min_iou", [0.3, 0.5, 0.7])
def test_radius_is_where_the_worst_box_reaches_the_iou(min_iou):
    rng = np.random.default_rng(0)
    for height, width in rng.uniform(2, 60, (20, 2)):
        r = gaussian_radius(height, width, min_iou)
        ious = []
        for first in (-r, r):  # both corners move along the diagonal, by r
            for second in (-r, r):
                moved = np.array([first, first, width + second, height + second])
                low, high = np.maximum(moved[:2], 0), np.minimum(moved[2:], (width, height))
                shared = np.maximum(high - low, 0).prod()
                area = (moved[2:] - moved[:2]).prod()
                ious.append(shared / (area + width * height - shared))
        assert min(ious) == pytest.approx(min_iou, abs=1e-9)
