"""Evaluation steps over a mesh of devices: pure functions without I/O."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array

from hourglass_jax.nn import DECAY, forward
from hourglass_jax.runtime import sharding
from hourglass_jax.runtime.sharding import AXIS, REPLICATED, SHARDED
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Candidates, Task


def make_eval_step(
    model, task: Task, mesh: Mesh, *, flip_test: bool = True, batch_statistics: bool = False
) -> Callable[[dict, Array | Sequence[Array]], tuple[Candidates, ...]]:
    """Makes `step(variables, images) -> candidates`: [B, S, ...] for each view.

    `images` is an array, or a list of arrays with the same images at several sizes, whose views
    follow each other.

    Args:
      model: the network.
      task: task that decodes the outputs.
      mesh: mesh of devices.
      flip_test: predict from the mirror images as well. If the task merges both views, there are
        candidates of one view only.
      batch_statistics: let BatchNorm normalise as in training, with the statistics of each device's
        share of the batch and of its mirror images.
    """

    def step(variables, images):
        def predict(inputs):
            if batch_statistics:
                return model.apply(variables, inputs, train=True, mutable=["batch_stats"])[0]
            return forward(model, variables, inputs)

        candidates = []
        for own in jax.tree.leaves(images):
            inputs = model.normalisation(own)
            seen = views.flip_test(predict, inputs) if flip_test else views.plain(predict, inputs)
            candidates += views.decode(task, views.merge(task, seen))
        return tuple(candidates)

    return sharding.compile_step(step, mesh, in_specs=(REPLICATED, SHARDED), out_specs=SHARDED)


def make_statistics_step(model, mesh: Mesh) -> Callable[[dict, Array], dict]:
    """Makes `step(variables, images) -> batch_stats`: the statistics, averaged over devices."""

    def step(variables, images):
        # Running statistics that start at zero become (1 - DECAY) times the batch's statistics.
        zeros = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        _, updated = model.apply(
            {**variables, "batch_stats": zeros},
            model.normalisation(images),
            train=True,
            mutable=["batch_stats"],
        )
        return lax.pmean(jax.tree.map(lambda x: x / (1 - DECAY), updated["batch_stats"]), AXIS)

    return sharding.compile_step(step, mesh, in_specs=(REPLICATED, SHARDED), out_specs=REPLICATED)
