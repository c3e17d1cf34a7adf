"""Predictions for a whole split: each record exactly once, in px of the source images."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from hourglass_jax.data import pipeline
from hourglass_jax.data.pipeline import Rows
from hourglass_jax.data.records import Records
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import geometry
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Instance, Metric, Record, Task


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for the records of a split, and the truth.

    Attributes:
      found: predicted instances for each stack and record, px of the source image.
      truth: the records, without their images.
    """

    found: list[list[list[Instance]]]
    truth: list[Record]

    @property
    def final(self) -> list[list[Instance]]:
        """Instances after the last stack, for each record."""
        return self.found[-1]

    @property
    def ids(self) -> list[str]:
        """Ids of the records."""
        return [record["id"] for record in self.truth]

    def first(self, count: int) -> "Predictions":
        """Returns the predictions for the first `count` records."""
        return Predictions([stack[:count] for stack in self.found], self.truth[:count])

    def figures(self, metrics: Sequence[Metric]) -> dict[str, float]:
        """Returns the figures of all metrics, by name."""
        figures: dict[str, float] = {}
        for metric in metrics:
            figures |= metric(self.found, self.truth)
        return figures


class Predictor:
    """Runs a network over splits; each process runs it over its share.

    Attributes:
      records: prepared records.
      sizes: heights and widths of the network's inputs.
      rows: this process's share of a batch.
    """

    def __init__(
        self,
        records: Records,
        sizes: Sequence[tuple[int, int]],
        rows: Rows,
        mesh,
        flip_test: bool,
        before_batch: Callable[[], None] = lambda: None,
    ):
        self.records, self.sizes, self.rows = records, sizes, rows
        self._mesh, self._before_batch = mesh, before_batch
        self._views = [views.maps_of(size, flip_test) for size in sizes]

    @classmethod
    def of(
        cls, experiment: Experiment, before_batch: Callable[[], None] = lambda: None
    ) -> "Predictor":
        """Makes the predictor of an experiment with prepared records.

        Args:
          experiment: experiment with prepared records.
          before_batch: function to call before each batch, which may raise to end the prediction.
        """
        return cls(
            experiment.records,
            experiment.sizes,
            experiment.evaluation_rows,
            experiment.mesh,
            experiment.config.eval.flip_test,
            before_batch,
        )

    @property
    def task(self) -> Task:
        return self.records.task

    def __call__(
        self, step: Callable, variables: dict, split: str, count: int | None = None
    ) -> Predictions:
        """Returns predictions in the order of the records, the same in every process.

        Args:
          step: evaluation step from `step.make_eval_step`.
          variables: replicated variables, {"params", "batch_stats"}.
          split: split of the data set.
          count: number of records, from the first one on; None means all.
        """
        total = self.records.count(split)
        total = total if count is None else min(count, total)
        batches = list(self._predict(step, variables, split, total))
        rows = [row for row in _in_order(batches, self.rows) if row is not None][:total]
        if len(rows) != total or len({record["id"] for record, _ in rows}) != total:
            raise RuntimeError(f"evaluated {len(rows)} records of {split}, not {total}")
        stacks = zip(*(found for _, found in rows), strict=True)
        return Predictions([list(stack) for stack in stacks], [record for record, _ in rows])

    def _predict(
        self, step, variables, split: str, total: int
    ) -> Iterator[list[tuple[Record, list[list[Instance]]] | None]]:
        """Yields this process's rows of each batch: (record, instances after each stack)."""
        batches = zip(
            *(
                pipeline.evaluation_batches(self.records, split, size, self.rows)
                for size in self.sizes
            ),
            strict=True,
        )
        for batch in itertools.islice(batches, -(-total // self.rows.batch_size)):
            self._before_batch()
            images = [sharding.shard_batch({"image": one["image"]}, self._mesh) for one in batch]
            candidates = step(variables, [one["image"] for one in images])
            candidates = jax.tree.map(sharding.local_rows, candidates)
            to_input = np.stack([one["record_to_input"] for one in batch], axis=1)
            first = batch[0]
            yield [
                (record, self._finish(candidates, i, record, to_input[i]))
                if first["real"][i]
                else None
                for i, record in enumerate(first["records"])
            ]

    def _finish(self, candidates, row: int, record: Record, to_inputs) -> list[list[Instance]]:
        """Returns a record's instances after each stack; `to_inputs` has a map for each size."""
        from_record = record["record_to_source"].astype(np.float64)
        to_source = [geometry.compose(from_record, geometry.invert(one)) for one in to_inputs]
        count = len(candidates) // len(self.sizes)
        found = []
        for stack in range(jax.tree.leaves(candidates)[0].shape[1]):
            own = jax.tree.map(lambda x, stack=stack: x[row, stack], candidates)
            placed = []
            for i, (maps, to_frame) in enumerate(zip(self._views, to_source, strict=True)):
                placed += views.placed(own[i * count : (i + 1) * count], maps, to_frame)
            found.append(self.task.finish(placed))
        return found


def _in_order(batches: list[list], rows: Rows) -> list:
    """Gathers the rows of every batch from all processes, in the order of the records."""
    gathered = distributed.gather_objects(batches)  # [process][batch][row]
    return [row for batch in zip(*gathered, strict=True) for part in batch for row in part]
