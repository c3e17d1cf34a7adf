"""The variants of a function compute the same, and each platform gets the one of the table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.nn.kernels import convolution, pooling, upsampling
from hourglass_jax.nn.kernels.platform import by_platform


@pytest.mark.parametrize(
    ("platform", "expected"), [("cpu", "cosine"), ("cuda", "tan"), ("rocm", "tan"), ("tpu", "sine")]
)
def test_each_platform_gets_its_own_function(platform, expected):
    function = jax.jit(by_platform(jnp.sin, cpu=jnp.cos, gpu=jnp.tan))
    traced = function.trace(jnp.ones(3))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert [name for name in ("sine", "cosine", "tan") if f"stablehlo.{name} " in text] == [
        expected
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pooling.by_slices, pooling.by_window),
        (upsampling.by_broadcast, upsampling.by_convolution),
    ],
)
def test_pooling_and_upsampling_are_the_same_to_the_bit(one, other):
    """Values and gradients: pixels are chosen, copied and added in pairs."""
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
        convolution.by_product(x, kernel), convolution.plain(x, kernel), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_shifts_and_a_convolution_of_each_channel_are_the_same(stride):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 5, 6, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 1, 4)), jnp.float32)
    found, expected = (
        jax.value_and_grad(lambda x, k, f=f: (f(x, k, stride) ** 2).sum(), (0, 1))(x, kernel)
        for f in (convolution.by_shifts, convolution.plain)
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, found, expected)
