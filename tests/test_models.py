"""The network that comes with the package: found by name, small, as good as its card says."""

import io
import json
import re
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
import scipy.io
from conftest import ROOT, load_config
from PIL import Image

from hourglass_jax import PoseEstimator
from hourglass_jax.checkpoint import store
from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.single_pose import metrics

CARD = (checkpoint.MODELS / "README.md").read_text()


def test_it_is_small_and_tells_nothing_of_the_machine_that_made_it():
    files = [path for path in (checkpoint.MODELS / "lsp-small").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4e6
    assert not any(b"/home/" in p.read_bytes() or b"/tmp/" in p.read_bytes() for p in files)
    trained = checkpoint.load("lsp-small")
    count = sum(x.size for x in jax.tree.leaves(trained.variables["params"]))
    assert count < 2e6 and f"{count:,}" in CARD
    assert {x.dtype for x in jax.tree.leaves(trained.variables)} == {np.dtype(np.float32)}
    assert trained.task.skeleton == LSP


def test_a_folder_of_its_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint.load("lsp-small").where == checkpoint.MODELS / "lsp-small"
    (tmp_path / "lsp-small").mkdir()
    with pytest.raises(UserError, match="lsp-small holds no checkpoint"):
        checkpoint.load("lsp-small")


def test_it_was_trained_by_its_config():
    metadata = store.read_metadata(checkpoint.MODELS / "lsp-small")
    config = json.loads(json.dumps(load_config("lsp_small").to_dict()))
    config["ema_decay"] = 0.0  # the averages are what is kept
    later = (
        ("augment", "jitter"),
        ("augment", "lighting"),
        ("augment", "aspect"),
        ("model", "preset"),
        ("model", "training_size"),
    )
    assert not any(config[section].pop(name) for section, name in later)
    assert metadata["config"] == config and metadata["step"] <= config["num_steps"]


def test_people_of_the_test_split_are_found_through_the_estimator(shared_data, monkeypatch):
    """PCK@0.2 of the 1,000 test people, raw images and boxes in and no option, as the card says."""
    # For 2,000 images an optimised program is worth its compilation: it takes half of the time.
    monkeypatch.setitem(sharding._OPTIONS["cpu"], "xla_backend_optimization_level", "1")
    joints = scipy.io.loadmat(shared_data / "lsp/joints.mat")["joints"].transpose(2, 1, 0)
    numbers, truth = range(1000, 2000), joints[1000:, :, :2] - 1.0
    estimator = PoseEstimator.from_checkpoint("lsp-small")
    people = []
    for number, own in zip(numbers, truth, strict=True):
        with Image.open(shared_data / f"lsp/images/im{number + 1:04d}.jpg") as image:
            low, high = own.min(0), own.max(0)
            people.append((np.asarray(image.convert("RGB")), np.array([*low, *(high - low)])))
    found = estimator.estimate(people).joints
    labelled = np.ones(truth.shape[:2], bool)
    torso = np.linalg.norm(truth[:, 9] - truth[:, 2], axis=-1)
    total = metrics.pck(truth, found, labelled, torso, 0.2).total
    stated = re.search(r"boxes around their joints, the\s+figure is (\d\d\.\d) %", CARD)
    assert stated and total == pytest.approx(float(stated[1]) / 100, abs=0.001)


@pytest.mark.slow
def test_the_wheel_holds_it(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 6e6
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as content:
        inside = {name for name in content.namelist() if "/models/lsp-small/" in name}
    folder = checkpoint.MODELS.parent.parent
    files = [p for p in (checkpoint.MODELS / "lsp-small").rglob("*") if p.is_file()]
    assert inside == {str(path.relative_to(folder)) for path in files}
