"""What the page shows and saves of what was found, and how it follows a camera."""

import csv
import io
import json

import browsers
import numpy as np
import pytest
from browsers import call

from hourglass_jax.inference.entries import Format
from hourglass_jax.inference.found import Poses
from hourglass_jax.inference.similarity import distinct
from hourglass_jax.tasks.instance import Instance


@pytest.fixture(scope="module")
def page():
    with browsers.sources() as opened:
        yield opened()


def some_people(count=12, joints=("nose", "left_wrist", "right_hip", "tail")):
    rng = np.random.default_rng(1)
    places = rng.uniform(0, 100, (count // 2, len(joints), 2))
    places = np.concatenate([places, places + rng.normal(0, 4, places.shape)])  # almost doubles
    return Poses(
        joints=places,
        scores=rng.uniform(0, 0.9, places.shape[:2]),
        names=joints,
        boxes=np.concatenate([places.min(1), np.ptp(places, axis=1)], axis=1),
        box_scores=rng.uniform(0.3, 1, count),
    )


def as_found(poses):
    return [
        {
            "box": poses.boxes[i].tolist(),
            "boxScore": float(poses.box_scores[i]),
            "joints": [
                {"x": x, "y": y, "score": score}
                for (x, y), score in zip(
                    poses.joints[i].tolist(), poses.scores[i].tolist(), strict=True
                )
            ],
        }
        for i in range(len(poses.boxes))
    ]


def test_nobody_is_shown_twice(page):
    poses = some_people()
    network = {"sigmas": [0.026, 0.062, 0.107, 0.079], "sure": 0.1, "same": 0.7}
    network["personInBox"] = 0.53
    found = call(page, "people", "m.distinct(...values)", as_found(poses), network)
    expected = distinct(poses)
    assert 6 <= len(expected.boxes) < 12
    np.testing.assert_allclose([one["box"] for one in found], expected.boxes)


def test_files_are_those_of_predict(page):
    poses, name = some_people(), 'a "name", with,commas.jpg'
    form = Format(poses.names)
    entries = [form.entry(one) for one in poses.instances]
    site = {"pose": {"joints": poses.names}}
    found = json.loads(call(page, "results", "m.toJson(...values)", name, as_found(poses), site))
    assert found == [{"image_id": name, **entry} for entry in entries]
    text = call(page, "results", "m.toCsv(...values)", name, as_found(poses), site)
    assert text == written([form.columns, *form.rows(name, entries)])


def test_files_of_boxes_are_those_of_predict(page):
    form = Format((), ("cup", "person"), (3, 7))
    boxes = [[1.234567, 2, 30.5, 40], [5, 6, 7, 8.999]]
    objects = [Instance(0.9, np.array(boxes[0]), 1), Instance(0.123456, np.array(boxes[1]), 0)]
    found = [
        {"score": one.score, "box": list(one.box), "category": one.category} for one in objects
    ]
    found = json.loads(json.dumps(found))
    site = {"pose": None, "detector": {"categories": form.categories, "ids": form.category_ids}}
    entries = [form.entry(one) for one in objects]
    text = call(page, "results", "m.toJson(...values)", "x", found, site)
    assert json.loads(text) == [{"image_id": "x", **entry} for entry in entries]
    text = call(page, "results", "m.toCsv(...values)", "x", found, site)
    assert text == written([form.columns, *form.rows("x", entries)])


def written(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def test_boxes_follow_the_joints_of_a_camera(page):
    def frame(shift, **more):
        joints = [{"x": 10 + shift, "y": 20, "score": 1}, {"x": 30 + shift, "y": 40, "score": 1}]
        return {"box": [0, 0, 50, 60], "boxScore": 0.5, "joints": joints, **more}

    (first,) = call(page, "camera", "m.followed(values[0])", [frame(0)])
    assert first == {"box": [0, 0, 50, 60], "score": 0.5, "before": [20, 30]}
    (second,) = call(page, "camera", "m.followed(values[0])", [frame(7, before=[20, 30])])
    assert second == {"box": [7, 0, 50, 60], "score": 0.5, "before": [27, 30]}
    assert call(page, "camera", "m.followed(values[0])", []) is None
    assert call(page, "camera", "m.followed(values[0])", [{"box": [0, 0, 1, 1]}]) is None
