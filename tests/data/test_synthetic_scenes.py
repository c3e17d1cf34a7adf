"""Drawn scenes: reproducible, with boxes of what shows and joints that know what covers them."""

import numpy as np
import pytest

from hourglass_jax.data.synthetic_scenes import scene
from hourglass_jax.data.synthetic_scenes.scene import draw_scene
from hourglass_jax.data.synthetic_scenes.source import SyntheticScenesSource

SEED = 4


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(SEED, index) for index in range(25)]


def test_any_scene_can_be_drawn_alone(scenes):
    again = draw_scene(SEED, 7)
    np.testing.assert_array_equal(again.image, scenes[7].image)
    np.testing.assert_array_equal(again.owner, scenes[7].owner)
    for one, other in zip(again.people, scenes[7].people, strict=True):
        for field, value in one._asdict().items():
            np.testing.assert_array_equal(getattr(other, field), value)
    assert not np.array_equal(draw_scene(SEED + 1, 7).image, scenes[7].image)


def test_scenes_have_one_to_eight_people_of_many_sizes(scenes):
    counts = {len(each.people) for each in scenes}
    assert min(counts) >= 1 and max(counts) <= 8 and len(counts) > 5
    heights = [person.box[3] for each in scenes for person in each.people]
    assert min(heights) < 40 and max(heights) > 200
    for each in scenes:
        height, width, _ = each.image.shape
        assert each.image.dtype == np.uint8 and each.owner.shape == (height, width)
        assert 2 / 3 - 0.01 < width / height < 3 / 2 + 0.01
        assert width * height == pytest.approx(scene.SIDE**2, rel=0.01)


def test_boxes_enclose_what_shows(scenes):
    for each in scenes:
        for number, person in enumerate(each.people, start=1):
            rows, columns = np.nonzero(each.owner == number)
            x, y, width, height = person.box
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())


def test_joints_inside_are_labelled_and_hidden_ones_are_known(scenes):
    covered = 0
    for each in scenes:
        size = each.image.shape[1::-1]
        for number, person in enumerate(each.people, start=1):
            inside = ((person.joints > -0.5) & (person.joints < np.array(size) - 0.5)).all(1)
            np.testing.assert_array_equal(person.labelled, inside)
            assert inside.sum() >= scene.FEWEST_JOINTS and (person.visible <= inside).all()
            x, y = np.round(person.joints[inside]).astype(int).clip(0, np.array(size) - 1).T
            on_top = each.owner[y, x]
            assert (on_top[person.visible[inside]] == number).all()
            assert not ((on_top < number) & (on_top > 0)).any()  # nobody behind shows
            covered += np.count_nonzero(on_top > number)
    assert covered > 10


def test_people_overlap_and_are_cut_off(scenes):
    people = [person for each in scenes for person in each.people]
    assert 0.05 < np.mean([not person.labelled.all() for person in people]) < 0.4
    assert 0.5 < np.mean([person.visible.mean() for person in people]) < 0.9


def test_images_are_the_drawings():
    source = SyntheticScenesSource(drawing_seed=SEED, num_train=2, num_validation=1)
    assert [source.count(split) for split in source.splits] == [2, 1]
    images = [image for split in source.splits for image in source.images(split)]
    for index, image in enumerate(images):
        drawn = draw_scene(SEED, index)
        assert image.id == str(index) and image.exhaustive
        np.testing.assert_array_equal(image.read(), drawn.image)
        for number, (a, person) in enumerate(zip(image.annotations, drawn.people, strict=True), 1):
            assert a.box == person.box and a.category == 0
            np.testing.assert_array_equal(a.mask, drawn.owner == number)
            np.testing.assert_array_equal(a.joints, person.joints)
            np.testing.assert_array_equal(a.labelled, person.labelled)
            np.testing.assert_array_equal(a.visible, person.visible)
            width, height = person.head_box[2:] - person.head_box[:2]
            assert a.reference == pytest.approx(0.6 * np.hypot(width, height), rel=1e-5)


def test_settings_are_what_the_images_depend_on():
    options = ({}, {"drawing_seed": 1}, {"num_train": 6}, {"num_validation": 6})
    settings = [SyntheticScenesSource(**fields).settings for fields in options]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])
