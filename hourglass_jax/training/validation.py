"""Evaluation during training, and checks for common problems."""

import logging
from concurrent.futures import Future

import jax
import numpy as np

from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.evaluation import figures
from hourglass_jax.evaluation.predictions import Predictions, Predictor
from hourglass_jax.evaluation.step import make_eval_step
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import draw
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.runtime.preemption import StopSignal
from hourglass_jax.training.log import Log
from hourglass_jax.training.start import compile_in_thread

logger = logging.getLogger(__name__)
# With fewer images per device, BatchNorm's statistics are mostly noise.
FEWEST_PER_DEVICE = 4
# Records of each split for comparisons with the training split and between statistics.
COMPARED = 128
# Advantage of the batch's over the running statistics that triggers a warning.
APART = 0.1


def warn_of_small_batches(experiment: Experiment) -> None:
    """Warns if BatchNorm's statistics come from too few images."""
    config, devices = experiment.config, experiment.mesh.devices.size
    share = config.batch_size // devices // config.accumulate
    if share < FEWEST_PER_DEVICE and not (config.sync_batch_norm or config.freeze_batch_norm):
        logger.warning(
            "%d images at a time on each of %d devices are few for BatchNorm's statistics; set "
            "config.sync_batch_norm=True, which keeps the recipe, or config.batch_size to %d or "
            "more, with fewer steps (see docs/scaling.md)",
            *(share, devices, FEWEST_PER_DEVICE * devices * config.accumulate),
        )


class Validation:
    """Evaluates on the split that selects the best checkpoint, and warns of common problems."""

    def __init__(self, experiment: Experiment, log: Log, stop: StopSignal):
        self._predict, self._log = Predictor.of(experiment, stop.check), log
        self._experiment, self._stop = experiment, stop
        self._task, self._source = experiment.task, experiment.source
        self._steps: list[Future] = []

    def __call__(self, state: TrainState) -> tuple[float, Predictions]:
        """Evaluates a state, and returns the headline figure and the predictions.

        Logs the figures, and for the first records of each split: the figure on the training split,
        and that with the batch's statistics in BatchNorm, which shows whether the running
        statistics are accurate.
        """
        source, split, step = self._source, self._source.select, int(state.step)
        self._steps = self._steps or self._compile(state.evaluated)
        eval_step = self._stop.wait(self._steps[0])
        predictions = self._predict(eval_step, state.evaluated, split)
        metrics = self._task.metrics(source, split)
        values = predictions.figures(metrics)
        # This figure is measured in the same way on both splits.
        (measure, *_) = self._task.metrics(source, source.train)
        name = measure.headline

        def measured(some: Predictions) -> float:
            return measure(some.found, some.truth)[name]

        batch_step = self._stop.wait(self._steps[1])
        by_batch = measured(self._predict(batch_step, state.evaluated, split, COMPARED))
        trained_on = self._predict(eval_step, state.evaluated, source.train, COMPARED)
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
                "step %d: %s of %d records is %.3f with the batch's statistics in BatchNorm, but "
                "%.3f with the running ones, which are inaccurate; train with more images per "
                "device or config.sync_batch_norm, or recompute them with "
                "--mode=calibrate_batch_norm",
                *(step, name, COMPARED, by_batch, running),
            )
        return values[headline], predictions

    def _compile(self, variables: dict) -> list[Future]:
        """Compiles the steps with running and with batch statistics, in other threads."""
        experiment = self._experiment
        count = experiment.evaluation_rows.batch_size
        shapes = [jax.ShapeDtypeStruct((count, *s, 3), np.uint8) for s in experiment.sizes]
        images = sharding.with_sharding(shapes, experiment.mesh, sharding.SHARDED)
        parts = (experiment.model, experiment.task, experiment.mesh)
        flip_test = experiment.config.eval.flip_test
        steps = [
            make_eval_step(*parts, flip_test=flip_test, batch_statistics=by_batch)
            for by_batch in (False, True)
        ]
        return [compile_in_thread(step, variables, images) for step in steps]

    def _sheet(self, predictions: Predictions, split: str) -> np.ndarray | None:
        """Returns an image of the first predictions beside the truth, in the logging process."""
        if not distributed.is_first():
            return None
        metrics = self._task.metrics(self._source, split)
        first = range(min(8, len(predictions.ids)))
        drawn = figures.draw_records(
            self._predict.records, self._experiment.size, predictions, metrics, split, first
        )
        return draw.grid(drawn, columns=2)
