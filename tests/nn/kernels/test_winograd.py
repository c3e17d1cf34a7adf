"""Winograd's convolution: the plain one's values and gradients, and on CPUs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from hourglass_jax.nn.kernels import convolution, winograd
from hourglass_jax.nn.layers import Conv
from hourglass_jax.runtime import sharding


def arrays(batch, height, width, channels, features, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, height, width, channels)).astype(dtype)
    kernel = rng.normal(size=(3, 3, channels, features)).astype(dtype)
    return x, kernel, rng.normal(size=(batch, height, width, features)).astype(dtype)


# One image a part, all in one, and two parts of three.
@pytest.mark.parametrize(
    ("batch", "size"), [(2, (64, 66)), (2, (6, 4)), (2, (2, 2)), (6, (36, 32))]
)
def test_values_and_gradients_are_those_of_the_sum(batch, size):
    with jax.enable_x64(True):
        x, kernel, d_y = arrays(batch, *size, 5, 3)
        found, pull_back = jax.vjp(winograd.convolve, x, kernel)
        expected, pull_plainly = jax.vjp(convolution.plain, x, kernel)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        for one, other in zip(pull_back(d_y), pull_plainly(d_y), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_rounding_errors_are_small():
    x, kernel, _ = arrays(1, 64, 64, 128, 128, np.float32)
    kernel = kernel / np.sqrt(9 * 128).astype(np.float32)
    with jax.enable_x64(True):
        exact = np.asarray(convolution.plain(x.astype(np.float64), kernel.astype(np.float64)))
    assert abs(np.asarray(winograd.convolve(x, kernel)) - exact).max() < 2e-5  # of values around 1


@pytest.mark.parametrize(
    ("shape", "features", "size", "stride", "dtype", "pays"),
    [
        ((1, 64, 64, 128), 128, 3, 1, jnp.float32, True),
        ((8, 32, 32, 128), 128, 3, 1, jnp.float32, True),
        ((8, 16, 16, 128), 128, 3, 1, jnp.float32, False),
        ((1, 65, 64, 128), 128, 3, 1, jnp.float32, False),
        ((1, 64, 64, 64), 128, 3, 1, jnp.float32, False),
        ((1, 64, 64, 128), 64, 3, 1, jnp.float32, False),
        ((1, 64, 64, 128), 128, 3, 2, jnp.float32, False),
        ((1, 64, 64, 128), 128, 7, 1, jnp.float32, False),
        ((1, 64, 64, 128), 128, 3, 1, jnp.bfloat16, False),
        ((1, 64, 64, 128), 128, 3, 1, jnp.float64, False),
    ],
)
def test_where_it_pays(shape, features, size, stride, dtype, pays):
    with jax.enable_x64(True):
        x = jax.ShapeDtypeStruct(shape, dtype)
        kernel = jax.ShapeDtypeStruct((size, size, shape[-1], features), dtype)
        assert winograd.pays(x, kernel, stride) == pays


def lowered(platform):
    conv = Conv(128, size=3)
    x = jax.ShapeDtypeStruct((1, 64, 64, 128), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 128, 128), jnp.float32)
    bias = jax.ShapeDtypeStruct((128,), jnp.float32)

    def loss(kernel, bias, x):
        return conv.apply({"params": {"kernel": kernel, "bias": bias}}, x).sum()

    step = jax.jit(jax.grad(loss, argnums=(0, 2)))
    return step.trace(kernel, bias, x).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
def test_other_platforms_keep_their_convolution(platform):
    """The gradients by kernel and by image: nothing else is left of the step."""
    text = lowered(platform)
    convolutions, products = (
        text.count(f"stablehlo.{op}") for op in ("convolution", "dot_general")
    )
    if platform == "cpu":
        # Each gradient: a product for the kernel's basis, and the 16 of the tiles.
        assert (convolutions, products) == (0, 34)
    else:
        assert (convolutions, products) == (2, 0)


def test_every_device_convolves_its_images():
    mesh = sharding.make_mesh()
    x, kernel, _ = arrays(16, 64, 64, 8, 8, np.float32)
    split, whole = P(sharding.AXIS), P()
    convolve = jax.jit(
        jax.shard_map(winograd.convolve, mesh=mesh, in_specs=(split, whole), out_specs=split)
    )
    np.testing.assert_allclose(convolve(x, kernel), convolution.plain(x, kernel), rtol=0, atol=2e-5)
