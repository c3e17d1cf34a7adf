"""The step over eight devices against one: loss, gradients and statistics, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from hourglass_jax.checkpoint.state import create_train_state, state_shapes
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.evaluation.step import make_eval_step, make_statistics_step
from hourglass_jax.nn.network import init_variables, variable_shapes
from hourglass_jax.nn.stacked_hourglass import StackedHourglass
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.single_pose import losses
from hourglass_jax.tasks.single_pose.task import SinglePose
from hourglass_jax.training import step as steps

BATCH = 16
TASK = SinglePose(Skeleton("three", ("left", "right", "top"), (("left", "right"),), ()))


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def make_model(**fields):
    options = {"num_stacks": 1, "num_joints": 3, "features": 8, "order": 1, "stem_features": 4}
    return StackedHourglass(**{**options, **fields})


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8),
        "heatmaps": rng.random((BATCH, 8, 8, 3)).astype(np.float32),
        "weights": (rng.random((BATCH, 3)) < 0.8).astype(np.float32),
    }


@functools.cache
def make_variables(model, dtype):
    variables = init_variables(model, 0)
    variables = jax.device_get(variables)  # NumPy does what JAX would compile for every shape
    # A fresh network predicts nothing, and hides half of the gradients: shake its heads.
    shaken = jax.tree.map(
        lambda x: x + 0.01 * np.random.default_rng(x.size).normal(size=x.shape), variables["params"]
    )
    variables = {**variables, "params": shaken}
    return jax.tree.map(lambda x: jnp.asarray(x.astype(dtype)), variables)


@functools.cache
def run(model, dtype, devices, *, sync=False, **options):
    """One step of plain gradient descent: its metrics, and gradient and statistics after it."""
    mesh = sharding.make_mesh(jax.devices()[:devices])
    optimizer = optax.sgd(1.0)
    variables = make_variables(model, dtype)
    state = sharding.replicate(create_train_state(variables, optimizer), mesh)
    step = steps.make_train_step(model, TASK, optimizer, mesh, sync_batch_norm=sync, **options)
    after, metrics = step(state, sharding.shard_batch(make_batch(), mesh))
    gradients = jax.tree.map(lambda a, b: np.asarray(a) - b, variables["params"], after.params)
    return jax.device_get((metrics, gradients, after.batch_stats))


@functools.cache
def averaging_step():
    """A compiled step of two stacks, and what makes a state for it: compiled for three tests."""
    model, mesh, optimizer = make_model(num_stacks=2), sharding.make_mesh(), optax.adam(1e-2)

    def make_state(variables):
        return sharding.replicate(create_train_state(variables, optimizer, ema=True), mesh)

    step = steps.make_train_step(model, TASK, optimizer, mesh, ema_decay=0.15)
    return model, make_state, lambda state: step(state, sharding.shard_batch(make_batch(), mesh))


def distance(a, b):
    """The largest difference between two trees, as a share of the second's global norm."""
    difference = jax.tree.map(lambda x, y: np.abs(x - y).max(), a, b)
    norm = np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(b)))
    return max(jax.tree.leaves(difference)) / float(norm)


def test_synchronised_statistics_make_eight_devices_one(double):
    model = make_model(dtype=jnp.float64)
    one, one_gradients, one_stats = run(model, jnp.float64, 1)
    eight, eight_gradients, eight_stats = run(model, jnp.float64, 8, sync=True)
    assert eight["loss"] == pytest.approx(one["loss"], rel=1e-12)
    assert distance(eight_gradients, one_gradients) < 1e-10
    assert distance(eight_stats, one_stats) < 1e-10


@pytest.mark.slow
def test_synchronised_loss_in_float32():
    model = make_model()
    one, eight = run(model, jnp.float32, 1)[0], run(model, jnp.float32, 8, sync=True)[0]
    assert eight["loss"] == pytest.approx(one["loss"], rel=1e-6)


def test_otherwise_each_device_has_its_own_statistics_and_gradients_are_averaged(double):
    model = make_model(dtype=jnp.float64)
    metrics, gradients, stats = run(model, jnp.float64, 8)
    variables, batch = make_variables(model, jnp.float64), make_batch()

    @jax.jit
    def alone(share):
        def loss(params):
            heatmaps, updated = model.apply(
                {**variables, "params": params},
                share["image"] / 255.0,
                train=True,
                mutable=["batch_stats"],
            )
            per_stack = losses.heatmap_loss(heatmaps, share["heatmaps"], share["weights"])
            return per_stack.sum(), updated["batch_stats"]

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    shares = [{k: v[2 * i : 2 * i + 2] for k, v in batch.items()} for i in range(8)]
    results = [jax.device_get(alone(share)) for share in shares]
    mean = functools.partial(jax.tree.map, lambda *x: np.mean(x, axis=0))
    assert metrics["loss"] == pytest.approx(np.mean([r[0][0] for r in results]), rel=1e-12)
    assert distance(gradients, mean(*[r[1] for r in results])) < 1e-10
    assert distance(stats, mean(*[r[0][1] for r in results])) < 1e-10
    # And this is something else than statistics over all.
    assert distance(gradients, run(model, jnp.float64, 1)[1]) > 1e-3


@pytest.mark.core
def test_a_step_moves_every_parameter_that_it_should_and_counts():
    model, make_state, step = averaging_step()
    variables = make_variables(model, jnp.float32)
    after, metrics = step(make_state(variables))
    assert int(after.step) == 1
    still = jax.tree.map(lambda a, b: bool((a == b).all()), variables["params"], after.params)
    for path, is_still in flatten_dict(still).items():
        # BatchNorm's mean takes away a bias before it.
        assert is_still == (path[-1] == "bias" and path[-2] in ("conv", "conv1", "conv2")), path
    assert metrics["loss_per_stack"].shape == (2,)
    assert float(metrics["loss"]) == pytest.approx(float(metrics["loss_per_stack"].sum()))
    # The caller's own arrays live on, though the state was donated.
    assert np.isfinite(jax.tree.leaves(variables["params"])[0]).all()


def test_the_first_loss_is_the_plateau_exactly():
    model, make_state, step = averaging_step()
    _, metrics = step(make_state(init_variables(model, 0)))
    assert (np.asarray(metrics["loss_per_stack"]) == float(metrics["plateau"])).all()


def test_the_flip_test_is_the_mean_over_both_views():
    model = make_model()
    mesh = sharding.make_mesh()
    variables = sharding.replicate(make_variables(model, jnp.float32), mesh)
    order = TASK.skeleton.flip_order
    images = make_batch()["image"]

    def read(flip_test, images):
        (found,) = make_eval_step(model, TASK, mesh, flip_test=flip_test)(variables, images)
        return found["joints_heatmap"], found["scores"]

    joints, scores = read(True, images)
    # An image and its mirror image give mirrored answers, left and right exchanged.
    mirrored, mirrored_scores = read(True, images[:, :, ::-1])
    expected = np.asarray(mirrored)[:, :, order] * [-1, 1] + [7, 0]
    np.testing.assert_allclose(joints, expected, atol=1e-4)
    np.testing.assert_allclose(scores, np.asarray(mirrored_scores)[:, :, order], atol=1e-5)
    single, _ = read(False, images)
    assert (np.asarray(single) != np.asarray(joints)).any()


def test_a_batch_in_parts_is_the_batch(double):
    """Where statistics are frozen: otherwise each part is normalised by its own."""
    model, devices = make_model(dtype=jnp.float64), 2
    whole, gradients, stats = run(model, jnp.float64, devices, freeze_batch_norm=True)
    parts, in_parts, same_stats = run(
        model, jnp.float64, devices, freeze_batch_norm=True, accumulate=2
    )
    np.testing.assert_allclose(parts["loss_per_stack"], whole["loss_per_stack"], rtol=1e-12)
    assert distance(in_parts, gradients) < 1e-10
    before = make_variables(model, jnp.float64)["batch_stats"]
    for leaf, other, start in zip(*map(jax.tree.leaves, (stats, same_stats, before)), strict=True):
        np.testing.assert_array_equal(leaf, start)
        np.testing.assert_array_equal(other, start)


def test_parts_move_the_running_statistics_one_after_the_other(double):
    model = make_model(dtype=jnp.float64)
    _, _, stats = run(model, jnp.float64, 1, accumulate=2)
    variables, batch = make_variables(model, jnp.float64), make_batch()
    apply = jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))
    for i in range(2):
        _, updated = apply(variables, batch["image"][8 * i : 8 * i + 8] / 255.0)
        variables = {**variables, **updated}
    assert distance(stats, variables["batch_stats"]) < 1e-12


def test_averages_follow_the_parameters_and_are_evaluated():
    model, make_state, step = averaging_step()
    variables = make_variables(model, jnp.float32)
    expected, state = (
        {key: variables[key] for key in ("params", "batch_stats")},
        make_state(variables),
    )
    for decay in (0.1, 0.15):  # (1 + step) / (10 + step) at first, then as asked
        state, _ = step(state)
        now = {"params": state.params, "batch_stats": state.batch_stats}
        expected = jax.tree.map(
            lambda mean, x, d=decay: d * np.asarray(mean) + (1 - d) * np.asarray(x), expected, now
        )
    assert distance(jax.device_get(state.ema), expected) < 1e-6
    assert state.evaluated is state.ema
    without = create_train_state(variables, optax.sgd(1.0))
    assert without.evaluated["params"] is without.params


def test_statistics_of_a_batch_are_those_of_what_batch_norm_reads(double):
    model = make_model(dtype=jnp.float64)
    variables, batch = make_variables(model, jnp.float64), make_batch()
    mesh = sharding.make_mesh(jax.devices()[:1])
    stats = make_statistics_step(model, mesh)(variables, batch["image"])
    kernel, bias = (variables["params"]["stem"]["conv"][name] for name in ("kernel", "bias"))
    read = bias.reshape(1, 1, 1, -1) + jax.lax.conv_general_dilated(
        batch["image"] / 255.0,
        kernel,
        (2, 2),
        [(3, 3), (3, 3)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(stats["stem"]["bn"]["mean"], read.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(stats["stem"]["bn"]["var"], read.var((0, 1, 2)), rtol=1e-9)


def test_arrays_end_to_end_have_the_same_means():
    mesh = sharding.make_mesh()
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (), (5,), (2, 2, 2), (1,), (7,)]
    leaves = [rng.normal(size=(8, *shape)).astype(np.float32) for shape in shapes]
    leaves.insert(2, rng.integers(0, 9, (8, 6)))  # of another type
    means = jax.shard_map(
        lambda shares: steps.mean_joined([x[0] for x in shares]),
        mesh=mesh,
        in_specs=jax.sharding.PartitionSpec(sharding.AXIS),
        out_specs=jax.sharding.PartitionSpec(),
        check_vma=False,
    )(leaves)
    for mean, shares in zip(means, leaves, strict=True):
        np.testing.assert_allclose(mean, shares.mean(0), rtol=1e-6)


def shapes_of(batch, mesh):
    shapes = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in batch.items()}
    return sharding.with_sharding(shapes, mesh, sharding.SHARDED)


def temporary_memory(accumulate=1, **fields):
    model = StackedHourglass(num_joints=3, features=8, order=2, stem_features=4, **fields)
    mesh, optimizer = sharding.make_mesh(jax.devices()[:1]), optax.adam(1e-2)
    state = state_shapes(variable_shapes(model), optimizer, mesh)
    step = steps.make_train_step(model, TASK, optimizer, mesh, accumulate=accumulate)
    batch = {
        "image": np.zeros((16, 64, 64, 3), np.uint8),
        "heatmaps": np.zeros((16, 16, 16, 3), np.float32),
        "weights": np.zeros((16, 3), np.float32),
    }
    compiled = step.lower(state, shapes_of(batch, mesh)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_recomputing_and_parts_lower_the_memory_of_a_step():
    plain = temporary_memory(num_stacks=2)
    assert temporary_memory(num_stacks=2, remat=True) < 0.85 * plain
    assert temporary_memory(num_stacks=2, accumulate=4) < 0.6 * plain


def test_a_step_is_compiled_for_what_the_state_and_batch_are():
    model, mesh, optimizer = make_model(), sharding.make_mesh(), optax.adam(1e-2)
    variables = init_variables(model, 0)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        lambda x: x.shape, variable_shapes(model)
    )
    state = sharding.replicate(create_train_state(variables, optimizer), mesh)
    like = state_shapes(variables, optimizer, mesh)
    batch = sharding.shard_batch(make_batch(), mesh)
    shapes = shapes_of(make_batch(), mesh)

    def described(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), tree)

    assert described(state) == described(like)
    assert described(batch) == described(shapes)
