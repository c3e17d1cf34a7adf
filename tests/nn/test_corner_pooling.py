"""Corner pooling against the loop that defines it, and against the published operators."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SHARED
from flax.traverse_util import unflatten_dict

from hourglass_jax.nn import corner_pooling

PARITY = SHARED / "parity"
DIRECTIONS = ("top", "bottom", "left", "right")


def by_loop(direction, x, upstream):
    """Returns the running maximum and the gradient of sum(maximum * upstream)."""
    axis = 1 if direction in ("top", "bottom") else 2
    x, upstream = (np.moveaxis(a, axis, 0) for a in (x, upstream))
    if direction in ("top", "left"):
        x, upstream = x[::-1], upstream[::-1]
    y, gradient, where = np.zeros_like(x), np.zeros_like(x), np.zeros(x.shape[1:], int)
    for i in range(len(x)):
        here = np.take_along_axis(x, where[None], 0)[0]
        where = np.where(x[i] > here, i, where)  # strictly: of equal pixels the first one counts
        y[i] = np.take_along_axis(x, where[None], 0)[0]
        place = np.indices(where.shape)
        np.add.at(gradient, (where, *place), upstream[i])
    if direction in ("top", "left"):
        y, gradient = y[::-1], gradient[::-1]
    return np.moveaxis(y, 0, axis), np.moveaxis(gradient, 0, axis)


def pooled_with_gradient(direction, x, upstream):
    pool = getattr(corner_pooling, direction)
    return jax.jit(pool)(x), jax.jit(jax.grad(lambda x: (pool(x) * upstream).sum()))(x)


@pytest.mark.core
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_each_direction_is_a_running_maximum(direction, dtype):
    """Of whole numbers, many of which are equal: of a tie the first has the gradient."""
    rng = np.random.default_rng(0)
    x, upstream = rng.integers(0, 4, (2, 2, 5, 6, 3)).astype(np.float32)
    expected = by_loop(direction, x, upstream)
    found = pooled_with_gradient(direction, x.astype(dtype), upstream.astype(dtype))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_array_equal(one.astype(np.float32), other)


def test_a_top_left_corner_sees_what_is_below_and_to_the_right():
    image = jnp.zeros((1, 6, 8, 1)).at[0, 3, 2].set(1).at[0, 1, 5].set(1)
    both = corner_pooling.top(image) + corner_pooling.left(image)
    assert np.argwhere(both[0, ..., 0] == 2).tolist() == [[1, 2], [1, 5], [3, 2]]
    both = corner_pooling.bottom(image) + corner_pooling.right(image)
    assert np.argwhere(both[0, ..., 0] == 2).tolist() == [[1, 5], [3, 2], [3, 5]]


@pytest.mark.parametrize("corner", corner_pooling.DIRECTIONS)
def test_a_module_pools_far_and_its_branches_are_added(corner):
    """A change in one pixel reaches all on one side of it, and few on the other."""
    model = corner_pooling.CornerModule(corner, features=4, pooled_features=3)
    x = np.random.default_rng(1).random((1, 12, 12, 2), np.float32)
    variables = model.init(jax.random.key(0), x, False)
    apply = jax.jit(lambda x: model.apply(variables, x, False))
    changed = x.copy()
    changed[0, 6, 6] += 20
    rows, columns = np.nonzero(np.abs(apply(changed) - apply(x)).max((0, 3)) > 1e-6)
    # Three convolutions reach 3 px.
    reached = (rows.min(), columns.min()) if corner == "top_left" else (rows.max(), columns.max())
    bound = (rows.max(), columns.max()) if corner == "top_left" else (rows.min(), columns.min())
    assert reached == ((0, 0) if corner == "top_left" else (11, 11))
    assert bound == ((9, 9) if corner == "top_left" else (3, 3))


@functools.cache
def fixture():
    if not PARITY.is_dir():
        pytest.skip("the outputs of the published networks (shared/parity) are not here")
    return np.load(PARITY / "corner_pooling.npz")


@pytest.mark.parametrize("ties", ["", "_ties"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_direction_is_the_published_operator(direction, ties):
    arrays = fixture()
    found = pooled_with_gradient(direction, arrays[f"x{ties}"], arrays["upstream"])
    np.testing.assert_array_equal(found[0], arrays[f"{direction}{ties}"])
    expected = arrays[f"gradient_{direction}{ties}"]
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("corner", "name"), [("top_left", "tl"), ("bottom_right", "br")])
def test_modules_are_the_published_ones(corner, name):
    arrays = fixture()
    spec = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    tensors = weights.state_dict(weights.load_manifest("corner_pooling"), 1)
    places = {
        "vertical": ("p1_conv1.conv", "p1_conv1.bn"),
        "horizontal": ("p2_conv1.conv", "p2_conv1.bn"),
        "pooled": ("p_conv1", "p_bn1"),
        "skip": ("conv1", "bn1"),
        "out": ("conv2.conv", "conv2.bn"),
    }
    variables = {}
    for place, (conv, norm) in places.items():
        conv, norm = f"{name}_cnvs.0.{conv}", f"{name}_cnvs.0.{norm}"
        kernel = tensors[f"{conv}.weight"].transpose(2, 3, 1, 0)
        variables["params", place, "conv", "kernel"] = kernel
        variables["params", place, "bn", "scale"] = tensors[f"{norm}.weight"]
        variables["params", place, "bn", "bias"] = tensors[f"{norm}.bias"]
        for leaf in ("mean", "var"):
            variables["batch_stats", place, "bn", leaf] = tensors[f"{norm}.running_{leaf}"]
    model = corner_pooling.CornerModule(corner, features=16)
    found = model.apply(unflatten_dict(variables), arrays["module_input"], False)
    expected = arrays[f"module_{name}"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
