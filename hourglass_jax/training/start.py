"""How a run begins: its optimizer, its compiled step, its first state and its stream of batches.

The state comes from the workdir's latest checkpoint, else from a trained network (`init_from`), as
far as it fits, else from scratch.
"""

import concurrent.futures
import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator

import numpy as np
import optax

from hourglass_jax import nn
from hourglass_jax.checkpoint import trained
from hourglass_jax.checkpoint.state import TrainState, create_train_state, state_shapes
from hourglass_jax.checkpoint.store import Checkpoints, DamagedError
from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import command_line, distributed, sharding
from hourglass_jax.training import finetune, optimizer
from hourglass_jax.training.step import make_train_step

logger = logging.getLogger(__name__)


def latest_checkpoint(checkpoints: Checkpoints, experiment: Experiment) -> int | None:
    """Returns the latest step whose checkpoint can be read; refuses those of another run."""
    found = distributed.gather(np.array(checkpoints.latest or 0))
    if (found != found[0]).any():
        raise UserError(
            f"the processes find different checkpoints in {checkpoints.folder}: steps "
            f"{found.tolist()}; give a --workdir on a file system that all of them share"
        )
    while (step := checkpoints.latest) is not None:
        try:
            experiment.check(checkpoints.folder / str(step), checkpoints.metadata(step))
            return step
        except DamagedError as error:
            checkpoints.set_aside(step, error)
    return None


def resolve(
    experiment: Experiment, checkpoints: Checkpoints, latest: int | None
) -> tuple[Experiment, Trained | None]:
    """Returns the experiment with the normalisation of where its state comes from, and that place.

    Args:
      experiment: of the config.
      checkpoints: of the workdir.
      latest: their latest step, from which the run goes on.
    """
    if latest is not None:
        return experiment.as_trained(checkpoints.metadata(latest)), None
    if not experiment.config.init_from:
        return experiment, None
    source = trained.load(experiment.config.init_from, "config.init_from")
    model = experiment.model.clone(normalisation=source.model.normalisation)
    return dataclasses.replace(experiment, model=model), source


@dataclasses.dataclass(frozen=True)
class Start:
    """What the loop begins with.

    Attributes:
      state: before the first step; consumed by it.
      step: the updates done.
      schedule: of the learning rate.
      train_step: compiled; None where no step is left.
      batches: from the next step on.
    """

    state: TrainState
    step: int
    schedule: optax.Schedule
    train_step: Callable
    batches: Iterator[dict[str, np.ndarray]]

    @classmethod
    def of(
        cls, experiment: Experiment, checkpoints: Checkpoints, source: Trained | None
    ) -> "Start":
        """Restores or begins a run whose records are prepared.

        The step is compiled while the state is read and the first batch is made.
        """
        config, mesh = experiment.config, experiment.mesh
        shapes = nn.variable_shapes(experiment.model)
        optax_optimizer, schedule = optimizer.create_optimizer(
            config.optimizer, experiment.num_steps, nn.output_layers(experiment.model)
        )
        optax_optimizer = finetune.with_rates(
            optax_optimizer, config.freeze, config.optimizer.multipliers, shapes["params"]
        )
        like = state_shapes(shapes, optax_optimizer, mesh, ema=config.ema_decay > 0)
        train_step = make_train_step(
            experiment.model,
            experiment.task,
            optax_optimizer,
            mesh,
            sync_batch_norm=config.sync_batch_norm,
            freeze_batch_norm=config.freeze_batch_norm,
            accumulate=config.accumulate,
            ema_decay=config.ema_decay,
        )
        compiled = None
        if (checkpoints.latest or 0) < experiment.num_steps:
            compiled = _compile(train_step, like, experiment.batch_shapes())
        state = _first_state(experiment, optax_optimizer, like, source, checkpoints)
        step, batches = int(state.step), iter(())
        if step < experiment.num_steps:
            batches = experiment.training_batches(step)
            batches = itertools.chain([next(batches)], batches)  # while XLA compiles
            if compiled is None:  # the last checkpoint was damaged
                compiled = _compile(train_step, like, experiment.batch_shapes())
            train_step = compiled.result()
        return cls(state, step, schedule, train_step, batches)


def _compile(step, *shapes) -> concurrent.futures.Future:
    """Traces a step at once, and compiles it in another thread."""
    lowered = step.lower(*shapes)
    thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=command_line.EXPENDABLE)
    compiled = thread.submit(lowered.compile)
    thread.shutdown(wait=False)
    return compiled


def _first_state(
    experiment: Experiment,
    optax_optimizer: optax.GradientTransformation,
    like: TrainState,
    source: Trained | None,
    checkpoints: Checkpoints,
) -> TrainState:
    """Returns the state to begin with, of the shapes `like`."""
    while (step := checkpoints.latest) is not None:
        try:
            state = checkpoints.restore(step, like)
            logger.info("going on from step %d of %s", step, checkpoints.folder)
            return state
        except DamagedError as error:
            checkpoints.set_aside(step, error)
    variables = nn.init_variables(experiment.model, experiment.config.seed)
    if source is not None:
        variables = _warm_start(experiment, variables, source)
    state = create_train_state(variables, optax_optimizer, ema=like.ema is not None)
    return sharding.replicate(state, experiment.mesh)


def _warm_start(experiment: Experiment, variables: dict, source: Trained) -> dict:
    """Returns the variables with all that a trained network has of them."""
    where = experiment.config.init_from
    variables, table = finetune.warm_start(
        variables,
        experiment.task.heads,
        source.variables,
        source.task.heads,
        experiment.model,
        where,
    )
    logger.info("beginning with %s\n%s", source.where, table)
    stem = getattr(source.model, "stem", None)
    if stem != getattr(experiment.model, "stem", None):
        logger.warning(
            "%s has another stem, of which only a part could be loaded; --config.model.stem=%s "
            "takes it whole",
            *(where, stem),
        )
    return variables
