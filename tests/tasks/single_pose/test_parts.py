"""Figures of several data sets in one split: PCK of each one's own reference, and the mean OKS."""

import contextlib
import dataclasses
import io

import numpy as np
import pytest
from conftest import make_predictions
from pycocotools import coco
from pycocotools.cocoeval import COCOeval

from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.skeleton import COCO, LSP
from hourglass_jax.tasks.single_pose.measure import JointsFound
from hourglass_jax.tasks.single_pose.parts import PartsFound
from hourglass_jax.tasks.single_pose.similarity import MeanSimilarity
from hourglass_jax.tasks.single_pose.task import SinglePose

pytestmark = pytest.mark.core

BOX = (10.0, 20.0, 30.0, 60.0)


class Boxed(Source):
    """People with boxes as annotated; the first one's area is not known, the last one is small."""

    name, labels, categories = "boxed", COCO, ("person",)

    def images(self, split):
        assert split == "validation"
        for i in range(20):
            box = (1.0, 2.0, 47.0, 20.0) if i == 19 else BOX
            area = None if i == 0 else 500.0 + 100 * i
            a = Annotation(str(i), np.zeros(2), 75.0, box, area=area)
            yield AnnotatedImage(str(i), str(i), lambda: None, [a])


class Posed(Source):
    """People with joints alone."""

    name, labels, tolerance = "posed", LSP, Tolerance(0.3)


@pytest.fixture
def people():
    made = make_predictions(COCO, people=20, stacks=2, spread=4.0)
    made.truth[5]["labelled"] = np.arange(17) < 4  # too few
    return made.found, made.truth


def as_pycocotools_has_it(found, truth):
    """The OKS of each person by COCO's evaluation, one image each."""
    annotations, results = [], []
    areas = {a.id: a.area for image in Boxed().images("validation") for a in image.annotations}
    for i, record in enumerate(truth):
        scale, shift = record["record_to_source"][:, :2], record["record_to_source"][:, 2]
        joints = record["joints_record"] @ scale.T + shift
        flags = np.where(record["labelled"], 2, 0)
        fields = {"image_id": i + 1, "category_id": 1, "id": i + 1}
        annotations.append(
            fields
            | {"bbox": list(BOX), "area": areas[record["id"]] or 0.53 * 30 * 60, "iscrowd": 0}
            | {"keypoints": np.c_[joints, flags].ravel().tolist()}
            | {"num_keypoints": int(record["labelled"].sum())}
        )
        (person,) = found[-1][i]
        keypoints = np.c_[person.joints, np.ones(17)].ravel().tolist()
        results.append({**fields, "keypoints": keypoints, "score": 1.0})
    official = coco.COCO()
    official.dataset = {
        "images": [{"id": i + 1} for i in range(len(truth))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        official.createIndex()
        evaluation = COCOeval(official, official.loadRes(results), "keypoints")
        evaluation.evaluate()
    return np.array([evaluation.ious[i + 1, 1][0, 0] for i in range(len(truth))])


def test_the_similarity_is_that_of_pycocotools(people):
    metric = MeanSimilarity(Boxed(), "validation", COCO)
    found, truth = people
    alike = metric.similarities(found, truth)
    counted = ~np.isin(np.arange(20), (5, 19))
    np.testing.assert_array_equal(np.isnan(alike), ~counted)
    expected = as_pycocotools_has_it(found, truth)[counted]
    np.testing.assert_allclose(alike[counted], expected, rtol=1e-5)
    figures = metric(found, truth)
    assert figures["OKS"] == pytest.approx(expected.mean(), rel=1e-5)
    assert figures["OKS>0.5"] == (expected > 0.5).mean() and 0.2 < figures["OKS"] < 0.95
    assert metric.table(found, truth).rows[0][-1] == 18
    np.testing.assert_allclose(metric.errors(found, truth)[counted], 1 - expected, rtol=1e-5)


def joined(*made):
    """Predictions for several parts as those of one split, by the parts' names."""
    stacks = zip(*(predictions.found for _, predictions in made), strict=True)
    found = [[one for part in stack for one in part] for stack in stacks]
    truth = [{**r, "id": f"{name}/{r['id']}"} for name, p in made for r in p.truth]
    return found, truth


def test_each_part_is_measured_by_itself():
    boxes = make_predictions(COCO, people=20, stacks=2, spread=4.0)
    poses = make_predictions(COCO, people=12, stacks=2, spread=9.0)
    metric = PartsFound({"x": Boxed(), "y": Posed()}, COCO)
    found, truth = joined(("x", boxes), ("y", poses))
    own = MeanSimilarity(Boxed(), "validation", COCO)(boxes.found, boxes.truth)
    other = JointsFound(COCO, Tolerance(0.3))(poses.found, poses.truth)
    figures = metric(found, truth)
    assert figures["x/OKS"] == own["OKS"] and figures["y/PCK@0.3"] == other["PCK@0.3"]
    assert figures["y/PCK@0.3/left_wrist"] == other["PCK@0.3/left_wrist"]
    assert figures[metric.headline] == pytest.approx((own["OKS"] + other["PCK@0.3"]) / 2)
    assert 0 < figures[metric.headline] < 1
    table = str(metric.table(found, truth))
    assert "x, OKS" in table and "y, PCK@0.3" in table and "left_wrist" in table
    errors = metric.errors(found, truth)
    assert len(errors) == 32 and np.isnan(errors[:20]).sum() < 5 and not np.isnan(errors[20:]).any()
    assert len(metric.plots(found, truth)) == 2


def test_a_part_of_whom_nobody_is_there_has_no_figure():
    poses = make_predictions(COCO, people=12, stacks=1)
    metric = PartsFound({"x": Boxed(), "y": Posed()}, COCO)
    figures = metric(*joined(("y", poses)))
    assert np.isnan(figures["x/OKS"]) and not np.isnan(figures["y/PCK@0.3"])


def test_the_task_measures_parts_where_a_split_has_several():
    class Several(Posed):
        def parts(self, split):
            return {"x": Boxed(), "y": Posed()} if split == "validation" else {}

    task = dataclasses.replace(SinglePose(LSP))
    (one,) = task.metrics(Several(), "validation")
    assert one.headline == "mean of parts"
    (other,) = task.metrics(Several(), "train")
    assert other.headline == "PCK@0.3"
