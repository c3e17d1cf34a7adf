"""The networks that have a name: their sizes and those of the images that they take."""

import math

import jax
import jax.numpy as jnp
import pytest

from hourglass_jax import PRESETS, Hourglass104, config_files, nn
from hourglass_jax.config import Config
from hourglass_jax.errors import UserError
from hourglass_jax.nn import presets
from hourglass_jax.tasks.base import Head

CENTRES = {"hm": 80, "wh": 2, "reg": 2}
JOINTS = {"hm": 1, "wh": 2, "reg": 2, "hps": 34, "hm_hp": 17, "hp_offset": 2}
CORNERS = {"heat": 80, "tag": 1, "offset": 2}
CORNERS = {f"{corner}_{name}": n for corner in ("tl", "br") for name, n in CORNERS.items()}
READ = {name: "top_left" if name.startswith("tl") else "bottom_right" for name in CORNERS}


@pytest.mark.core
@pytest.mark.parametrize(
    ("preset", "heads", "count"),
    [
        pytest.param("cornernet_104", CORNERS, 201_035_212, marks=pytest.mark.slow),
        pytest.param("centernet_104", CENTRES, 191_284_008, marks=pytest.mark.slow),
        pytest.param("centernet_104", JOINTS, 194_811_124, marks=pytest.mark.slow),
        pytest.param("centernet_52", CENTRES, 95_454_676, marks=pytest.mark.slow),
        ("cornernet_squeeze", CORNERS, 31_771_852),
        ("detection_small", CENTRES, 781_700),
    ],
)
def test_parameter_counts(preset, heads, count):
    corners = READ if heads is CORNERS else {}
    model = Hourglass104(**PRESETS[preset], heads=heads, corners=corners)
    params = nn.variable_shapes(model)["params"]
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(params)) == count
    assert dict(model.heads) == heads and list(model.heads) == list(heads)


@pytest.mark.parametrize(
    ("preset", "size", "valid"),
    [
        ("centernet_104", (512, 511), (512, 511)),
        ("centernet_104", (509, 508), (509, 384)),
        ("centernet_104", (415, 767), (384, 767)),
        ("centernet_104", (127, 100), (127, 128)),
        ("cornernet_104", (0, 125), (128, 125)),
        ("cornernet_squeeze", (511, 505), (511, 505)),
        ("cornernet_squeeze", (504, 1), (384, 128)),
    ],
)
def test_valid_sizes_become_multiples_of_the_lowest_resolution(preset, size, valid):
    model = Hourglass104(**PRESETS[preset], heads=CENTRES)
    assert model.valid_size(*size) == valid
    assert model.valid_size(*valid) == valid


@pytest.mark.parametrize(
    ("preset", "size", "says"),
    [
        ("detection_small", 200, "a multiple of 32, such as 192 or 224"),
        ("centernet_104", 415, "a multiple of 128, such as 384 or 512"),
        ("cornernet_squeeze", 100, "a multiple of 128, such as 128$"),
    ],
)
def test_configs_of_another_size_are_told_the_multiple(preset, size, says):
    config = config_files.load("custom_boxes")
    config.model.input_size = size
    model = Hourglass104(**PRESETS[preset], heads=CENTRES)
    with pytest.raises(UserError, match=f"input_size={size} .*{says}"):
        Config.from_dict(config).check_input_size(model.valid_size)


def test_images_of_another_size_are_refused_in_one_sentence():
    model = Hourglass104(**PRESETS["centernet_104"], heads=CENTRES)
    images = jax.ShapeDtypeStruct((1, 415, 512, 3), jnp.float32)
    with pytest.raises(UserError, match=r"415x512 px.*multiples of 128.*255 or 256"):
        jax.eval_shape(model.init, jax.random.key(0), images)


def test_every_preset_is_a_networks_options():
    heads = {"hm": Head(("one",))}
    for name, options in PRESETS.items():
        network = presets.network_of(name)
        assert isinstance(nn.make_network(network, options, heads), nn.network_class(network))
