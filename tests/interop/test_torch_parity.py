"""Small networks in PyTorch against ours with their weights: outputs, gradients, statistics."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from hourglass_jax.interop.torch_weights import from_state_dict


@pytest.fixture(scope="module")
def torch_side():
    return importlib.import_module("torch_side")


@pytest.mark.parametrize("name", ["princeton", "bearpaw"])
def test_outputs_agree(torch_side, name):
    network = torch_side.make(name)
    images = np.random.default_rng(0).random((2, 48, 80, 3), np.float32)
    expected = torch_side.heatmaps(network, images)

    model, variables, _ = from_state_dict(torch_side.state_dict(network))
    heatmaps = jax.jit(model.apply)(variables, images)

    assert heatmaps.shape == expected.shape == (2, 2, 12, 20, 3)
    for stack in range(2):
        largest = np.abs(expected[:, stack]).max()
        assert expected[:, stack].std() > 0.05 * largest
        np.testing.assert_allclose(
            heatmaps[:, stack], expected[:, stack], rtol=0, atol=2e-5 * largest
        )


@pytest.fixture(scope="module")
def training_step(torch_side):
    """Gradients and new statistics of one step in float64, theirs and ours, by our names."""
    network = torch_side.make("princeton")
    rng = np.random.default_rng(1)
    images, targets = rng.random((3, 32, 48, 3)), rng.random((3, 8, 12, 3))
    _, expected, _ = from_state_dict(torch_side.step(network, images, targets))
    found = step(torch_side.state_dict(network), images, targets)
    return flatten_dict(expected, sep="/"), flatten_dict(found, sep="/")


def step(state_dict, images, targets):
    model, variables, _ = from_state_dict(state_dict)
    model = model.clone(dtype=jnp.float64)

    def loss(params, batch_stats, images, targets):
        heatmaps, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        return ((heatmaps - targets[:, None]) ** 2).mean((0, 2, 3, 4)).sum(), updated

    with jax.enable_x64(True):
        params, batch_stats = (
            jax.tree.map(np.float64, variables[name]) for name in ("params", "batch_stats")
        )
        gradients, updated = jax.jit(jax.grad(loss, has_aux=True))(
            params, batch_stats, images, targets
        )
    return {"params": gradients, **updated}


@pytest.mark.parametrize("collection", ["params", "batch_stats"])
def test_a_training_step_agrees(training_step, collection):
    """In float64; what PyTorch gives is rounded to float32 at the end. `params`: their gradient."""
    expected, found = training_step
    assert expected.keys() == found.keys()
    names = [name for name in expected if name.startswith(collection)]
    assert len(names) > 50
    for name in names:
        assert found[name].dtype == np.float64
        largest = np.abs(expected[name]).max()
        # The gradient of a bias that BatchNorm takes away again is 0, PyTorch's nearly.
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=2e-7 * largest + 1e-14, err_msg=name
        )
