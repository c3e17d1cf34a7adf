"""COCO's boxes: the official layout, all categories or people with joints, and their figures."""

import dataclasses
import json

import numpy as np
import pytest
from box_data import content, images_of, write
from test_coco import write_coco

from hourglass_jax.data.coco.categories import CATEGORIES, CATEGORY_IDS
from hourglass_jax.data.coco_detection.source import CocoDetectionSource
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.detection.options import Options
from hourglass_jax.tasks.detection.task import Detection


def official(folder, write, name):
    """Makes the official layout of a file that `write` writes, and returns the source's fields."""
    write(folder)
    (folder / "annotations").mkdir()
    for year in ("train2017", "val2017"):
        (folder / year).symlink_to(folder / "images")
        (folder / f"annotations/{name}_{year}.json").symlink_to(
            folder / ("keypoints.json" if name.startswith("person") else "boxes.json")
        )
    return {"manual_dir": str(folder)}


def renamed(made):
    """The two categories are COCO's cat and dog."""
    for category in made["categories"]:
        category["id"] = {"cat": 17, "dog": 18}[category["name"]]
    for a in made["annotations"]:
        a["category_id"] = {3: 17, 7: 18}[a["category_id"]]


def test_the_official_layout(tmp_path):
    fields = official(tmp_path, lambda folder: write(folder, renamed), "instances")
    source = CocoDetectionSource(**fields)
    assert (source.categories, source.category_ids) == (CATEGORIES, CATEGORY_IDS)
    assert len(CATEGORIES) == 80 and CATEGORY_IDS[-1] == 90 and not source.labels.joints
    for split in source.splits:
        images = images_of(source, split)
        assert len(images) == 6 and source.count(split) == 10
        assert [CATEGORIES[a.category] for a in images["2"].annotations] == ["dog", "cat"]
        assert [a.crowd for a in images["2"].annotations] == [False, True]
    assert len(source.large_files) == 12 and len(source.source_files) == 2


def test_people_with_joints(tmp_path):
    source = CocoDetectionSource(**official(tmp_path, write_coco, "person_keypoints"), joints=True)
    assert source.categories == ("person",) and source.labels.num_joints == 17
    people = images_of(source)["1"].annotations
    assert [a.labelled.any() for a in people] == [True, False, True]
    assert [a.crowd for a in people] == [False, False, True]


def test_with_joints_images_without_people_are_not_trained_on(tmp_path):
    def empty(folder):
        made = write_coco(folder)
        made["annotations"] = [a for a in made["annotations"] if a["image_id"] > 1]
        (folder / "keypoints.json").write_text(json.dumps(made))

    source = CocoDetectionSource(**official(tmp_path, empty, "person_keypoints"), joints=True)
    assert [len(images_of(source, split)) for split in source.splits] == [5, 6]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, r"instances_train2017\.json is missing; unpack annotations_trainval2017\.zip"),
        ({"joints": True}, r"person_keypoints_train2017\.json is missing"),
        (
            {"train_json": "/nowhere.json"},
            r"/nowhere\.json is missing; .* config\.data\.train_json",
        ),
    ],
)
def test_files_that_are_missing(tmp_path, fields, words):
    with pytest.raises(UserError, match=words):
        list(CocoDetectionSource(manual_dir=str(tmp_path), **fields).source_files)


def test_folders_that_are_missing(tmp_path):
    fields = official(tmp_path, lambda folder: write(folder, renamed), "instances")
    (tmp_path / "val2017").unlink()
    with pytest.raises(UserError, match=r"the folder .*val2017 is missing; unpack the images"):
        list(CocoDetectionSource(**fields).large_files)


def test_a_file_of_other_joints(tmp_path):
    fields = official(tmp_path, lambda folder: write(folder, renamed), "instances")
    with pytest.raises(UserError, match="has the joints of nobody, not COCO's 17"):
        source = CocoDetectionSource(**fields, joints=True, train_json=str(tmp_path / "boxes.json"))
        list(source.images("train"))


def perfect(source, **options):
    """Figures of perfect predictions of a source's validation images, and their results."""
    labels = source.labels
    task = Detection(Options(**options), source.categories, source.category_ids, labels)
    records = [record for i in source.images("validation") for _, record in task.records(i)]
    found = [
        [dataclasses.replace(one, score=0.9) for one in task.truth(record)] for record in records
    ]
    figures = {}
    for metric in task.metrics(source, "validation"):
        figures |= metric([found], records)
    return figures, task.results(found, records)


@pytest.mark.parametrize("first_id", [0, 1, 10**9])
def test_perfect_boxes_are_perfect_whatever_the_ids(tmp_path, first_id):
    def change(made):
        renamed(made)
        for image in made["images"]:
            image["id"] += first_id - 1
        for i, a in enumerate(made["annotations"]):
            a.update(id=i + first_id, image_id=a["image_id"] + first_id - 1)

    source = CocoDetectionSource(
        **official(tmp_path, lambda folder: write(folder, change), "instances")
    )
    figures, results = perfect(source)
    assert figures["AP"] == figures["AP50"] == 1 and figures["AP/cat"] == figures["AP/dog"] == 1
    assert np.isnan(figures["AP/person"])
    assert {entry["category_id"] for entry in results} == {17, 18}
    assert min(entry["image_id"] for entry in results) == first_id
    assert len(results) == len(content()["annotations"]) - 1  # without the crowd


def test_perfect_joints_are_perfect(tmp_path):
    source = CocoDetectionSource(**official(tmp_path, write_coco, "person_keypoints"), joints=True)
    figures, _ = perfect(source, kind="centres_and_joints")
    assert figures["AP"] == figures["OKS AP"] == 1


def test_real_pictures_build(shared_data):
    folder = shared_data / "coco"
    path, images = str(folder / "annotations.json"), str(folder / "images")
    source = CocoDetectionSource(
        train_json=path, validation_json=path, image_dir=images, validation_image_dir=images
    )
    figures, results = perfect(source)
    assert len(results) == 14 and figures["AP"] == figures["AP/person"] == 1
