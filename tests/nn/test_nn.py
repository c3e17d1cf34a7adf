"""Networks are made by name from a config's fields and a task's heads."""

from typing import NamedTuple

import jax.numpy as jnp
import pytest

from hourglass_jax import nn
from hourglass_jax.errors import UserError


class Head(NamedTuple):
    channels: tuple[str, ...]
    start: float | None = None
    features: str = ""


HEADS = {"heatmaps": Head(("head", "neck"), 0.0), "tags": Head(("head_tag", "neck_tag"))}


@pytest.mark.parametrize("name", nn.NETWORKS)
def test_every_network_is_what_a_network_is(name):
    kind = nn.network_class(name)
    model = nn.make_network(name, {}, {"heatmaps": HEADS["heatmaps"]})
    assert isinstance(model, kind)
    height, width = model.valid_size(0, 0)
    assert height % model.stride == width % model.stride == 0 < height
    assert kind.channel_axes and kind.Options() and model.dtype == jnp.float32
    assert model.normalisation == nn.Normalisation()


def test_heads_become_channels_and_options_fields():
    mean = nn.Normalisation((0.5, 0.4, 0.3))
    found = nn.make_network(
        "stacked_hourglass", {"num_stacks": 2}, HEADS, dtype="bfloat16", normalisation=mean
    )
    expected = nn.network_class("stacked_hourglass")(
        num_stacks=2,
        num_joints=4,
        starts=(0.0, 0.0, None, None),
        dtype=jnp.dtype("bfloat16"),
        normalisation=mean,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("name", "options", "heads", "message"),
    [
        ("hourglass", {}, HEADS, "'hourglass'; it must be one of stacked_hourglass"),
        ("stacked_hourglass", {"num_stackz": 2}, HEADS, "did you mean model.num_stacks"),
        ("stacked_hourglass", {"order": 9}, HEADS, "config.model.order=9 must be a whole number"),
        ("stacked_hourglass", {}, {"tl": Head(("a",), 0.0, "top_left")}, "no top_left features"),
    ],
)
def test_what_cannot_be_made_says_why(name, options, heads, message):
    with pytest.raises(UserError, match=message):
        nn.make_network(name, options, heads)
