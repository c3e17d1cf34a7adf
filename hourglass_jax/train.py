"""The loop: train_and_evaluate(config, workdir).

Order of a round: evaluate and save for step i, then take the next batch, then step. The step's
number is the number of updates done. Everything random derives from (seed, step or record index),
so that a run that was stopped and one that was not end with the same bits.
"""

import json
import logging
import math
import pathlib
import signal
import sys
import time

import jax
import numpy as np
from clu import metric_writers
from ml_collections import ConfigDict

from hourglass_jax import evaluate, optimizer, pictures, predictions, sharding, steps, visualize
from hourglass_jax.checkpoint import Checkpoints
from hourglass_jax.data import augment, pipeline
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.predictions import Predictions
from hourglass_jax.progress import Progress

logger = logging.getLogger(__name__)
STOPPED = 75  # exit status: stopped by SIGTERM and saved; start again to go on


class NonFiniteLossError(RuntimeError):
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
    """
    experiment = Experiment.from_config(config)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: {error.strerror}; choose another folder") from None
    finished = workdir / "evaluation.json"
    # Where the state comes from: the workdir's latest checkpoint, else scratch.
    with Checkpoints(workdir, experiment.builder.METRIC, config.checkpoint.keep) as checkpoints:
        latest = checkpoints.latest
        if latest is not None:
            checkpoints.check_belongs(latest, experiment.metadata())
        if latest == config.num_steps and finished.exists():
            logger.info("%s is finished: %d steps, see evaluation.json", workdir, latest)
            return json.loads(finished.read_text())
        experiment.prepare()
        # It is the last file that a run writes: an old one must not pass for this run's.
        finished.unlink(missing_ok=True)
        (workdir / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        last = _train(experiment, workdir, checkpoints)
    return evaluate.evaluate(experiment, workdir, last)


def evaluate_only(config: ConfigDict, workdir: pathlib.Path) -> dict:
    """Evaluates the best checkpoint of a workdir; raises UserError where there is none."""
    return evaluate.evaluate(_trained(config, workdir), workdir)


def predict_test(config: ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Writes what the data set's evaluation server takes; see `evaluate.predict_test`."""
    return evaluate.predict_test(_trained(config, workdir), workdir)


def _trained(config: ConfigDict, workdir: pathlib.Path) -> Experiment:
    experiment = Experiment.from_config(config)
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} holds no checkpoint; run --mode=train first")
    experiment.prepare()
    return experiment


def _train(
    experiment: Experiment, workdir: pathlib.Path, checkpoints: Checkpoints
) -> tuple[int, Predictions] | None:
    """Trains to the end; returns the last step and its predictions for the split that selects."""
    config, mesh, builder = experiment.config, experiment.mesh, experiment.builder
    optax_optimizer, schedule = optimizer.create_optimizer(config.optimizer, config.num_steps)
    variables = steps.init_variables(experiment.model, config.seed)
    state = steps.create_train_state(variables, optax_optimizer)
    state = sharding.replicate(state, mesh)
    first = checkpoints.latest or 0
    if first:
        state = checkpoints.restore(first, state)
        logger.info("going on from step %d of %s", first, checkpoints.folder)
    train_step = steps.make_train_step(
        experiment.model,
        optax_optimizer,
        mesh,
        normalisation=experiment.normalisation,
        sync_batch_norm=config.sync_batch_norm,
    )
    eval_step = predictions.make_eval_step(experiment)
    batches = pipeline.training_batches(
        builder,
        experiment.crop,
        augment.Augmentation.from_config(config.augment),
        experiment.rows,
        seed=config.seed,
        shuffle_buffer=config.data.shuffle_buffer,
        first_step=first,
    )
    log = Log(workdir, schedule, first)
    predicted = None
    with _StopSignal() as stop, Progress(first, config.num_steps, config.batch_size) as progress:
        pending = None
        for step in range(first, config.num_steps + 1):
            last = step == config.num_steps
            evaluates = step > first and (last or step % config.eval.every_steps == 0)
            saves = step > first and (last or step % config.checkpoint.every_steps == 0)
            stopping = stop.requested  # once a round: it may change at any moment
            if pending is not None and (evaluates or saves or stopping):
                _check_finite(pending, step, checkpoints)
                pending = None
            figure = None
            if evaluates:
                figure, predicted = _evaluate(experiment, eval_step, state, log, progress)
            if evaluates or saves or (stopping and step > first):
                checkpoints.save(state, experiment.metadata(), figure)
            if last:
                break
            if stopping:
                checkpoints.close()
                logger.info("stopped; start again to go on from step %d", checkpoints.latest or 0)
                sys.exit(STOPPED)

            waited = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - waited
            if step == 0:
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
    return None if predicted is None else (config.num_steps, predicted)


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


def _evaluate(experiment, eval_step, state, log, progress) -> tuple[float, Predictions]:
    """Evaluates on the split that selects the best checkpoint; returns figure and predictions."""
    builder, split = experiment.builder, experiment.builder.SELECT
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    with progress.paused():
        predicted = predictions.predict_split(experiment, eval_step, variables, split)
        figures = evaluate.all_figures(experiment, predicted)
        first = range(min(8, len(predicted.ids)))
        drawn = pictures.draw_people(experiment, predicted, split, first)
    log.evaluation(int(state.step), split, figures, visualize.grid(drawn, columns=2))
    figure = figures[builder.METRIC]
    logger.info("step %d: %s %.4f on %s", int(state.step), builder.METRIC, figure, split)
    return figure, predicted


class Log:
    """TensorBoard event files, and metrics.jsonl with one object a logged step."""

    def __init__(self, workdir: pathlib.Path, schedule, first_step: int):
        self._schedule = schedule
        self._writer = metric_writers.SummaryWriter(str(workdir))
        path = workdir / "metrics.jsonl"
        kept = []
        if path.exists():
            # What was logged after the checkpoint is logged again, the same.
            lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["step"] <= first_step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._lines = path.open("a", buffering=1)

    def training(self, step: int, metrics: dict, progress: Progress) -> None:
        """Logs a step's metrics; `step` is the number of updates done."""
        per_stack = [float(loss) for loss in metrics["loss_per_stack"]]
        plateau = float(metrics["plateau"])
        record = {
            "step": step,
            "loss": float(metrics["loss"]),
            "loss_per_stack": per_stack,
            # 1 is predicting nothing: where this network stays if it does not learn.
            "ratio_to_plateau": [loss / plateau if plateau else 1.0 for loss in per_stack],
            "learning_rate": float(self._schedule(step - 1)),
            **{key: float(metrics[key]) for key in metrics if key.endswith("_norm")},
            **progress.rates(),
        }
        self._write(record)
        progress.say(step, record["loss"], record["ratio_to_plateau"][-1])

    def evaluation(self, step: int, split: str, figures: dict, sheet: np.ndarray) -> None:
        """Logs figures of a split, without those that no joint was labelled for."""
        known = {f"{split}/{k}": v for k, v in figures.items() if math.isfinite(v)}
        self._write({"step": step, **known})
        self._writer.write_images(step, {f"{split}/predictions": sheet[None]})

    def _write(self, record: dict) -> None:
        self._lines.write(json.dumps(record) + "\n")
        scalars = {}
        for key, value in record.items():
            values = value if isinstance(value, list) else [value]
            names = [f"{key}/{i + 1}" for i in range(len(values))] if value is values else [key]
            scalars |= dict(zip(names, values, strict=True))
        step = scalars.pop("step")
        self._writer.write_scalars(step, scalars)

    def close(self) -> None:
        self._lines.close()
        self._writer.close()


class _StopSignal:
    """Notes SIGTERM, which a preempted machine gets, so that the loop can save and leave."""

    requested = False

    def __enter__(self) -> "_StopSignal":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *unused) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, *unused):
        self.requested = True
