"""People of every kind of data set in one mixture: made ones, and the real ones if they are there.

Some have boxes, some joints, some both; in some images, only one of several people is labelled.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import scipy.io
from box_data import write as write_boxes
from conftest import load_config, shrink, write_lsp

from hourglass_jax import config_files
from hourglass_jax.data import pipeline
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.lsp import source as lsp
from hourglass_jax.data.mixture.source import MixtureSource
from hourglass_jax.data.pipeline import Rows
from hourglass_jax.data.skeleton import LSP, MPII
from hourglass_jax.experiment import Experiment

DRAWN = {"num_train": 3, "num_validation": 2}
POSES = (
    ("synthetic_scenes", 0.25, DRAWN),
    ("lsp", 0.25, {"extended": False}),
    ("more", 0.25),
    ("viewers", 0.25),
)
EVERYBODY = (*[(name, 0.2, *fields) for name, _, *fields in POSES], ("pets", 0.2))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """LSP with ten people to train on and ten to test, and folders in either of its layouts."""
    monkeypatch.setattr(lsp, "OFFICIAL", 20)
    monkeypatch.setattr(lsp, "OFFICIAL_TRAIN", 10)
    _, extended = write_lsp(tmp_path, official=20, extended=5)
    (tmp_path / "lspet").rename(tmp_path / "more")
    viewers = tmp_path / "viewers/images"
    viewers.mkdir(parents=True)
    for i in range(4):
        shutil.copy(tmp_path / f"more/images/im{i + 1:05d}.jpg", viewers / f"im{i + 1:04d}.jpg")
    joints = extended[:4].transpose(2, 1, 0)
    scipy.io.savemat(tmp_path / "viewers/joints.mat", {"joints": joints})
    # The third person of more is one of the test images.
    shutil.copy(tmp_path / "lsp/images/im0015.jpg", tmp_path / "more/images/im00003.jpg")
    write_boxes(tmp_path / "pets", name="train.json")
    return tmp_path


def test_folders_like_lsp_are_parts_without_people_of_its_test(folder):
    source = MixtureSource(parts=POSES, manual_dir=str(folder))
    assert source.labels.joints == (*MPII.joints, "neck") and source.categories == ("person",)
    more = list(source.images("train2_more"))
    assert [image.id for image in more] == [f"more/im{i:05d}.jpg" for i in (1, 2, 4, 5)]
    (a,) = more[0].annotations
    assert not more[0].exhaustive and a.box is not None
    names = {source.labels.joints[i] for i in np.flatnonzero(a.labelled)}
    assert names == set(LSP.joints) - {"right_ankle"}
    viewers = list(source.images("train3_viewers"))
    assert [len(image.annotations) for image in viewers] == [1] * 4


def config_of(parts, folder, name, **fields):
    """A small config with a mixture."""
    config = shrink(load_config(name))
    if name != "synthetic":
        del config.model.order, config.model.features
        config.model.update(widths=(4, 4), blocks=(1, 1))
    config.data = {"dataset": "mixture", "parts": parts, "manual_dir": str(folder)} | {
        "data_dir": fields.pop("data_dir", str(folder / "records")),
        "resolution": 64,
        "shuffle_buffer": 16,
        **fields,
    }
    return config


def batch_of(parts, folder, name, **fields):
    """A batch of a mixture, after its records have been made; and the experiment."""
    made = Experiment.from_config(config_of(parts, folder, name, **fields))
    made.prepare()
    augmentation = Augmentation(**dataclasses.asdict(made.config.augment))
    rows = Rows(10 * len(parts))
    stream = pipeline.training_batches(
        made.records, made.size, augmentation, rows, seed=0, shuffle_buffer=16
    )
    return made, next(stream)


def test_all_of_them_are_boxes_to_train_on(folder):
    made, batch = batch_of(EVERYBODY, folder, "synthetic_boxes")
    assert made.task.categories == ("person", "cat", "dog")
    # Where only one person is labelled, background is certain around that one alone.
    uncertain = ~batch["background"].all((1, 2))
    assert 10 <= uncertain.sum() <= 30 and batch["background"].any((1, 2)).sum() >= 45


def test_those_with_joints_are_poses_to_train_on(folder):
    made, batch = batch_of(POSES, folder, "synthetic")
    assert made.task.joints == (*MPII.joints, "neck")
    neck, pelvis = (
        batch["weights"][:, made.task.joints.index(name)] > 0 for name in ("neck", "pelvis")
    )
    assert neck.sum() > 20 and pelvis.any() and not (neck & pelvis).any()


def test_the_config_of_a_workdir_is_of_the_same_run(folder):
    """JSON has lists, in which there are sections."""
    made = Experiment.from_config(config_of(EVERYBODY, folder, "synthetic_boxes"))
    config_files.save(made.config, folder)
    content = json.loads((folder / "config.json").read_text())
    assert content["data"]["parts"][0] == ["synthetic_scenes", 0.2, DRAWN]
    for config in (config_files.load(folder / "config.json"), content):
        again = Experiment.from_config(config)
        assert again.records.data_path == made.records.data_path
        again.check(folder, {**made.metadata(), "step": 8})


REAL = (
    "coco_people",
    "people_boxes",
    "people_boxes_more",
    "lsp",
    "lspet",
    "lspet_partial",
    "parse",
)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["synthetic_boxes", "synthetic"])
def test_the_real_ones(shared_data, tmp_path, task):
    """As the next networks train on them."""
    names = [name for name in REAL if task == "synthetic_boxes" or "boxes" not in name]
    parts = [(name, 0.1, *([{"extended": False}] if name == "lsp" else [])) for name in names]
    parts = (*parts, ("synthetic_scenes", 1 - 0.1 * len(parts), DRAWN))
    fields = {"validate_on": "coco_people", "data_dir": str(tmp_path)}
    made, batch = batch_of(parts, shared_data, task, **fields)
    assert len(batch["image"]) == 10 * len(parts) and batch["image"].any((1, 2, 3)).all()
    counts = {split.split("_", 1)[1]: made.records.count(split) for split in made.source.shares}
    assert 950 < counts["lsp"] <= 1000  # without near-duplicates of people to test on
    assert 2500 < counts["lspet_partial"] <= 2608 and counts["parse"] == 100
