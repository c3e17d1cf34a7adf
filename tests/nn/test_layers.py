"""The layers by themselves: against the sums that define them, Flax, and each other."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.nn import layers
from hourglass_jax.nn.layers import Conv, NormRelu

# Compiling is most of the time that these tests take.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize(
    ("size", "stride", "margin"), [(1, 1, 0), (3, 1, 1), (7, 2, 3)], ids=["1x1", "3x3", "stem"]
)
def test_convolutions_are_padded_on_every_side(size, stride, margin):
    """Against the sum that defines them; "SAME" would shift the stem by one pixel."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 12, 16, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 3, 4)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    expected = np.einsum("bhwcij,ijco->bhwo", windows[:, ::stride, ::stride], kernel) + bias

    model = Conv(4, size=size, stride=stride)
    found = jit(model.apply)({"params": {"kernel": kernel, "bias": bias}}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_first_parameters_are_the_same_whether_compiled_or_not():
    """They are drawn in blocks, outside a trace by NumPy's hands: here two and a half blocks."""
    conv = Conv(128, size=3)
    picture = jnp.zeros((1, 4, 4, 128))
    eager, compiled = (init(jax.random.key(0), picture) for init in (conv.init, jit(conv.init)))
    jax.tree.map(np.testing.assert_array_equal, eager, compiled)
    kernel = np.sort(np.ravel(eager["params"]["kernel"]))
    assert len(np.unique(kernel)) > 0.98 * kernel.size  # no block is another's copy


def test_normalised_and_rectified_is_batch_norm_then_relu():
    """Values, statistics and the written-out gradient, against Flax and automatic gradients."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, weights = rng.normal(2, 3, (2, 4, 5, 6, 7))
        model, reference = NormRelu(jnp.float64), nn.BatchNorm(momentum=0.9, dtype=jnp.float64)
        params = {"scale": rng.normal(size=7), "bias": rng.normal(size=7)}
        before = rng.normal(size=7)  # the bias of the convolution before
        stats = {"mean": rng.normal(size=7), "var": rng.uniform(1, 2, 7)}

        def ours(params, x):
            variables = {"params": params, "batch_stats": stats}
            y, updated = model.apply(variables, x, True, before, mutable=["batch_stats"])
            return (y * weights).sum(), (y, updated)

        def flax(params, x):
            variables = {"params": params, "batch_stats": stats}
            y, updated = reference.apply(
                variables,
                x + before.reshape(1, 1, 1, 7),
                use_running_average=False,
                mutable=["batch_stats"],
            )
            y = nn.relu(y)
            return (y * weights).sum(), (y, updated)

        found, expected = (jax.grad(f, (0, 1), has_aux=True)(params, x) for f in (ours, flax))
        assert (found[1][0] == 0).any() and (found[1][0] > 0).any()
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9), found, expected)
        variables = {"params": params, "batch_stats": stats}
        running = nn.relu(
            reference.apply(variables, x + before.reshape(1, 1, 1, 7), use_running_average=True)
        )
        np.testing.assert_allclose(model.apply(variables, x, False, before), running, atol=1e-9)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (layers._pool_by_slices, layers._pool_by_window),
        (layers._upsample_by_broadcast, layers._upsample_by_convolution),
    ],
)
def test_what_platforms_do_their_own_way_is_the_same(one, other):
    """Values and gradients are equal to the bit: pixels are chosen, copied and added in pairs."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(0, 3, (2, 8, 6, 5)), jnp.float32)  # of which many are equal
    weights = jnp.asarray(rng.integers(-8, 8, one(x).shape), jnp.float32)
    found, expected = (
        jax.value_and_grad(lambda x, f=f: (f(x) * weights).sum())(x) for f in (other, one)
    )
    np.testing.assert_array_equal(other(x), one(x))
    np.testing.assert_array_equal(found[1], expected[1])


def test_a_product_and_a_convolution_of_one_pixel_are_the_same():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 3, 4, 5)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(1, 1, 5, 7)), jnp.float32)
    np.testing.assert_allclose(
        layers._multiply(x, kernel), layers._convolve(x, kernel), rtol=1e-5, atol=1e-6
    )


def test_a_convolution_of_one_pixel_keeps_its_stride():
    conv, x = layers.Conv(2, stride=2), jnp.arange(16.0).reshape(1, 4, 4, 1)
    variables = {"params": {"kernel": jnp.ones((1, 1, 1, 2)), "bias": jnp.zeros(2)}}
    expected = jnp.repeat(x[:, ::2, ::2], 2, axis=-1)
    np.testing.assert_array_equal(conv.apply(variables, x), expected)


def test_means_by_products_are_means():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3, 0.3, (4, 64, 64, 5)), jnp.float32)
    for found, values in zip(layers._means_by_product(x, x**2), (x, x**2), strict=True):
        expected = np.asarray(values, np.float64).mean((0, 1, 2))
        np.testing.assert_allclose(found, expected, rtol=2e-6)
