"""The network is the paper's: sizes, first outputs, first parameters, padding and statistics."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax.nn.stacked_hourglass import Residual, StackedHourglass
from hourglass_jax.tasks.single_pose import losses

small = functools.partial(StackedHourglass, num_joints=3, features=16, order=2, stem_features=8)
tiny = functools.partial(small, order=1)  # where a test compiles it
# Compiling is most of the time that these tests take.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def fresh(num_stacks):
    model = tiny(num_stacks=num_stacks)
    # This generator compiles twice as fast as the default one.
    key = jax.random.key(7, impl="rbg")
    return model.lazy_init(key, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))


def awake(num_stacks):
    """Variables of a network that predicts something, unlike a fresh one."""
    params = flatten_dict(fresh(num_stacks)["params"])
    rng = np.random.default_rng(0)
    for path, value in params.items():
        if "heatmaps" in path:
            params[path] = jnp.asarray(rng.normal(size=value.shape), jnp.float32)
    return {**fresh(num_stacks), "params": unflatten_dict(params)}


def some_images():
    return np.random.default_rng(3).random((2, 32, 32, 3), np.float32)


def shapes_of(model, side=64, **options):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    init = functools.partial(model.init, **options)
    return jax.eval_shape(init, jax.random.key(0), image)


@pytest.mark.core
@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"num_stacks": 1}, 3_426_448),
        ({"num_stacks": 2}, 6_570_400),
        ({"num_stacks": 4}, 12_858_304),
        ({"num_stacks": 8}, 25_434_112),
        ({"num_stacks": 1, "stem": "bearpaw"}, 3_426_448 + 160_512),
        ({"num_stacks": 1, "num_joints": 17}, 3_426_705),
        # Each further residual of 256 features: 13 places in the hourglass and one behind it.
        ({"num_stacks": 1, "num_residuals": 2}, 3_426_448 + 14 * 214_528),
    ],
)
def test_parameter_counts(fields, count):
    params = shapes_of(StackedHourglass(**fields))["params"]
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
@pytest.mark.parametrize("train", [False, True])
def test_outputs_and_state_are_float32_in_either_precision(dtype, train):
    model = tiny(num_stacks=2, dtype=dtype)
    image = jax.ShapeDtypeStruct((2, 64, 128, 3), jnp.float32)
    apply = functools.partial(model.apply, train=train, mutable=["batch_stats"])
    heatmaps, updated = jax.eval_shape(apply, fresh(2), image)
    assert (heatmaps.shape, heatmaps.dtype) == ((2, 2, 16, 32, 3), jnp.float32)
    assert {x.dtype for x in jax.tree.leaves(updated)} == {jnp.dtype("float32")}
    assert {x.dtype for x in jax.tree.leaves(shapes_of(model))} == {jnp.dtype("float32")}


def test_bfloat16_computes_in_bfloat16():
    full, half = (
        jit(tiny(num_stacks=1, dtype=dtype).apply)(awake(1), some_images())
        for dtype in (None, jnp.bfloat16)
    )
    error = jnp.abs(full - half).max() / jnp.abs(full).max()
    assert 1e-4 < error < 0.05
    # Heatmaps end in bfloat16 and are cast afterwards.
    np.testing.assert_array_equal(half, half.astype(jnp.bfloat16).astype(jnp.float32))


@pytest.mark.core
@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_hourglass_halves_its_input_as_often_as_its_order(order):
    state = shapes_of(small(num_stacks=1, order=order), capture_intermediates=True)
    outputs = flatten_dict(state["intermediates"]["stack0"]["hourglass"])
    for place in ("up", "low1", "low3"):
        sizes = [
            outputs[("low2",) * level + (place, "__call__")][0].shape[1:3] for level in range(order)
        ]
        first = 16 if place == "up" else 8
        assert sizes == [(first // 2**level, first // 2**level) for level in range(order)]
    innermost = ("low2",) * order
    bottom = outputs[(*innermost, "residual0", "__call__")][0].shape
    assert bottom == (1, 16 // 2**order, 16 // 2**order, 16)
    assert outputs["__call__",][0].shape == (1, 16, 16, 16)


@pytest.mark.core
@pytest.mark.parametrize(("num_stacks", "train"), [(1, True), (2, False)])
def test_training_starts_on_the_plateau_exactly(num_stacks, train):
    apply = jit(tiny(num_stacks=num_stacks).apply, static_argnames=("train", "mutable"))
    images = some_images()
    heatmaps, _ = apply(fresh(num_stacks), images, train=train, mutable=("batch_stats",))
    assert heatmaps.shape == (2, num_stacks, 8, 8, 3)
    np.testing.assert_array_equal(heatmaps, np.zeros_like(heatmaps))

    rng = np.random.default_rng(1)
    targets = rng.random((2, 8, 8, 3), np.float32)
    weights = np.array([[1, 0, 1], [1, 1, 0]], np.float32)
    plateau = losses.plateau(targets, weights)
    assert plateau > 0
    loss = losses.heatmap_loss(heatmaps, targets, weights)
    np.testing.assert_array_equal(loss, np.full(num_stacks, plateau))


def test_convolutions_start_uniform_within_the_inverse_root_of_their_inputs():
    params = flatten_dict(fresh(2)["params"])
    biases, kernels = [], {}
    for path, kernel in params.items():
        if path[-1] != "kernel":
            continue
        bias = params[*path[:-1], "bias"]
        if "heatmaps" in path:
            assert not np.any(kernel) and not np.any(bias)
            continue
        bound = 1 / math.sqrt(math.prod(kernel.shape[:3]))
        assert max(np.abs(kernel).max(), np.abs(bias).max()) <= bound
        # The largest of n numbers misses the bound by a share of 2/n on average.
        gap = 20 / kernel.size
        assert kernel.min() < -(1 - gap) * bound and kernel.max() > (1 - gap) * bound, path
        biases.append(np.asarray(bias) / bound)
        kernels.setdefault(kernel.shape, []).append(np.asarray(kernel))
    biases = np.concatenate(biases)
    assert biases.size > 500
    assert biases.min() < -0.98 and biases.max() > 0.98
    for same_shape in kernels.values():
        assert len({x.tobytes() for x in same_shape}) == len(same_shape)


@pytest.mark.core
def test_batch_norm_starts_as_the_identity():
    state = fresh(1)
    for path, value in flatten_dict({**state["params"], "stats": state["batch_stats"]}).items():
        if path[-2].startswith("bn"):
            start = {"scale": 1, "bias": 0, "mean": 0, "var": 1}[path[-1]]
            np.testing.assert_array_equal(value, np.full_like(value, start))


def test_remat_changes_memory_alone():
    variables, images = awake(1), some_images()
    params = variables["params"]

    def loss(stack0, residual3, model):
        changed = {"stack0": stack0, "stem": {**params["stem"], "residual3": residual3}}
        heatmaps, updated = model.apply(
            {**variables, "params": changed}, images, train=True, mutable=["batch_stats"]
        )
        return (heatmaps**2).mean(), (heatmaps, updated)

    def run(model):
        # The stack's own parameters, and the last ones before it: the gradient leaves the stack.
        gradient = jax.grad(functools.partial(loss, model=model), argnums=(0, 1), has_aux=True)
        arguments = params["stack0"], params["stem"]["residual3"]
        traced = jit(gradient).trace(*arguments)
        program = {equation.primitive.name for equation in traced.jaxpr.eqns}
        return program, traced.lower().compile()(*arguments)

    plain, expected = run(tiny(num_stacks=1))
    rematerialised, found = run(tiny(num_stacks=1, remat=True))
    assert [name for name in rematerialised - plain if "remat" in name or "checkpoint" in name]
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))
    assert shapes_of(tiny(num_stacks=1, remat=True)) == shapes_of(tiny(num_stacks=1))


@pytest.mark.core
def test_names_are_the_checkpoint_format():
    shapes = shapes_of(small(num_stacks=2))
    params = shapes["params"]
    stack = {"hourglass", "out", "conv", "bn", "heatmaps"}
    hourglass = params["stack0"]["hourglass"]
    assert set(params) == {"stem", "stack0", "stack1"}
    assert set(params["stem"]) == {"conv", "bn", "residual1", "residual2", "residual3"}
    assert set(params["stack0"]) == stack | {"merge_features", "merge_heatmaps"}
    assert set(params["stack1"]) == stack
    assert set(hourglass) == set(hourglass["low2"]) == {"up", "low1", "low2", "low3"}
    assert set(hourglass["low2"]["low2"]) == set(params["stack0"]["out"]) == {"residual0"}
    inside = {"bn1", "conv1", "bn2", "conv2", "bn3", "conv3"}
    assert set(hourglass["up"]["residual0"]) == inside
    assert set(params["stem"]["residual1"]) == inside | {"skip"}
    assert set(params["stem"]["conv"]) == {"kernel", "bias"}
    assert set(params["stem"]["bn"]) == {"scale", "bias"}
    assert set(shapes["batch_stats"]["stem"]["bn"]) == {"mean", "var"}


def test_running_statistics_move_a_tenth_of_the_way():
    @jit
    def train(images):
        return tiny(num_stacks=1).apply(
            fresh(1),
            images,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=True,
        )

    _, state = train(some_images())
    ((product, bias),) = state["intermediates"]["stem"]["conv"]["__call__"]
    before = product + bias.reshape(1, 1, 1, -1)
    found = state["batch_stats"]["stem"]["bn"]
    mean, variance = before.mean(axis=(0, 1, 2)), before.var(axis=(0, 1, 2))
    assert np.abs(mean).min() > 1e-3
    np.testing.assert_allclose(found["mean"], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(found["var"], 0.9 + 0.1 * variance, rtol=1e-5)
    (after,) = state["intermediates"]["stem"]["bn"]["__call__"]
    expected = (before - mean.reshape(1, 1, 1, -1)) / jnp.sqrt(variance + 1e-5).reshape(1, 1, 1, -1)
    np.testing.assert_allclose(after, nn.relu(expected), atol=1e-3)


@pytest.mark.parametrize("features", [8, 12])
def test_a_residual_adds_its_raw_input(features):
    """With the last convolution at zero nothing but the skip is left: the input, or one matrix."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1, 4, 4, 8)).astype(np.float32)
    model = Residual(features)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, False))
    variables = jax.tree.map(lambda s: rng.random(s.shape, np.float32), shapes)
    params = variables["params"]
    branchless = {**params, "conv3": jax.tree.map(np.zeros_like, params["conv3"])}
    apply = jit(model.apply, static_argnums=2)
    found = apply({**variables, "params": branchless}, x, False)
    if features == 8:
        assert "skip" not in params
        np.testing.assert_array_equal(found, x)
    else:
        expected = x @ params["skip"]["kernel"][0, 0] + params["skip"]["bias"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(apply(variables, x, False) - found).max() > 0.01


def test_hourglass_pools_by_the_maximum_and_repeats_pixels():
    """The pooling as seen in the stem, between its first two residuals."""
    state = jit(
        lambda variables, images: tiny(num_stacks=1).apply(
            variables, images, capture_intermediates=True, mutable=["intermediates"]
        )[1]["intermediates"]
    )(fresh(1), some_images())
    hourglass = state["stack0"]["hourglass"]
    (up,), (low3,), (out,) = (
        node["__call__"] for node in (hourglass["up"], hourglass["low3"], hourglass)
    )
    repeated = np.repeat(np.repeat(low3, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(out, up + repeated, rtol=1e-6, atol=1e-6)

    (wide,), (narrow,) = (state["stem"][f"residual{i}"]["__call__"] for i in (1, 2))
    pooled = nn.max_pool(wide, (2, 2), strides=(2, 2))
    assert pooled.shape == narrow.shape
    variables = {name: fresh(1)[name]["stem"]["residual2"] for name in fresh(1)}
    expected = jit(Residual(16).apply, static_argnums=2)(variables, pooled, False)
    np.testing.assert_allclose(narrow, expected, rtol=1e-5, atol=1e-5)


def test_heatmaps_start_as_they_are_asked_to():
    model = tiny(num_stacks=1, starts=(0.0, -2.19, None))
    key, image = jax.random.key(7, impl="rbg"), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    params = flatten_dict(model.lazy_init(key, image)["params"])
    for path, value in flatten_dict(fresh(1)["params"]).items():
        if "heatmaps" not in path:
            np.testing.assert_array_equal(params[path], value)
    kernel, bias = (params["stack0", "heatmaps", name] for name in ("kernel", "bias"))
    np.testing.assert_array_equal(bias[:2], np.array([0, -2.19], np.float32))
    assert not np.any(kernel[..., :2]) and np.all(kernel[..., 2]) and bias[2]
    with pytest.raises(ValueError, match="2 starts for 3 joints"):
        shapes_of(tiny(starts=(0.0, None)))


def test_outputs_are_smaller_by_the_stride():
    model = small(num_stacks=1)
    images = jax.ShapeDtypeStruct((1, 32, 48, 3), jnp.float32)
    outputs = jax.eval_shape(model.apply, shapes_of(model), images)
    assert outputs.shape == (1, 1, 32 // model.stride, 48 // model.stride, 3)


def test_channel_axes_are_those_that_follow_the_number_of_joints():
    """Of all parameters, in a network of one more joint exactly these are longer by one."""
    few, more = (
        flatten_dict(shapes_of(tiny(num_stacks=2, num_joints=n))["params"]) for n in (3, 4)
    )
    for path, value in few.items():
        axis = StackedHourglass.channel_axes.get(path[-2:])
        longer = np.subtract(more[path].shape, value.shape).tolist()
        assert longer == [int(i == axis) for i in range(len(longer))], path
    assert {path[-2:] for path in few} >= set(StackedHourglass.channel_axes)
