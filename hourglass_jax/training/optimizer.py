"""The optimizer and the learning rate schedule that a config describes."""

import functools
from collections.abc import Set

import jax
import optax
from jax.typing import ArrayLike
from optax import contrib

from hourglass_jax.config import Optimizer
from hourglass_jax.training.muon import muon


def create_schedule(config: Optimizer, num_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the updates done.

    Args:
      config: config section `optimizer`. The plateau schedule is constant here; see
        `plateau_factor`.
      num_steps: total number of updates.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, max(num_steps - warmup, 1))
    elif config.schedule == "step":
        drops = {round(share * num_steps) - warmup: config.drop_factor for share in config.drop_at}
        main = optax.piecewise_constant_schedule(peak, drops)
    else:
        main = optax.constant_schedule(peak)
    if not warmup:
        return main
    return optax.join_schedules(
        [optax.linear_schedule(peak / warmup, peak, warmup), main], [warmup]
    )


def create_optimizer(
    config: Optimizer, num_steps: int, output_layers: Set[str] = frozenset()
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Returns the optimizer that a config describes, and its learning rate schedule.

    Args:
      config: config section `optimizer`.
      num_steps: total number of updates.
      output_layers: names of the network's output layers, which Muon leaves to Adam.
    """
    schedule = create_schedule(config, num_steps)
    if config.name == "rmsprop":
        # As in Torch: epsilon is added after the square root, and the decay is 0.99.
        optimizer = optax.rmsprop(schedule, decay=0.99, eps=1e-8, eps_in_sqrt=False)
    elif config.name == "muon":
        is_matrix = functools.partial(_is_matrix, output_layers=output_layers)
        optimizer = muon(schedule, is_matrix)
    else:
        optimizer = optax.adam(schedule)
    if config.clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    if config.schedule == "plateau":
        # Single losses are noisy: this compares means over tenths of the patience.
        plateau = contrib.reduce_on_plateau(
            factor=config.drop_factor,
            patience=10,
            rtol=1e-3,
            accumulation_size=max(config.patience // 10, 1),
        )
        optimizer = optax.chain(optimizer, plateau)
    return optimizer, schedule


def plateau_factor(opt_state: optax.OptState) -> ArrayLike:
    """Returns the plateau schedule's factor of the learning rate, 1 for other schedules.

    It is multiplied by `drop_factor` when the training loss has not fallen for `patience` steps.
    """
    kind = contrib.ReduceLROnPlateauState
    states = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return next((state.scale for state in states if isinstance(state, kind)), 1.0)


def _is_matrix(params: optax.Params, output_layers: Set[str]) -> optax.Params:
    """Returns which parameters Muon moves: kernels but for those of the output layers.

    These are left to Adam, as Muon's authors advise.
    """

    def kernel_within(path, _):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        return names[-1] == "kernel" and not output_layers & set(names)

    return jax.tree_util.tree_map_with_path(kernel_within, params)
