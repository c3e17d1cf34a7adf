"""What benchmarks count; how long things take is for them to say."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import load_benchmark

from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.inference.found import Poses

PIXELS = np.zeros((80, 100, 3), np.uint8)


@pytest.fixture(scope="module")
def finder():
    return load_benchmark("finder")


@pytest.fixture(scope="module")
def both_ways():
    return load_benchmark("both_ways")


def boxes(*rows):
    return np.array(rows, float).reshape(-1, 4)


NOBODY = np.zeros((0, 4)), np.zeros(0, bool)


def test_a_person_is_found_once(finder):
    truth, counts = boxes([0, 0, 10, 20], [50, 0, 60, 20]), np.array([True, True])
    found = boxes([0, 0, 10, 18], [0, 0, 10, 20], [50, 0, 60, 9], [52, 2, 61, 20])
    verdicts = finder.matched(found, truth, counts, boxes())
    assert verdicts == [True, False, False, True]
    assert finder.matched(boxes(), truth, counts, boxes()) == []
    assert finder.matched(found[:1], *NOBODY, boxes()) == [False]


def test_small_people_and_crowds_are_neither_right_nor_wrong(finder):
    truth, counts = boxes([0, 0, 10, 20], [1, 1, 11, 21]), np.array([False, True])
    found = boxes([0, 0, 10, 20], [0, 0, 10, 20], [0, 0, 10, 20])
    # Of two people a box is that of the one that counts.
    assert finder.matched(found, truth, counts, boxes()) == [True, None, False]
    crowd = boxes([40, 0, 100, 50])
    found = boxes([35, 0, 50, 10], [30, 0, 45, 10], [0, 0, 10, 20])
    assert finder.matched(found, truth, counts, crowd) == [None, False, True]
    assert finder.matched(found[:1], *NOBODY, crowd) == [None]


def test_recall_at_a_precision(finder):
    """Sorted by score: right, right, ignored, wrong, right; one person of four is missed."""
    scores, verdicts = np.array([0.5, 0.9, 0.6, 0.8, 0.7]), np.array([1, 1, 0, 1, -1])
    average, recalls = finder.figures(scores, verdicts, 4)
    assert average == pytest.approx((1 + 1 + 0.75) / 4)
    assert recalls == {0.7: (0.75, 0.5), 0.8: (0.5, 0.8), 0.9: (0.5, 0.8)}
    nothing = finder.figures(np.zeros(0), np.zeros(0, int), 4)
    assert nothing == (0.0, {0.7: (0.0, 1.0), 0.8: (0.0, 1.0), 0.9: (0.0, 1.0)})


JOINTS = ("nose", "left_knee", "right_knee")
NAMES = ("nose", "right_knee")  # those of the network are these and another one, in another order


def person(x, *, crowd=False):
    joints = np.array([[x, 10.0], [x, 40], [x + 8, 40]])
    labelled = np.array([True, False, True])
    box = (x - 5.0, 5.0, 20.0, 40.0)
    return Annotation("0", joints[0], 1.0, box, joints=joints, labelled=labelled, crowd=crowd)


def image(*people):
    return AnnotatedImage("1", "somewhere", lambda: PIXELS, people)


class Perfect:
    """Finds the people of a number of images, and more in those without anybody."""

    task = SimpleNamespace(joints=("right_knee", "neck", "nose"))

    def __init__(self, images, *, invented=0.0):
        self.images, self.invented, self.given = iter([images, images]), invented, []

    def predict(self, photographs, given):
        self.given = given
        return [self._poses(image) for image in next(self.images)]

    def _poses(self, image):
        people = [a for a in image.annotations if not a.crowd]
        scores = [0.5] * len(people)
        if not people and self.invented:
            people, scores = [person(40)], [self.invented]
        joints = np.array([a.joints[[2, 1, 0]] for a in people]).reshape(-1, 3, 2)
        scores = np.array(scores, np.float32)[:, None].repeat(3, 1)
        return Poses(joints, scores, self.task.joints, boxes(*[a.box for a in people]))


def test_oks_of_whole_images(both_ways):
    images = [image(person(20), person(60)), image(), image(person(30), person(70, crowd=True))]
    places = [JOINTS.index(name) for name in NAMES]
    truth = [both_ways.record_of(one, PIXELS, places) for one in images]
    assert truth[0]["labelled"].all() and truth[0]["joints_source"].shape == (2, 2, 2)

    def measure(predictor, true_boxes=False):
        found = both_ways.measure(predictor, [PIXELS] * 3, truth, NAMES, true_boxes=true_boxes)
        return found["OKS AP"], found["OKS AR"]

    perfect = Perfect(images)
    assert measure(perfect, true_boxes=True) == pytest.approx((1, 1))
    assert [one.tolist() for one in perfect.given] == [
        [[15, 5, 20, 40], [55, 5, 20, 40]],
        [],
        [[25, 5, 20, 40]],
    ]
    assert measure(Perfect(images, invented=0.3)) == pytest.approx((1, 1))
    average, recall = measure(Perfect(images, invented=0.9))  # before everybody else
    assert 0.7 < average < 0.8 and recall == pytest.approx(1)
