"""Evaluation steps over a mesh of devices: pure functions, no I/O."""

from collections.abc import Callable

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
) -> Callable[[dict, Array], tuple[Candidates, ...]]:
    """Returns `step(variables, images) -> candidates` of every stack, [B, S, ...], for each view.

    Args:
      model: the network.
      task: decodes its outputs.
      mesh: the devices.
      flip_test: look at the mirror images, too. Where the task merges both views, candidates are
        those of one view.
      batch_statistics: BatchNorm normalises as in training, by each device's share of the batch,
        and of its mirror images.
    """

    def step(variables, images):
        def predict(inputs):
            if batch_statistics:
                return model.apply(variables, inputs, train=True, mutable=["batch_stats"])[0]
            return forward(model, variables, inputs)

        inputs = model.normalisation(images)
        seen = views.flip_test(predict, inputs) if flip_test else views.plain(predict, inputs)
        return views.decode(task, views.merge(task, seen))

    return sharding.compile_step(step, mesh, in_specs=(REPLICATED, SHARDED), out_specs=SHARDED)


def make_statistics_step(model, mesh: Mesh) -> Callable[[dict, Array], dict]:
    """Returns `step(variables, images) -> batch_stats`: the mean over devices of their shares'."""

    def step(variables, images):
        # What the running statistics become when they start from nothing is a share of these.
        nothing = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        _, updated = model.apply(
            {**variables, "batch_stats": nothing},
            model.normalisation(images),
            train=True,
            mutable=["batch_stats"],
        )
        return lax.pmean(jax.tree.map(lambda x: x / (1 - DECAY), updated["batch_stats"]), AXIS)

    return sharding.compile_step(step, mesh, in_specs=(REPLICATED, SHARDED), out_specs=REPLICATED)
