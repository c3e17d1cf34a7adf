"""Checkpoints from before there were tasks are read as they were meant."""

import json

import pytest
from conftest import ROOT

from hourglass_jax.checkpoint import compatibility
from hourglass_jax.checkpoint.trained import model_and_task
from hourglass_jax.config import Config
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.single_pose import legacy
from hourglass_jax.tasks.single_pose.limits import Limits
from hourglass_jax.tasks.single_pose.task import SinglePose

pytestmark = pytest.mark.core


@pytest.fixture
def former():
    """The metadata of a network that was trained before there were tasks."""
    path = ROOT / "hourglass_jax/models/lsp-small/metadata/metadata"
    metadata = json.loads(path.read_text())
    former = ("config", "format", "normalisation", "records", "skeleton", "step")
    return {name: metadata[name] for name in former}


def test_checkpoints_from_before_tasks_are_read(former):
    before = json.loads(json.dumps(former))
    upgraded = compatibility.upgrade(former, ROOT)
    assert former == before
    model, task = model_and_task(upgraded)
    assert task == SinglePose(LSP, 1.25, decoder="refined", limits=Limits(resolution=128))
    assert (model.num_stacks, model.features, model.order, model.stem) == (2, 96, 3, "paper")
    assert upgraded["network"]["input_size"] == 96 and upgraded["network"]["dtype"] == "float32"
    assert {"remat", "dtype", "input_size"}.isdisjoint(upgraded["network"]["options"])
    assert upgraded["heads"] == {"heatmaps": list(LSP.joints)}
    assert upgraded["inference"] == {"flip_test": True}
    assert (upgraded["evaluated"], upgraded["step"]) == ("params", 16000)
    assert upgraded["records"] == legacy.UNKNOWN_RECORDS  # made by other rules than today
    assert Config.from_dict(upgraded["config"]).task == "single_pose"
    assert compatibility.upgrade(upgraded, ROOT) is upgraded


def test_what_former_checkpoints_say_otherwise_is_kept(former):
    config = former["config"]
    config["eval"].update(flip_test=False, decode="quarter")
    config["ema_decay"], config["heatmap"] = 0.99, {"sigma": 2.0, "zero_target": True}
    upgraded = legacy.upgrade(former)
    _, task = model_and_task(upgraded)
    assert (task.sigma, task.zero_target, task.decoder) == (2.0, True, "quarter")
    assert upgraded["inference"] == {"flip_test": False} and upgraded["evaluated"] == "ema"


def test_imported_networks_of_former_versions_say_little(former):
    """Networks that were trained elsewhere had the model's fields alone for a config."""
    former["config"] = {"model": former["config"]["model"]}
    upgraded = legacy.upgrade(former)
    _, task = model_and_task(upgraded)
    assert task == SinglePose(LSP, decoder="quarter", limits=Limits(resolution=96))
    assert upgraded["inference"] == {"flip_test": True} and upgraded["evaluated"] == "params"


def test_formats_of_later_versions_are_refused(former):
    with pytest.raises(UserError, match=r"has format 2, but this version reads format 1"):
        compatibility.upgrade({**former, "format": 2}, ROOT)
