"""The loop: what a run leaves behind, and that going on after a kill changes no bit."""

import dataclasses
import json
import random
import time

import numpy as np
import pytest
from conftest import small_synthetic
from short_run import assert_same_run, lines_of, start, wait_for_step

from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.data.synthetic_people.source import SyntheticPeopleSource
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.training import finite, train


def test_a_run_leaves_what_it_promises(finished):
    workdir, result = finished
    promised = ("config.json", "metrics.jsonl", "training_batch.png", "predictions.npz")
    for name in (*promised, "report.html"):
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
        # Shares of a few hundred labelled joints, of which some are found by chance.
        assert all(0 < line[name] < 1 for line in evaluations)
    # Those that were trained on are other people than these, and so are the statistics.
    for other in ("train/PCKh@0.5", "validation/PCKh@0.5/batch_statistics"):
        assert all(line[other] != line["validation/PCKh@0.5"] for line in evaluations)
    # Eleven people are all among those compared.
    running = [line["validation/PCKh@0.5/running_statistics"] for line in evaluations]
    assert running == [line["validation/PCKh@0.5"] for line in evaluations]


def test_a_checkpoint_says_what_it_is(finished):
    with Checkpoints(finished[0], "PCKh@0.5") as checkpoints:
        metadata = checkpoints.metadata(checkpoints.latest)
    assert metadata["format"] == 1 and metadata["step"] == 8
    assert metadata["heads"]["heatmaps"][9] == "head_top"
    assert metadata["config"]["model"]["features"] == 8
    assert metadata["normalisation"] == {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def test_a_finished_run_is_left_as_it_is(finished, records):
    workdir, result = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    assert train.train_and_evaluate(small_synthetic(records), workdir) == result
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()} == before


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


def test_a_workdir_of_other_joints_is_refused(finished, records, monkeypatch):
    labels = SyntheticPeopleSource.labels
    joints = tuple("snout" if joint == "head_top" else joint for joint in labels.joints)
    limbs = tuple(limb for limb in labels.limbs if "head_top" not in limb)
    other = dataclasses.replace(labels, joints=joints, limbs=limbs)
    monkeypatch.setattr(SyntheticPeopleSource, "labels", other)
    with pytest.raises(UserError, match=r"heads=.*'head_top'.*this run has .*'snout'.*workdir"):
        train.train_and_evaluate(small_synthetic(records), finished[0])


@pytest.mark.parametrize("kills", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_stopped_and_killed_it_ends_with_the_same_bits(finished, records, tmp_path, kills):
    """Killed in any moment of a step, a save, an evaluation and, one time in four, a start."""
    fields, num_steps, reference = {}, 8, finished[0]
    if kills > 3:
        num_steps, reference = 300, tmp_path / "undisturbed"
        fields = {"num_steps": num_steps, "eval.every_steps": 50}
        assert finish(start(records, reference, fields)) == 0
    workdir, moments = tmp_path / "run", random.Random(kills)
    process = start(records, workdir, fields)
    wait_for_step(process, workdir, 1)
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 75, output
    reached = [checkpoint_of(workdir)]
    assert 1 <= reached[0] < num_steps
    for kill in range(kills):
        process = start(records, workdir, fields)
        if kill % 4 == 3:
            time.sleep(moments.uniform(0, 15))
        else:
            while checkpoint_of(workdir) <= reached[-1] < num_steps:
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.5))
        process.kill()
        process.wait()
        assert not (workdir / "evaluation.json").exists()
        reached.append(checkpoint_of(workdir))
    assert reached == sorted(reached)
    process = start(records, workdir, fields)
    assert finish(process) == 0
    assert_same_run(workdir, reference)


def finish(process) -> int:
    """Waits, reading what is said: a full pipe would hold the run up."""
    print(process.communicate()[0])
    return process.returncode


def checkpoint_of(workdir) -> int:
    """The latest complete checkpoint's step, 0 if there is none; by the names alone."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return max([int(name) for name in names if name.isdigit()], default=0)


def test_a_loss_that_is_not_finite_stops_the_run(records, tmp_path, monkeypatch):
    """By a batch that does it, as the step is then the one that other runs have compiled."""
    batches = Experiment.training_batches

    def third_is_wrong(self, first_step=0):
        for step, batch in enumerate(batches(self, first_step), first_step + 1):
            yield {**batch, "heatmaps": batch["heatmaps"] * np.float32(np.nan if step == 3 else 1)}

    monkeypatch.setattr(Experiment, "training_batches", third_is_wrong)
    with pytest.raises(finite.NonFiniteLossError, match=r"at step 3 are not fin.*learning_rate"):
        train.train_and_evaluate(small_synthetic(records), tmp_path)


@pytest.mark.parametrize("name", ["loss", "parameter_norm"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_either_of_two_figures_tells_that_it_is_not_finite(name, value, tmp_path):
    metrics = {"loss": np.float32(1), "parameter_norm": np.float32(1), "loss_per_stack": [1.0]}
    with Checkpoints(tmp_path, None) as checkpoints:
        check = finite.FiniteCheck(checkpoints)
        check.later(metrics, 1)
        check.later({**metrics, name: np.float32(value)}, 2)
        with pytest.raises(finite.NonFiniteLossError, match=r"step 2 are not finite.*: none;"):
            check.check()
