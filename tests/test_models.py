"""The networks that come with the package: found by name, small, as good as their cards say."""

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
from conftest import ROOT, load_benchmark, load_config
from PIL import Image

from hourglass_jax import Detector, PoseEstimator
from hourglass_jax.checkpoint import store
from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.interop import web_page
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.detection import boxes
from hourglass_jax.tasks.single_pose import metrics

DRAWN = ROOT / "docs/people/drawn.jpg"
CARD = (checkpoint.MODELS / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "parameters", "most"),
    [("people-pose", 3e6, 6e6), ("lsp-small", 2e6, 3e6), ("people-small", 1.5e6, 3e6)],
)
def test_a_network_is_small_and_tells_nothing_of_the_machine_that_made_it(name, parameters, most):
    files = [path for path in (checkpoint.MODELS / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < most
    assert not any(b"/home/" in p.read_bytes() or b"/tmp/" in p.read_bytes() for p in files)
    trained = checkpoint.load(name)
    count = sum(x.size for x in jax.tree.leaves(trained.variables["params"]))
    assert count < parameters and f"{count:,}" in CARD
    assert {x.dtype for x in jax.tree.leaves(trained.variables)} == {np.dtype(np.float32)}


def test_the_networks_find_people():
    assert checkpoint.load("lsp-small").task.skeleton == LSP
    assert checkpoint.load("people-pose").task.joints[:14] == LSP.joints
    assert checkpoint.task_of("people-small").categories == ("person",)


def test_a_folder_of_its_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint.load("lsp-small").where == checkpoint.MODELS / "lsp-small"
    (tmp_path / "lsp-small").mkdir()
    with pytest.raises(UserError, match="lsp-small holds no checkpoint"):
        checkpoint.load("lsp-small")


def test_the_pose_network_was_trained_by_its_config():
    metadata = store.read_metadata(checkpoint.MODELS / "lsp-small")
    config = json.loads(json.dumps(load_config("lsp_small").to_dict()))
    config["ema_decay"] = 0.0  # the averages are what is kept
    later = (
        ("augment", "jitter"),
        ("augment", "lighting"),
        ("augment", "aspect"),
        ("augment", "any_angle"),
        ("augment", "half_body"),
        ("augment", "occluder"),
        ("heatmap", "zero_outside"),
        ("model", "preset"),
        ("model", "training_size"),
    )
    assert not any(config[section].pop(name) for section, name in later)
    assert config["eval"].pop("scales") == [1] and config["eval"].pop("patience") == 0
    assert config.pop("log_to") == "" and not config.pop("init_network")
    assert metadata["config"] == config and metadata["step"] <= config["num_steps"]


def test_people_pose_was_trained_by_its_config():
    metadata = store.read_metadata(checkpoint.MODELS / "people-pose")
    config = json.loads(json.dumps(load_config("people_pose").to_dict()))
    assert {**metadata["config"], "ema_decay": 0.999} == {**config, "ema_decay": 0.999}
    assert metadata["step"] <= config["num_steps"]


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        pytest.param("people-pose", r"PCK@0.2, 14 joints \| (\d\d\.\d) \|", marks=pytest.mark.slow),
        ("lsp-small", r"boxes around their joints, the\s+figure is (\d\d\.\d) %"),
    ],
)
def test_people_of_the_test_split_are_found_through_the_estimator(
    shared_data, monkeypatch, name, stated
):
    """PCK@0.2 of the 1,000 test people, raw images and boxes in and no option, as the card says."""
    # For 2,000 images an optimised program is worth its compilation: it takes half of the time.
    monkeypatch.setitem(sharding._OPTIONS["cpu"], "xla_backend_optimization_level", "1")
    joints = scipy.io.loadmat(shared_data / "lsp/joints.mat")["joints"].transpose(2, 1, 0)
    numbers, truth = range(1000, 2000), joints[1000:, :, :2] - 1.0
    estimator = PoseEstimator.from_checkpoint(name, finder=None)
    people = []
    for number, own in zip(numbers, truth, strict=True):
        with Image.open(shared_data / f"lsp/images/im{number + 1:04d}.jpg") as image:
            low, high = own.min(0), own.max(0)
            people.append((np.asarray(image.convert("RGB")), np.array([*low, *(high - low)])))
    found = estimator.estimate(people).joints[:, :14]  # LSP's come first
    labelled = np.ones(truth.shape[:2], bool)
    torso = np.linalg.norm(truth[:, 9] - truth[:, 2], axis=-1)
    total = metrics.pck(truth, found, labelled, torso, 0.2).total
    figure = re.search(stated, CARD)
    assert figure and total == pytest.approx(float(figure[1]) / 100, abs=0.001)


def test_the_finder_was_trained_by_its_config():
    metadata = store.read_metadata(checkpoint.MODELS / "people-small")
    saved = metadata["config"]
    config = json.loads(json.dumps(load_config("people_small").to_dict()))
    for name in ("any_angle", "half_body", "occluder"):  # came later
        assert not config["augment"].pop(name)
    assert not config["eval"].pop("patience")
    whole = set(config) - {"model", "heatmap", "detection"}  # also hold what others read
    whole -= {"log_to", "init_network"}  # are newer
    assert {name: saved[name] for name in whole} == {name: config[name] for name in whole}
    for name in ("preset", "widths", "blocks", "input_size", "training_size"):
        assert saved["model"][name] == config["model"][name]
    assert saved["detection"]["kind"] == config["detection"]["kind"]
    assert metadata["step"] <= config["num_steps"]


def test_three_drawn_people_are_found():
    truth = np.array([(137, 180, 52, 80), (67, 37, 70, 170), (159, 76, 92, 199)], float)
    found = PoseEstimator.from_checkpoint("people-pose")(DRAWN)
    overlaps = boxes.iou(*(boxes.from_sizes(x.astype(float)) for x in (found.boxes, truth)))
    assert overlaps.shape == (3, 3) and (overlaps.max(0) > 0.5).all()


@pytest.mark.parametrize(
    ("folder", "leave_out", "people"),
    [
        ("coco_people", "", 139),
        pytest.param("people_boxes", "img_", 287, marks=pytest.mark.slow),
    ],
)
def test_people_in_photographs_are_found(shared_data, folder, leave_out, people):
    """AP50 and the recall at a precision of 0.80, as the card says."""
    finder = load_benchmark("finder")
    detector = Detector.from_checkpoint("people-small", min_score=0.01)
    path = shared_data / folder
    results = finder.evaluate(
        detector, path / "validation.json", path / "images", height=48, leave_out=leave_out
    )
    average, recalls = finder.figures(*results)
    row = re.search(rf"`{folder}`.*\| {people} \| ([\d.]+) \|[^|]*\| ([\d.]+) \(", CARD)
    assert results[2] == people and row
    assert average == pytest.approx(float(row[1]) / 100, abs=0.001)
    assert recalls[0.8][0] == pytest.approx(float(row[2]) / 100, abs=0.001)


@pytest.mark.slow
def test_the_wheel_holds_them(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 12e6
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as content:
        inside = {x for x in content.namelist() if "/models/" in x or "_jax/web/" in x}
    folder = checkpoint.MODELS.parent.parent
    both = checkpoint.MODELS, web_page.SOURCES
    files = [p for part in both for p in part.rglob("*") if p.is_file()]
    assert inside == {str(path.relative_to(folder)) for path in files}
