"""COCO's files as other programs write them: ids, categories, boxes and detections of any kind."""

import json

import numpy as np
import pytest
from test_coco import figures_of, make_source, write_coco

from hourglass_jax.errors import UserError


def from_zero(content):
    for i, annotation in enumerate(content["annotations"]):
        annotation["id"] = i


def with_a_dog(content):
    content["categories"].insert(0, {"id": 18, "name": "dog"})
    dog = {"id": 999, "image_id": 1, "category_id": 18, "bbox": [1, 2, 30, 40], "iscrowd": 0}
    content["annotations"].insert(0, dog)


def changed(**fields):
    def change(content):
        for part in ("images", "annotations"):
            for entry in content[part]:
                for name in fields.keys() & entry.keys():
                    entry[name] = fields[name](entry[name])

    return change


def without(*names):
    """Returns a change that removes fields, and crowds, which would be people without `iscrowd`."""

    def change(content):
        content["annotations"] = [a for a in content["annotations"] if not a["iscrowd"]]
        for annotation in content["annotations"]:
            for name in names:
                del annotation[name]

    return change


def twins(content):
    """The people of two categories with the same joints."""
    content["categories"].append({**content["categories"][0], "id": 2, "name": "child"})
    for annotation in content["annotations"][::2]:
        annotation["category_id"] = 2


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda content: None, True),
        (from_zero, True),
        (with_a_dog, True),
        (changed(id=lambda i: i - 30, image_id=lambda i: i - 30), True),
        (changed(id=str, image_id=str, category_id=str), True),
        (changed(id=lambda i: f"frame/{i:03d}", image_id=lambda i: f"frame/{i:03d}"), True),
        (changed(id=lambda i: i % 10 if i > 9 else i), True),  # all images have the same ids
        (lambda content: [a.update(id=7) for a in content["annotations"]], True),
        (without("id"), False),
        (without("iscrowd"), False),
        (without("num_keypoints"), False),
        (without("area"), False),
        (without("area", "iscrowd", "num_keypoints"), False),
        (twins, True),
        (lambda content: content["annotations"].append({"id": 5}), True),
    ],
)
def test_perfect_predictions_score_one_whatever_the_ids_are(tmp_path, change, same):
    """And imperfect ones what they score with COCO's own ids."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(6, 17, 2)) * 4
    figures = {}
    for name in ("plain", "changed"):
        content = write_coco(tmp_path / name)
        if name == "changed":
            change(content)
            (tmp_path / name / "keypoints.json").write_text(json.dumps(content))
        source = make_source(tmp_path / name)
        images = list(source.images("validation"))
        people = [(image.annotations[0].id, image.annotations[0].joints) for image in images]
        assert len(people) == 6 and source.metrics("validation")
        ids, joints = zip(*people, strict=True)
        assert figures_of(source, ids, np.array(joints), np.ones((6, 17)))["AP"] == 1
        figures[name] = figures_of(source, ids, np.array(joints) + noise, np.ones((6, 17)))
    assert (figures["plain"] == pytest.approx(figures["changed"], nan_ok=True)) or not same


def test_a_flat_box_costs_no_other_person(tmp_path, caplog):
    content = write_coco(tmp_path)
    content["annotations"][0]["bbox"] = [296.65, 388.33, 1.03, 0.0]
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    assert make_source(tmp_path).count("train") == 5
    assert "annotations[0]: its bbox is left out: it has no width or height" in caplog.text


@pytest.mark.parametrize(
    ("change", "left", "says"),
    [
        ({"bbox": [1, 2, 3]}, 11, "entry 0: left out"),
        ({"score": None}, 11, "entry 0: left out"),
        ({"image_id": 99}, 11, "entry 0: left out: its image_id is not in"),
        ({"image_id": "1", "category_id": "1"}, 12, ""),
        ({"category_id": 5}, 11, "entry 0: left out: its category_id is not that of people in"),
        ({"bbox": [900, 900, 5, 5]}, 11, "shows nothing of the image"),
    ],
)
def test_a_wrong_detection_costs_no_other(tmp_path, change, left, says, caplog):
    content = write_coco(tmp_path)
    people = [a for a in content["annotations"] if not a["iscrowd"]]
    boxes = [
        {**{k: a[k] for k in ("image_id", "category_id", "bbox")}, "score": 0.5} for a in people
    ]
    boxes[0].update(change)
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    source = make_source(tmp_path, detections=str(tmp_path / "boxes.json"))
    assert source.count("validation") == left and says in caplog.text


def test_detections_of_an_unknown_category_are_refused_with_those_that_are_known(tmp_path):
    write_coco(tmp_path)
    boxes = [{"image_id": 1, "category_id": 99, "bbox": [10, 20, 50, 60], "score": 1}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    says = r"boxes\.json holds no .* category_id is not that of people in .*keypoints\.json, 1$"
    with pytest.raises(UserError, match=says):
        make_source(tmp_path, detections=str(tmp_path / "boxes.json")).count("validation")


def test_detections_that_are_no_px_are_refused(tmp_path):
    write_coco(tmp_path)
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [0.1, 0.2, 0.5, 0.6], "score": 1}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    with pytest.raises(UserError, match=r"boxes\.json: 1 of 1 bbox lie within 1 px"):
        make_source(tmp_path, detections=str(tmp_path / "boxes.json")).count("validation")
