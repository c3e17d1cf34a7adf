"""BatchNorm's running statistics computed anew, for a network whose training left them off.

Running statistics are averages over the last few dozen training steps, and over small shares of
batches. A network that does well in training and badly in validation often has nothing else wrong.
"""

import itertools
import logging
import pathlib

import jax
import jax.numpy as jnp

from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import evaluate
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import sharding
from hourglass_jax.training import step as steps

logger = logging.getLogger(__name__)
BATCHES = 200  # of training; beyond them the means hardly move


def calibrate(experiment: Experiment, workdir: pathlib.Path) -> dict:
    """Gives a workdir's best checkpoint the mean statistics of training batches, and evaluates it.

    The result is a workdir of its own, `calibrated` in the other, which is left as it is.

    Returns:
      what evaluation.json of the new workdir holds.

    Raises:
      UserError: there is no checkpoint, it is of another model or data set, or it was calibrated
        before.
    """
    target, config = workdir / "calibrated", experiment.config
    with (
        evaluate.open_checkpoints(experiment, workdir) as checkpoints,
        Checkpoints(target, experiment.builder.METRIC) as calibrated,
    ):
        step, _ = evaluate.best(experiment, checkpoints)
        if calibrated.latest is not None:
            raise UserError(f"{target} holds a calibrated checkpoint already; delete it first")
        variables = evaluate.restore(experiment, checkpoints, step)
        statistics_step = steps.make_statistics_step(
            experiment.model, experiment.mesh, normalisation=experiment.normalisation
        )
        total = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        for batch in itertools.islice(experiment.training_batches(), BATCHES):
            images = sharding.shard_batch({"image": batch["image"]}, experiment.mesh)["image"]
            total = jax.tree.map(jnp.add, total, statistics_step(variables, images))
        state = {
            "step": sharding.replicate(jnp.asarray(step), experiment.mesh),
            "params": variables["params"],
            "batch_stats": jax.tree.map(lambda x: x / BATCHES, total),
        }
        metadata = checkpoints.metadata(step)
        # The averaged parameters, if there were any, are the parameters here.
        metadata["config"]["ema_decay"] = 0.0
        calibrated.save(steps.TrainState(**state, opt_state=()), metadata, None)
    logger.info("statistics of %d batches of %d pictures: %s", BATCHES, config.batch_size, target)
    return evaluate.evaluate(experiment, target)
