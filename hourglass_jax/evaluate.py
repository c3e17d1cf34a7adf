"""Evaluation of a whole split: every person exactly once, joints in px of the photograph."""

import dataclasses
import json
import logging
import pathlib

import jax
import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax import sharding, steps, visualize
from hourglass_jax.checkpoint import Checkpoints
from hourglass_jax.data import pipeline
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.pose import geometry, metrics
from hourglass_jax.pose.skeleton import Skeleton

STRIDE = 4
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for a split beside the truth; coordinates in px of the photographs.

    Attributes:
      joints: [N, S, K, 2], after each stack.
      scores: [N, K], the last stack's peaks.
      truth: [N, K, 2].
      labelled: [N, K], has coordinates.
      visible: [N, K], not occluded.
      reference: [N], the length that thresholds are a share of.
      ids: [N], name the people.
    """

    joints: Float[np.ndarray, "people stacks joints 2"]
    scores: Float[np.ndarray, "people joints"]
    truth: Float[np.ndarray, "people joints 2"]
    labelled: Bool[np.ndarray, "people joints"]
    visible: Bool[np.ndarray, "people joints"]
    reference: Float[np.ndarray, " people"]
    ids: np.ndarray

    @property
    def final(self) -> Float[np.ndarray, "people joints 2"]:
        """The last stack's joints."""
        return self.joints[:, -1]

    def errors(self) -> Float[np.ndarray, "people joints"]:
        """Distances as shares of the reference length, NaN where there is no truth."""
        distances = np.linalg.norm(self.final - self.truth, axis=-1) / self.reference[:, None]
        return np.where(self.labelled, distances, np.nan)


def predict_split(experiment: Experiment, eval_step, variables: dict, split: str) -> Predictions:
    """Runs the network over every person of a split.

    Args:
      experiment: whose records are prepared.
      eval_step: from `steps.make_eval_step`.
      variables: {"params", "batch_stats"}, replicated.
      split: of the data set.
    """
    columns: dict[str, list] = {field.name: [] for field in dataclasses.fields(Predictions)}
    rows = experiment.evaluation_rows
    for batch in pipeline.evaluation_batches(experiment.builder, split, experiment.crop, rows):
        images = sharding.shard_batch({"image": batch["image"]}, experiment.mesh)["image"]
        joints_heatmap, scores = jax.device_get(eval_step(variables, images))
        joints_record = geometry.heatmap_to_crop(joints_heatmap.astype(np.float64), STRIDE)
        for i in np.flatnonzero(batch["real"]):
            to_source = batch["record_to_source"][i].astype(np.float64)
            from_crop = geometry.compose(to_source, geometry.invert(batch["record_to_crop"][i]))
            columns["joints"].append(geometry.apply(from_crop, joints_record[i]))
            columns["scores"].append(scores[i, -1])
            columns["truth"].append(geometry.apply(to_source, batch["joints_record"][i]))
            columns["ids"].append(batch["id"][i].decode())
            for name in ("labelled", "visible", "reference"):
                columns[name].append(batch[name][i])
    predictions = Predictions(**{name: np.array(values) for name, values in columns.items()})
    expected = experiment.builder.info.splits[split].num_examples
    if len(predictions.ids) != expected or len(set(predictions.ids.tolist())) != expected:
        raise RuntimeError(f"evaluated {len(predictions.ids)} people of {split}, not {expected}")
    return predictions


def summarise(predictions: Predictions, skeleton: Skeleton, metric: str) -> dict[str, float]:
    """Returns the figures of a split by name, as fractions.

    `metric` itself, `metric/<joint>`, `metric/visible` and `metric/occluded` (over labelled joints
    that are, or are not, visible) and `metric/stack<i>` from 1. For PCKh also
    "PCKh@0.5/unweighted", as other projects print it.
    """

    def score(joints, labelled):
        arguments = (predictions.truth, joints, labelled, predictions.reference)
        if metric == "PCKh@0.5":
            return metrics.pckh(*arguments, threshold=0.5)
        return metrics.pck(*arguments, threshold=0.2)

    labelled, visible = predictions.labelled, predictions.visible
    overall = score(predictions.final, labelled)
    figures = {metric: overall.total}
    if metric == "PCKh@0.5":
        figures[f"{metric}/unweighted"] = overall.unweighted
    figures |= {
        f"{metric}/{joint}": value
        for joint, value in zip(skeleton.joints, overall.per_joint, strict=True)
    }
    figures[f"{metric}/visible"] = score(predictions.final, labelled & visible).total
    figures[f"{metric}/occluded"] = score(predictions.final, labelled & ~visible).total
    for stack in range(predictions.joints.shape[1]):
        figures[f"{metric}/stack{stack + 1}"] = score(predictions.joints[:, stack], labelled).total
    return {name: float(value) for name, value in figures.items()}


def table(predictions: Predictions, skeleton: Skeleton, metric: str) -> str:
    """Returns the figures as a table for people, in percent: left, right, and both."""
    threshold = float(metric.partition("@")[2])
    correct = predictions.errors() <= threshold
    kinds = {
        "all": predictions.labelled,
        "visible": predictions.labelled & predictions.visible,
        "occluded": predictions.labelled & ~predictions.visible,
    }
    lines = [f"{metric:14}{'all':>9}{'visible':>9}{'occluded':>9}{'labelled':>10}"]
    for k, joint in enumerate(skeleton.joints):
        shares = [_percent(correct[:, k], mask[:, k]) for mask in kinds.values()]
        count = predictions.labelled[:, k].sum()
        lines.append(f"{joint:14}" + "".join(f"{share:>9}" for share in shares) + f"{count:>10}")
    figures = summarise(predictions, skeleton, metric)
    totals = [figures[name] for name in (metric, f"{metric}/visible", f"{metric}/occluded")]
    lines.append(f"{'total':14}" + "".join(f"{_or_dash(100 * t):>9}" for t in totals))
    stacks = [
        f"{100 * value:.2f}"
        for name, value in figures.items()
        if name.startswith(f"{metric}/stack")
    ]
    lines.append("after each stack: " + ", ".join(stacks))
    if metric == "PCKh@0.5":
        lines.append(
            "The total is MPII's: 14 joints, without pelvis and thorax, by labelled count."
        )
    return "\n".join(lines)


def _percent(correct, mask) -> str:
    return _or_dash(100 * correct[mask].mean() if mask.any() else np.nan)


def _or_dash(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def draw_people(
    experiment: Experiment, predictions: Predictions, split: str, indices: list[int]
) -> list[np.ndarray]:
    """Returns a picture a person: the crop with the prediction, beside it the truth."""
    wanted, drawn, position = set(indices), {}, 0
    rows, errors = experiment.evaluation_rows, predictions.errors()
    for batch in pipeline.evaluation_batches(experiment.builder, split, experiment.crop, rows):
        for i in np.flatnonzero(batch["real"]):
            if position in wanted:
                to_crop = geometry.compose(
                    batch["record_to_crop"][i],
                    geometry.invert(batch["record_to_source"][i].astype(np.float64)),
                )
                halves = []
                for joints, shown in (
                    (predictions.final[position], predictions.scores[position] > 0),
                    (predictions.truth[position], predictions.labelled[position]),
                ):
                    factor = max(256 // experiment.crop.input_size, 1)
                    joints_crop = geometry.apply(to_crop, joints)
                    image, points = visualize.enlarge(batch["image"][i], joints_crop, factor)
                    halves.append(
                        visualize.draw_skeleton(image, points, shown, experiment.skeleton)
                    )
                mean = np.nanmean(errors[position])
                visualize.caption(halves[0], f"predicted, error {mean:.2f}")
                visualize.caption(halves[1], "truth")
                drawn[position] = np.concatenate(halves, axis=1)
            position += 1
    return [drawn[i] for i in indices]


def save_pictures(
    experiment: Experiment, predictions: Predictions, split: str, folder: pathlib.Path
) -> None:
    """Writes best.png, middling.png and worst.png, 8 people each by their mean error."""
    order = np.argsort(np.nanmean(predictions.errors(), axis=1))
    count = min(8, len(order))
    middle = (len(order) - count) // 2
    groups = {
        "best": order[:count],
        "middling": order[middle : middle + count],
        "worst": order[-count:][::-1],
    }
    indices = np.concatenate(list(groups.values())).tolist()
    pictures = draw_people(experiment, predictions, split, indices)
    for i, name in enumerate(groups):
        sheet = visualize.grid(pictures[i * count : (i + 1) * count], columns=2)
        visualize.save_png(folder / f"{name}.png", sheet)


def evaluate(experiment: Experiment, workdir: pathlib.Path) -> dict:
    """Evaluates the best checkpoint of a workdir on the split that figures are reported for.

    Writes evaluation.json, predictions.npz and pictures/, prints the table, and returns what
    evaluation.json holds.

    Raises:
      UserError: there is no checkpoint, or it is of another model or data set.
    """
    builder, config = experiment.builder, experiment.config
    with Checkpoints(workdir, builder.METRIC) as checkpoints:
        if checkpoints.best is None:
            raise UserError(f"{checkpoints.folder} holds no checkpoint; run --mode=train first")
        step = checkpoints.best
        checkpoints.check_belongs(step, experiment.metadata(), parts=("model", "data"))
        like = steps.init_variables(experiment.model, config.seed)
        variables = checkpoints.restore(step, sharding.replicate(like, experiment.mesh))
    eval_step = make_eval_step(experiment)
    split = builder.REPORT
    predictions = predict_split(experiment, eval_step, variables, split)
    figures = summarise(predictions, experiment.skeleton, builder.METRIC)
    result = {
        "metrics": {name: None if np.isnan(v) else v for name, v in figures.items()},
        "persons": len(predictions.ids),
        "step": step,
        "checkpoint": f"checkpoints/{step}",
        "dataset": config.data.dataset,
        "split": split,
        "config": experiment.metadata()["config"],
    }
    (workdir / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    np.savez_compressed(
        workdir / "predictions.npz",
        joints=predictions.final.astype(np.float32),
        scores=predictions.scores,
        ids=predictions.ids,
    )
    save_pictures(experiment, predictions, split, workdir / "pictures")
    logger.info(
        "%s, %s: %d people, step %d\n%s",
        *(config.data.dataset, split, len(predictions.ids), step),
        table(predictions, experiment.skeleton, builder.METRIC),
    )
    return result


def make_eval_step(experiment: Experiment):
    """Returns the evaluation step that the config asks for."""
    return steps.make_eval_step(
        experiment.model,
        experiment.mesh,
        experiment.skeleton.flip_order,
        normalisation=experiment.normalisation,
        flip_test=experiment.config.eval.flip_test,
        decoder=experiment.config.eval.decode,
    )
