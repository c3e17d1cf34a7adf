"""Writes a run's figures and images to MLflow as well: `config.log_to = "mlflow"`.

MLflow's own variables say where its server is, as MLFLOW_TRACKING_URI. A run that continues goes on
in the same run of MLflow, whose id is in the workdir.
"""

import importlib
import logging
import os
import pathlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from clu import metric_writers

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import extra

logger = logging.getLogger(__name__)

_ID = "mlflow_run.txt"
# Seconds and attempts for a server that does not answer: training waits meanwhile.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class MlflowWriter(metric_writers.MetricWriter):
    """A metric writer of clu whose values go to a run of MLflow.

    A server that no longer answers costs its values, with one warning, and not the training.
    """

    def __init__(self, workdir: pathlib.Path, config: Mapping[str, Any]):
        """Begins a run of MLflow, or goes on with the workdir's.

        Args:
          workdir: workdir of the run, which is named after it.
          config: the config, whose fields become parameters.

        Raises:
          UserError: MLflow is not installed, or its server does not answer.
        """
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        extra.library("mlflow", "config.log_to='mlflow'", "mlflow")
        self._entities = importlib.import_module("mlflow.entities")
        self._failed = False
        path = workdir / _ID
        try:
            self._client = importlib.import_module("mlflow.tracking").MlflowClient()
            if path.exists():
                self._run = path.read_text("utf-8").strip()
                self._client.update_run(self._run, "RUNNING")
                return
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "hourglass_jax")
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name)
            self._run = self._client.create_run(experiment, run_name=workdir.name).info.run_id
        except Exception as error:  # MLflow, its stores and HTTP raise many kinds
            raise UserError(
                f"config.log_to='mlflow': MLflow cannot be used ({_reason(error)}); set "
                f"MLFLOW_TRACKING_URI to the address of its server"
            ) from None
        path.write_text(f"{self._run}\n", "utf-8")
        self.write_hparams(_flat(config))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        now = round(time.time() * 1000)
        metrics = [
            self._entities.Metric(_allowed(name), float(value), now, int(step))
            for name, value in scalars.items()
        ]
        self._try(lambda: self._client.log_batch(self._run, metrics=metrics))

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        for name, batch in images.items():
            for image in np.asarray(batch):
                self._try(
                    lambda name=name, image=image: self._client.log_image(
                        self._run, image, key=_allowed(name).replace("/", "_"), step=int(step)
                    )
                )

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        params = [self._entities.Param(name, str(value)[:6000]) for name, value in hparams.items()]
        for start in range(0, len(params), 100):  # the most that one request may hold
            some = params[start : start + 100]
            self._try(lambda some=some: self._client.log_batch(self._run, params=some))

    def _unused(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError  # runs log nothing else

    write_summaries = write_texts = write_histograms = write_pointcloud = _unused
    write_videos = write_audios = _unused

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Says that the run is finished."""
        self._try(lambda: self._client.set_terminated(self._run))

    def _try(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:  # MLflow, its stores and HTTP raise many kinds
            if not self._failed:
                logger.warning("MLflow lacks some values of this run: %s", _reason(error))
            self._failed = True


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the fields of a nested mapping by names with dots."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _allowed(name: str) -> str:
    """Returns a name of letters that MLflow allows: PCKh@0.5 becomes PCKh_0.5."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
