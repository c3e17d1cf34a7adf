"""What networks have in common: normalisation, first variables, and the forward pass."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.nn.network import Normalisation, forward, init_variables, variable_shapes
from hourglass_jax.nn.stacked_hourglass import StackedHourglass

tiny = functools.partial(
    StackedHourglass, num_stacks=1, num_joints=3, features=16, order=1, stem_features=8
)
# Compiling is most of the time that these tests take.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def test_normalisation_subtracts_the_mean_from_images_in_0_to_1():
    images = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3) * 10
    mean = (0.1, 0.2, 0.3)
    found = Normalisation(mean)(images)
    np.testing.assert_allclose(found, images / 255.0 - np.array(mean), atol=1e-6)
    assert found.dtype == jnp.float32
    std = (0.2, 0.5, 2.0)
    np.testing.assert_allclose(Normalisation(mean, std)(images), np.asarray(found) / std, atol=1e-6)
    np.testing.assert_allclose(Normalisation()(images), images / 255.0, atol=1e-7)


def test_a_network_carries_its_normalisation_and_leaves_it_to_the_caller():
    plain, model = tiny(), tiny(normalisation=Normalisation((0.5, 0.5, 0.5)))
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    variables = variable_shapes(model)
    programs = [jax.make_jaxpr(each.apply)(variables, images) for each in (plain, model)]
    assert str(programs[0]) == str(programs[1])


def test_first_variables_follow_the_seed():
    model = tiny()
    one, other = (init_variables(model, seed) for seed in (1, 2))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), one)
    assert shapes == variable_shapes(model)
    kernels = [v["params"]["stem"]["conv"]["kernel"] for v in (one, other)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


@pytest.mark.parametrize(("numbers", "loops"), [(4 * 6 * 16 + 1, 0), (4 * 6 * 16, 1)])
def test_large_images_go_through_the_network_one_by_one_on_cpus(monkeypatch, numbers, loops):
    monkeypatch.setattr("hourglass_jax.nn.network._FILLS_CACHE", numbers)
    model = tiny(starts=(None,) * 3)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.random((3, 16, 24, 3)), jnp.float32)
    variables = init_variables(model, 0)
    passes = functools.partial(forward, model), functools.partial(model.apply, train=False)
    found, expected = (jit(each)(variables, images) for each in passes)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    for platform, wanted in (("cpu", loops), ("tpu", 0), ("cuda", 0)):
        traced = jax.jit(passes[0]).trace(variables, images)
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.while") == wanted


@pytest.mark.parametrize(
    ("order", "size", "valid"),
    [(4, (256, 256), (256, 256)), (4, (300, 127), (256, 64)), (1, (0, 9), (8, 8))],
)
def test_valid_sizes_are_multiples_of_the_coarsest_pixel(order, size, valid):
    assert StackedHourglass(order=order).valid_size(*size) == valid


def test_options_are_the_networks_fields_and_defaults():
    network = StackedHourglass()
    for option, value in dataclasses.asdict(network.Options()).items():
        assert getattr(network, option) == value
