"""The network of CornerNet and CenterNet: sizes, names, recursion, first outputs, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from hourglass_jax import PRESETS, Hourglass104, nn
from hourglass_jax.checkpoint.state import create_train_state
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.nn.hourglass104 import Hourglass
from hourglass_jax.nn.hourglass104_blocks import Fire
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.base import Head
from hourglass_jax.tasks.single_pose.task import SinglePose
from hourglass_jax.training.finetune import warm_start
from hourglass_jax.training.step import make_train_step

# Compiling is most of the time that these tests take.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

tiny = functools.partial(
    Hourglass104,
    heads={"hm": 2, "tl_heat": 3},
    corners={"tl_heat": "top_left"},
    starts=(-2.19, None, None, 0.5, None),
    num_stacks=1,
    widths=(4, 6),
    blocks=(1, 1),
    stem_features=4,
    corner_features=3,
)


def first(model):
    return nn.init_variables(model, 0)


def some_images(*shape):
    return np.random.default_rng(0).random((*shape, 3), np.float32)


def test_names_are_the_checkpoint_format():
    shapes = nn.variable_shapes(tiny(num_stacks=2, widths=(4, 6, 8), blocks=(1, 2, 1), stride=8))
    params = shapes["params"]
    assert set(params) == {"stem", "stack0", "stack1"}
    assert set(params["stem"]) == {"conv", "residual1", "residual2"}
    stack = {"hourglass", "features", "top_left", "head_hm", "head_tl_heat", "outputs"}
    merge = {"merge_input", "merge_features", "merge"}
    assert set(params["stack0"]) == stack | merge and set(params["stack1"]) == stack
    outer = params["stack0"]["hourglass"]
    assert set(outer) == set(outer["low2"]) == {"up", "low1", "low2", "low3"}
    assert set(outer["low2"]["low1"]) == {"block0", "block1"}
    assert set(outer["low2"]["low2"]) == {"block0"}
    assert set(outer["low1"]["block0"]) == {"conv1", "conv2", "skip"}
    assert set(outer["up"]["block0"]) == {"conv1", "conv2"}
    assert set(outer["up"]["block0"]["conv1"]) == {"conv", "bn"}
    assert set(outer["up"]["block0"]["conv1"]["conv"]) == {"kernel"}
    assert set(params["stack0"]["outputs"]) == {"kernel", "bias"}
    assert set(shapes["batch_stats"]["stem"]["conv"]["bn"]) == {"mean", "var"}
    fire = nn.variable_shapes(tiny(squeeze=True))["params"]["stack0"]["hourglass"]
    assert set(fire["up"]["block0"]) == {"squeeze", "expand1", "expand3", "bn"}
    assert fire["upsample"]["kernel"].shape == (4, 4, 4, 4)


@pytest.mark.parametrize("order", [1, 3])
def test_an_hourglass_halves_as_often_as_its_width_changes(order):
    """Each resolution has its width, and the lowest its number of blocks."""
    widths = (4, 6, 8, 10)[: order + 1]
    model, x = Hourglass(widths, (1,) * order + (3,)), jnp.zeros((1, 16, 32, 4))
    run = functools.partial(model.init, capture_intermediates=True, mutable=True)
    state = jax.eval_shape(lambda: run(jax.random.key(0), x, False))["intermediates"]
    for level in range(order):
        (low1,) = state["low1"]["__call__"]
        assert low1.shape == (1, 8 >> level, 16 >> level, widths[level + 1])
        state = state["low2"]
    assert [name for name in state if name.startswith("block")] == ["block0", "block1", "block2"]


@pytest.mark.parametrize(
    ("stride", "size", "outputs"),
    [
        (4, (15, 24), (4, 6)),
        (4, (13, 16), (4, 4)),
        (8, (31, 16), (4, 2)),
        (8, (9, 48), (2, 6)),
    ],
)
def test_outputs_are_smaller_by_the_stride_rounded_up(stride, size, outputs):
    model = tiny(stride=stride)
    assert model.valid_size(*size) == size
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    found = jax.eval_shape(model.apply, nn.variable_shapes(model), images)
    assert (found.shape, found.dtype) == ((2, 1, *outputs, 5), jnp.float32)


@pytest.mark.core
def test_heads_start_at_their_constants():
    model = tiny()
    outputs = first(model)["params"]["stack0"]["outputs"]
    for channel, start in enumerate(model.starts):
        kernel, bias = outputs["kernel"][..., channel], outputs["bias"][channel]
        if start is None:
            assert np.abs(kernel).min() > 0 and np.abs(kernel).max() <= 0.5 and bias
        else:
            assert not kernel.any() and bias == np.float32(start)


@pytest.mark.parametrize("squeeze", [False, True])
def test_bfloat16_computes_in_bfloat16(squeeze):
    """And variables stay float32."""
    model = tiny(num_stacks=2, squeeze=squeeze, dtype=jnp.bfloat16)
    variables = nn.variable_shapes(model)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    images = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    text = jax.jit(model.apply).lower(variables, images).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert convolutions and all("f32" not in line for line in convolutions)


def test_bfloat16_predicts_nearly_the_same():
    model, images = tiny(starts=()), some_images(1, 16, 16)
    variables = first(model)
    expected, found = (
        jit(each.apply)(variables, images) for each in (model, model.clone(dtype=jnp.bfloat16))
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05 * np.abs(expected).max())


def traced_gradient(**fields):
    """Returns a network, and the traced gradient of its outputs and statistics."""
    model = tiny(heads={"hm": 2}, corners={}, starts=(), **fields)

    def loss(params, batch_stats, images):
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return (outputs**2).mean(), (outputs, updated)

    shapes = nn.variable_shapes(model)
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    gradient = jit(jax.grad(loss, has_aux=True))
    return model, gradient.trace(shapes["params"], shapes["batch_stats"], images)


def test_remat_recomputes_stacks():
    plain, rematerialised = (
        {equation.primitive.name for equation in traced_gradient(remat=remat)[1].jaxpr.eqns}
        for remat in (False, True)
    )
    assert [name for name in rematerialised - plain if "remat" in name or "checkpoint" in name]


@pytest.mark.slow
def test_remat_changes_memory_alone():
    results = []
    for remat in (False, True):
        model, traced = traced_gradient(remat=remat)
        variables = first(model)
        arguments = variables["params"], variables["batch_stats"], some_images(1, 16, 16)
        results.append(traced.lower().compile()(*arguments))
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


@pytest.mark.parametrize(("features", "stride"), [(4, 1), (4, 2), (6, 1)])
def test_a_fire_module_adds_its_input_where_shapes_agree(features, stride):
    """With the last scales at zero nothing but the input is left."""
    model, x = Fire(features, stride), some_images(1, 4, 4)[..., [0, 1, 2, 0]]
    variables = model.init(jax.random.key(0), x, False)
    params = variables["params"]
    params = {**params, "bn": jax.tree.map(jnp.zeros_like, params["bn"])}
    found = model.apply({**variables, "params": params}, x, False)
    expected = x if (features, stride) == (4, 1) else np.zeros_like(found)
    np.testing.assert_array_equal(found, expected)


HEADS = {
    "hm": Head(("car", "cat"), -2.19),
    "tl_tag": Head(("embedding",), None, "top_left"),
}


def test_a_tasks_heads_decide_what_is_read_and_how_it_starts():
    model = nn.make_network("hourglass104", PRESETS["detection_small"], HEADS, dtype="bfloat16")
    assert model == Hourglass104(
        **PRESETS["detection_small"],
        heads={"hm": 2, "tl_tag": 1},
        corners={"tl_tag": "top_left"},
        starts=(-2.19, -2.19, None),
        dtype=jnp.dtype("bfloat16"),
    )


@pytest.mark.parametrize(
    ("options", "heads", "message"),
    [
        ({"widths": (8, 8, 8)}, HEADS, "widths=.*blocks=.*a number for each resolution"),
        ({"widths": (8,), "blocks": (1,)}, HEADS, "at least two"),
        (
            {"widths": (8, 0.5)},
            HEADS,
            "each a whole number of at least 2 and",
        ),
        ({"widths": (8, 9), "blocks": (1, 1), "squeeze": True}, HEADS, "must be even"),
        ({"stride": 2}, HEADS, "stride=2 must be one of 4, 8"),
        ({}, {"a": Head(("x",), None, "middle")}, "no middle features, which the head a needs"),
    ],
)
def test_what_cannot_be_made_says_why(options, heads, message):
    with pytest.raises(UserError, match=message):
        nn.make_network("hourglass104", options, heads)


@pytest.mark.slow
def test_it_trains_on_eight_devices():
    """By the step that trains any network: with a task's heads, here of one person's joints."""
    task = SinglePose(Skeleton("three", ("left", "right", "top"), (("left", "right"),), ()))
    options = {"num_stacks": 1, "widths": (4, 6), "blocks": (1, 1), "stem_features": 4}
    model = nn.make_network("hourglass104", options, task.heads)
    mesh, optimizer = sharding.make_mesh(), optax.adam(1e-2)
    assert mesh.devices.size == 8
    step = make_train_step(model, task, optimizer, mesh, sync_batch_norm=True)
    state = sharding.replicate(create_train_state(first(model), optimizer), mesh)
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8),
        "heatmaps": rng.random((8, 4, 4, 3), np.float32),
        "weights": np.ones((8, 3), np.float32),
    }
    losses = []
    for _ in range(3):
        state, metrics = step(state, batch)
        losses.append(metrics["loss_per_stack"])
    np.testing.assert_allclose(losses[0], metrics["plateau"].reshape(1), rtol=1e-5)
    assert losses[2] < losses[0]
    moved = flatten_dict(state.batch_stats)
    assert all(np.any(value != path[-1].startswith("v")) for path, value in moved.items())


def test_channel_axes_are_those_that_follow_the_number_of_channels():
    few, more = (
        flatten_dict(nn.variable_shapes(tiny(heads={"hm": n, "tl_heat": 3}, starts=()))["params"])
        for n in (2, 3)
    )
    for path, value in few.items():
        axis = Hourglass104.channel_axes.get(path[-2:])
        longer = np.subtract(more[path].shape, value.shape).tolist()
        assert longer == [int(i == axis) for i in range(len(longer))], path


def test_fine_tuning_keeps_the_categories_of_the_same_name():
    """From cars and cats to cats and dogs: a channel goes where its name is."""
    source_heads = {"hm": Head(("car", "cat"), None), "tl_heat": Head(("car",), None, "top_left")}
    heads = {"hm": Head(("cat", "dog"), -2.19), "wh": Head(("width", "height"))}
    source, model = (
        tiny(heads={name: len(head.channels) for name, head in each.items()}, starts=())
        for each in (source_heads, heads)
    )
    trained, fresh = (nn.init_variables(each, i) for i, each in enumerate((source, model)))
    found, _ = warm_start(fresh, heads, trained, source_heads, model, source, "there")
    trained, fresh, found = (each["params"]["stack0"] for each in (trained, fresh, found))
    for leaf in ("kernel", "bias"):
        for i, expected in enumerate(
            [trained["outputs"][leaf][..., 1], *np.moveaxis(fresh["outputs"][leaf], -1, 0)[1:]]
        ):
            np.testing.assert_array_equal(found["outputs"][leaf][..., i], expected)
    np.testing.assert_array_equal(found["head_hm"]["kernel"], trained["head_hm"]["kernel"])
    np.testing.assert_array_equal(found["head_wh"]["kernel"], fresh["head_wh"]["kernel"])
