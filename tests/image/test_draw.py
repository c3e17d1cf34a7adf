"""What is drawn lies where it should, in the colour of its side."""

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import draw as visualize

pytestmark = pytest.mark.core

JOINTS = np.random.default_rng(0).uniform(30, 170, (16, 2))


def blank():
    return np.zeros((200, 200, 3), np.uint8)


@pytest.mark.parametrize("joint", ["left_wrist", "right_knee", "pelvis"])
def test_a_joint_is_a_dot_in_the_colour_of_its_side(joint):
    shown = np.arange(16) == MPII.index(joint)
    image = visualize.draw_skeleton(blank(), JOINTS, shown, MPII)
    x, y = np.round(JOINTS[MPII.index(joint)]).astype(int)
    side = {"left": visualize.LEFT, "righ": visualize.RIGHT}.get(joint[:4], visualize.MIDDLE)
    # The dot's dark rim is smoothed into it: of the three colours this is by far the nearest.
    colours = np.array([visualize.LEFT, visualize.RIGHT, visualize.MIDDLE])
    distances = np.linalg.norm(colours - image[y, x].astype(int), axis=-1)
    assert tuple(colours[distances.argmin()]) == side and distances.min() < 40
    where = np.argwhere(image.any(-1))
    assert abs(where - [y, x]).max() <= 5


def test_a_limb_needs_both_ends():
    elbow, wrist = MPII.index("left_elbow"), MPII.index("left_wrist")
    middle = np.round((JOINTS[elbow] + JOINTS[wrist]) / 2).astype(int)
    both = np.isin(np.arange(16), (elbow, wrist))
    assert visualize.draw_skeleton(blank(), JOINTS, both, MPII)[middle[1], middle[0]].any()
    one = np.arange(16) == wrist
    assert not visualize.draw_skeleton(blank(), JOINTS, one, MPII)[middle[1], middle[0]].any()


def test_joints_far_outside_or_unknown_do_no_harm():
    joints = JOINTS.copy()
    joints[0], joints[1] = (1e9, -1e9), np.nan
    image = visualize.draw_skeleton(blank(), joints, np.ones(16, bool), MPII)
    assert image.any() and image.shape == (200, 200, 3)


def test_the_callers_picture_is_left_alone():
    image = blank()
    visualize.draw_skeleton(image, JOINTS, np.ones(16, bool), MPII)
    assert not image.any()


def test_heatmaps_shine_where_they_peak():
    heatmaps = np.zeros((50, 50, 3), np.float32)
    heatmaps[10, 40, 1] = 1
    image = visualize.overlay_heatmaps(np.full((200, 200, 3), 100, np.uint8), heatmaps)
    brightness = image.astype(int).sum(-1)
    y, x = np.unravel_index(brightness.argmax(), brightness.shape)
    assert abs(y - 41.5) <= 2 and abs(x - 161.5) <= 2
    assert (image[150, 20] == 50).all()


def test_enlarging_keeps_joints_on_their_pixels():
    image = blank()
    image[60, 80] = 255
    large, joints = visualize.enlarge(image, np.array([[80.0, 60.0]]), 3)
    assert large.shape == (600, 600, 3)
    x, y = joints[0]
    assert (x, y) == (241.0, 181.0) and large[181, 241].min() > 200


def test_a_sheet_holds_every_picture():
    sheet = visualize.grid([np.full((10, 20, 3), i, np.uint8) for i in (50, 100, 150)], columns=2)
    assert sheet.shape == (24, 44, 3)
    assert sheet[5, 5, 0] == 50 and sheet[5, 30, 0] == 100 and sheet[20, 5, 0] == 150


def test_pictures_are_saved_as_they_are(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    visualize.save_png(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), image)
