"""A task whose losses are divided by counts, over devices and parts of a batch, and its views."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_new_task import SIDE, MiddleOfMass

from hourglass_jax.checkpoint.state import create_train_state
from hourglass_jax.evaluation.step import make_eval_step
from hourglass_jax.nn import init_variables
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.runtime import sharding
from hourglass_jax.training.step import make_train_step


def batch_of(task, count=8):
    """Targets of images of which some hold no blob, and unequally many in each share."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        middles = rng.uniform(16, 48, (int(i in (0, 1, 2, 5)), 2)).astype(np.float32)
        rows.append(task.targets({"middles": middles}, np.eye(2, 3), (SIDE, SIDE)))
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return {"image": images, **{name: array.astype(np.float64) for name, array in stacked.items()}}


@pytest.mark.parametrize(
    ("devices", "accumulate"),
    [
        pytest.param(2, 1, marks=pytest.mark.slow),
        pytest.param(1, 2, marks=pytest.mark.slow),
        (2, 2),  # both at once
    ],
)
def test_losses_divided_by_counts_of_the_whole_batch(devices, accumulate):
    """Two devices and two parts equal one, although their shares hold unequally many blobs."""
    with jax.enable_x64(True):
        task = MiddleOfMass(4.0, 4)
        model = StackedHourglass(1, 1, features=8, order=1, stem_features=4, dtype=jnp.float64)
        variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), init_variables(model, 0))
        batch = batch_of(task)

        def step_on(devices, accumulate):
            mesh = sharding.make_mesh(jax.devices()[:devices])
            optimizer = optax.sgd(1.0)
            state = sharding.replicate(create_train_state(variables, optimizer), mesh)
            step = make_train_step(
                model, task, optimizer, mesh, freeze_batch_norm=True, accumulate=accumulate
            )
            return jax.device_get(step(state, sharding.shard_batch(batch, mesh)))

        (one, metrics), (other, others) = step_on(1, 1), step_on(devices, accumulate)
        for name in ("loss", "plateau", "gradient_norm"):
            np.testing.assert_allclose(others[name], metrics[name], rtol=1e-9, err_msg=name)
        assert metrics["loss"] > 0
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-12),
            one.params,
            other.params,
        )


def test_views_are_merged_by_the_task():
    """A mirrored input gives the mirrored answer, which no single view of a network does."""
    task = MiddleOfMass(4.0, 4)
    model = StackedHourglass(1, 1, features=8, order=1, stem_features=4, starts=(None,))
    mesh = sharding.make_mesh(jax.devices()[:2])
    variables = sharding.replicate(init_variables(model, 0), mesh)
    images = batch_of(task)["image"]
    step = make_eval_step(model, task, mesh, flip_test=True)
    (plain,), (mirrored,) = step(variables, images), step(variables, images[:, :, ::-1])
    expected = np.asarray(mirrored["middle"]) * [-1, 1] + [SIDE // 4 - 1, 0]
    np.testing.assert_allclose(plain["middle"], expected, atol=1e-4)
    (single,) = make_eval_step(model, task, mesh, flip_test=False)(variables, images)
    assert abs(np.asarray(single["middle"]) - np.asarray(plain["middle"])).max() > 1e-3
