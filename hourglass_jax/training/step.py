"""The training step over a mesh of devices: a pure function without I/O."""

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
    """Makes `step(state, batch) -> (state, metrics)`, a compiled function that consumes its state.

    batch = {"image" uint8 [B, H, W, 3], and the task's targets [B, ...]}, split over the mesh.
    metrics: "loss" (the sum over terms and stacks), "loss_per_stack" [S], "terms" (name -> [S]),
    "plateau" (the loss of a stack that predicts nothing), "gradient_norm", "update_norm",
    "parameter_norm" and "learning_rate_factor" (see `optimizer.plateau_factor`).

    Args:
      model: the network.
      task: task that defines targets and losses.
      optimizer: optimizer of the parameters.
      mesh: mesh of devices, over which the state is replicated.
      sync_batch_norm: normalise with statistics over all devices. By default each device uses the
        statistics of its share, as in the reference; running statistics are averaged over devices.
      freeze_batch_norm: normalise with the running statistics, and do not update them.
      accumulate: number of parts into which each device's share is split; the parts are computed
        sequentially, with separate BatchNorm statistics, and their mean gradient is one update.
      ema_decay: decay of the averages in `state.ema`, lower in the first steps, when the network
        changes most.
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
        """Returns means over the parts; each part updates BatchNorm's running statistics."""
        total, batch_stats = None, state.batch_stats
        for part in parts:
            if total is not None:  # else XLA may keep the activations of all parts
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
        # One exchange for everything else. Shares have equal sizes and every loss has the same
        # denominator in each of them, so the mean of means is the mean.
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
    """Returns the mean of each array over the devices."""
    if lax.axis_size(AXIS) == 1:  # on CPUs the mean would copy every array
        return tree
    leaves, structure = jax.tree.flatten(tree)
    # On CPUs joining the arrays would add a thousand kernels to compile.
    means = by_platform(mean_joined, cpu=lambda x: lax.pmean(x, AXIS))
    return structure.unflatten(means(leaves))


def mean_joined(leaves: list[Array]) -> list[Array]:
    """Returns `lax.pmean` of many arrays over the devices, with fewer exchanges on TPUs.

    TPUs exchange at most 256 arrays at a time. Most arrays are short vectors with one number per
    channel: concatenating them leaves two of the nine exchanges of an eight-stack network.
    """
    is_short = [x.ndim < 2 and x.dtype == leaves[0].dtype for x in leaves]
    short = [x for x, yes in zip(leaves, is_short, strict=True) if yes]
    long = [x for x, yes in zip(leaves, is_short, strict=True) if not yes]
    vector, *long = lax.pmean([jnp.concatenate([jnp.ravel(x) for x in short]), *long], AXIS)
    pieces = jnp.split(vector, np.cumsum([x.size for x in short])[:-1])
    short = iter([piece.reshape(x.shape) for piece, x in zip(pieces, short, strict=True)])
    long = iter(long)
    return [next(short if yes else long) for yes in is_short]
