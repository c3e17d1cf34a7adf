"""Figures of a split: what they count, whatever the batch, and the table for people."""

import json
import shutil

import numpy as np
import pytest
from conftest import small_synthetic

from hourglass_jax.data.skeleton import LSP, MPII
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import evaluate
from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.training import train


def make_predictions(skeleton, people=40, spread=0.0):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (people, skeleton.num_joints, 2))
    joints = truth[:, None] + spread * rng.normal(size=(people, 2, skeleton.num_joints, 2))
    labelled = rng.random(truth.shape[:2]) < 0.9
    return Predictions(
        joints=joints,
        scores=np.ones(truth.shape[:2]),
        truth=truth,
        labelled=labelled,
        visible=labelled & (rng.random(truth.shape[:2]) < 0.7),
        reference=np.full(people, 10.0),
        ids=np.arange(people).astype(str),
    )


@pytest.mark.parametrize(("skeleton", "metric"), [(MPII, "PCKh@0.5"), (LSP, "PCK@0.2")])
def test_the_truth_scores_one(skeleton, metric):
    figures = evaluate.summarise(make_predictions(skeleton), skeleton, metric)
    assert list(figures.values()) == pytest.approx([1.0] * len(figures))
    assert {metric, f"{metric}/left_wrist", f"{metric}/visible", f"{metric}/stack2"} <= set(figures)


@pytest.mark.parametrize(("skeleton", "metric"), [(MPII, "PCKh@0.5"), (LSP, "PCK@0.2")])
def test_figures_are_shares_of_labelled_joints(skeleton, metric):
    predictions = make_predictions(skeleton, spread=4.0)
    figures = evaluate.summarise(predictions, skeleton, metric)
    threshold = 10 * float(metric.partition("@")[2])
    found = np.linalg.norm(predictions.final - predictions.truth, axis=-1) <= threshold
    counted = np.array([joint not in ("pelvis", "thorax") for joint in skeleton.joints])
    for name, mask in (
        (metric, predictions.labelled),
        (f"{metric}/visible", predictions.visible),
        (f"{metric}/occluded", predictions.labelled & ~predictions.visible),
    ):
        assert figures[name] == pytest.approx(found[mask & counted].mean(), abs=1e-12)
    assert 0.1 < figures[metric] < 0.95 and figures[f"{metric}/stack1"] != figures[metric]
    wrist = skeleton.index("left_wrist")
    share = found[predictions.labelled[:, wrist], wrist].mean()
    assert figures[f"{metric}/left_wrist"] == pytest.approx(share)
    table = evaluate.table(predictions, skeleton, metric)
    assert f"{100 * figures[metric]:.2f}" in table and f"{100 * share:.2f}" in table


def test_a_joint_that_nobody_has_is_a_dash():
    predictions = make_predictions(LSP)
    predictions.labelled[:, 3] = False
    figures = evaluate.summarise(predictions, LSP, "PCK@0.2")
    assert np.isnan(figures["PCK@0.2/left_hip"]) and figures["PCK@0.2"] == 1
    assert "nan" not in evaluate.table(predictions, LSP, "PCK@0.2")


@pytest.fixture
def trained(finished, records):
    return small_synthetic(records), finished[0]


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_figures_do_not_depend_on_the_batch(trained, tmp_path, batch_size):
    config, workdir = trained
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    config = config.copy_and_resolve_references()
    config.eval.batch_size = batch_size
    config.batch_size = 16  # of training: none of evaluation's business
    result = train.evaluate_only(config, copy)
    before = json.loads((workdir / "evaluation.json").read_text())
    assert result["persons"] == 11
    assert result["metrics"] == pytest.approx(before["metrics"], abs=0.01)


def test_a_folder_without_checkpoints_is_refused(trained, tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint.*--mode=train"):
        train.evaluate_only(trained[0], tmp_path)


def test_a_checkpoint_of_another_network_is_refused(trained):
    config = trained[0].copy_and_resolve_references()
    config.model.features = 12
    with pytest.raises(UserError, match=r"model\.features"):
        train.evaluate_only(config, trained[1])
