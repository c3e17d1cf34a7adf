"""The layers by themselves: against the sums that define them, Flax, and each other."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.nn.layers import Conv, ConvTransposed, JointConvs, Norm, NormRelu, Unbiased

pytestmark = pytest.mark.core

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
    """They are drawn in blocks, put together by NumPy outside a trace: two and a half blocks."""
    conv = Conv(128, size=3)
    image = jnp.zeros((1, 4, 4, 128))
    eager, compiled = (init(jax.random.key(0), image) for init in (conv.init, jit(conv.init)))
    jax.tree.map(np.testing.assert_array_equal, eager, compiled)
    kernel = np.sort(np.ravel(eager["params"]["kernel"]))
    assert len(np.unique(kernel)) > 0.98 * kernel.size  # no block is another's copy


def test_channels_start_as_they_are_asked_to():
    image = jnp.zeros((1, 4, 4, 5))
    plain, found = (
        Conv(3, size=3, starts=starts).init(jax.random.key(0), image)["params"]
        for starts in ((), (0.0, -2.19, None))
    )
    for name, start in (("kernel", 0), ("bias", -2.19)):
        np.testing.assert_array_equal(found[name][..., 0], np.zeros(plain[name].shape[:-1]))
        expected = np.full(plain[name].shape[:-1], start, np.float32)
        np.testing.assert_array_equal(found[name][..., 1], expected)
        np.testing.assert_array_equal(found[name][..., 2], plain[name][..., 2])
        assert np.all(plain[name])


@pytest.mark.parametrize("kind", [Norm, NormRelu])
def test_norms_are_batch_norm_and_then_relu(kind):
    """Values, statistics and the written-out gradient, against Flax and automatic gradients."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, weights = rng.normal(2, 3, (2, 4, 5, 6, 7))
        model, reference = kind(jnp.float64), nn.BatchNorm(momentum=0.9, dtype=jnp.float64)
        after = nn.relu if kind is NormRelu else lambda y: y
        params = {"scale": rng.normal(size=7), "bias": rng.normal(size=7)}
        before = rng.normal(size=7)  # the bias of the convolution before
        stats = {"mean": rng.normal(size=7), "var": rng.uniform(1, 2, 7)}

        def ours(params, x):
            variables = {"params": params, "batch_stats": stats}
            y, updated = model.apply(variables, Unbiased(x, before), True, mutable=["batch_stats"])
            return (y * weights).sum(), (y, updated)

        def flax(params, x):
            variables = {"params": params, "batch_stats": stats}
            y, updated = reference.apply(
                variables,
                x + before.reshape(1, 1, 1, 7),
                use_running_average=False,
                mutable=["batch_stats"],
            )
            y = after(y)
            return (y * weights).sum(), (y, updated)

        found, expected = (jax.grad(f, (0, 1), has_aux=True)(params, x) for f in (ours, flax))
        assert (found[1][0] <= 0).any() and (found[1][0] > 0).any()
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9), found, expected)
        variables = {"params": params, "batch_stats": stats}
        running = after(
            reference.apply(variables, x + before.reshape(1, 1, 1, 7), use_running_average=True)
        )
        found = model.apply(variables, Unbiased(x, before), False)
        np.testing.assert_allclose(found, running, atol=1e-9)


def test_a_convolution_of_one_pixel_keeps_its_stride():
    conv, x = Conv(2, stride=2), jnp.arange(16.0).reshape(1, 4, 4, 1)
    variables = {"params": {"kernel": jnp.ones((1, 1, 1, 2)), "bias": jnp.zeros(2)}}
    expected = jnp.repeat(x[:, ::2, ::2], 2, axis=-1)
    np.testing.assert_array_equal(conv.apply(variables, x), expected)


def test_a_depthwise_convolution_has_a_kernel_a_channel():
    rng = np.random.default_rng(2)
    conv, x = Conv(4, size=3, groups=4, use_bias=False), rng.normal(size=(1, 6, 5, 4))
    variables = conv.init(jax.random.key(0), x)
    ((name, kernel),) = variables["params"].items()
    assert (name, kernel.shape) == ("kernel", (3, 3, 1, 4))
    assert np.abs(kernel).max() > 0.2  # of 9 inputs, and not of 36
    found = conv.apply(variables, jnp.asarray(x, jnp.float32))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("bhwcij,ijc->bhwc", windows, kernel[:, :, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_transposed_convolution_spreads_each_pixel():
    """Pixel i reaches 2i - 1 to 2i + 2: by its kernel, mirrored as it is applied."""
    rng = np.random.default_rng(3)
    x, kernel = rng.normal(size=(1, 3, 2, 2)), rng.normal(size=(4, 4, 2, 3))
    expected = np.zeros((8, 6, 3))
    for i, j in np.ndindex(3, 2):
        expected[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.tensordot(
            kernel[::-1, ::-1], x[0, i, j], (2, 0)
        )
    conv = ConvTransposed(3, size=4)
    shapes = jax.tree.map(np.shape, conv.init(jax.random.key(0), x)["params"])
    assert shapes == {"kernel": (4, 4, 2, 3), "bias": (3,)}
    bias = rng.normal(size=3)
    found = conv.apply({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found[0], expected[1:-1, 1:-1] + bias, rtol=1e-4, atol=1e-5)


def test_joint_convolutions_keep_to_their_inputs():
    rng = np.random.default_rng(4)
    inputs = [jnp.asarray(rng.normal(size=(1, 2, 3, 4)), jnp.float32) for _ in range(2)]
    conv = JointConvs(5, sizes=(2, 3), starts=(0.5, None, None, None, None))
    params = conv.init(jax.random.key(0), inputs)["params"]
    found = conv.apply({"params": params}, inputs)
    kernel, bias = np.asarray(params["kernel"][0, 0]), np.asarray(params["bias"])
    inputs = np.asarray(inputs)
    np.testing.assert_allclose(found[..., :2], inputs[0] @ kernel[:, :2] + bias[:2], atol=1e-6)
    np.testing.assert_allclose(found[..., 2:], inputs[1] @ kernel[:, 2:] + bias[2:], atol=1e-6)
    np.testing.assert_array_equal(found[..., 0], np.full((1, 2, 3), 0.5, np.float32))
