"""Evaluation during training, and the signs that it gives of how training goes."""

import logging

import numpy as np

from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.evaluation import figures
from hourglass_jax.evaluation.predictions import Predictions, Predictor
from hourglass_jax.evaluation.step import make_eval_step
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import draw
from hourglass_jax.runtime import distributed
from hourglass_jax.training.log import Log

logger = logging.getLogger(__name__)
# With fewer images a device BatchNorm's statistics are mostly noise.
FEWEST_PER_DEVICE = 4
# Records of each split that are compared to see how training goes.
COMPARED = 128
# How much better the batch's statistics may do than the running ones before a warning.
APART = 0.1


def warn_of_small_batches(experiment: Experiment) -> None:
    """Warns where BatchNorm's statistics are of too few images."""
    config, devices = experiment.config, experiment.mesh.devices.size
    share = config.batch_size // devices // config.accumulate
    if share < FEWEST_PER_DEVICE and not (config.sync_batch_norm or config.freeze_batch_norm):
        logger.warning(
            "%d images at a time on each of %d devices are few for BatchNorm's statistics; set "
            "config.sync_batch_norm, or a larger config.batch_size",
            *(share, devices),
        )


class Validation:
    """Evaluates on the split that chooses the best checkpoint, and looks for common faults."""

    def __init__(self, experiment: Experiment, log: Log):
        self._predict, self._log = Predictor.of(experiment), log
        self._task, self._source = experiment.task, experiment.source
        parts = (experiment.model, experiment.task, experiment.mesh)
        flip_test = experiment.config.eval.flip_test
        self._eval_step = make_eval_step(*parts, flip_test=flip_test)
        self._batch_step = make_eval_step(*parts, flip_test=flip_test, batch_statistics=True)

    def __call__(self, state: TrainState) -> tuple[float, Predictions]:
        """Evaluates, and logs what was found; returns the headline figure and the predictions.

        Logs beside it the figure of some records that were trained on, and of some that were not
        with the batch's statistics in BatchNorm: where the running ones are off, the two differ.
        """
        source, split, step = self._source, self._source.select, int(state.step)
        predictions = self._predict(self._eval_step, state.evaluated, split)
        metrics = self._task.metrics(source, split)
        values = predictions.figures(metrics)
        # Of these the figure is measured in the same way on either split.
        (measure, *_) = self._task.metrics(source, source.train)
        name = measure.headline

        def measured(some: Predictions) -> float:
            return measure(some.found, some.truth)[name]

        by_batch = measured(self._predict(self._batch_step, state.evaluated, split, COMPARED))
        trained_on = self._predict(self._eval_step, state.evaluated, source.train, COMPARED)
        running = measured(predictions.first(COMPARED))
        logged = {f"{split}/{key}": value for key, value in values.items()} | {
            f"{source.train}/{name}": measured(trained_on),
            f"{split}/{name}/running_statistics": running,
            f"{split}/{name}/batch_statistics": by_batch,
        }
        self._log.evaluation(step, logged, f"{split}/predictions", self._sheet(predictions, split))
        headline = metrics[0].headline
        logger.info("step %d: %s %.4f on %s", step, headline, values[headline], split)
        if by_batch - running > APART:
            logger.warning(
                "step %d: with the batch's own statistics in BatchNorm %s of %d records is %.3f, "
                "with the running ones %.3f: these are off; train with more images a device or "
                "config.sync_batch_norm, or recompute them with --mode=calibrate_batch_norm",
                *(step, name, COMPARED, by_batch, running),
            )
        return values[headline], predictions

    def _sheet(self, predictions: Predictions, split: str) -> np.ndarray | None:
        """Returns the first predictions beside the truth, in the process that logs."""
        if not distributed.is_first():
            return None
        metrics = self._task.metrics(self._source, split)
        first = range(min(8, len(predictions.ids)))
        drawn = figures.draw_records(
            self._predict.records, self._predict.size, predictions, metrics, split, first
        )
        return draw.grid(drawn, columns=2)
