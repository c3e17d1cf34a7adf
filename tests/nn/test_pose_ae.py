"""The network of associative embedding: parameters, sizes, and what it begins with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.errors import UserError
from hourglass_jax.nn import make_network, network
from hourglass_jax.nn.pose_ae import PRESETS, PoseAE
from hourglass_jax.tasks.base import Head

HEADS = {"heatmaps": Head(("a", "b"), start=0.0), "tags": Head(("a", "b"))}
SMALL = {"num_stacks": 2, "order": 2, "features": 6, "growth": 3, "stem_features": 4}


def count(model):
    shapes = network.variable_shapes(model)
    return sum(np.prod(x.shape) for x in jax.tree.leaves(shapes["params"]))


# Of the published programs: with 68 outputs, and with the 34 of mmpose with BatchNorm.
@pytest.mark.parametrize(
    ("stacks", "published", "mmpose"),
    [
        (1, 35_055_428, 35_054_434),
        (2, 69_668_232, 69_657_476),
        (4, 138_893_840, 138_863_560),
    ],
)
def test_parameters_of_the_published_networks(stacks, published, mmpose):
    assert count(PoseAE({"heatmaps": 68}, num_stacks=stacks)) == published
    assert count(PoseAE({"heatmaps": 34}, num_stacks=stacks, batch_norm=True)) == mmpose


def test_presets_are_four_stacks():
    assert [options["num_stacks"] for options in PRESETS.values()] == [4, 4]
    assert [options.get("batch_norm", False) for options in PRESETS.values()] == [False, True]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_heatmaps_start_at_zero_and_tags_do_not(batch_norm):
    model = make_network("pose_ae", {**SMALL, "batch_norm": batch_norm}, HEADS, remat=batch_norm)
    variables = network.init_variables(model, 0)
    assert bool(variables["batch_stats"]) == batch_norm
    images = np.random.default_rng(0).random((3, 16, 32, 3), np.float32)

    @jax.jit
    def train(variables, images):
        return model.apply(variables, images, train=True, mutable=["batch_stats"])

    outputs, updated = train(variables, images)
    assert outputs.shape == (3, 2, 4, 8, 4) and outputs.dtype == jnp.float32
    assert not outputs[..., :2].any() and (np.ptp(outputs[..., 2:], axis=(0, 2, 3)) > 0).all()
    assert bool(updated["batch_stats"]) == batch_norm


def test_valid_sizes_are_multiples_of_the_coarsest_pixel():
    model = PoseAE({"heatmaps": 3})
    assert model.valid_size(512, 600) == (512, 576) and model.valid_size(0, 0) == (64, 64)


def test_options_are_the_networks_fields_and_defaults():
    model = PoseAE({"heatmaps": 3})
    for option, value in dataclasses.asdict(model.Options()).items():
        assert getattr(model, option) == value


def test_heads_that_need_other_features_are_refused():
    with pytest.raises(UserError, match="no top_left features"):
        make_network("pose_ae", SMALL, {"tags": Head(("a",), features="top_left")})
