"""Several data sets as one: labels joined by name, shares of a batch, and the order of rows."""

import dataclasses

import numpy as np
import pytest
from box_data import write as write_boxes
from conftest import load_config, shrink, write_lsp

from hourglass_jax.data import pipeline
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.mixture.source import MixtureSource
from hourglass_jax.data.pipeline import Rows
from hourglass_jax.data.skeleton import LSP, MPII
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment

DRAWN = {"num_train": 6, "num_validation": 3}
PARTS = (
    ("synthetic_scenes", 0.5, DRAWN),
    ("lsp", 0.3, {"extended": False}),
    ("pets", 0.2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    write_lsp(folder, official=2000, extended=0)
    write_boxes(folder / "pets", name="train.json")
    return folder


def make(folder, parts=PARTS, **fields):
    return MixtureSource(parts=parts, manual_dir=str(folder), **fields)


def test_labels_are_joined_by_name(folder):
    source = make(folder)
    assert source.labels.joints == (*MPII.joints, "neck")
    assert set(source.labels.pairs) == set(MPII.pairs)
    assert set(source.labels.limbs) == {*MPII.limbs, *LSP.limbs}
    assert source.categories == ("person", "cat", "dog") and source.category_ids == ()
    assert list(source.splits) == ["train0_synthetic_scenes", "train1_lsp", "train2_pets",
                                   "validation"]  # fmt: skip
    assert list(source.shares.values()) == [0.5, 0.3, 0.2]
    assert source.train == "train0_synthetic_scenes" and source.count("validation") == 3

    scene = next(source.images("validation"))
    a = scene.annotations[0]
    assert scene.exhaustive and a.joints.shape == (17, 2) and not a.labelled[16]
    pet = next(source.images("train2_pets"))
    assert [a.category for a in pet.annotations] == [2, 1] and pet.exhaustive
    assert all(a.joints is None for a in pet.annotations)


def test_people_of_poses_have_boxes_around_their_joints(folder):
    source = make(folder)
    image = next(source.images("train1_lsp"))
    (a,) = image.annotations
    assert not image.exhaustive and a.category == 0
    x, y, width, height = a.box
    joints = a.joints[a.labelled]
    low, high = joints.min(0), joints.max(0)
    margin = 0.05 * (high - low).max()
    np.testing.assert_allclose([x, y], low + 0.5 - margin)
    np.testing.assert_allclose([width, height], high - low + 2 * margin)
    names = [source.labels.joints[i] for i in np.flatnonzero(a.labelled)]
    assert set(names) == set(LSP.joints)


def test_only_the_part_to_validate_on_holds_something_out(folder):
    source = make(folder)
    assert source.count("train2_pets") == 10
    other = make(folder, validate_on="pets")
    assert (other.count("train2_pets"), other.count("validation")) == (8, 2)
    assert other.categories == ("cat", "dog", "person")
    assert (other.select, other.report, other.train) == ("validation", "validation", "train2_pets")
    test = make(folder, validate_on="lsp")
    assert (test.select, test.report) == ("validation", "test")


def test_a_part_may_be_there_to_validate_on_alone(folder):
    source = make(folder, (("synthetic_scenes", 1, DRAWN), ("pets", 0)), validate_on="pets")
    assert source.shares == {"train0_synthetic_scenes": 1.0}
    assert source.train == "train0_synthetic_scenes"


def test_shares_do_not_change_the_records(folder):
    other = make(folder, tuple((name, 1 / 3, *fields) for name, _, *fields in PARTS))
    assert other.settings == make(folder).settings
    fewer = make(folder, (("synthetic_scenes", 1.0, DRAWN),))
    assert fewer.settings != make(folder).settings


@pytest.mark.parametrize(
    ("parts", "fields", "words"),
    [
        ((("lsp", 0.5), ("pets", 0.4)), {}, "must have shares that add up to 1"),
        ((("lps", 1.0),), {}, r"'lps', which is neither a data set \(coco, .*\) nor a folder with"),
        ((("mixture", 1.0),), {}, "must not hold a mixture"),
        ((("lsp", 1.0, {"extendd": 1}),), {}, r"data\.parts\.lsp\.extendd; did you mean data\.p"),
        ((("lsp", 1.0, {"extended": 3}),), {}, r"data\.parts\.lsp\.extended=3 must be one of"),
        ((("lsp", 1.0),), {"validate_on": "pets"}, "validate_on='pets' must be one of the parts"),
    ],
)
def test_parts_that_are_wrong(folder, parts, fields, words):
    with pytest.raises(UserError, match=words):
        make(folder, parts, **fields)


@pytest.mark.parametrize("parts", ["lsp", ("lsp", 1.0), (("lsp",),), (("lsp", 2.0),), ((1, 1.0),)])
def test_parts_of_another_form(parts):
    config = load_config("synthetic_boxes")
    config.data = {"dataset": "mixture", "parts": parts, "data_dir": "", "resolution": 256,
                   "shuffle_buffer": 16}  # fmt: skip
    with pytest.raises(UserError, match="must be a list of data sets and shares, such as"):
        Experiment.from_config(config)


def prepared(folder, name, parts):
    """A small experiment on a mixture, with its records."""
    config = shrink(load_config(name))
    if name != "synthetic":
        del config.model.order, config.model.features
        config.model.update(widths=(4, 4), blocks=(1, 1))
    config.data = {
        "dataset": "mixture",
        "parts": parts,
        "manual_dir": str(folder),
        "data_dir": str(folder / "records"),
        "resolution": 64,
        "shuffle_buffer": 16,
    }
    made = Experiment.from_config(config)
    made.prepare()
    return made


@pytest.fixture(scope="module")
def boxes(folder):
    return prepared(folder, "synthetic_boxes", (("synthetic_scenes", 0.75, DRAWN), ("pets", 0.25)))


def batches_of(made, rows, first=0):
    return pipeline.training_batches(
        made.records,
        made.size,
        Augmentation(**dataclasses.asdict(made.config.augment)),
        rows,
        seed=3,
        shuffle_buffer=16,
        first_step=first,
    )


def images_of(made, processes=1, first=0, count=4):
    """The images of the first batches, row by row."""
    streams = [batches_of(made, Rows(8, process, processes), first) for process in range(processes)]
    parts = [next(stream)["image"] for _ in range(count) for stream in streams]
    return np.concatenate(parts)


def test_batches_depend_on_no_processes_and_resume_exactly(boxes):
    images = images_of(boxes)
    np.testing.assert_array_equal(images, images_of(boxes, processes=2))
    np.testing.assert_array_equal(images[16:], images_of(boxes, first=2, count=2))


def test_boxes_of_all_parts_are_trained_on(boxes):
    assert boxes.task.categories == ("person", "cat", "dog")
    assert pipeline.training_count(boxes.records) == 6 + 6
    rows = batches_of(boxes, Rows(16))
    batch = next(rows)
    pets = ((batch["categories"] > 0) & batch["mask"]).any(1)
    people = ((batch["categories"] == 0) & batch["mask"]).any(1)
    assert not (pets & people).any() and 2 <= pets.sum() <= 4 < people.sum()


def test_poses_of_all_parts_are_trained_on(folder):
    people = ("synthetic_people", 0.25, {"num_train": 5, "num_validation": 1})
    made = prepared(folder, "synthetic", (("synthetic_scenes", 0.75, DRAWN), people))
    assert made.task.joints == MPII.joints
    assert next(batches_of(made, Rows(8)))["heatmaps"].shape == (8, 16, 16, 16)


def test_annotations_without_joints_are_no_poses(folder):
    with pytest.raises(UserError, match="10 annotations has an image and labels that can be used"):
        prepared(folder, "synthetic", (("synthetic_scenes", 0.75, DRAWN), ("pets", 0.25)))
