"""Recomputation of BatchNorm's running statistics, where training left them inaccurate.

Running statistics are averages over the last few dozen training steps, and over small parts of
batches. If a network does well in training and badly in validation, they are often the only cause.
"""

import itertools
import logging
import pathlib

import jax
import jax.numpy as jnp

from hourglass_jax import config_files
from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import evaluate
from hourglass_jax.evaluation.step import make_statistics_step
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import distributed, sharding

logger = logging.getLogger(__name__)
BATCHES = 200  # training batches; with more of them the means hardly change


def calibrate(experiment: Experiment, workdir: pathlib.Path) -> dict:
    """Recomputes BatchNorm's statistics for a workdir's best checkpoint, and evaluates the result.

    The statistics are means over training batches. The result is written to a new workdir,
    `calibrated`, inside the given one, whose checkpoints stay unchanged.

    Args:
      experiment: experiment with prepared records.
      workdir: workdir of a training run.

    Returns:
      The content of the new workdir's evaluation.json.

    Raises:
      UserError: there is no checkpoint, it belongs to another network or data set, the network has
        no BatchNorm, or there is a calibrated checkpoint already.
    """
    target = workdir / "calibrated"
    with (
        distributed.owning(target, "--workdir"),
        evaluate.open_checkpoints(experiment, workdir) as checkpoints,
        Checkpoints(target, experiment.headline) as calibrated,
    ):
        step, metadata = evaluate.best(experiment, checkpoints)
        if calibrated.latest is None:
            state = _calibrated(experiment, evaluate.restore(experiment, checkpoints, step), step)
            # Averaged parameters, if there are any, become the parameters.
            calibrated.save(state, {**metadata, "evaluated": "params"}, None)
        elif evaluate.result_of(target) is not None:
            raise UserError(f"{target} holds a calibrated checkpoint already; delete it first")
        if distributed.is_first():
            config_files.save(experiment.config, target)
        calibrated.close()
        return evaluate.evaluate(experiment, target)


def _calibrated(experiment: Experiment, variables: dict, step: int) -> TrainState:
    """Returns the state with BatchNorm's statistics over training batches."""
    if not variables["batch_stats"]:
        raise UserError("this network has no BatchNorm, so that there are no statistics to compute")
    statistics_step = make_statistics_step(experiment.model, experiment.mesh)
    total = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    for batch in itertools.islice(experiment.training_batches(), BATCHES):
        images = sharding.shard_batch({"image": batch["image"]}, experiment.mesh)["image"]
        total = jax.tree.map(jnp.add, total, statistics_step(variables, images))
    logger.info("statistics of %d batches of %d images", BATCHES, experiment.config.batch_size)
    return TrainState(
        step=sharding.replicate(jnp.asarray(step), experiment.mesh),
        params=variables["params"],
        batch_stats=jax.tree.map(lambda x: x / BATCHES, total),
        opt_state=(),
    )
