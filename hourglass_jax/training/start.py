"""The start of a run: optimizer, compiled step, first state, and stream of batches.

The state comes from the workdir's latest checkpoint; else, as far as it fits, from a trained
network (`init_from`); else from a random initialisation.
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
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.runtime import command_line, distributed, sharding
from hourglass_jax.training import finetune, optimizer
from hourglass_jax.training.step import make_train_step

logger = logging.getLogger(__name__)


def latest_checkpoint(checkpoints: Checkpoints, experiment: Experiment) -> int | None:
    """Returns the latest step whose checkpoint can be read, and sets damaged ones aside.

    Raises:
      UserError: the checkpoint belongs to another run, the only checkpoint is damaged, or processes
        see different checkpoints.
    """
    steps = distributed.gather(np.array(checkpoints.latest or 0))
    if (steps != steps[0]).any():
        raise UserError(
            f"the processes find different checkpoints in {checkpoints.folder}: steps "
            f"{steps.tolist()}; choose a --workdir on a file system that all of them share"
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
) -> tuple[Experiment, dict | None]:
    """Returns the experiment with its checkpoint's normalisation, and the variables to start from.

    Args:
      experiment: experiment that the config describes; needs no records, so that mistakes are
        found before they are made.
      checkpoints: checkpoints of the workdir.
      latest: step from which the run continues; None for a new run.

    Returns:
      The experiment, and for a new run with `init_from` the first variables.

    Raises:
      UserError: `init_from` cannot be read, or has nothing in common with the network, or a field
        that freezes or slows down parameters is wrong.
    """
    if latest is not None:
        return experiment.as_trained(checkpoints.metadata(latest)), None
    if not experiment.config.init_from:
        return experiment, None
    source = trained.load(experiment.config.init_from, "config.init_from")
    model = experiment.model.clone(normalisation=source.model.normalisation)
    variables, table = finetune.warm_start(
        nn.init_variables(model, experiment.config.seed),
        experiment.task.heads,
        source.variables,
        source.task.heads,
        model,
        source.model,
        experiment.config.init_from,
    )
    logger.info("starting from %s\n%s", source.where, table)
    rates = experiment.config.freeze, experiment.config.optimizer.multipliers
    finetune.rates_of(*rates, variables["params"])
    return dataclasses.replace(experiment, model=model), variables


@dataclasses.dataclass(frozen=True)
class Start:
    """Everything that the training loop starts with.

    Attributes:
      state: state before the first step, which consumes it.
      step: number of updates done.
      schedule: learning rate schedule.
      train_step: training step, compiled if any steps are left.
      batches: batches from the next step on; empty if no steps are left.
    """

    state: TrainState
    step: int
    schedule: optax.Schedule
    train_step: Callable
    batches: Iterator[dict[str, np.ndarray]]

    @classmethod
    def of(
        cls, experiment: Experiment, checkpoints: Checkpoints, variables: dict | None
    ) -> "Start":
        """Continues or starts a run.

        The step is compiled while the state is read and the first batch is made.

        Args:
          experiment: experiment with prepared records.
          checkpoints: checkpoints of the workdir.
          variables: variables to start from, instead of random ones; see `resolve`.
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
            compiled = compile_in_thread(train_step, like, experiment.batch_shapes())
        state = _first_state(experiment, optax_optimizer, like, variables, checkpoints)
        step, batches = int(state.step), iter(())
        if step < experiment.num_steps:
            batches = experiment.training_batches(step)
            batches = itertools.chain([next(batches)], batches)  # while XLA compiles the step
            if compiled is None:  # the latest checkpoint was damaged
                compiled = compile_in_thread(train_step, like, experiment.batch_shapes())
            train_step = compiled.result()
        return cls(state, step, schedule, train_step, batches)


def compile_in_thread(step, *shapes) -> concurrent.futures.Future:
    """Traces a step now, and compiles it in another thread."""
    lowered = step.lower(*shapes)
    thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=command_line.EXPENDABLE)
    compiled = thread.submit(lowered.compile)
    thread.shutdown(wait=False)
    return compiled


def _first_state(
    experiment: Experiment,
    optax_optimizer: optax.GradientTransformation,
    like: TrainState,
    variables: dict | None,
    checkpoints: Checkpoints,
) -> TrainState:
    """Returns the first state, with the shapes of `like`."""
    while (step := checkpoints.latest) is not None:
        try:
            state = checkpoints.restore(step, like)
            logger.info("continuing from step %d of %s", step, checkpoints.folder)
            return state
        except DamagedError as error:
            checkpoints.set_aside(step, error)
    if variables is None:
        variables = nn.init_variables(experiment.model, experiment.config.seed)
    state = create_train_state(variables, optax_optimizer, ema=like.ema is not None)
    return sharding.replicate(state, experiment.mesh)
