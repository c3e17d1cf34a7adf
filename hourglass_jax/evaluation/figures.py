"""The pictures that a run leaves: what the network is given, and what it makes of people."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from hourglass_jax.data import pipeline
from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import draw as visualize
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose import heatmap

# Crops are drawn at least this large, px: lines on them would hide a small one.
_SIDE = 256


def save_training_batch(path: pathlib.Path, batch: dict, experiment: Experiment) -> None:
    """Draws the first crops of a batch as the network receives them: joints above, heatmaps below.

    The joints are read off the heatmaps, so that what is drawn is what is trained.
    """
    count = min(8, len(batch["image"]))
    joints_heatmap, _ = heatmap.decode(batch["heatmaps"][:count], "refined")
    joints_crop = geometry.heatmap_to_crop(np.asarray(joints_heatmap), experiment.crop.stride)
    skeletons, overlays = [], []
    for i in range(count):
        image, joints = visualize.enlarge(batch["image"][i], joints_crop[i], _factor(experiment))
        shown = batch["heatmaps"][i].max((0, 1)) > 0
        overlays.append(visualize.overlay_heatmaps(image, batch["heatmaps"][i]))
        skeletons.append(visualize.draw_skeleton(image, joints, shown, experiment.skeleton))
    visualize.save_png(path, visualize.grid(skeletons + overlays, columns=count))


def save_best_to_worst(
    experiment: Experiment, predictions: Predictions, split: str, folder: pathlib.Path
) -> None:
    """Writes best.png, middling.png and worst.png, 8 people each by their mean error.

    People of whom no joint is labelled have no error, and are not among them.
    """
    known = np.flatnonzero(predictions.labelled.any(axis=1))
    order = known[np.argsort(np.nanmean(predictions.errors()[known], axis=1))]
    if not len(order):
        return
    count = min(8, len(order))
    middle = (len(order) - count) // 2
    groups = {
        "best": order[:count],
        "middling": order[middle : middle + count],
        "worst": order[-count:][::-1],
    }
    drawn = draw_people(experiment, predictions, split, np.concatenate([*groups.values()]).tolist())
    for i, name in enumerate(groups):
        sheet = visualize.grid(drawn[i * count : (i + 1) * count], columns=2)
        visualize.save_png(folder / f"{name}.png", sheet)


def draw_people(
    experiment: Experiment, predictions: Predictions, split: str, indices: Sequence[int]
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Returns a picture for each index: the crop with the prediction, beside it the truth."""
    drawn, position = {}, 0
    rows = pipeline.Rows(32)  # whoever predicted them: one process draws
    for batch in pipeline.evaluation_batches(experiment.builder, split, experiment.crop, rows):
        for i in range(rows.local):
            if position in indices:
                drawn[position] = _draw_person(experiment, predictions, position, batch, i)
            position += 1
        if position > max(indices):
            break
    return [drawn[i] for i in indices]


def _draw_person(experiment, predictions, person, batch, row) -> np.ndarray:
    from_source = geometry.invert(batch["record_to_source"][row].astype(np.float64))
    to_crop = geometry.compose(batch["record_to_crop"][row], from_source)
    error = np.nanmean(predictions.errors()[person])
    halves = []
    for text, joints, shown in (
        (f"predicted, error {error:.2f}", predictions.final, predictions.scores > visualize.SURE),
        ("truth", predictions.truth, predictions.labelled),
    ):
        joints_crop = geometry.apply(to_crop, joints[person])
        image, points = visualize.enlarge(batch["image"][row], joints_crop, _factor(experiment))
        image = visualize.draw_skeleton(image, points, shown[person], experiment.skeleton)
        halves.append(visualize.caption(image, text))
    return np.concatenate(halves, axis=1)


def _factor(experiment: Experiment) -> int:
    return -(-_SIDE // experiment.crop.input_size)
