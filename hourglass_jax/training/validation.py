"""Evaluation during training, and what it tells of how training goes."""

import logging

from hourglass_jax.evaluation import evaluate, predictions
from hourglass_jax.evaluation import figures as pictures
from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import draw as visualize
from hourglass_jax.runtime import distributed
from hourglass_jax.training import step as steps
from hourglass_jax.training.log import Log

logger = logging.getLogger(__name__)
# Of few pictures a device BatchNorm's statistics are mostly noise.
FEWEST_PER_DEVICE = 4
# People of each split whose figures are looked at to see how training goes.
WATCHED = 128
# How much better the batch's statistics may do than the running ones before a warning.
PARTED = 0.1


class Watch:
    """Evaluates on the split that selects, and looks for what goes wrong most often."""

    def __init__(self, experiment: Experiment, log: Log):
        self._experiment, self._log = experiment, log
        self._eval_step = predictions.make_eval_step(experiment)
        self._batch_step = predictions.make_eval_step(experiment, batch_statistics=True)
        config, devices = experiment.config, experiment.mesh.devices.size
        share = config.batch_size // devices // config.accumulate
        if share < FEWEST_PER_DEVICE and not (config.sync_batch_norm or config.freeze_batch_norm):
            logger.warning(
                "%d pictures at a time on each of %d devices are few for BatchNorm's statistics; "
                "set config.sync_batch_norm, or a larger config.batch_size",
                *(share, devices),
            )

    def evaluate(self, state: steps.TrainState) -> tuple[float, Predictions]:
        """Evaluates on the split that selects the best checkpoint; returns figure and predictions.

        Logs beside it the figure of some people that were trained on, and of some that were not
        with the batch's statistics in BatchNorm: where the running ones are off, the two part.
        """
        experiment, builder = self._experiment, self._experiment.builder
        variables, split, measure = steps.evaluated(state), builder.SELECT, builder.MEASURE
        predicted = predictions.predict_split(experiment, self._eval_step, variables, split)
        figures = evaluate.all_figures(experiment, predicted)

        def measured(eval_step, name):
            some = predictions.predict_split(experiment, eval_step, variables, name, WATCHED)
            return evaluate.summarise(some, experiment.skeleton, measure)[measure]

        by_batch = measured(self._batch_step, split)
        running = evaluate.summarise(predicted.first(WATCHED), experiment.skeleton, measure)
        step, running = int(state.step), running[measure]
        sheet = None
        if distributed.is_first():
            first = range(min(8, len(predicted.ids)))
            drawn = pictures.draw_people(experiment, predicted, split, first)
            sheet = visualize.grid(drawn, columns=2)
        told = {f"{split}/{name}": value for name, value in figures.items()} | {
            f"{builder.TRAIN}/{measure}": measured(self._eval_step, builder.TRAIN),
            f"{split}/{measure}/running_statistics": running,
            f"{split}/{measure}/batch_statistics": by_batch,
        }
        self._log.evaluation(step, told, f"{split}/predictions", sheet)
        figure = figures[builder.METRIC]
        logger.info("step %d: %s %.4f on %s", step, builder.METRIC, figure, split)
        if by_batch - running > PARTED:
            logger.warning(
                "step %d: with the batch's own statistics in BatchNorm %s of %d people is %.3f, "
                "with the running ones %.3f: these are off; train with more pictures a device or "
                "config.sync_batch_norm, or compute them anew with --mode=calibrate_batch_norm",
                *(step, measure, WATCHED, by_batch, running),
            )
        return figure, predicted
