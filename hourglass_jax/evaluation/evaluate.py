"""Evaluation of a workdir's best checkpoint: figures, tables, predictions and images."""

import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hourglass_jax import nn
from hourglass_jax.checkpoint import trained
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import figures, report
from hourglass_jax.evaluation.predictions import Predictions, Predictor
from hourglass_jax.evaluation.step import make_eval_step
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import disk, distributed, json_lines, sharding
from hourglass_jax.tasks.base import Metric

logger = logging.getLogger(__name__)


def open_checkpoints(experiment: Experiment, workdir: pathlib.Path) -> Checkpoints:
    """Opens the checkpoints of a workdir for reading."""
    return Checkpoints(workdir, experiment.headline, read_only=True)


def best(experiment: Experiment, checkpoints: Checkpoints) -> tuple[int, dict]:
    """Returns the step and the metadata of the best checkpoint.

    Raises:
      UserError: there is no checkpoint, or it belongs to another network or data set.
    """
    step = checkpoints.best
    if step is None:
        raise UserError(f"{checkpoints.folder} holds no checkpoint; run --mode=train first")
    metadata = checkpoints.metadata(step)
    experiment.check(checkpoints.folder / str(step), metadata, evaluate_only=True)
    return step, metadata


def restore(experiment: Experiment, checkpoints: Checkpoints, step: int) -> dict:
    """Restores the variables to evaluate from a step's checkpoint."""
    shapes = nn.variable_shapes(experiment.model)
    like = sharding.with_sharding(shapes, experiment.mesh, sharding.REPLICATED)
    folder = checkpoints.folder / str(step)
    return trained.read_variables(folder, checkpoints.metadata(step), like)


def predict(experiment: Experiment, checkpoints: Checkpoints, step: int, split: str) -> Predictions:
    """Returns the predictions of a step's checkpoint for a split."""
    eval_step = make_eval_step(
        experiment.model,
        experiment.task,
        experiment.mesh,
        flip_test=experiment.config.eval.flip_test,
    )
    variables = restore(experiment, checkpoints, step)
    return Predictor.of(experiment)(eval_step, variables, split)


def predict_test(experiment: Experiment, workdir: pathlib.Path) -> pathlib.Path:
    """Writes the best checkpoint's predictions for the split without public annotations.

    Returns:
      The file, in the format of the data set's evaluation server.

    Raises:
      UserError: there is no checkpoint, or the data set has no such split.
    """
    source = experiment.source
    if source.submit is None or not experiment.records.count(source.submit):
        raise UserError(
            f"config.data.dataset={source.name!r} has no evaluation server, which "
            f"--mode=predict_test writes for"
        )
    with open_checkpoints(experiment, workdir) as checkpoints:
        step, _ = best(experiment, checkpoints)
        predictions = predict(experiment, checkpoints, step, source.submit)
    if not distributed.is_first():
        return workdir
    pairs = zip(predictions.ids, predictions.final, strict=True)
    path = source.write_submission({name: instance for name, (instance,) in pairs}, workdir)
    logger.info("%d predictions of %s: %s", len(predictions.ids), source.submit, path)
    return path


def evaluate(
    experiment: Experiment, workdir: pathlib.Path, known: tuple[int, Predictions] | None = None
) -> dict:
    """Evaluates the best checkpoint of a workdir on the split of the reported figures.

    Writes evaluation.json, predictions.npz (or .json), report.html and pictures/, and logs the
    tables.

    Args:
      experiment: experiment with prepared records.
      workdir: workdir of a training run.
      known: a step, and its predictions for the split that selects the best checkpoint; reused if
        they are the predictions to evaluate.

    Returns:
      The content of evaluation.json.

    Raises:
      UserError: there is no checkpoint, or it belongs to another network or data set.
    """
    source, split = experiment.source, experiment.source.report
    if distributed.is_first():
        disk.check_writable(workdir)  # fails where nothing can be written later
    with open_checkpoints(experiment, workdir) as checkpoints:
        step, metadata = best(experiment, checkpoints)
        if known is not None and known[0] == step and split == source.select:
            predictions = known[1]
        else:
            predictions = predict(experiment, checkpoints, step, split)
    metrics = experiment.task.metrics(source, split)
    values = predictions.figures(metrics)
    # As evaluation.json holds it: tuples become lists.
    settings = json.loads(json.dumps(experiment.config.to_dict()["eval"]))
    result = {
        "metrics": {name: None if np.isnan(v) else v for name, v in values.items()},
        experiment.task.unit: len(predictions.ids),
        "step": step,
        "checkpoint": f"checkpoints/{step}",
        "dataset": source.name,
        "split": split,
        "config": {**metadata["config"], "eval": settings},
    }
    tables = [str(metric.table(predictions.found, predictions.truth)) for metric in metrics]
    logger.info(
        "%s, %s: %d records, step %d\n%s",
        *(source.name, split, len(predictions.ids), step),
        "\n".join(tables),
    )
    if distributed.is_first():
        _write(experiment, workdir, result, predictions, metrics)
    return result


def result_of(workdir: pathlib.Path) -> dict | None:
    """Returns the content of a workdir's evaluation.json; None if it cannot be read."""
    try:
        result = json.loads((workdir / "evaluation.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and isinstance(result.get("step"), int) else None


def _write(
    experiment: Experiment,
    workdir: pathlib.Path,
    result: Mapping[str, Any],
    predictions: Predictions,
    metrics: Sequence[Metric],
) -> None:
    task, split = experiment.task, result["split"]
    results = task.results(predictions.final, predictions.truth)
    if results is None:
        arrays: dict[str, Any] = {
            **task.arrays(predictions.final),
            "ids": np.array(predictions.ids),
        }
        with disk.replacing(workdir / "predictions.npz") as file, file.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
    else:
        with disk.replacing(workdir / "predictions.json") as file:
            file.write_text(json.dumps(results), encoding="utf-8")
    figures.save_best_to_worst(
        experiment.records, experiment.size, predictions, metrics, split, workdir / "pictures"
    )
    path = workdir / "metrics.jsonl"
    training = json_lines.read(path) if path.exists() else []
    report.write(workdir / "report.html", result, predictions, metrics, training)
    # Last: if this file exists, so do the others.
    with disk.replacing(workdir / "evaluation.json") as file:
        file.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
