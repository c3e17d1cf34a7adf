"""Records: what they are kept by, what they hold, and that nothing half-made is left behind."""

import dataclasses
import json
import logging
import os
import pathlib
import re
import shutil
import time

import numpy as np
import pytest
from keypoint_data import POINTS
from keypoint_data import make as custom_source
from keypoint_data import write as write_keypoints
from test_coco import make_source as coco_source
from test_coco import write_coco

from hourglass_jax.data import fingerprint, pipeline, records
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.records import Records
from hourglass_jax.data.skeleton import COCO, MPII, Skeleton
from hourglass_jax.data.synthetic_people.source import SyntheticPeopleSource
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.single_pose.limits import Limits
from hourglass_jax.tasks.single_pose.task import SinglePose

ONE_JOINT = Skeleton("one", ("nose",), (), ())


class Files(Source):
    """A data set that is described by its attributes alone."""

    name = "files"
    labels = ONE_JOINT
    settings = {"option": 1}
    source_files = large_files = evaluation_files = ()
    damage = None  # what reading the last image raises

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def count(self, split):
        return 40

    def images(self, split):
        for i in range(40):
            person = Annotation(
                f"{split}/{i}", np.array([8.0, 8.0]), 10.0, joints=np.full((1, 2), 8.0),
                labelled=np.ones(1, bool), visible=np.ones(1, bool), key=i,
            )  # fmt: skip

            def read(i=i):
                if i == 39 and self.damage:
                    raise self.damage
                return np.full((16, 16, 3), i, np.uint8)

            yield AnnotatedImage(f"{i}", f"image {i}", read, [person])


def task_of(**settings):
    return SinglePose(**{"skeleton": ONE_JOINT, **settings})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("joints.json", "images.tar", "boxes.json"):
        (tmp_path / "there" / name).write_text(name)
    return tmp_path


def names_of(folder, task=None, **attributes):
    """The fingerprint that records are kept by, and the training's."""
    paths = {
        "source_files": [folder / "joints.json"],
        "large_files": [folder / "images.tar"],
        "evaluation_files": [],
    }
    made = Records(Files(**(paths | attributes)), task or task_of(), str(folder.parent / "records"))
    return made.builder_config.name, made.training_fingerprint


def test_the_fingerprint_follows_what_records_are_made_of(folder):
    there = folder / "there"
    found = {"as it was": names_of(there)}
    assert names_of(there) == found["as it was"]
    found["options"] = names_of(there, settings={"option": 2})
    found["the source's version"] = names_of(there, version=2)
    found["the source's name"] = names_of(there, name="other")
    found["resolution"] = names_of(there, task_of(limits=Limits(resolution=128)))
    found["room for shifts"] = names_of(there, task_of(limits=Limits(translate=0.2)))
    for name, change in (("record_version", 2), ("name", "other_pose")):
        kind = dataclasses.dataclass(frozen=True)(type("Task", (SinglePose,), {name: change}))
        found[f"the task's {name}"] = names_of(there, kind(ONE_JOINT))
    strange = pathlib.Path(os.fsdecode(os.fsencode(there) + b"/caf\xe9.jpg"))  # no UTF-8
    strange.write_text("")
    found["a strange name"] = names_of(there, large_files=[there / "images.tar", strange])
    (there / "images.tar").write_text("longer than before")
    found["the size of a large file"] = names_of(there)
    (there / "joints.json").write_text("joints.jsom")
    found["the content of a file"] = names_of(there)
    (there / "joints.json").rename(there / "other.json")
    found["the name of a file"] = names_of(there, source_files=[there / "other.json"])
    assert len(set(found.values())) == len(found), found
    assert all(name == training for name, training in found.values())


def test_the_fingerprint_does_not_follow_where_files_lie_or_how_they_are_trained_on(folder):
    there = folder / "there"
    before = names_of(there)
    task = task_of(sigma=2.0, decoder="refined", zero_target=True, stride=8)
    assert names_of(there, task) == before
    shutil.copytree(there, folder / "elsewhere" / "there")
    assert names_of(folder / "elsewhere" / "there") == before
    (there / "images.tar").write_text("images.tax")  # large files are told apart by size
    assert names_of(there) == before


def test_what_is_evaluated_is_not_part_of_what_is_trained_on(folder):
    there = folder / "there"
    plain, training = names_of(there)
    with_boxes = names_of(there, evaluation_files=[there / "boxes.json"])
    assert with_boxes[0] != plain and with_boxes[1] == training
    (there / "boxes.json").write_text("others")
    others = names_of(there, evaluation_files=[there / "boxes.json"])
    assert others[0] not in (plain, with_boxes[0]) and others[1] == training


def test_data_are_compared_by_what_records_hold(tmp_path):
    """Not by the rules of making them, nor by how a file is written."""

    def data_of(name, change=lambda content: None, record_version=1, **options):
        kind = dataclasses.dataclass(frozen=True)(
            type("Task", (SinglePose,), {"record_version": record_version})
        )
        content = write_keypoints(tmp_path / name, change)
        if options.pop("indent", None):
            (tmp_path / name / "k.json").write_text(json.dumps(content, indent=1))
        source = custom_source(tmp_path / name)
        made = Records(source, kind(source.labels, limits=Limits(resolution=64)), str(tmp_path))
        before = made.data
        made.prepare()
        assert not vars(source).keys() & {"_files", "_splits"}  # freed
        return before, made.data

    (unknown, plain), (_, rules) = data_of("a"), data_of("a", record_version=2)
    assert fingerprint.same_data(plain, rules) and fingerprint.same_data(unknown, plain)
    _, written = data_of("a", indent=True)
    assert fingerprint.same_data(plain, written) and plain.split("/")[0] != written.split("/")[0]
    joints = [51, *POINTS[1:]]
    _, others = data_of("a", lambda c: c["annotations"][0].update(keypoints=joints))
    assert not fingerprint.same_data(plain, others)
    _, fewer = data_of("a", lambda c: c["annotations"].pop())
    assert not fingerprint.same_data(plain, fewer)
    assert fingerprint.same_data("x/", "x/1") and not fingerprint.same_data("x/2", "x/1")


def test_a_missing_file_is_named(folder):
    with pytest.raises(UserError, match=r"gone\.json cannot be read: No such file"):
        names_of(folder / "there", source_files=[folder / "gone.json"])


def test_every_option_of_a_source_and_the_resolution_make_other_records(tmp_path):
    few = {"num_train": 5, "num_validation": 2}
    changes = ({}, {"drawing_seed": 1}, {"num_train": 6}, {"num_validation": 3})
    sources = [SyntheticPeopleSource(**(few | change)) for change in changes]
    found = [Records(source, SinglePose(MPII), str(tmp_path)) for source in sources]
    limits = Limits(resolution=80)
    found.append(Records(sources[0], SinglePose(MPII, limits=limits), str(tmp_path)))
    assert len({one.builder_config.name for one in found}) == len(found)


def test_records_of_detections_hold_nobody_to_train_on(tmp_path):
    content = write_coco(tmp_path)
    boxes = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5}
        for a in content["annotations"]
    ]
    (tmp_path / "boxes.json").write_text(repr(boxes).replace("'", '"'))
    task, data_dir = SinglePose(COCO, limits=Limits(resolution=128)), str(tmp_path / "records")
    plain = Records(coco_source(tmp_path), task, data_dir)
    detected = coco_source(tmp_path, detections=str(tmp_path / "boxes.json"))
    found = Records(detected, task, data_dir)
    assert found.training_fingerprint == plain.training_fingerprint == plain.builder_config.name
    assert found.builder_config.name != found.training_fingerprint
    found.prepare()
    assert list(found.info.splits) == ["validation"]
    assert (found.count("train"), found.count("validation")) == (0, len(boxes))
    (batch,) = pipeline.evaluation_batches(found, "validation", (64, 64), pipeline.Rows(len(boxes)))
    assert not any(record["labelled"].any() for record in batch["records"])
    with pytest.raises(UserError, match="no records to train on"):
        still = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        pipeline.training_batches(
            found, (64, 64), still, pipeline.Rows(1), seed=0, shuffle_buffer=1
        )


def left_in(folder):
    names = ("*.tfrecord*", "*incomplete*", "dataset_info.json")
    return [path for name in names for path in folder.rglob(name)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (UserError("a.jpg cannot be read as a JPEG"), "a.jpg cannot be read as a JPEG"),
        (FileNotFoundError(2, "No such file"), r"image 39 cannot be read \(No such file\)"),
    ],
)
def test_a_damaged_source_leaves_no_records(tmp_path, damage, message):
    source = Files(damage=damage)
    with pytest.raises(UserError, match=message):
        Records(source, task_of(), str(tmp_path)).prepare()
    assert not left_in(tmp_path)
    source.damage = None
    whole = Records(source, task_of(), str(tmp_path))
    whole.prepare()
    assert (whole.count("train"), whole.count("validation"), whole.count("other")) == (40, 40, 0)


def test_impossible_boxes_leave_no_records(tmp_path, monkeypatch):
    source = Files()
    images = source.images("train")
    huge = dataclasses.replace(next(images).annotations[0], size=1e7)
    broken = AnnotatedImage("0", "0", lambda: np.zeros((16, 16, 3), np.uint8), [huge])
    monkeypatch.setattr(source, "images", lambda split: iter([broken]))
    with pytest.raises(UserError, match=r"train/0: no image can hold a box of 10000000.0 px"):
        Records(source, task_of(), str(tmp_path)).prepare()
    assert not left_in(tmp_path)


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    made = Records(Files(), task_of(), str(tmp_path))
    made.prepare()
    beside = pathlib.Path(made.data_path).parents[1]
    stale, live, fresh = (
        beside / "other" / f"incomplete.{name}_1.0.0" for name in ("stale", "live", "fresh")
    )
    long_ago = time.time() - 7 * 3600
    for folder, when in ((stale, long_ago), (live, long_ago), (fresh, None)):
        folder.mkdir(parents=True)
        (folder / "train.tfrecord").write_bytes(b"half")
        if when:
            os.utime(folder / "train.tfrecord", (when, when))
            os.utime(folder, (when, when))
    (live / "newest.tfrecord").write_bytes(b"just written")
    os.utime(live, (long_ago, long_ago))
    made.prepare()
    assert not stale.exists() and live.is_dir() and fresh.is_dir()
    assert made.count("train") == 40 and len(left_in(pathlib.Path(made.data_path))) == 3


def test_a_disk_without_room_is_noticed_before_the_work(tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3_000_000))
    need = 80 * task_of().record_bytes / 1e9
    assert 2 * need > 0.003
    with pytest.raises(UserError) as error:
        Records(Files(), task_of(), str(tmp_path / "new")).prepare()
    words = f"records of 80 annotations takes {2 * need:.1f} GB.*has 0.0 GB left.*data.data_dir"
    assert re.search(words, str(error.value))
    assert not left_in(tmp_path)
    small = task_of(limits=Limits(resolution=16))
    with caplog.at_level(logging.INFO, logger=records.logger.name):
        Records(Files(), small, str(tmp_path)).prepare()
    assert "making records of 80 annotations" in caplog.text
