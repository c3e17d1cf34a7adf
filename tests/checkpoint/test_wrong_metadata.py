"""Metadata that are damaged, or from somebody else, are refused with the field's name."""

import copy
import json
import math
import pathlib
import random
import shutil

import pytest
from test_metadata import described

from hourglass_jax.checkpoint import compatibility, store, trained
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import digests

pytestmark = pytest.mark.core

FOLDER = pathlib.Path("run/checkpoints/8")
FORMER = json.loads((trained.MODELS / "lsp-small/metadata/metadata").read_text())
FORMER.pop("digests")
TODAY = {**described(), "step": 8}


def set_to(path, value):
    def change(metadata):
        *parts, last = path.split(".")
        for part in parts:
            metadata = metadata[part]
        metadata[int(last) if isinstance(metadata, list) else last] = value

    return change


def without(path):
    def change(metadata):
        *parts, last = path.split(".")
        for part in parts:
            metadata = metadata[part]
        del metadata[last]

    return change


CASES = {
    "former": [
        (without("skeleton"), "lacks skeleton"),
        (without("config"), "lacks config"),
        (without("normalisation"), "lacks normalisation"),
        (without("skeleton.limbs"), "lacks .*limbs"),
        (set_to("skeleton.joints.3", 3), "joints=.* must be a list of texts"),
        (set_to("skeleton.joints", None), "joints=None must be a list of texts"),
        (set_to("skeleton", []), "skeleton=.* must be a section"),
        (set_to("config.model.input_size", "96"), "input_size='96' must be a whole number"),
        (without("config.model.input_size"), "lacks config.model.input_size"),
        (set_to("config.model.extra", 1), "unknown .*extra"),
        (set_to("config.model.order", 20), "order=20 must be .* at most 8"),
        (set_to("normalisation.mean", [0.1, 0.2]), "mean=.* must be a list of 3 values"),
        (set_to("config.eval", 3), "eval=3 must be a section"),
        (set_to("config.heatmap.sigma", -1), "sigma=-1 must be a number above 0"),
        (set_to("skeleton.joints", ["a", "a"]), "names the joint 'a' twice"),
    ],
    "today": [
        (without("task"), "metadata field 'evaluated', which this version does not know"),
        (without("network.dtype"), "lacks network.dtype"),
        (set_to("task.name", "fly"), "'fly'"),
        (set_to("task.settings.stride", 2), "stride is not 4"),
        (set_to("task.settings.skeleton.joints", []), "names no joint|unknown joint"),
        (set_to("task.settings.decoder", None), "decode=None must be one of"),
        (set_to("task.settings.limits.resolution", 10**400), "resolution=1000.*must be"),
        (set_to("heads", {"heatmaps": ["nose"]}), "heads are not those of its task"),
        (set_to("network.name", ["unet"]), r"name=\['unet'\] must be a text"),
        (set_to("network.input_size", 33), "input_size=33 is not a size"),
        (set_to("network.input_size", 2**40), "input_size=1099511627776 must be"),
        (set_to("network.dtype", "int8"), "dtype='int8' must be one of"),
        (set_to("network.options.features", 10**12), "features=1000000000000 must be"),
        (set_to("network.options.num_stacks", 10**6), "num_stacks=1000000 must be"),
        (set_to("network.options.num_stacks", 64), None),
        (set_to("network.options", {"num_stacks": 64, "order": 8}), "1664 residual modules"),
        (set_to("network.options.stem", "x" * 10**5), "stem='xx.*must be one of"),
        (set_to("normalisation.mean", [0, 0, math.nan]), "mean="),
        (set_to("normalisation.mean", [0, 0, 1e30]), "mean="),
        (set_to("inference.scales", []), r"scales=\[\] must be a list of at least one"),
        (set_to("inference.scales", [0]), "scales"),
        (set_to("inference.box_margin", "1.25"), "box_margin='1.25' must be a number"),
        (set_to("evaluated", "both"), "evaluated='both' must be one of params, ema"),
        (set_to("records", 3), "records=3"),
        (set_to("records", None), None),
        (set_to("step", 1.5), "step=1.5 must be a whole number"),
        (set_to("format", 2), "has format 2, but this version reads format 1"),
        (set_to("format", "1"), "has format '1'"),
        (set_to("calibration", {}), "field 'calibration', which this version does not know"),
    ],
}


@pytest.mark.parametrize(
    ("start", "change", "says"),
    [(name, *case) for name, cases in CASES.items() for case in cases],
)
def test_the_field_is_named(start, change, says):
    metadata = copy.deepcopy(FORMER if start == "former" else TODAY)
    change(metadata)
    if says is None:
        trained.model_and_task(compatibility.upgrade(metadata, FOLDER))
        return
    with pytest.raises(UserError, match=f"{FOLDER}.*{says}") as caught:
        compatibility.upgrade(metadata, FOLDER)
    assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("[1]", "null", "3", '{"format": 1', "", "[" * 100_000, '{"a": 1' + "0" * 5000 + "}"),
        '{"format": 1}',
        json.dumps({**TODAY, "config": "x" * 2**24}),
    ],
    ids=lambda text: text[:12],
)
def test_files_that_do_not_hold_metadata(tmp_path, text):
    shutil.copytree(trained.MODELS / "lsp-small", tmp_path / "copy")
    (tmp_path / "copy/metadata/metadata").write_text(text)
    for signed in (True, False):
        if signed:
            digests.write(tmp_path / "copy")
        else:
            (tmp_path / "copy" / digests.NAME).unlink()
        with pytest.raises(UserError, match=r"the checkpoint .* cannot be read") as caught:
            store.read_metadata(tmp_path / "copy")
        assert len(str(caught.value)) < 700


VALUES = [None, True, -1, 0, 10**9, 10**400, 1e308, math.inf, math.nan, "", "x", "\ud800", [], {}]
VALUES += [[1], ["a"], {"a": 1}, [[]], {"": None}, "nose", 0.5]


@pytest.mark.parametrize("start", ["former", "today"])
@pytest.mark.parametrize("count", [30, pytest.param(3000, marks=pytest.mark.slow)])
def test_wrong_values_anywhere_are_refused_or_harmless(start, count):
    choose = random.Random(0)
    accepted = 0
    for _ in range(count):
        metadata = copy.deepcopy(FORMER if start == "former" else TODAY)
        for _ in range(choose.randint(1, 2)):
            place = metadata
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                key = choose.choice(keys)
                inside = place[key]
                if not isinstance(inside, (dict, list)) or not inside or choose.random() < 0.3:
                    break
                place = inside
            action = choose.random()
            if action < 0.2:
                del place[key]
            elif action < 0.3 and isinstance(place, dict):
                place["more"] = choose.choice(VALUES)
            else:
                place[key] = choose.choice(VALUES)
            if not metadata:
                break
        try:
            found = compatibility.upgrade(metadata, FOLDER)
        except UserError as error:
            assert len(str(error)) < 700
        else:
            trained.model_and_task(found)
            accepted += 1
    assert accepted < count
