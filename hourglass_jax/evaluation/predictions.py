"""Predictions for a whole split: every person exactly once, joints in px of the photograph."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data import pipeline
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import geometry
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.training import step as steps

_ID_BYTES = 1024  # names of people have one length while they are gathered


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

    def first(self, people: int) -> "Predictions":
        """The first people alone."""
        fields = dataclasses.fields(self)
        return Predictions(**{field.name: getattr(self, field.name)[:people] for field in fields})

    def errors(self) -> Float[np.ndarray, "people joints"]:
        """Distances as shares of the reference length, NaN where there is no truth."""
        distances = np.linalg.norm(self.final - self.truth, axis=-1) / self.reference[:, None]
        return np.where(self.labelled, distances, np.nan)

    def found(self, threshold: float) -> dict[str, Float[np.ndarray, " joints"]]:
        """The share of each joint that lies within `threshold` of the truth, NaN where none counts.

        By what counts: "all" that are labelled, those "visible", and those "occluded".
        """
        correct = self.errors() <= threshold
        kinds = {
            "all": self.labelled,
            "visible": self.labelled & self.visible,
            "occluded": self.labelled & ~self.visible,
        }
        with np.errstate(invalid="ignore"):
            return {k: (correct & mask).sum(0) / mask.sum(0) for k, mask in kinds.items()}


def predict_split(
    experiment: Experiment, eval_step, variables: dict, split: str, people: int | None = None
) -> Predictions:
    """Runs the network over every person of a split; each process over its share.

    Args:
      experiment: whose records are prepared.
      eval_step: from `make_eval_step`.
      variables: {"params", "batch_stats"}, replicated.
      split: of the data set.
      people: how many of them, from the first; None: all.

    Returns:
      the same in every process, in the order of the records.
    """
    columns: dict[str, list] = {field.name: [] for field in dataclasses.fields(Predictions)}
    columns["real"] = []
    rows = experiment.evaluation_rows
    expected = experiment.builder.info.splits[split].num_examples
    expected = expected if people is None else min(people, expected)
    batches = pipeline.evaluation_batches(experiment.builder, split, experiment.crop, rows)
    for batch in itertools.islice(batches, -(-expected // rows.batch_size)):
        images = sharding.shard_batch({"image": batch["image"]}, experiment.mesh)["image"]
        joints_heatmap, scores = map(sharding.local_rows, eval_step(variables, images))
        joints_crop = geometry.heatmap_to_crop(
            joints_heatmap.astype(np.float64), experiment.crop.stride
        )
        to_source = batch["record_to_source"].astype(np.float64)
        from_crop = geometry.compose(to_source, geometry.invert(batch["record_to_crop"]))
        columns["joints"].append(geometry.apply(from_crop[:, None], joints_crop))
        columns["scores"].append(scores[:, -1])
        columns["truth"].append(geometry.apply(to_source, batch["joints_record"]))
        columns["ids"].append(batch["id"].astype(f"S{_ID_BYTES}"))
        for name in ("labelled", "visible", "reference", "real"):
            columns[name].append(batch[name])
    everybody = {name: _in_order(np.concatenate(values), rows) for name, values in columns.items()}
    real = np.flatnonzero(everybody.pop("real"))[:expected]
    everybody = {name: values[real] for name, values in everybody.items()}
    everybody["ids"] = np.array([name.decode() for name in everybody["ids"]])
    if len(real) != expected or len(set(everybody["ids"].tolist())) != expected:
        raise RuntimeError(f"evaluated {len(real)} people of {split}, not {expected}")
    return Predictions(**everybody)


def _in_order(values: np.ndarray, rows: pipeline.Rows) -> np.ndarray:
    """Gathers the processes' rows, and orders them as the records are."""
    gathered = distributed.gather(values)  # [process, batch and row, ...]
    batches = gathered.reshape(rows.processes, -1, rows.local, *values.shape[1:])
    return batches.swapaxes(0, 1).reshape(-1, *values.shape[1:])


def make_eval_step(experiment: Experiment, *, batch_statistics: bool = False):
    """Returns the evaluation step that the config asks for; see `steps.make_eval_step`."""
    return steps.make_eval_step(
        experiment.model,
        experiment.mesh,
        experiment.skeleton.flip_order,
        normalisation=experiment.normalisation,
        flip_test=experiment.config.eval.flip_test,
        decoder=experiment.config.eval.decode,
        batch_statistics=batch_statistics,
    )
