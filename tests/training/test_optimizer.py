"""The optimizer's formulas against plain NumPy, and the schedules at their corners."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import load_config
from optax import contrib

from hourglass_jax.checkpoint.state import create_train_state
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.training import optimizer


def make_config(**fields):
    config = load_config("mpii").optimizer
    with config.unlocked():
        config.update({"warmup_steps": 0, "schedule": "constant", "clip_norm": 0.0, **fields})
    return config


def run(config, gradients, num_steps=100):
    transformation, _ = optimizer.create_optimizer(config, num_steps)
    params = jnp.zeros(3)
    state = transformation.init(params)

    @jax.jit
    def update(params, state, gradient):
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for gradient in gradients:
        params, state = update(params, state, jnp.asarray(gradient, jnp.float32))
    return np.asarray(params)


GRADIENTS = np.random.default_rng(0).normal(size=(5, 3)) * 1e-3


@pytest.mark.core
def test_rmsprop_is_torchs():
    """m = 0.99 m + 0.01 g^2; p -= rate * g / (sqrt(m) + 1e-8) (torch/optim, rmsprop.lua)."""
    params, mean = np.zeros(3), np.zeros(3)
    for gradient in GRADIENTS:
        mean = 0.99 * mean + 0.01 * gradient**2
        params = params - 1e-2 * gradient / (np.sqrt(mean) + 1e-8)
    actual = run(make_config(name="rmsprop", learning_rate=1e-2), GRADIENTS)
    np.testing.assert_allclose(actual, params, rtol=1e-5)


def test_adam_is_the_papers():
    """Kingma and Ba, "Adam", ICLR 2015, algorithm 1."""
    params, first, second = np.zeros(3), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(GRADIENTS, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = np.sqrt(second / (1 - 0.999**t)) + 1e-8
        params = params - 1e-2 * first / (1 - 0.9**t) / corrected
    actual = run(make_config(name="adam", learning_rate=1e-2), GRADIENTS)
    np.testing.assert_allclose(actual, params, rtol=1e-4)


def test_muon_moves_kernels_by_matrices_without_direction_of_choice():
    """Jordan et al., "Muon", 2024: all singular values of a kernel's update are nearly equal.

    Five Newton-Schulz steps leave them between 0.7 and 1.2; the size is 0.2 of the square root of
    the longer side, which gives the update's elements the size that Adam's have.
    """
    config = make_config(name="muon", learning_rate=1e-2)
    transformation, _ = optimizer.create_optimizer(config, 100, frozenset({"heatmaps"}))
    rng = np.random.default_rng(0)
    params = {
        "conv": {"kernel": jnp.zeros((3, 3, 4, 8)), "bias": jnp.zeros(8)},
        "heatmaps": {"kernel": jnp.zeros((1, 1, 8, 16))},
    }
    gradients = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)
    updates, _ = transformation.update(gradients, transformation.init(params), params)
    sizes = np.linalg.svd(np.asarray(updates["conv"]["kernel"]).reshape(36, 8), compute_uv=False)
    assert (sizes > 0.65 * 1e-2 * 0.2 * 6).all() and (sizes < 1.25 * 1e-2 * 0.2 * 6).all()
    # The others get Adam's first step with Nesterov's momentum (Dozat, 2016).
    step = 0.9 * 0.1 / (1 - 0.9**2) + 1
    for name, leaf in (("conv", "bias"), ("heatmaps", "kernel")):
        expected = -1e-2 * step * np.sign(gradients[name][leaf])
        np.testing.assert_allclose(updates[name][leaf], expected, rtol=1e-3)


def test_muon_of_stacked_kernels_is_optaxs():
    """Updates, and the state with its structure, as optax has it for one kernel after another."""
    rng = np.random.default_rng(0)
    layers = {f"conv{i}": [("kernel", (3, 3, 4, 8)), ("bias", (8,))] for i in range(3)}
    layers |= {name: [("kernel", (1, 1, 8, 4))] for name in ("stem", "heatmaps")}

    def draw():
        return {
            layer: {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in one}
            for layer, one in layers.items()
        }

    def numbers(params):
        axes = contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
        return {
            layer: {
                name: axes if name == "kernel" and layer != "heatmaps" else None for name in one
            }
            for layer, one in params.items()
        }

    config = make_config(name="muon", learning_rate=1e-2)
    ours, schedule = optimizer.create_optimizer(config, 100, frozenset({"heatmaps"}))
    optaxs = contrib.muon(schedule, consistent_rms=0.2, muon_weight_dimension_numbers=numbers)
    params = draw()
    found, expected = ours.init(params), optaxs.init(params)
    for _ in range(3):
        gradients = draw()
        updates, found = jax.jit(ours.update)(gradients, found, params)
        wanted, expected = jax.jit(optaxs.update)(gradients, expected, params)
        for pair in ((updates, wanted), (found, expected)):
            assert jax.tree.structure(pair[0]) == jax.tree.structure(pair[1])
            close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
            jax.tree.map(close, *pair)


def test_clipping_bounds_the_gradients_norm():
    config = make_config(name="adam", learning_rate=1.0, clip_norm=0.5)
    transformation, _ = optimizer.create_optimizer(config, 10)
    # Adam forgets the scale of a gradient, but not of one that follows another.
    state = transformation.init(jnp.zeros(2))
    _, state = transformation.update(jnp.array([3.0, 4.0]), state, jnp.zeros(2))
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2,)]
    np.testing.assert_allclose(moments[0], 0.1 * np.array([0.3, 0.4]), rtol=1e-5)


@pytest.mark.core
def test_step_schedule_drops_at_shares_of_the_run():
    config = make_config(
        schedule="step", learning_rate=1.0, drop_at=(0.5, 0.8), drop_factor=0.1, warmup_steps=10
    )
    rate = optimizer.create_schedule(config, 100)
    assert [float(rate(i)) for i in (10, 49, 51, 79, 81)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.core
def test_cosine_schedule_warms_up_and_ends_at_zero():
    config = make_config(schedule="cosine", learning_rate=1.0, warmup_steps=10)
    rate = optimizer.create_schedule(config, 110)
    assert [float(rate(i)) for i in (0, 9, 10, 60, 110)] == pytest.approx(
        [0.1, 0.91, 1.0, 0.5, 0.0], abs=1e-6
    )


def test_the_plateau_schedule_drops_when_the_loss_stops_falling():
    config = make_config(
        name="adam", schedule="plateau", learning_rate=1.0, drop_factor=0.1, patience=20
    )
    transformation, rate = optimizer.create_optimizer(config, 1000)
    assert float(rate(0)) == float(rate(999)) == 1.0
    state = transformation.init(jnp.zeros(2))
    assert float(optimizer.plateau_factor(state)) == 1.0
    factors = []
    for step in range(80):
        value = max(1.0 - 0.01 * step, 0.6)  # falls for 40 steps, and no further
        updates, state = transformation.update(jnp.ones(2), state, jnp.zeros(2), value=value)
        factors.append(float(optimizer.plateau_factor(state)))
    assert factors[:55] == [1.0] * 55 and factors[70] == pytest.approx(0.1)
    assert float(jnp.abs(updates).max()) == pytest.approx(0.1, rel=1e-2)


def test_other_schedules_have_no_plateau():
    transformation, _ = optimizer.create_optimizer(make_config(name="adam"), 10)
    assert optimizer.plateau_factor(transformation.init(jnp.zeros(2))) == 1.0


def test_muons_state_goes_through_a_checkpoint_bit_by_bit(tmp_path):
    """The runs that the tests resume use Adam, whose state has another structure."""
    config = make_config(name="muon", learning_rate=1e-2)
    transformation, _ = optimizer.create_optimizer(config, 100, frozenset({"heatmaps"}))
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 4, 8)), jnp.float32)
    params = {"conv": {"kernel": kernel, "bias": jnp.zeros(8)}}
    gradients = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)

    def update(state):
        updates, opt_state = transformation.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state)

    first = create_train_state({"params": params, "batch_stats": {}}, transformation)
    state = update(first)
    with Checkpoints(tmp_path, "PCKh@0.5") as checkpoints:
        checkpoints.save(state, {}, None)
    with Checkpoints(tmp_path, "PCKh@0.5") as checkpoints:
        restored = checkpoints.restore(1, first)
    for went_on, resumed in zip(
        jax.tree.leaves(update(state)), jax.tree.leaves(update(restored)), strict=True
    ):
        np.testing.assert_array_equal(went_on, resumed)
