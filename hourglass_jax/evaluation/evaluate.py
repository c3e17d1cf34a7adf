"""Evaluation of a workdir's best checkpoint: figures, a table, predictions and pictures."""

import json
import logging
import pathlib

import numpy as np

from hourglass_jax.checkpoint import compatibility as same_run
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import figures as pictures
from hourglass_jax.evaluation import report
from hourglass_jax.evaluation.predictions import Predictions, make_eval_step, predict_split
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.tasks.single_pose import metrics
from hourglass_jax.training import log
from hourglass_jax.training import step as steps

logger = logging.getLogger(__name__)


def summarise(predictions: Predictions, skeleton: Skeleton, metric: str) -> dict[str, float]:
    """Returns the figures of a split by name, as fractions.

    `metric` itself, `metric/<joint>`, `metric/<joint without its side>`, `metric/visible` and
    `metric/occluded` (over labelled joints that are, or are not, visible) and `metric/stack<i>`
    from 1. For PCKh also what other tables print: `metric/unweighted`, `metric/official_head`,
    "PCKh@0.1" and "PCKh/AUC".
    """
    kind, _, threshold = metric.partition("@")

    def score(joints, labelled, threshold=float(threshold)):
        measure = metrics.pckh if kind == "PCKh" else metrics.pck
        return measure(predictions.truth, joints, labelled, predictions.reference, threshold)

    labelled, visible = predictions.labelled, predictions.visible
    overall = score(predictions.final, labelled)
    figures = {metric: overall.total}
    if kind == "PCKh":
        figures[f"{metric}/unweighted"] = overall.unweighted
        figures[f"{metric}/official_head"] = overall.official_head
        figures["PCKh@0.1"] = score(predictions.final, labelled, 0.1).total
        figures["PCKh/AUC"] = metrics.pckh_auc(
            predictions.truth, predictions.final, labelled, predictions.reference
        )
    figures |= {
        f"{metric}/{joint}": value
        for joint, value in zip(skeleton.joints, overall.per_joint, strict=True)
    }
    for joint in skeleton.joints:  # as papers print them: both sides of a joint together
        if joint.startswith("left_") and joint.replace("left_", "right_", 1) in skeleton.joints:
            sides = [joint, joint.replace("left_", "right_", 1)]
            shares = [figures[f"{metric}/{side}"] for side in sides]
            figures[f"{metric}/{joint.removeprefix('left_')}"] = np.mean(shares)
    figures[f"{metric}/visible"] = score(predictions.final, labelled & visible).total
    figures[f"{metric}/occluded"] = score(predictions.final, labelled & ~visible).total
    for stack in range(predictions.joints.shape[1]):
        figures[f"{metric}/stack{stack + 1}"] = score(predictions.joints[:, stack], labelled).total
    return {name: float(value) for name, value in figures.items()}


def all_figures(experiment: Experiment, predictions: Predictions) -> dict[str, float]:
    """Returns `summarise`'s figures of a data set's measure, and those of its own evaluation."""
    builder = experiment.builder
    own = builder.figures(predictions.ids, predictions.final, predictions.scores)
    return own | summarise(predictions, experiment.skeleton, builder.MEASURE)


def table(predictions: Predictions, skeleton: Skeleton, metric: str) -> str:
    """Returns the figures as a table for people, in percent: all joints, visible and occluded."""
    found = predictions.found(float(metric.partition("@")[2]))
    lines = [f"{metric:14}" + "".join(f"{kind:>9}" for kind in found) + f"{'labelled':>10}"]
    for k, joint in enumerate(skeleton.joints):
        shares = "".join(f"{_or_dash(100 * share[k]):>9}" for share in found.values())
        lines.append(f"{joint:14}{shares}{predictions.labelled[:, k].sum():>10}")
    figures = summarise(predictions, skeleton, metric)
    totals = [figures[name] for name in (metric, f"{metric}/visible", f"{metric}/occluded")]
    lines.append(f"{'total':14}" + "".join(f"{_or_dash(100 * t):>9}" for t in totals))
    stacks = [
        f"{100 * value:.2f}"
        for name, value in figures.items()
        if name.startswith(f"{metric}/stack")
    ]
    lines.append("after each stack: " + ", ".join(stacks))
    if metric.startswith("PCKh"):
        lines.append(_pckh_summary(figures, metric))
    return "\n".join(lines)


def _pckh_summary(figures: dict[str, float], metric: str) -> str:
    """The figures that are all called PCKh somewhere, and how they differ."""
    values = {
        "MPII toolkit's Total": figures[metric],
        "unweighted mean": figures[f"{metric}/unweighted"],
        "toolkit's Head": figures[f"{metric}/official_head"],
        "head top": figures[f"{metric}/head_top"],
        "PCKh@0.1": figures["PCKh@0.1"],
        "AUC": figures["PCKh/AUC"],
    }
    return (
        ", ".join(f"{name} {_or_dash(100 * value)}" for name, value in values.items())
        + "\nAll leave out pelvis and thorax. The toolkit's Total is found over labelled joints; "
        "the mean of\nPyTorch projects weighs 14 joints alike. The toolkit's Head is the mean of "
        "upper neck and head top,\ntheirs the head top alone."
    )


def _or_dash(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def predict_test(experiment: Experiment, workdir: pathlib.Path) -> pathlib.Path:
    """Writes the best checkpoint's predictions for people whose joints are not public.

    Returns:
      the file, in the structure that the data set's evaluation server takes.

    Raises:
      UserError: there is no checkpoint, or the data set has no such people.
    """
    builder = experiment.builder
    if builder.SUBMIT is None or builder.SUBMIT not in builder.info.splits:
        raise UserError(
            f"data.dataset={experiment.config.data.dataset!r} has no people to send predictions "
            f"for; --mode=predict_test is for mpii"
        )
    with open_checkpoints(experiment, workdir) as checkpoints:
        step, _ = best(experiment, checkpoints)
        predictions = _predict(experiment, checkpoints, step, builder.SUBMIT)
    joints = dict(zip(predictions.ids.tolist(), predictions.final, strict=True))
    if not distributed.is_first():
        return workdir
    path = builder.write_submission(joints, experiment.manual_dir, workdir)
    logger.info("%d people of %s: %s", len(joints), builder.SUBMIT, path)
    return path


def open_checkpoints(experiment: Experiment, workdir: pathlib.Path) -> Checkpoints:
    """Returns the checkpoints of a workdir, to read."""
    return Checkpoints(workdir, experiment.builder.METRIC, read_only=True)


def best(experiment: Experiment, checkpoints: Checkpoints) -> tuple[int, dict]:
    """Returns the best checkpoint's step and the config it was trained with."""
    step = checkpoints.best
    if step is None:
        raise UserError(f"{checkpoints.folder} holds no checkpoint; run --mode=train first")
    metadata, folder = checkpoints.metadata(step), checkpoints.folder / str(step)
    same_run.check(folder, metadata, experiment.metadata(), parts=("model", "data"))
    return step, metadata["config"]


def restore(experiment: Experiment, checkpoints: Checkpoints, step: int) -> dict:
    """Returns the variables to evaluate of a step's checkpoint: the averaged ones, if there are."""
    shapes = steps.variable_shapes(experiment.model)
    like = sharding.with_sharding(shapes, experiment.mesh, sharding.WHOLE)
    if checkpoints.metadata(step)["config"]["ema_decay"]:
        return checkpoints.restore(step, {"ema": like})["ema"]
    return checkpoints.restore(step, like)


def _predict(
    experiment: Experiment, checkpoints: Checkpoints, step: int, split: str
) -> Predictions:
    variables = restore(experiment, checkpoints, step)
    return predict_split(experiment, make_eval_step(experiment), variables, split)


def evaluate(
    experiment: Experiment, workdir: pathlib.Path, known: tuple[int, Predictions] | None = None
) -> dict:
    """Evaluates the best checkpoint of a workdir on the split that figures are reported for.

    Writes evaluation.json, predictions.npz and pictures/, prints the table, and returns what
    evaluation.json holds.

    Args:
      experiment: whose records are prepared.
      workdir: of a training run.
      known: a step, and its predictions for the split that selects the best checkpoint. They are
        not made again where they are the ones wanted.

    Raises:
      UserError: there is no checkpoint, or it is of another model or data set.
    """
    builder, config = experiment.builder, experiment.config
    split = builder.REPORT
    with open_checkpoints(experiment, workdir) as checkpoints:
        step, trained = best(experiment, checkpoints)
        if known is not None and known[0] == step and split == builder.SELECT:
            predictions = known[1]
        else:
            predictions = _predict(experiment, checkpoints, step, split)
    figures = all_figures(experiment, predictions)
    result = {
        "metrics": {name: None if np.isnan(v) else v for name, v in figures.items()},
        "persons": len(predictions.ids),
        "step": step,
        "checkpoint": f"checkpoints/{step}",
        "dataset": config.data.dataset,
        "split": split,
        "config": {**trained, "eval": config.eval.to_dict()},
    }
    logger.info(
        "%s, %s: %d people, step %d\n%s",
        *(config.data.dataset, split, len(predictions.ids), step),
        table(predictions, experiment.skeleton, builder.MEASURE),
    )
    if not distributed.is_first():
        return result
    np.savez_compressed(
        workdir / "predictions.npz",
        joints=predictions.final.astype(np.float32),
        scores=predictions.scores,
        ids=predictions.ids,
    )
    pictures.save_best_to_worst(experiment, predictions, split, workdir / "pictures")
    path = workdir / "metrics.jsonl"
    training = log.read(path) if path.exists() else []
    report.write(
        workdir / "report.html", result, predictions, experiment.skeleton, builder.MEASURE, training
    )
    # Last, and at once: where it is, the rest is.
    unfinished = workdir / "evaluation.json.unfinished"
    unfinished.write_text(json.dumps(result, indent=2) + "\n")
    unfinished.replace(workdir / "evaluation.json")
    return result
