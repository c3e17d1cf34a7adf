"""The training loop: train_and_evaluate(config, workdir).

Each iteration evaluates and saves step i, takes the next batch, and updates the state. The number
of a step is the number of updates done. All random numbers derive from (seed, step or record
index), so that interrupted and uninterrupted runs end with the same bits.
"""

import contextlib
import functools
import logging
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax

from hourglass_jax import config_files
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.config import Config
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import evaluate, figures
from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import disk, distributed, preemption, sharding
from hourglass_jax.training import calibrate, inherited
from hourglass_jax.training.finite import FiniteCheck
from hourglass_jax.training.log import Log
from hourglass_jax.training.mlflow_writer import MlflowWriter
from hourglass_jax.training.profiler import Profiler
from hourglass_jax.training.progress import Progress
from hourglass_jax.training.start import Start, latest_checkpoint, resolve
from hourglass_jax.training.validation import Validation, warn_of_small_batches

logger = logging.getLogger(__name__)


def train_and_evaluate(config: Config | Mapping[str, Any], workdir: pathlib.Path) -> dict:
    """Trains to the end, evaluates the best checkpoint, and returns the content of evaluation.json.

    In the workdir of an unfinished run training continues; a finished run is not repeated.

    Args:
      config: a config as in configs/.
      workdir: folder for checkpoints, logs and results.

    Raises:
      UserError: the config, the data or the workdir cannot be used.
      NonFiniteLossError: the loss or the parameters are not finite.
      RunError: a file could not be written or read.
    """
    experiment = Experiment.from_config(inherited.with_network(config, workdir))
    keep = experiment.config.checkpoint.keep
    with (
        disk.errors(workdir),
        distributed.owning(workdir, "--workdir"),
        Checkpoints(workdir, experiment.headline, keep) as checkpoints,
    ):
        latest = latest_checkpoint(checkpoints, experiment)
        experiment, variables = resolve(experiment, checkpoints, latest)
        if experiment.config.num_epochs:
            experiment.prepare()  # the number of records determines the number of steps
        ended = latest == experiment.num_steps or (
            latest is not None
            and checkpoints.is_measured(latest)
            and _is_stale(experiment, checkpoints, latest)
        )
        result = evaluate.result_of(workdir) if ended else None
        if result is not None and result["step"] == checkpoints.best:
            logger.info("%s is finished: %d steps, see evaluation.json", workdir, latest)
            return dict(result)
        experiment.prepare()
        if distributed.is_first():
            # It is the last file that a run writes: an old one must not be mistaken for this run's.
            (workdir / "evaluation.json").unlink(missing_ok=True)
            config_files.save(experiment.config, workdir)
        start = Start.of(experiment, checkpoints, variables)
        last = _train(experiment, start, checkpoints, workdir)
        return evaluate.evaluate(experiment, workdir, last)


def _train(
    experiment: Experiment,
    start: Start,
    checkpoints: Checkpoints,
    workdir: pathlib.Path,
) -> tuple[int, Predictions] | None:
    """Trains to the end; returns the last step and its predictions for the split that selects."""
    config, mesh, num_steps = experiment.config, experiment.mesh, experiment.num_steps
    state, first, predicted = start.state, start.step, None
    step = first
    metadata = experiment.metadata()
    # The evaluation of the first step is due if a signal ended it before it was complete.
    measured = first == 0 or checkpoints.is_measured(first)
    also = None
    if config.log_to == "mlflow":
        also = functools.partial(MlflowWriter, workdir, config.to_dict())
    log = Log(workdir, start.schedule, first, evaluated=measured, also=also)
    stop = preemption.StopSignal()
    validate = Validation(experiment, log, stop)
    warn_of_small_batches(experiment)
    finite = FiniteCheck(checkpoints)
    profiler = Profiler(workdir / "profile", first, num_steps, config.profile_steps)
    silent = not distributed.is_first()
    bar = Progress(first, num_steps, config.batch_size, mesh.devices.size, silent=silent)
    with stop.in_loop(), profiler, bar as progress:
        for step in range(first, num_steps + 1):
            done = step == num_steps
            evaluates = done or step % config.eval.every_steps == 0
            evaluates = evaluates and not (step == first and measured)
            saves = step > first and (done or step % config.checkpoint.every_steps == 0)
            stops = stop.requested_by_any()  # read once per step: it may change at any time
            if evaluates or saves or stops:
                finite.check()
            figure = None
            if evaluates and not stops:
                with progress.paused(), contextlib.suppress(preemption.StoppedError):
                    figure, predicted = validate(state)
                stops = figure is None or stop.requested_by_any()
            if figure is not None and step == first:  # it is saved
                checkpoints.add_figure(step, figure)
            elif (evaluates or saves or stops) and step > first:
                log.publish()
                checkpoints.save(state, metadata, figure)
            if stops:
                checkpoints.close()
                cause, latest = stop.cause, checkpoints.latest or 0
                logger.info("stopped by %s; start again to continue from step %d", cause, latest)
                stop.exit()
            is_measured = figure is not None or (step == first and measured)
            if not done and is_measured and _is_stale(experiment, checkpoints, step):
                logger.info("step %d: no better figure since step %s", step, checkpoints.best)
                done = True
            if done:
                checkpoints.close()
                break

            profiler.before(step)
            waited = time.perf_counter()
            batch = next(start.batches)
            waited = time.perf_counter() - waited
            if step == 0 and distributed.is_first():
                path = workdir / "training_batch.png"
                figures.save_training_batch(path, batch, experiment.task)
            state, metrics = start.train_step(state, sharding.shard_batch(batch, mesh))
            finite.later(metrics, step + 1)
            if step == first:
                finite.check()
                progress.start()  # after compilation
            else:
                progress.advance(waited)
            if (step + 1) % config.log_every_steps == 0:
                finite.check()
                progress.show(log.training(step + 1, jax.device_get(metrics), progress.rates()))
    log.close()
    return None if predicted is None else (step, predicted)


def _is_stale(experiment: Experiment, checkpoints: Checkpoints, step: int) -> bool:
    """Returns whether training ends at a measured step, since the best one is long ago."""
    patience = experiment.config.eval.patience
    return patience > 0 and step - (checkpoints.best or 0) >= patience


def evaluate_only(config: Config | Mapping[str, Any], workdir: pathlib.Path) -> dict:
    """Evaluates the best checkpoint of a workdir; raises UserError if there is none."""
    with disk.errors(workdir):
        return evaluate.evaluate(_trained(config, workdir), workdir)


def predict_test(config: Config | Mapping[str, Any], workdir: pathlib.Path) -> pathlib.Path:
    """Writes the file for the data set's evaluation server; see `evaluate.predict_test`."""
    with disk.errors(workdir):
        return evaluate.predict_test(_trained(config, workdir), workdir)


def calibrate_batch_norm(config: Config | Mapping[str, Any], workdir: pathlib.Path) -> dict:
    """Recomputes BatchNorm's statistics; see `calibrate.calibrate`."""
    with disk.errors(workdir):
        return calibrate.calibrate(_trained(config, workdir), workdir)


def _trained(config: Config | Mapping[str, Any], workdir: pathlib.Path) -> Experiment:
    """Returns the experiment of a workdir with checkpoints."""
    experiment = Experiment.from_config(inherited.with_network(config, workdir))
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} holds no checkpoint; run --mode=train first")
    with evaluate.open_checkpoints(experiment, workdir) as checkpoints:
        if checkpoints.best is not None:
            experiment = experiment.as_trained(checkpoints.metadata(checkpoints.best))
    experiment.prepare()
    return experiment
