"""Predictions for a whole split: every person exactly once, joints in px of the photograph."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax import sharding, steps
from hourglass_jax.data import pipeline
from hourglass_jax.experiment import Experiment
from hourglass_jax.pose import geometry


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
        joints_record = geometry.heatmap_to_crop(
            joints_heatmap.astype(np.float64), experiment.crop.stride
        )
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
