"""A mixture whose labels a teacher mends, and that is validated on several parts."""

import json

import numpy as np
import pytest
from box_data import write as write_boxes
from conftest import load_config, shrink, write_lsp

from hourglass_jax.data.lsp import source as lsp
from hourglass_jax.data.mixture.source import MixtureSource
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment

BESIDE = {"folders": ("lspet",), "beside": ("lsp",)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """LSP with ten people to train on, five of its extended set, and boxes; two teachers."""
    monkeypatch.setattr(lsp, "OFFICIAL", 20)
    monkeypatch.setattr(lsp, "OFFICIAL_TRAIN", 10)
    _, extended = write_lsp(tmp_path, official=20, extended=5)
    # The labels, but for the first person's head: sure of all, and the missing ankle is filled in.
    joints = extended[:, :12, :2] - 1
    joints[:, 0] = 20
    np.savez(tmp_path / "lspet/teacher.npz", joints=joints, scores=np.ones((5, 12)),
             ids=np.arange(1, 6))  # fmt: skip
    write_boxes(tmp_path / "pets", name="train.json")
    content = json.loads((tmp_path / "pets/train.json").read_text())
    ids = [a["id"] for a in content["annotations"]]
    np.savez(tmp_path / "of_pets.npz", joints=np.full((len(ids), 12, 2), 9.0),
             scores=np.ones((len(ids), 12)), ids=ids)  # fmt: skip
    return tmp_path


def make(folder, *parts, **fields):
    return MixtureSource(parts=parts, manual_dir=str(folder), **fields)


def test_a_part_of_people_gets_its_teachers_joints(folder):
    source = make(
        folder,
        ("lsp", 0.5, {"extended": False}),
        ("lspet", 0.3, {"teacher": "teacher.npz"}),
        ("pets", 0.2, {"teacher": str(folder / "of_pets.npz")}),
    )
    ankle = LSP.index("right_ankle")
    for image in source.images("train1_lspet"):
        (a,) = image.annotations
        assert a.labelled.all() and a.joints[ankle].tolist() == [20, 20]
    pets = [a for image in source.images("train2_pets") for a in image.annotations]
    assert len(pets) == source.count("train2_pets")
    people = [a for a in pets if not a.crowd]
    assert len(people) == 9  # one is a crowd
    assert all(a.labelled.sum() == 12 and a.joints[ankle].tolist() == [9, 9] for a in people)
    assert folder / "lspet/teacher.npz" in source.source_files
    assert folder / "of_pets.npz" in source.source_files


def test_who_is_validated_on_has_labels_of_the_file(folder):
    source = make(folder, ("pets", 1.0, {"teacher": str(folder / "of_pets.npz")}),
                  ("lsp", 0.0, {"extended": False}))  # fmt: skip
    held_out, trained = (
        [a for image in source.images(split) for a in image.annotations if not a.crowd]
        for split in ("validation", "train0_pets")
    )
    assert len(held_out) == 2 and all(a.joints is None for a in held_out)
    assert len(trained) == 7 and all(a.joints is not None for a in trained)


def test_a_teacher_makes_other_records(folder):
    plain, taught = (make(folder, ("lsp", 0.5), ("lspet", 0.5, fields))
                     for fields in ({}, {"teacher": "teacher.npz"}))  # fmt: skip
    assert plain.settings != taught.settings
    assert len(plain.settings["parts"][1]) == 4  # as before there were teachers


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"teacher": 3}, r"data.parts.lspet.teacher=3 must be"),
        ({"teachr": "x"}, r"data.parts.lspet.teachr"),
    ],
)
def test_teachers_that_are_wrong(folder, fields, words):
    with pytest.raises(UserError, match=words):
        make(folder, ("lspet", 1.0, fields))


def test_several_parts_are_validated_on_as_one_split(folder):
    source = make(
        folder,
        ("lsp", 0.5, {"folders": ("lsp",), "beside": ("lspet",)}),
        ("lspet", 0.3, BESIDE),
        ("pets", 0.2),
        validate_on=("lsp", "pets"),
    )
    assert (source.select, source.report) == ("validation", "validation")
    assert list(source.splits) == [*source.shares, "validation"]
    images = list(source.images("validation"))
    ids = [a.id for image in images for a in image.annotations]
    assert len(ids) == len(set(ids)) == source.count("validation")
    assert {id.split("/")[0] for id in ids} == {"lsp", "pets"}
    assert not any("im001" in id or "im0020" in id for id in ids)  # the test people
    assert list(source.parts("validation")) == ["lsp", "pets"]
    assert source.parts("train0_lsp") == {} and source.metrics("validation") == []
    # What is held out of one is trained on nowhere, and everybody else of the other is.
    trained = [a.id for s in source.shares for i in source.images(s) for a in i.annotations]
    assert not {id.partition("/")[2] for id in ids} & set(trained)
    assert sum(id.startswith("lspet/") for id in trained) == 5
    one = make(folder, ("lsp", 1.0), validate_on=("lsp",))
    assert one.report == "test" and one.parts("validation") == {}


def test_unknown_parts_to_validate_on_are_named(folder):
    with pytest.raises(UserError, match=r"validate_on=.'lsp', 'pts'. must be one of the parts"):
        make(folder, ("lsp", 0.5), ("pets", 0.5), validate_on=("lsp", "pts"))


def test_the_config_of_the_pose_network(folder):
    """Small, on other parts: people of all of them are trained on, and measured part by part."""
    config = shrink(load_config("people_pose"))
    config.data.update(manual_dir=str(folder), data_dir=str(folder / "records"))
    config.data.parts = (("lsp", 0.6, {"folders": ("lsp",), "beside": ("lspet",)}),
                         ("lspet", 0.4, {**BESIDE, "teacher": "teacher.npz"}))  # fmt: skip
    config.data.validate_on = ("lsp", "lspet")
    made = Experiment.from_config(config)
    made.prepare()
    assert made.headline == "mean of parts" and made.task.joints == LSP.joints
    batch = next(made.training_batches())
    assert batch["weights"].shape == (8, 14) and batch["weights"].any()
    empty = ~batch["heatmaps"].any((1, 2)) & (batch["weights"] > 0)
    assert batch["image"].any() and empty.sum() < batch["weights"].sum()


def test_the_pose_network_has_nineteen_joints(shared_data):
    config = load_config("people_pose")
    config.data.manual_dir = str(shared_data)
    made = Experiment.from_config(config)
    assert set(made.task.joints) >= set(LSP.joints) and len(made.task.joints) == 19
    assert len(made.task.skeleton.pairs) == 8
