"""Muon, with matrices of equal shape in one array.

optax orthogonalises one matrix after another: a network of two stacks has a hundred, and for each
there are fifteen small products, which GPUs take longer to start than to compute.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib


def muon(
    learning_rate: optax.Schedule, is_matrix: Callable[[optax.Params], optax.Params]
) -> optax.GradientTransformation:
    """Returns Muon for kernels and Adam for the rest, with updates of the same size.

    Updates and state are those of `optax.contrib.muon` with `consistent_rms=0.2`.

    Args:
      learning_rate: learning rate as a function of the updates done.
      is_matrix: returns, for parameters, whether each is a kernel that Muon moves. Kernels are
        matrices with the output channels, their last axis, as one dimension.
    """
    kernels = optax.chain(
        _by_shape(contrib.scale_by_muon(weight_dimension_numbers=_stacked)),
        optax.stateless(lambda updates, _: jax.tree.map(_scaled, updates)),
        optax.add_decayed_weights(0.0),  # as in optax's chain, so that checkpoints remain valid
        optax.scale_by_learning_rate(learning_rate),
    )
    rest = optax.adamw(learning_rate, weight_decay=0.0, nesterov=True)

    def labels(params):
        return jax.tree.map(lambda yes: "muon" if yes else "adam", is_matrix(params))

    return optax.partition({"muon": kernels, "adam": rest}, labels)


def _scaled(update):
    """Scales an orthogonal matrix so that its elements have the size of Adam's updates."""
    rows, columns = math.prod(update.shape[:-1]), update.shape[-1]
    return 0.2 * math.sqrt(max(rows, columns)) * update


def _stacked(kernels):
    """Returns the dimension numbers of kernels that are stacked along a first axis."""
    numbers = contrib.MuonDimensionNumbers(reduction_axis=(1, 2, 3), output_axis=4)
    return jax.tree.map(lambda _: numbers, kernels)


def _by_shape(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies Muon to stacks of kernels of equal shape; its state has them one by one."""

    def update(updates, state, params=None):
        leaves, structure = jax.tree.flatten(updates)
        members = {}
        for i, leaf in enumerate(leaves):
            members.setdefault(leaf.shape, []).append(i)

        def stack(tree):
            kernels = jax.tree.leaves(tree)
            return [jnp.stack([kernels[i] for i in group]) for group in members.values()]

        def unstack(stacks):
            order = [i for group in members.values() for i in group]
            kernels = dict(zip(order, (kernel for one in stacks for kernel in one), strict=True))
            return structure.unflatten([kernels[i] for i in range(len(leaves))])

        state = state._replace(mu=stack(state.mu))
        stacked: Any = inner.update(stack(updates), state)
        return unstack(stacked[0]), stacked[1]._replace(mu=unstack(stacked[1].mu))

    return optax.GradientTransformation(inner.init, update)
