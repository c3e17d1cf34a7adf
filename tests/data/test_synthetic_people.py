"""The built-in data set: counts, identity, and the drawings' own joints."""

import concurrent.futures

import numpy as np
import pytest

from hourglass_jax import data
from hourglass_jax.data import processes
from hourglass_jax.data.base import Source
from hourglass_jax.data.synthetic_people.drawing import draw_person
from hourglass_jax.data.synthetic_people.source import SyntheticPeopleSource
from hourglass_jax.errors import RunError, UserError


def test_images_are_the_drawings():
    source = SyntheticPeopleSource(num_train=5, num_validation=2)
    assert list(source.splits) == ["train", "validation"]
    images = [*source.images("train"), *source.images("validation")]
    assert [len(image.annotations) for image in images] == [1] * 7
    assert source.count("train") == 5 and source.count("validation") == 2
    for index, image in enumerate(images):
        person, (annotation,) = draw_person(0, index), image.annotations
        assert annotation.id == f"synthetic/{index:06d}" and annotation.key == index
        np.testing.assert_array_equal(image.read(), person.image)
        np.testing.assert_array_equal(annotation.joints, person.joints)
        np.testing.assert_array_equal(annotation.labelled, person.labelled)
        np.testing.assert_array_equal(annotation.visible, person.visible)
        width, height = person.head_box[2:] - person.head_box[:2]
        assert annotation.reference == pytest.approx(0.6 * np.hypot(width, height), rel=1e-5)


def test_processes_draw_what_one_draws():
    images = SyntheticPeopleSource(drawing_seed=1, num_train=100).images("train")
    for index, image in enumerate(images):
        if index % 33 == 0:
            np.testing.assert_array_equal(image.read(), draw_person(1, index).image)


def test_a_process_that_is_killed_is_said_in_a_sentence(monkeypatch):
    pools = concurrent.futures.ProcessPoolExecutor

    def killing(pool, *arguments, **options):
        drawn = map_(pool, *arguments, **options)
        for process in pool._processes.values():
            process.kill()
        return drawn

    map_ = pools.map
    monkeypatch.setattr(pools, "map", killing)
    monkeypatch.setattr(processes, "cores", lambda: 2)  # also where this may use only one
    with pytest.raises(RunError, match=r"a process that makes the data was ended.*again"):
        list(SyntheticPeopleSource(num_train=100).images("train"))


def test_settings_are_what_the_images_depend_on():
    options = ({}, {"drawing_seed": 1}, {"num_train": 6}, {"num_validation": 6})
    settings = [SyntheticPeopleSource(**fields).settings for fields in options]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])


def test_an_unknown_data_set_is_an_error():
    with pytest.raises(UserError, match=r"imagenet.*lsp"):
        data.source_class("imagenet")


def test_a_class_can_be_registered(monkeypatch):
    monkeypatch.setitem(data.SOURCES, "mine", Source)
    assert data.source_class("mine") is Source
