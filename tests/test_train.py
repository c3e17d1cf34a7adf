"""The loop: what a run leaves behind, and that going on after a kill changes no bit."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from conftest import small_synthetic
from short_run import assert_same_run, lines_of, start, wait_for_step

from hourglass_jax import train
from hourglass_jax.checkpoint import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment


def test_a_run_leaves_what_it_promises(finished):
    workdir, result = finished
    for name in ("config.json", "metrics.jsonl", "training_batch.png", "predictions.npz"):
        assert (workdir / name).stat().st_size > 0, name
    assert {p.name for p in (workdir / "pictures").iterdir()} == {
        "best.png",
        "middling.png",
        "worst.png",
    }
    assert list(workdir.glob("events.out.tfevents.*"))
    assert json.loads((workdir / "evaluation.json").read_text()) == result
    assert result["persons"] == 11 and result["split"] == "validation"
    assert result["dataset"] == "synthetic_people"
    assert result["checkpoint"] == f"checkpoints/{result['step']}"
    assert {"PCKh@0.5", "PCKh@0.5/left_wrist", "PCKh@0.5/occluded"} <= result["metrics"].keys()
    predictions = np.load(workdir / "predictions.npz")
    assert predictions["joints"].shape == (11, 16, 2) and predictions["scores"].shape == (11, 16)
    assert len(set(predictions["ids"].tolist())) == 11


def test_every_logged_step_is_a_line(finished):
    lines = lines_of(finished[0])
    training = [line for line in lines if "loss" in line]
    assert [line["step"] for line in training] == list(range(1, 9))
    assert training[0]["ratio_to_plateau"] == [1.0]
    assert training[-1]["ratio_to_plateau"][0] < 1
    evaluations = [line for line in lines if "validation/PCKh@0.5" in line]
    assert [line["step"] for line in evaluations] == [4, 8]
    for name in ("train/PCKh@0.5", "validation/PCKh@0.5/batch_statistics"):
        assert all(0 <= line[name] <= 1 for line in evaluations)
    # Eleven people are all among those watched.
    running = [line["validation/PCKh@0.5/running_statistics"] for line in evaluations]
    assert running == [line["validation/PCKh@0.5"] for line in evaluations]


def test_a_checkpoint_says_what_it_is(finished):
    with Checkpoints(finished[0], "PCKh@0.5") as checkpoints:
        metadata = checkpoints.metadata(checkpoints.latest)
    assert metadata["format"] == 1 and metadata["step"] == 8
    assert metadata["skeleton"]["joints"][9] == "head_top"
    assert metadata["config"]["model"]["features"] == 8
    assert metadata["normalisation"] == {"mean": [0.0, 0.0, 0.0]}


def test_a_finished_run_is_left_as_it_is(finished, records):
    workdir, result = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    assert train.train_and_evaluate(small_synthetic(records), workdir) == result
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()} == before


def test_a_run_may_be_made_longer(finished, records, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    config = small_synthetic(records)
    config.num_steps = 9
    assert train.train_and_evaluate(config, tmp_path / "run")["step"] <= 9
    with Checkpoints(tmp_path / "run", "PCKh@0.5") as checkpoints:
        assert checkpoints.latest == 9


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("batch_size", 16),
        ("model.features", 10),
        ("heatmap.sigma", 2.0),
        ("data.num_train", 25),
        ("optimizer.name", "rmsprop"),
    ],
)
def test_a_workdir_of_another_run_is_refused(finished, records, field, value):
    config = small_synthetic(records)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=f"{field}.*workdir"):
        train.train_and_evaluate(config, finished[0])


def test_a_workdir_of_another_skeleton_is_refused(finished, records):
    experiment = Experiment.from_config(small_synthetic(records))
    metadata = experiment.metadata()
    metadata["skeleton"]["joints"][0] = "left_toe"
    with (
        Checkpoints(finished[0], "PCKh@0.5") as checkpoints,
        pytest.raises(UserError, match="skeleton"),
    ):
        checkpoints.check_belongs(checkpoints.latest, metadata)


def test_killed_and_started_again_it_ends_with_the_same_bits(finished, records, tmp_path):
    process = start(records, tmp_path)
    wait_for_step(process, tmp_path, 5)
    process.kill()
    process.wait()
    assert not (tmp_path / "evaluation.json").exists()
    train.train_and_evaluate(small_synthetic(records), tmp_path)
    assert_same_run(tmp_path, finished[0])


def test_a_terminated_run_saves_and_can_go_on(finished, records, tmp_path):
    process = start(records, tmp_path)
    wait_for_step(process, tmp_path, 1)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    with Checkpoints(tmp_path, "PCKh@0.5") as checkpoints:
        assert 1 <= checkpoints.latest < 8
    train.train_and_evaluate(small_synthetic(records), tmp_path)
    assert_same_run(tmp_path, finished[0])


def test_a_loss_that_is_not_finite_stops_the_run(records, tmp_path):
    config = small_synthetic(records)
    config.optimizer.update({"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(train.NonFiniteLossError, match=r"step .* not finite.*learning_rate"):
        train.train_and_evaluate(config, tmp_path)
