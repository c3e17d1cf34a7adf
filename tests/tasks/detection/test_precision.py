"""COCO's figures against a direct call with a file of other ids, and the kinds of errors."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hourglass_jax.data.base import NO_JOINTS
from hourglass_jax.data.skeleton import COCO as BODY
from hourglass_jax.data.skeleton import MPII, Skeleton
from hourglass_jax.tasks.base import Instance
from hourglass_jax.tasks.detection import mistakes, precision
from hourglass_jax.tasks.detection.options import Options
from hourglass_jax.tasks.detection.task import Detection

CATEGORIES, IDS, IMAGES = ("cat", "dog", "cow"), (90, 7, 12), (301, 17, 5, 88)


def make_record(name, boxes, categories=None, crowd=(), areas=None, joints=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    record = {
        "id": str(name),
        "size_source": np.array([200, 150], np.int32),
        "record_to_source": np.eye(2, 3, dtype=np.float32),
        "exhaustive": np.True_,
        "boxes_source": boxes,
        "categories": np.zeros(count, np.int32) if categories is None else np.array(categories),
        "crowd": np.isin(np.arange(count), crowd),
        "areas": np.full(count, np.nan, np.float32) if areas is None else np.float32(areas),
    }
    if joints is not None:
        record["joints_source"], record["labelled"] = joints
    return record


def scenes(seed=0, joints=0):
    """Records of a few images, and what was found in them: shifted, of other categories, or new."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for name in IMAGES:
        count = int(rng.integers(2, 7))
        low = rng.integers(0, 90, (count, 2))
        boxes = np.concatenate([low, rng.integers(8, 60, (count, 2))], axis=1)
        categories = rng.integers(0, 3, count).astype(np.int32)
        places = rng.uniform(0, 150, (count, joints, 2)).astype(np.float32)
        labelled = rng.random((count, joints)) < 0.7
        records.append(
            make_record(
                name,
                boxes,
                categories,
                crowd=[0],
                areas=rng.uniform(50, 3000, count),
                joints=(places, labelled) if joints else None,
            )
        )
        here = []
        for k in [*range(count), *rng.integers(0, count, 4)]:
            moved = boxes[k] + rng.normal(scale=3, size=4)
            pose = {}
            if joints:
                pose["joints"] = places[k] + rng.normal(scale=1.5, size=(joints, 2))
                pose["joint_scores"] = np.ones(joints)
            category = int(categories[k] if rng.random() < 0.8 else rng.integers(3))
            here.append(Instance(float(rng.random()), np.maximum(moved, 1), category, **pose))
        found.append(here)
    return records, [found]


def direct(records, results, kind, folder):
    """Figures of COCOeval for files with ids of their own."""
    content = precision.annotations(records, CATEGORIES)
    for image, name in zip(content["images"], IMAGES, strict=True):
        image["id"] = name
    for category, id in zip(content["categories"], IDS, strict=True):
        category["id"] = id
        category["keypoints"] = list(BODY.joints)
    for entry in content["annotations"]:
        entry["image_id"] = IMAGES[entry["image_id"] - 1]
        entry["category_id"] = IDS[entry["category_id"] - 1]
        entry["id"] += 1000
    for name, written in (("truth", content), ("results", results)):
        (folder / f"{name}.json").write_text(json.dumps(written))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("kind", ["bbox", "keypoints"])
def test_figures_are_those_of_a_direct_call(kind, tmp_path):
    joints = 17 if kind == "keypoints" else 0
    skeleton = BODY if joints else NO_JOINTS
    records, found = scenes(joints=joints)
    task = Detection(Options(), CATEGORIES, IDS, skeleton)
    results = task.results(found[0], records)
    assert {r["image_id"] for r in results} <= set(IMAGES)
    assert {r["category_id"] for r in results} <= set(IDS)
    expected = direct(records, results, kind, tmp_path)
    metric = task.metrics(None, "validation")[-1]
    figures = list(metric(found, records).values())[: len(expected)]
    np.testing.assert_allclose(np.nan_to_num(figures, nan=-1), expected, atol=1e-9)
    assert 0.05 < figures[0] < 0.95
    assert str(metric.table(found, records))


def test_perfect_predictions():
    records, _ = scenes(joints=17)
    task = Detection(Options(), CATEGORIES, IDS, BODY)
    truth = [[task.truth(record) for record in records]]
    boxes, joints = task.metrics(None, "validation")
    figures = boxes(truth, records)
    assert figures["AP"] == figures["AR"] == figures["AP/cat"] == pytest.approx(1)
    assert all(figures[f"errors/{kind}"] == 0 for kind in (*mistakes.KINDS, mistakes.MISSED))
    assert joints(truth, records)["OKS AP"] == pytest.approx(1)
    assert (boxes.errors(truth, records) < 1e-6).all()
    assert len(boxes.plots(truth, records)) == 1


def test_images_without_boxes_and_without_predictions():
    records = [make_record(1, []), make_record(2, [[10, 10, 20, 20]])]
    metric = precision.BoxPrecision(CATEGORIES)
    figures = metric([[[], []]], records)
    assert figures["AP"] == 0 and np.isnan(figures["AP/dog"]) and figures["errors/missed"] == 1
    errors = metric.errors([[[], []]], records)
    assert np.isnan(errors[0]) and errors[1] == 1


def test_areas_of_people_where_they_are_not_annotated():
    joints = np.zeros((1, 16, 2), np.float32), np.ones((1, 16), bool)
    record = make_record(1, [[10, 10, 20, 30]], joints=joints)
    (entry,) = precision.annotations([record], ("person",))["annotations"]
    assert entry["area"] == pytest.approx(0.53 * 600) and entry["num_keypoints"] == 16


def test_sigmas_of_joints_that_coco_lacks():
    """An error of one sigma at every joint gives a similarity of exp(-1/2)... of each joint."""
    joints = np.zeros((1, 16, 2), np.float32), np.ones((1, 16), bool)
    record = make_record(1, [[0, 0, 100, 100]], areas=[400.0], joints=joints)
    sides = [j.removeprefix("left_").removeprefix("right_") for j in MPII.joints]
    shift = np.array([2 * 20 * precision.SIGMAS[joint] for joint in sides])
    moved = Instance(1.0, np.array([0, 0, 100, 100]), 0, np.c_[shift, 0 * shift], np.ones(16))
    ap = precision.JointPrecision(("person",), MPII)([[[moved]]], [record])
    assert np.exp(-0.5) > 0.6  # found up to a similarity of 0.6
    assert ap["OKS AP"] == pytest.approx(0.3)
    assert precision.JointPrecision(("person",), Skeleton("x", ("tail",), (), ())).headline


def test_kinds_of_errors():
    record = make_record(
        1,
        [[0, 0, 20, 20], [50, 0, 20, 20], [100, 0, 20, 20], [0, 50, 40, 40], [100, 100, 20, 20]],
        categories=[0, 0, 1, 0, 2],
        crowd=[3],
    )
    found = [
        Instance(0.9, np.array([1, 0, 20, 20]), 0),  # correct
        Instance(0.8, np.array([0, 1, 20, 20]), 0),  # doubled
        Instance(0.7, np.array([62, 0, 20, 20]), 0),  # badly placed: 8 of 20 px
        Instance(0.6, np.array([100, 1, 20, 20]), 0),  # wrong category
        Instance(0.5, np.array([150, 50, 20, 20]), 0),  # background
        Instance(0.4, np.array([112, 0, 20, 20]), 0),  # both
        Instance(0.35, np.array([5, 55, 20, 20]), 0),  # in the crowd
    ]
    (image,) = mistakes.of([found], [record])
    names = dict(enumerate(mistakes.KINDS)) | {-1: "correct", -2: "crowd"}
    assert [names[kind] for kind in image.kinds.tolist()] == [
        *("correct", "doubled", "badly placed", "wrong category", "background", "both", "crowd")
    ]
    assert mistakes.counts([image]) == {**dict.fromkeys(mistakes.KINDS, 1), "missed": 1}
    np.testing.assert_array_equal(image.missed, [False, False, False, True])

    # Of categories 0, 1 and 2 there are 2, 1 and 1 objects; only the first box is correct.
    half = 51 / 101  # recalls up to one half
    gains = mistakes.gains([image])
    now = half / 3
    assert gains["badly placed"] == pytest.approx((half + 50 / 101 * 2 / 3) / 3 - now)
    assert gains["wrong category"] == pytest.approx(1 / 3)
    assert gains["missed"] == pytest.approx(1 / 3)
    assert gains["doubled"] == gains["background"] == gains["both"] == pytest.approx(0)
    assert mistakes.error(image) == pytest.approx(1 - 2 * (19 / 21) / (6 + 4))
