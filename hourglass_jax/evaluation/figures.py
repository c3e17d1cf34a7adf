"""Images that a run writes: inputs with targets, and predictions beside the truth."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.data import pipeline
from hourglass_jax.data.pipeline import Rows
from hourglass_jax.data.records import Records
from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.image import draw, geometry
from hourglass_jax.tasks.base import Metric, Task

_PER_SHEET = 8


def save_training_batch(path: pathlib.Path, batch: dict[str, np.ndarray], task: Task) -> None:
    """Draws the first inputs of a batch as the network receives them, with their targets."""
    drawn = [
        task.draw_targets(image, {n: a[i] for n, a in batch.items() if n != "image"})
        for i, image in enumerate(batch["image"][:_PER_SHEET])
    ]
    draw.save_png(path, draw.grid(drawn, columns=len(drawn)))


def save_best_to_worst(
    records: Records,
    size: tuple[int, int],
    predictions: Predictions,
    metrics: Sequence[Metric],
    split: str,
    folder: pathlib.Path,
) -> None:
    """Writes best.png, middling.png and worst.png, with up to 8 records each by their error.

    Records whose error cannot be measured are left out.
    """
    errors = _errors(metrics, predictions)
    known = np.flatnonzero(~np.isnan(errors))
    order = known[np.argsort(errors[known])]
    if not len(order):
        return
    count = min(_PER_SHEET, len(order))
    middle = (len(order) - count) // 2
    groups = {
        "best": order[:count],
        "middling": order[middle : middle + count],
        "worst": order[-count:][::-1],
    }
    chosen = np.concatenate([*groups.values()]).tolist()
    drawn = draw_records(records, size, predictions, metrics, split, chosen)
    for i, name in enumerate(groups):
        sheet = draw.grid(drawn[i * count : (i + 1) * count], columns=2)
        draw.save_png(folder / f"{name}.png", sheet)


def draw_records(
    records: Records,
    size: tuple[int, int],
    predictions: Predictions,
    metrics: Sequence[Metric],
    split: str,
    indices: Sequence[int],
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Returns an image for each index: the prediction, and beside it the truth."""
    errors = _errors(metrics, predictions)
    drawn, position = {}, 0
    rows = Rows(32)  # one process draws the predictions of all
    for batch in pipeline.evaluation_batches(records, split, size, rows):
        for i in range(rows.local):
            if position in indices:
                drawn[position] = _draw(records.task, predictions, position, batch, i, errors)
            position += 1
        if position > max(indices):
            break
    return [drawn[i] for i in indices]


def _errors(metrics: Sequence[Metric], predictions: Predictions) -> Float[np.ndarray, " records"]:
    """Returns each record's error by the first metric that measures errors."""
    for metric in metrics:
        errors = metric.errors(predictions.found, predictions.truth)
        if not np.isnan(errors).all():
            return errors
    return np.full(len(predictions.ids), np.nan)


def _draw(task: Task, predictions: Predictions, index: int, batch, row: int, errors) -> np.ndarray:
    record = batch["records"][row]
    from_source = geometry.invert(record["record_to_source"].astype(np.float64))
    to_input = geometry.compose(batch["record_to_input"][row], from_source)
    image, enlarged = draw.enlarge(batch["image"][row])
    to_drawn = geometry.compose(enlarged, to_input)
    halves = []
    for text, instances in (
        (f"predicted, error {errors[index]:.2f}", predictions.final[index]),
        ("truth", task.truth(record)),
    ):
        shown = [one.mapped(to_drawn) for one in instances if one.score >= task.min_score]
        half = task.draw(image.copy(), shown)
        halves.append(draw.caption(half, text))
    return np.concatenate(halves, axis=1)
