"""The variants of a function compute the same, and each platform gets the one of the table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.nn import kernels
from hourglass_jax.nn.kernels import batch_norm, convolution, pooling, upsampling
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


def test_gpus_pool_by_slices_and_sum_at_once():
    """What compiling for GPUs has shown to need fewer bytes and kernels; see docs/notebook.md."""
    x = jnp.ones((2, 4, 4, 3))
    lines = jnp.ones(3), jnp.ones(3)

    def text(function, platform):
        lowered = jax.jit(function).trace(x).lower(lowering_platforms=(platform,))
        return lowered.as_text()

    def norm(x):
        return batch_norm.norm(x, *lines, None, True)

    for platform, windows, reductions in (("cuda", 0, 1), ("rocm", 0, 1), ("tpu", 1, 2)):
        assert text(kernels.pool, platform).count("stablehlo.reduce_window") == windows
        assert text(norm, platform).count("stablehlo.reduce(") == reductions


@pytest.mark.parametrize("relu", [False, True])
def test_sums_at_once_and_apart_are_the_same(relu, monkeypatch):
    """BatchNorm's values, statistics and gradients in float32."""
    rng = np.random.default_rng(0)
    x, weights = jnp.asarray(rng.normal(1, 2, (2, 4, 8, 8, 5)), jnp.float32)
    scale, bias = jnp.asarray(rng.normal(size=(2, 5)), jnp.float32)

    def found(sums):
        monkeypatch.setattr(batch_norm, "_sums", sums)

        def weighted(x, scale, bias):
            y, *statistics = batch_norm.norm(x, scale, bias, None, relu)
            return (y * weights).sum(), (y, statistics)

        return jax.grad(weighted, (0, 1, 2), has_aux=True)(x, scale, bias)

    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, found(batch_norm.sums_at_once), found(batch_norm.sums_apart))
