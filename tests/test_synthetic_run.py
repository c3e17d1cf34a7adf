"""What makes the figure of the built-in data set mean something; the trainings are `slow`."""

import dataclasses

import numpy as np
import pytest
from conftest import load_config

from hourglass_jax import train
from hourglass_jax.data.synthetic_people.drawing import draw_person
from hourglass_jax.data.synthetic_people.synthetic_people_pose_dataset_builder import (
    BOX_MARGIN,
    HEAD_SHARE,
    SyntheticPeoplePose,
)
from hourglass_jax.pose import geometry, metrics
from hourglass_jax.pose.skeleton import MPII


def test_the_mean_pose_finds_few_joints():
    """Predicting the average person in every box stays below 0.20."""
    people = [draw_person(0, index) for index in range(120)]
    boxes = [geometry.box_around(p.joints, p.labelled, BOX_MARGIN) for p in people]
    in_box = [(p.joints - c) / s for p, (c, s) in zip(people, boxes, strict=True)]
    labelled = np.array([p.labelled for p in people])
    mean = np.nanmean(np.where(labelled[..., None], in_box, np.nan), axis=0)
    predicted = np.array([mean * size + center for center, size in boxes])
    head = [HEAD_SHARE * np.hypot(*(p.head_box[2:] - p.head_box[:2])) for p in people]
    truth = np.array([p.joints for p in people])
    assert metrics.pckh(truth, predicted, labelled, np.array(head)).total < 0.20


@pytest.mark.slow
def test_left_and_right_must_be_understood(tmp_path, monkeypatch):
    """Without exchanging left and right in the flip the same run ends far lower."""
    config = load_config("synthetic")
    # One CPU device, as the command has it: the tests have eight.
    config.batch_size = 8
    exact = train.train_and_evaluate(config, tmp_path / "exact")["metrics"]["PCKh@0.5"]
    assert exact >= 0.90
    without = dataclasses.replace(MPII, pairs=())
    monkeypatch.setattr(SyntheticPeoplePose, "SKELETON", without)
    confused = train.train_and_evaluate(config, tmp_path / "confused")["metrics"]["PCKh@0.5"]
    assert confused <= exact - 0.15
