"""What a config may ask of a run beyond the paper's: each option once, in a short run."""

import json

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import small_synthetic
from short_run import unfinished

from hourglass_jax import config_files
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.training import calibrate, train
from hourglass_jax.training.validation import warn_of_small_batches


def test_epochs_may_be_given_instead_of_steps(records, tmp_path):
    config = small_synthetic(records)
    config.update({"num_steps": 0, "num_epochs": 0.7})
    experiment = Experiment.from_config(config)
    experiment.prepare()
    assert experiment.num_steps == 2  # of 8 people each, of 24


def test_epochs_need_records_to_count(tmp_path):
    config = small_synthetic(tmp_path)
    config.update({"num_steps": 0, "num_epochs": 0.7})
    with pytest.raises(RuntimeError, match="prepare"):
        _ = Experiment.from_config(config).num_steps


def test_batches_have_the_shapes_that_the_step_is_compiled_for(records):
    experiment = Experiment.from_config(small_synthetic(records))
    experiment.prepare()
    batch = next(experiment.training_batches())
    expected = {name: (x.shape, x.dtype) for name, x in experiment.batch_shapes().items()}
    assert {name: (x.shape, x.dtype) for name, x in batch.items()} == expected


def test_few_images_for_each_device_are_mentioned(records, caplog):
    config = small_synthetic(records)

    def said(**fields):
        caplog.clear()
        config.update({"batch_size": 16, "sync_batch_norm": False, **fields})
        warn_of_small_batches(Experiment.from_config(config))
        return caplog.text

    few = "2 images at a time on each of 8 devices are few"
    assert few in said() and "config.batch_size to 32 or more" in said()  # as in configs/mpii.py
    assert few in said(batch_size=32, accumulate=2) and "to 64 or more" in caplog.text
    config.accumulate = 1
    assert few not in said(sync_batch_norm=True) and "few" not in said(batch_size=32)


@pytest.mark.slow
def test_averaged_parameters_are_what_is_evaluated(records, tmp_path):
    config = small_synthetic(records)
    config.update({"num_steps": 2, "ema_decay": 0.999})
    result = train.train_and_evaluate(config, tmp_path)
    restored = train.evaluate_only(config, tmp_path)
    assert restored["metrics"] == result["metrics"]
    folder = tmp_path / "checkpoints/2/state"
    state = ocp.PyTreeCheckpointer().restore(folder)
    kernel = state["params"]["stem"]["conv"]["kernel"]
    assert (state["ema"]["params"]["stem"]["conv"]["kernel"] != kernel).any()


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [14, 3])
def test_steps_are_profiled_on_request(records, tmp_path, num_steps):
    config = small_synthetic(records)
    config.update({"num_steps": num_steps, "profile_steps": 2})
    config.eval.every_steps = config.checkpoint.every_steps = 14
    train.train_and_evaluate(config, tmp_path)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_statistics_are_computed_anew_into_a_workdir_of_their_own(
    finished, records, tmp_path, monkeypatch
):
    monkeypatch.setattr(calibrate, "BATCHES", 6)  # twice all the people
    workdir = unfinished(finished, tmp_path / "run")
    config = small_synthetic(records)
    result = train.calibrate_batch_norm(config, workdir)
    assert json.loads((workdir / "calibrated/evaluation.json").read_text()) == result
    folders = workdir / result["checkpoint"], workdir / "calibrated" / result["checkpoint"]
    before, after = (ocp.PyTreeCheckpointer().restore(folder / "state") for folder in folders)
    jax.tree.map(np.testing.assert_array_equal, before["params"], after["params"])
    assert (
        before["batch_stats"]["stem"]["bn"]["mean"] != after["batch_stats"]["stem"]["bn"]["mean"]
    ).all()
    # By itself it is a workdir, which is evaluated by its own config.
    ours = config_files.load(workdir / "calibrated/config.json")
    assert train.evaluate_only(ours, workdir / "calibrated")["metrics"] == result["metrics"]
    with pytest.raises(UserError, match="a calibrated checkpoint already"):
        train.calibrate_batch_norm(config, workdir)


@pytest.mark.slow
def test_training_ends_some_steps_after_the_best_figure(records, tmp_path):
    config = small_synthetic(records)
    config.update({"num_steps": 40})
    config.eval.update({"every_steps": 2, "patience": 6})
    result = train.train_and_evaluate(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    figures = {x["step"]: x["validation/PCKh@0.5"] for x in lines if "validation/PCKh@0.5" in x}
    best = max(figures, key=lambda step: (figures[step], step))
    assert list(figures) == list(range(2, best + 7, 2)) and best + 6 < 40
    assert result["step"] == best and (tmp_path / f"checkpoints/{best}").is_dir()
    # Such a run is finished; one that was stopped before its last evaluation trains no more.
    assert train.train_and_evaluate(config, tmp_path) == result
    (tmp_path / "evaluation.json").unlink()
    assert train.train_and_evaluate(config, tmp_path)["metrics"] == result["metrics"]
    assert max(line["step"] for line in lines) == best + 6
    again = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in again] == [line["step"] for line in lines]
    # With more patience it goes on.
    config.eval.patience, config.num_steps = 8, best + 8
    assert train.train_and_evaluate(config, tmp_path)["step"] >= best
    assert (tmp_path / f"checkpoints/{best + 8}").is_dir()
