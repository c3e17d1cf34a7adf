"""The built-in data set as records: counts, identity, and the drawings' own joints."""

import numpy as np
import pytest
from conftest import small_synthetic

from hourglass_jax import data
from hourglass_jax.data.pipeline import prepare
from hourglass_jax.data.synthetic_people.drawing import draw_person
from hourglass_jax.errors import UserError


def build(folder, **fields):
    config = small_synthetic(folder, train=5, validation=2).data
    config.update(fields)
    builder = data.builder_class("synthetic_people").from_config(config)
    prepare(builder, "")
    return builder


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("records"))


def test_records_are_the_drawings(builder):
    rows = [*builder.as_dataset(split="train"), *builder.as_dataset(split="validation")]
    assert len(rows) == 7
    people = {int(row["id"].numpy().decode().split("/")[1]): row for row in rows}
    assert sorted(people) == list(range(7))
    for index, row in people.items():
        person = draw_person(0, index)
        np.testing.assert_array_equal(row["labelled"], person.labelled)
        np.testing.assert_array_equal(row["visible"], person.visible)
        affine = row["record_to_source"].numpy().astype(float)
        joints = row["joints_record"].numpy() @ affine[:, :2].T + affine[:, 2]
        np.testing.assert_allclose(
            joints[person.labelled], person.joints[person.labelled], atol=1e-3
        )
        width, height = person.head_box[2:] - person.head_box[:2]
        assert row["reference"].numpy() == pytest.approx(0.6 * np.hypot(width, height), rel=1e-5)
        # To the rounding of the kept picture's sides to whole pixels.
        assert row["size_record"].numpy() <= 64 * 1.01


def test_people_of_the_two_splits_differ(builder):
    pictures = [row["image"].numpy().tobytes() for row in builder.as_dataset(split="all")]
    assert len(set(pictures)) == 7


def test_another_seed_or_count_makes_other_records(builder, tmp_path):
    names = {builder.builder_config.name}
    for fields in ({"drawing_seed": 1}, {"num_train": 6}, {"resolution": 80}):
        config = small_synthetic(tmp_path, train=5, validation=2).data
        config.update(fields)
        builder = data.builder_class("synthetic_people").from_config(config)
        names.add(builder.builder_config.name)
    assert len(names) == 4


def test_an_unknown_data_set_is_told():
    with pytest.raises(UserError, match=r"imagenet.*lsp"):
        data.builder_class("imagenet")
