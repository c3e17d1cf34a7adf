"""What makes the figure of the built-in data set mean something; the trainings are `slow`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from hourglass_jax.data.drawn_source import BOX_MARGIN, HEAD_SHARE
from hourglass_jax.data.synthetic_people.drawing import draw_person
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose import metrics


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


# The command, with no pairs to exchange in the flip: a left arm may then look like a right one.
WITHOUT_PAIRS = """
import dataclasses
from hourglass_jax import main
from hourglass_jax.data.synthetic_people.source import SyntheticPeopleSource
SyntheticPeopleSource.labels = dataclasses.replace(SyntheticPeopleSource.labels, pairs=())
main.run()
"""


def train(workdir, *python, **fields):
    """Runs the config by the command, some fields changed; returns PCKh@0.5."""
    command = [sys.executable, *(python or ("-m", "hourglass_jax.main"))]
    command += ["--config=configs/synthetic.py", f"--workdir={workdir}"]
    command += [f"--config.{name}={value}" for name, value in fields.items()]
    # One CPU device, as the command has it: the tests have eight.
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return json.loads((workdir / "evaluation.json").read_text())["metrics"]["PCKh@0.5"]


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """The figure of the config as it is."""
    return train(tmp_path_factory.mktemp("exact") / "run")


@pytest.mark.slow
def test_left_and_right_must_be_understood(exact, tmp_path):
    """Without exchanging left and right in the flip the same run ends far lower."""
    assert exact >= 0.90
    assert train(tmp_path / "confused", "-c", WITHOUT_PAIRS) <= exact - 0.15


@pytest.mark.slow
def test_bfloat16_does_as_well(exact, tmp_path):
    assert abs(train(tmp_path / "half", **{"model.dtype": "bfloat16"}) - exact) <= 0.02
