"""The similarity of poses is COCO's, and people who are shown twice are left out."""

import contextlib
import io

import numpy as np
import pytest

from hourglass_jax.data.skeleton import COCO
from hourglass_jax.inference.found import Poses
from hourglass_jax.inference.similarity import distinct, oks


def poses(joints, boxes, scores=None, box_scores=None):
    joints = np.asarray(joints, float)
    scores = np.ones(joints.shape[:2], np.float32) if scores is None else scores
    return Poses(joints, scores, COCO.joints, np.asarray(boxes, float), box_scores=box_scores)


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    boxes = np.array([[10, 20, 60, 120], [15, 22, 64, 118], [200, 40, 50, 90]], float)
    joints = boxes[:, None, :2] + rng.uniform(0, 1, (3, 17, 2)) * boxes[:, None, 2:]
    joints[1] = joints[0] + rng.normal(0, 4, (17, 2))
    return joints, boxes


def test_it_is_the_similarity_of_coco(people):
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    joints, boxes = people
    boxes[:, 2:] = (60, 100)  # of one size: COCO takes the annotated person's area alone

    def entry(i, last):
        keypoints = np.concatenate([joints[i], np.full((17, 1), last)], axis=1).ravel()
        return {
            "image_id": 1,
            "category_id": 1,
            "keypoints": keypoints.tolist(),
            "score": 1 - i / 9,
        }

    truth = [
        {**entry(i, 2), "id": i + 1, "iscrowd": 0, "ignore": 0, "num_keypoints": 17,
         "area": 0.53 * 60 * 100, "bbox": boxes[i].tolist()}
        for i in range(3)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = coco.COCO()
        annotations.dataset = {
            "images": [{"id": 1}], "annotations": truth, "categories": [{"id": 1}]
        }  # fmt: skip
        annotations.createIndex()
        evaluation = COCOeval(annotations, annotations.loadRes([entry(i, 1) for i in range(3)]),
                              "keypoints")  # fmt: skip
        evaluation._prepare()
    expected = evaluation.computeOks(1, 1)
    np.testing.assert_allclose(oks(*[poses(joints, boxes)] * 2), expected, atol=1e-9)


def test_joints_without_confidence_do_not_count(people):
    joints, boxes = people
    scores = np.ones((3, 17), np.float32)
    scores[1, :15] = 0.05
    joints[1, :15] += 500
    alike = oks(poses(joints, boxes, scores), poses(joints, boxes, scores))
    assert alike[0, 1] > 0.5 and alike[0, 0] == 1
    scores[1] = 0
    assert oks(poses(joints, boxes, scores), poses(joints, boxes, scores))[1].max() == 0


def test_the_better_one_of_two_alike_is_kept(people):
    joints, boxes = people
    found = poses(joints, boxes, box_scores=np.array([0.5, 0.9, 0.3]))
    np.testing.assert_array_equal(distinct(found).boxes, boxes[[1, 2]])
    found = poses(joints, boxes, box_scores=np.array([0.9, 0.5, 0.95]))
    np.testing.assert_array_equal(distinct(found).boxes, boxes[[2, 0]])
    assert distinct(found[:0]).joints.shape == (0, 17, 2)
