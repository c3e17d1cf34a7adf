"""Figures in MLflow, read back from a folder of this machine."""

import logging
import time

import numpy as np
import pytest

from hourglass_jax.errors import UserError
from hourglass_jax.training import mlflow_writer


@pytest.fixture
def store(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient((tmp_path / "store").as_uri())


@pytest.mark.slow
def test_figures_images_and_the_config_arrive(store, tmp_path, caplog):
    from hourglass_jax.training.log import Log

    workdir = tmp_path / "walk"
    workdir.mkdir()
    config = {"seed": 3, "model": {"num_stacks": 2}, "freeze": ("stem/*",)}
    sheet = np.zeros((8, 8, 3), np.uint8)

    def log(first):
        return Log(
            workdir,
            lambda step: 0.1,
            first,
            also=lambda: mlflow_writer.MlflowWriter(workdir, config),
        )

    before = log(0)
    before.evaluation(4, {"PCKh@0.5/left hip": 0.25, "AP": float("nan")}, "sheet", sheet)
    before.close()
    (run,) = store.search_runs([store.get_experiment_by_name("hourglass_jax").experiment_id])
    assert run.info.run_name == "walk" and run.info.status == "FINISHED"
    assert run.data.params == {"seed": "3", "model.num_stacks": "2", "freeze": "('stem/*',)"}
    assert run.data.metrics == {"PCKh_0.5/left hip": 0.25}
    assert [f.path for f in store.list_artifacts(run.info.run_id)] == ["images"]
    # A run that continues goes on there.
    again = log(4)
    again.evaluation(8, {"PCKh@0.5/left hip": 0.5}, "sheet", None)
    (run,) = store.search_runs([run.info.experiment_id])
    assert run.info.status == "RUNNING"
    history = store.get_metric_history(run.info.run_id, "PCKh_0.5/left hip")
    assert [(m.step, m.value) for m in history] == [(4, 0.25), (8, 0.5)]
    # A store that fails costs one warning.
    store.delete_run(run.info.run_id)
    for step in (9, 10):
        again.evaluation(step, {"loss": 1.0}, "sheet", None)
    again.close()
    warnings = [
        r for r in caplog.records if r.levelno == logging.WARNING and "MLflow lacks" in r.message
    ]
    assert len(warnings) == 1


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_named(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"MLflow cannot be used \(.*; set MLFLOW_TRACKING_URI to"):
        mlflow_writer.MlflowWriter(tmp_path, {})
    assert time.monotonic() - begin < 60 and not (tmp_path / "mlflow_run.txt").exists()


def test_the_library_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(UserError, match=r"config.log_to='mlflow' needs mlflow; .*\[mlflow\]"):
        mlflow_writer.MlflowWriter(tmp_path, {})


def test_names_that_mlflow_refuses():
    assert mlflow_writer._allowed("loss/heatmaps/1") == "loss/heatmaps/1"
    assert mlflow_writer._allowed("PCK@0.2/Nase (links)") == "PCK_0.2/Nase _links_"
