"""What is drawn lies where it should, in the colour of its side."""

import numpy as np
import pytest

from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import draw, geometry
from hourglass_jax.tasks.instance import Instance
from hourglass_jax.tasks.single_pose import drawing, heatmap

pytestmark = pytest.mark.core

JOINTS = np.random.default_rng(0).uniform(30, 170, (16, 2))


def blank():
    return np.zeros((200, 200, 3), np.uint8)


@pytest.mark.parametrize("joint", ["left_wrist", "right_knee", "pelvis"])
def test_a_joint_is_a_dot_in_the_colour_of_its_side(joint):
    shown = np.arange(16) == MPII.index(joint)
    image = drawing.draw_skeleton(blank(), JOINTS, shown, MPII)
    x, y = np.round(JOINTS[MPII.index(joint)]).astype(int)
    side = {"left": drawing.LEFT, "righ": drawing.RIGHT}.get(joint[:4], drawing.MIDDLE)
    # The dot's dark rim is smoothed into it: of the three colours this is by far the nearest.
    colours = np.array([drawing.LEFT, drawing.RIGHT, drawing.MIDDLE])
    distances = np.linalg.norm(colours - image[y, x].astype(int), axis=-1)
    assert tuple(colours[distances.argmin()]) == side and distances.min() < 40
    where = np.argwhere(image.any(-1))
    assert abs(where - [y, x]).max() <= 5


def test_a_limb_needs_both_ends():
    elbow, wrist = MPII.index("left_elbow"), MPII.index("left_wrist")
    middle = np.round((JOINTS[elbow] + JOINTS[wrist]) / 2).astype(int)
    both = np.isin(np.arange(16), (elbow, wrist))
    assert drawing.draw_skeleton(blank(), JOINTS, both, MPII)[middle[1], middle[0]].any()
    one = np.arange(16) == wrist
    assert not drawing.draw_skeleton(blank(), JOINTS, one, MPII)[middle[1], middle[0]].any()


def test_limbs_of_somebody_with_a_number_have_one_colour():
    elbow, wrist = MPII.index("left_elbow"), MPII.index("left_wrist")
    middle = np.round((JOINTS[elbow] + JOINTS[wrist]) / 2).astype(int)
    scores = np.isin(np.arange(16), (elbow, wrist)).astype(float)
    colours = np.array([drawing.LEFT, draw.colour(0), draw.colour(1)])
    for i, number in enumerate((None, 0, 1)):
        person = Instance(1.0, joints=JOINTS, joint_scores=scores, number=number)
        pixel = drawing.draw_people(blank(), [person], MPII)[middle[1], middle[0]].astype(int)
        # The line is smoothed into its surroundings.
        assert np.linalg.norm(colours - pixel, axis=-1).argmin() == i


def test_joints_far_outside_or_unknown_do_no_harm():
    joints = JOINTS.copy()
    joints[0], joints[1] = (1e9, -1e9), np.nan
    image = drawing.draw_skeleton(blank(), joints, np.ones(16, bool), MPII)
    assert image.any() and image.shape == (200, 200, 3)


def test_small_people_in_large_images_are_drawn_thinly():
    joints, shown = JOINTS / 4 + 100, np.ones(16, bool)
    drawn = drawing.draw_skeleton(np.zeros((300, 5000, 3), np.uint8), joints, shown, MPII)
    alone = drawing.draw_skeleton(np.zeros((300, 300, 3), np.uint8), joints, shown, MPII)
    np.testing.assert_array_equal(drawn[:, :300], alone)
    assert not drawn[:, 300:].any()


def test_the_callers_image_is_left_alone():
    image = blank()
    drawing.draw_skeleton(image, JOINTS, np.ones(16, bool), MPII)
    assert not image.any()


def test_heatmaps_shine_where_they_peak():
    heatmaps = np.zeros((50, 50, 3), np.float32)
    heatmaps[10, 40, 1] = 1
    image = draw.overlay_heatmaps(np.full((200, 200, 3), 100, np.uint8), heatmaps)
    brightness = image.astype(int).sum(-1)
    y, x = np.unravel_index(brightness.argmax(), brightness.shape)
    assert abs(y - 41.5) <= 2 and abs(x - 161.5) <= 2
    assert (image[150, 20] == 50).all()


def test_targets_are_drawn_where_they_are_trained():
    joints_input = np.random.default_rng(1).uniform(8, 56, (16, 2))
    labelled = np.arange(16) != MPII.index("left_wrist")
    maps, _ = heatmap.encode(geometry.crop_to_heatmap(joints_input, 4), labelled, 16, 1.0)
    drawn = drawing.draw_targets(np.zeros((64, 64, 3), np.uint8), maps, MPII, 4)
    assert drawn.shape == (512, 256, 3)
    expected = geometry.apply(geometry.enlargement(4), joints_input)
    skeleton = drawing.draw_skeleton(np.zeros((256, 256, 3), np.uint8), expected, labelled, MPII)
    # Read off a heatmap, a joint is a few hundredths of a pixel off.
    assert (np.abs(drawn[:256].astype(int) - skeleton) > 40).mean() < 0.002
    overlay = draw.overlay_heatmaps(np.zeros((256, 256, 3), np.uint8), maps)
    np.testing.assert_array_equal(drawn[256:], overlay)
