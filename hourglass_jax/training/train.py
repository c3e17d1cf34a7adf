"""The loop: train_and_evaluate(config, workdir).

Order of a round: evaluate and save for step i, then take the next batch, then step. The step's
number is the number of updates done. Everything random derives from (seed, step or record index),
so that a run that was stopped and one that was not end with the same bits.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import logging
import math
import pathlib
import sys
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from hourglass_jax.checkpoint import compatibility as same_run
from hourglass_jax.checkpoint import store as checkpoint
from hourglass_jax.checkpoint.store import Checkpoints, DamagedError, Trained
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.evaluation import evaluate
from hourglass_jax.evaluation import figures as pictures
from hourglass_jax.evaluation.predictions import Predictions
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import command_line as command
from hourglass_jax.runtime import distributed, sharding
from hourglass_jax.runtime import preemption as stopping
from hourglass_jax.training import calibrate, finetune, optimizer
from hourglass_jax.training import step as steps
from hourglass_jax.training.log import Log
from hourglass_jax.training.profiler import Profiler
from hourglass_jax.training.progress import Progress
from hourglass_jax.training.validation import Watch

logger = logging.getLogger(__name__)


class NonFiniteLossError(RunError):
    """The loss became infinite or no number."""


def train_and_evaluate(config: ConfigDict, workdir: pathlib.Path) -> dict:
    """Trains to the end, evaluates the best checkpoint, and returns what evaluation.json holds.

    Started again on the workdir of an unfinished run it goes on; on a finished one it says so.

    Args:
      config: as in configs/.
      workdir: for checkpoints, logs and results; see the README for what is in it.

    Raises:
      UserError: the config, the data or the workdir cannot be used.
      NonFiniteLossError: names step, losses and the last good checkpoint.
      RunError: the disk or a file failed.
    """
    experiment = Experiment.from_config(config)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: {error.strerror}; choose another folder") from None
    finished = workdir / "evaluation.json"
    with (
        stopping.StopSignal() as stop,
        _disk_errors(workdir),
        Checkpoints(workdir, experiment.builder.METRIC, config.checkpoint.keep) as checkpoints,
    ):
        latest = _latest(checkpoints, experiment)
        if latest is not None and finished.exists() and latest == experiment.num_steps():
            logger.info("%s is finished: %d steps, see evaluation.json", workdir, latest)
            return json.loads(finished.read_text())
        source = None
        if latest is not None:
            experiment = experiment.as_trained(checkpoints.metadata(latest))
        elif config.init_from:
            source = checkpoint.load(config.init_from, "config.init_from")
            # Its weights expect what they were trained with.
            experiment = dataclasses.replace(experiment, normalisation=source.normalisation)
        experiment.prepare()
        if distributed.is_first():
            # It is the last file that a run writes: an old one must not pass for this run's.
            finished.unlink(missing_ok=True)
            (workdir / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        last = _train(experiment, workdir, checkpoints, stop, source)
        checkpoints.close()
        return evaluate.evaluate(experiment, workdir, last)


@contextlib.contextmanager
def _disk_errors(workdir: pathlib.Path):
    """Turns what a full, read-only or vanished disk makes of a run into one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or workdir
        raise RunError(
            f"{where}: {error.strerror or error}; with room and rights there, the same command "
            f"goes on from the last checkpoint in {workdir}"
        ) from error


def _latest(checkpoints: Checkpoints, experiment: Experiment) -> int | None:
    """Returns the latest step whose checkpoint can be read; refuses those of another run."""
    found = distributed.gather(np.array(checkpoints.latest or 0))
    if (found != found[0]).any():
        raise UserError(
            f"the processes find different checkpoints in {checkpoints.folder}: steps "
            f"{found.tolist()}; give a --workdir on a file system that all of them share"
        )
    while (step := checkpoints.latest) is not None:
        try:
            folder = checkpoints.folder / str(step)
            same_run.check(folder, checkpoints.metadata(step), experiment.metadata())
            return step
        except DamagedError as error:
            checkpoints.set_aside(step, error)
    return None


def evaluate_only(config: ConfigDict, workdir: pathlib.Path) -> dict:
    """Evaluates the best checkpoint of a workdir; raises UserError where there is none."""
    return evaluate.evaluate(_trained(config, workdir), workdir)


def predict_test(config: ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Writes what the data set's evaluation server takes; see `evaluate.predict_test`."""
    return evaluate.predict_test(_trained(config, workdir), workdir)


def calibrate_batch_norm(config: ConfigDict, workdir: pathlib.Path) -> dict:
    """Computes BatchNorm's statistics anew; see `calibrate.calibrate`."""
    return calibrate.calibrate(_trained(config, workdir), workdir)


def _trained(config: ConfigDict, workdir: pathlib.Path) -> Experiment:
    experiment = Experiment.from_config(config)
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} holds no checkpoint; run --mode=train first")
    with evaluate.open_checkpoints(experiment, workdir) as checkpoints:
        if checkpoints.best is not None:
            experiment = experiment.as_trained(checkpoints.metadata(checkpoints.best))
    experiment.prepare()
    return experiment


def _first_variables(experiment: Experiment, source: Trained | None) -> dict:
    """Returns fresh variables, with what a trained network has of them."""
    variables = steps.init_variables(experiment.model, experiment.config.seed)
    if source is not None:
        variables, table = finetune.warm_start(
            variables,
            experiment.skeleton,
            source.variables,
            source.skeleton,
            experiment.config.init_from,
        )
        logger.info("beginning with %s\n%s", source.where, table)
        if source.model.stem != experiment.model.stem:
            logger.warning(
                "%s has another stem, of which only a part could be loaded; "
                "--config.model.stem=%s takes it whole",
                *(experiment.config.init_from, source.model.stem),
            )
    return variables


def _first_state(
    experiment: Experiment, optax_optimizer, like, source: Trained | None, checkpoints: Checkpoints
) -> steps.TrainState:
    """Returns the state to begin with, of the shapes `like`.

    That is the workdir's latest checkpoint, else what a trained network has of it, else a fresh
    one.
    """
    while (step := checkpoints.latest) is not None:
        try:
            state = checkpoints.restore(step, like)
            logger.info("going on from step %d of %s", step, checkpoints.folder)
            return state
        except DamagedError as error:
            checkpoints.set_aside(step, error)
    variables = _first_variables(experiment, source)
    state = steps.create_train_state(variables, optax_optimizer, ema=like.ema is not None)
    return sharding.replicate(state, experiment.mesh)


def _compile(step, *shapes) -> concurrent.futures.Future:
    """Traces a step at once, and compiles it while whoever calls goes on."""
    lowered = step.lower(*shapes)
    thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=command.EXPENDABLE)
    compiled = thread.submit(lowered.compile)
    thread.shutdown(wait=False)
    return compiled


def _train(
    experiment: Experiment,
    workdir: pathlib.Path,
    checkpoints: Checkpoints,
    stop: stopping.StopSignal,
    source: Trained | None,
) -> tuple[int, Predictions] | None:
    """Trains to the end; returns the last step and its predictions for the split that selects."""
    config, mesh, num_steps = experiment.config, experiment.mesh, experiment.num_steps()
    optax_optimizer, schedule = optimizer.create_optimizer(config.optimizer, num_steps)
    shapes = steps.variable_shapes(experiment.model)
    optax_optimizer = finetune.with_rates(
        optax_optimizer, config.freeze, config.optimizer.multipliers, shapes["params"]
    )
    like = steps.state_shapes(shapes, optax_optimizer, mesh, ema=config.ema_decay > 0)
    train_step = steps.make_train_step(
        experiment.model,
        optax_optimizer,
        mesh,
        normalisation=experiment.normalisation,
        sync_batch_norm=config.sync_batch_norm,
        freeze_batch_norm=config.freeze_batch_norm,
        accumulate=config.accumulate,
        ema_decay=config.ema_decay,
    )
    # At once, so that it goes on beside what follows; not for a run that only lacks its evaluation.
    compiled = None
    if (checkpoints.latest or 0) < num_steps:
        compiled = _compile(train_step, like, experiment.batch_shapes())
    state = _first_state(experiment, optax_optimizer, like, source, checkpoints)
    first = int(state.step)
    log = Log(workdir, schedule, first)
    watch = Watch(experiment, log)
    batches, predicted = iter(()), None
    if first < num_steps:
        batches = experiment.training_batches(first)
        batches = itertools.chain([next(batches)], batches)  # while XLA compiles
        if compiled is None:  # the last checkpoint was damaged
            compiled = _compile(train_step, like, experiment.batch_shapes())
        train_step = compiled.result()
    profiler = Profiler(workdir / "profile", first, num_steps, config.profile_steps)
    silent = not distributed.is_first()
    bar = Progress(first, num_steps, config.batch_size, mesh.devices.size, silent=silent)
    with stop.in_loop(), profiler, bar as progress:
        pending = None
        for step in range(first, num_steps + 1):
            last = step == num_steps
            evaluates = step > first and (last or step % config.eval.every_steps == 0)
            saves = step > first and (last or step % config.checkpoint.every_steps == 0)
            stops = stop.requested_by_any(step)  # once a round: it may change at any moment
            if pending is not None and (evaluates or saves or stops):
                _check_finite(pending, step, checkpoints)
                pending = None
            figure = None
            if evaluates:
                with progress.paused():
                    figure, predicted = watch.evaluate(state)
            if evaluates or saves or (stops and step > first):
                checkpoints.save(state, experiment.metadata(), figure)
            if last:
                break
            if stops:
                checkpoints.close()
                logger.info("stopped; start again to go on from step %d", checkpoints.latest or 0)
                sys.exit(stopping.STOPPED)

            profiler.before(step)
            waited = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - waited
            if step == 0 and distributed.is_first():
                pictures.save_training_batch(workdir / "training_batch.png", batch, experiment)
            state, metrics = train_step(state, sharding.shard_batch(batch, mesh))
            # One step behind, so that the device is never waited for.
            if pending is not None:
                _check_finite(pending, step, checkpoints)
            pending = metrics
            if step == first:
                _check_finite(metrics, step + 1, checkpoints)
                progress.start()  # what came before was compilation
            else:
                progress.advance(waited)
            if (step + 1) % config.log_every_steps == 0:
                _check_finite(metrics, step + 1, checkpoints)
                log.training(step + 1, jax.device_get(metrics), progress)
    log.close()
    return None if predicted is None else (num_steps, predicted)


def _check_finite(metrics: dict, step: int, checkpoints: Checkpoints) -> None:
    """Raises NonFiniteLossError if the update that made `step` had no finite loss."""
    # The loss was computed before the update: parameters may be the first to go.
    if math.isfinite(metrics["loss"]) and math.isfinite(metrics["parameter_norm"]):
        return
    losses = ", ".join(f"{loss:g}" for loss in np.asarray(metrics["loss_per_stack"]))
    raise NonFiniteLossError(
        f"the loss or the parameters at step {step} are not finite (loss by stack: {losses}); the "
        f"last good checkpoint in {checkpoints.folder} is "
        f"{'none yet' if checkpoints.latest is None else f'step {checkpoints.latest}'}; lower "
        f"optimizer.learning_rate"
    )
