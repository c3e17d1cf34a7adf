"""One training step over a mesh of devices: a pure function, no I/O."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array

from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.nn.kernels.platform import by_platform
from hourglass_jax.runtime import sharding
from hourglass_jax.runtime.sharding import AXIS, REPLICATED, SHARDED
from hourglass_jax.tasks.base import Task
from hourglass_jax.training import norms
from hourglass_jax.training.optimizer import plateau_factor


def make_train_step(
    model,
    task: Task,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    sync_batch_norm: bool = False,
    freeze_batch_norm: bool = False,
    accumulate: int = 1,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, dict[str, Array]], tuple[TrainState, dict[str, Any]]]:
    """Returns `step(state, batch) -> (state, metrics)`, compiled, which consumes its state.

    batch = {"image" uint8 [B, H, W, 3], and the task's targets [B, ...]}, split over the mesh.
    metrics: "loss" (the sum over terms and stacks), "loss_per_stack" [S], "terms" (name -> [S]),
    "plateau" (a stack's loss if it predicted nothing), "gradient_norm", "update_norm",
    "parameter_norm" and "learning_rate_factor" (see `optimizer.plateau_factor`).

    Args:
      model: the network.
      task: says what the targets are, and what the loss is.
      optimizer: of the parameters.
      mesh: the devices; the state is replicated over them.
      sync_batch_norm: normalise with the statistics of all devices. By default each device uses
        its own, as the reference does; the running ones are averaged over devices.
      freeze_batch_norm: normalise with the running statistics, and leave them as they are.
      accumulate: split each device's share into so many parts, one after the other, and update
        once with the mean of their gradients; BatchNorm's statistics are those of each part.
      ema_decay: of the averages in `state.ema`, less in the first steps, when the network changes
        most.
    """
    model = model.clone(axis_name=AXIS if sync_batch_norm else None)
    optimizer = optax.with_extra_args_support(optimizer)

    def loss_fn(params, batch_stats, batch, totals):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            model.normalisation(batch["image"]),
            train=not freeze_batch_norm,
            mutable=["batch_stats"],
        )
        terms = task.losses(outputs, batch, totals)
        loss = sum(term.sum() for term in terms.values())
        return loss, (terms, updated.get("batch_stats", batch_stats))

    def gradients_of(state: TrainState, parts, totals):
        """The mean over the parts; BatchNorm's running statistics see one part after the other."""
        total, batch_stats = None, state.batch_stats
        for part in parts:
            if total is not None:  # or XLA might hold the activations of all parts at once
                part, total = lax.optimization_barrier((part, total))
            gradients, (terms, batch_stats) = jax.grad(loss_fn, has_aux=True)(
                state.params, batch_stats, part, totals
            )
            share = (gradients, terms)
            total = share if total is None else jax.tree.map(jnp.add, total, share)
        gradients, terms = jax.tree.map(lambda x: x / accumulate, total)
        return gradients, batch_stats, terms

    def step(state: TrainState, batch):
        split = {key: jnp.split(rows, accumulate) for key, rows in batch.items()}
        parts = [{key: rows[i] for key, rows in split.items()} for i in range(accumulate)]
        totals = _mean([task.totals(part) for part in parts])
        totals = _mean_over_devices(totals) if totals else totals
        gradients, batch_stats, terms = gradients_of(state, parts, totals)
        # All else that devices have to say to each other, in one call. The shares are equal in
        # size and every loss has the same denominator in each, so the mean of means is the mean.
        plateau = _mean([task.plateau(part, totals) for part in parts])
        gradients, batch_stats, terms, plateau = _mean_over_devices(
            (gradients, batch_stats, terms, plateau)
        )
        per_stack = sum(terms.values())
        updates, opt_state = optimizer.update(
            gradients, state.opt_state, state.params, value=jnp.sum(per_stack)
        )
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": jnp.sum(per_stack),
            "loss_per_stack": per_stack,
            "terms": terms,
            "plateau": plateau,
            "gradient_norm": norms.global_norm(gradients),
            "update_norm": norms.update_norm(updates, state.params, params),
            "parameter_norm": norms.global_norm(params),
            "learning_rate_factor": plateau_factor(opt_state),
        }
        ema = state.ema
        if ema is not None:
            decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
            now = {"params": params, "batch_stats": batch_stats}
            ema = jax.tree.map(lambda mean, x: decay * mean + (1 - decay) * x, ema, now)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema=ema,
        )
        return state, metrics

    return sharding.compile_step(
        step, mesh, in_specs=(REPLICATED, SHARDED), out_specs=REPLICATED, donate=True
    )


def _mean(trees: list):
    total = functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), trees)
    return jax.tree.map(lambda x: x / len(trees), total)


def _mean_over_devices(tree):
    """The mean of every array over the devices."""
    if lax.axis_size(AXIS) == 1:  # on a CPU it would be a copy of every array
        return tree
    leaves, structure = jax.tree.flatten(tree)
    # On a CPU joining the arrays would be another thousand kernels to compile.
    means = by_platform(mean_joined, cpu=lambda x: lax.pmean(x, AXIS))
    return structure.unflatten(means(leaves))


def mean_joined(leaves: list[Array]) -> list[Array]:
    """`lax.pmean` over the devices of many arrays, with fewer exchanges on TPUs.

    They exchange at most 256 arrays at a time. Most of ours are short vectors, one a channel: put
    end to end, they leave two exchanges of an eight-stack network's nine.
    """
    is_short = [x.ndim < 2 and x.dtype == leaves[0].dtype for x in leaves]
    short = [x for x, yes in zip(leaves, is_short, strict=True) if yes]
    long = [x for x, yes in zip(leaves, is_short, strict=True) if not yes]
    vector, *long = lax.pmean([jnp.concatenate([jnp.ravel(x) for x in short]), *long], AXIS)
    pieces = jnp.split(vector, np.cumsum([x.size for x in short])[:-1])
    short = iter([piece.reshape(x.shape) for piece, x in zip(pieces, short, strict=True)])
    long = iter(long)
    return [next(short if yes else long) for yes in is_short]
