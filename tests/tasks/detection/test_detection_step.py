"""A training step on shares of a batch, by devices and one after another, is one on the batch.

Losses divide by counts of the global batch, so a share without objects weighs nothing.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_detection_losses import SIDE, make_targets, make_task

from hourglass_jax.checkpoint.state import create_train_state
from hourglass_jax.nn.network import Normalisation
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.detection.options import CORNERS, JOINTS
from hourglass_jax.training.step import make_train_step

BATCH = 4


class OneConvolution(nn.Module):
    """As little network as a step takes: it compiles in no time, and has no BatchNorm."""

    channels: int
    axis_name: str | None = None
    normalisation: Normalisation = Normalisation()

    @nn.compact
    def __call__(self, images, train: bool = False):
        outputs = nn.Conv(self.channels, (4, 4), (4, 4), param_dtype=jnp.float64, name="conv")
        return outputs(images)[:, None]


def batch_of(task):
    """Four images, of which the last two have no object."""
    targets = {name: np.array(array) for name, array in make_targets(task, BATCH).items()}
    targets["mask"][:2, 0], targets["mask"][2:] = True, False
    if "joint_mask" in targets:
        targets["joint_mask"] &= targets["mask"][..., None]
    images = np.random.default_rng(2).integers(0, 256, (BATCH, 4 * SIDE, 4 * SIDE, 3), np.uint8)
    return {"image": images, **targets}


@pytest.mark.parametrize("kind", [CORNERS, JOINTS])  # which has all that centres alone have
def test_shares_make_the_step_of_the_batch(kind):
    task = make_task(kind)
    model = OneConvolution(sum(len(head.channels) for head in task.heads.values()))
    with jax.enable_x64(True):
        batch = batch_of(task)
        variables = model.init(jax.random.key(0), batch["image"] / 255)
        variables = {"params": variables["params"], "batch_stats": {}}

        def stepped(devices=1, **options):
            mesh, optimizer = sharding.make_mesh(jax.devices()[:devices]), optax.sgd(1.0)
            state = sharding.replicate(create_train_state(variables, optimizer), mesh)
            step = make_train_step(model, task, optimizer, mesh, **options)
            after, metrics = step(state, sharding.shard_batch(batch, mesh))
            return jax.device_get((after.params, metrics["terms"], metrics["plateau"]))

        whole = stepped()
        close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
        assert all((term > 0).all() for term in whole[1].values())
        jax.tree.map(close, stepped(devices=2, accumulate=2), whole)
