"""Very long images are looked at in parts."""

import numpy as np
import pytest
import small_networks
from small_networks import SIDE

from hourglass_jax import Detector
from hourglass_jax.inference import windows


@pytest.mark.parametrize("size", [(600, 301), (301, 600), (1, 1), (64, 64)])
def test_images_of_usual_proportions_are_seen_whole(size):
    (whole,) = windows.of_image(*size)
    assert whole.side == max(size) and whole.first and whole.last
    np.testing.assert_array_equal(whole.middle, (np.array(size) - 1) / 2)


@pytest.mark.parametrize("size", [(6000, 500), (500, 6000), (701, 300), (20_000, 3)])
def test_windows_overlap_by_half_along_the_image(size):
    whole, *parts = windows.of_image(*size)
    axis = int(size[1] > size[0])
    assert whole.side == max(size) and 2 <= len(parts) <= windows.MOST
    assert all(part.side == pytest.approx(parts[0].side) for part in parts)
    assert all(part.middle[1 - axis] == (min(size) - 1) / 2 for part in parts)
    places = [part.middle[axis] for part in parts]
    assert (np.diff(places) <= parts[0].side / 2 + 1e-6).all() and (np.diff(places) > 0).all()
    assert places[0] - parts[0].side / 2 == pytest.approx(-0.5)
    assert places[-1] + parts[0].side / 2 == pytest.approx(max(size) - 0.5)
    assert [part.first for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]


def test_boxes_that_a_window_cuts_off():
    """Boxes in cells of 2 px of a window's mirrored view, which shows x from 100 to 200 px."""
    window = windows.Window(np.array([149.5, 20.0]), 100.0, 0, first=False, last=False)
    mirrored = np.array([[-1.0, 0, 199], [0, 1, -29.5]])
    corners = np.array([[0.0, 5, 10, 9], [40, 5, 50, 9], [10, 5, 20, 9], [2, -3, 48, 60]])
    found = {"boxes": corners}
    assert window.cut(found, mirrored, 2.0).tolist() == [True, True, False, False]
    at_left = windows.Window(window.middle, 100.0, 0, first=True, last=False)
    assert at_left.cut(found, mirrored, 2.0).tolist() == [True, False, False, False]


def test_a_panorama_shows_what_its_parts_show():
    """A square in the middle of a long image gives the boxes that it gives in a window of its."""
    trained = small_networks.detector()
    # At three times the size that the network is made for, its boxes are small.
    detector = Detector(trained.model, trained.variables, trained.task, input_size=3 * SIDE)
    rng = np.random.default_rng(0)
    panorama = np.zeros((40, 600, 3), np.uint8)
    _, *parts = windows.of_image(600, 40)
    part = parts[len(parts) // 2]
    left = round(part.middle[0] + 0.5 - part.side / 2)
    shown = rng.integers(0, 256, (40, round(part.side), 3), dtype=np.uint8)
    panorama[:, left : left + round(part.side)] = shown
    alone, found = detector(shown), detector(panorama)
    moved = alone.boxes + np.array([left, 0, 0, 0])
    inside = (alone.boxes[:, 0] > 3) & (alone.boxes[:, :3:2].sum(1) < part.side - 3)
    # Neighbours lower the scores of some.
    near = [np.abs(found.boxes - box).max(1).min() for box in moved[inside][:5]]
    assert inside.sum() >= 3 and max(near) < 0.1
