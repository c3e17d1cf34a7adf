"""A short run with each kind of keypoints: it trains, resumes, evaluates, reports and predicts."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from conftest import shrink
from drawn_boxes import CATEGORIES, DrawnBoxes
from recorded_reads import recorded_reads
from short_run import assert_same_run

from hourglass_jax import Detector, config_files, data
from hourglass_jax.checkpoint import trained
from hourglass_jax.errors import UserError
from hourglass_jax.experiment import Experiment
from hourglass_jax.tasks.detection.options import CENTRES, CORNERS, JOINTS, Options
from hourglass_jax.tasks.detection.task import Detection
from hourglass_jax.training import train


def make_config(folder, kind):
    config = shrink(config_files.load("default"))
    config.task, config.data.dataset, config.data.data_dir = "detection", "drawn_boxes", str(folder)
    config.detection = {"kind": kind, "max_objects": 4, "top_k": 8}
    config.augment.update({"rotation": 0.0, "scale": 0.2, "translate": 0.1, "jitter": 0.2})
    config.eval.batch_size = 8
    return config


def run(folder, kind, preset="", scales=(1.0,), **model):
    """Trains for four steps, of which each second one leaves a checkpoint."""
    config = make_config(folder / "records", kind)
    config.eval.scales = scales
    config.model.update(model)
    if preset:
        config.model = {"preset": preset, "input_size": 63, "dtype": "float32", "remat": False}
    config.num_steps = 4
    return config, train.train_and_evaluate(config, folder / "run")


def assert_going_on_changes_nothing(folder, config):
    """Goes on from step 2, with what a run that was killed after it leaves behind."""
    shutil.copytree(folder / "run", folder / "killed")
    (folder / "killed/evaluation.json").unlink()
    shutil.rmtree(folder / "killed/checkpoints/4")
    train.train_and_evaluate(config, folder / "killed")
    assert_same_run(folder / "killed", folder / "run")


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(data.SOURCES, "drawn_boxes", DrawnBoxes)


@pytest.mark.slow
def test_people_with_joints(registered, tmp_path):
    """Trained on images of half the size of the larger ones that they are evaluated on."""
    with recorded_reads(Options) as read:
        config, result = run(tmp_path, JOINTS, scales=(0.5, 1.0), training_size=32)
        assert len(Detection(Options(kind=CORNERS), CATEGORIES, (1, 2)).heads) == 6
    assert {name for _, name in read} == {field.name for field in dataclasses.fields(Options)}
    workdir = tmp_path / "run"
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 4 and np.isfinite(losses).all()
    assert 0.8 < lines[0]["ratio_to_plateau"][0] < 1.5  # sizes and offsets do not start at 0
    assert result["images"] == 8 and "persons" not in result
    assert {"AP", "AP50", "AP/small", "AR", "OKS AP", "errors/missed"} <= set(result["metrics"])
    assert train.evaluate_only(config, workdir)["metrics"] == result["metrics"]
    entries = json.loads((workdir / "predictions.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {3, 7}
    assert {entry["image_id"] for entry in entries} <= set(range(8))
    assert all(len(entry["keypoints"]) == 12 for entry in entries)
    assert not (workdir / "predictions.npz").exists()
    report = (workdir / "report.html").read_text()
    assert "8 records" in report and "Precision by recall" in report
    for name in ("training_batch.png", "pictures/best.png", "pictures/worst.png"):
        assert (workdir / name).stat().st_size > 0

    assert_going_on_changes_nothing(tmp_path, config)

    shapes = Experiment.from_config(config).batch_shapes()
    assert shapes["image"].shape[1:] == (32, 32, 3)
    assert shapes["background"].shape[1:] == (8, 8)
    loaded = trained.load(workdir)
    assert loaded.input_size == 64 and loaded.task.training_size == 32
    assert tuple(loaded.inference.scales) == (0.5, 1.0)
    image = next(DrawnBoxes().images("validation")).read()
    detector = Detector.from_checkpoint(workdir, scales=(1.0, 0.5))
    found = detector(image)
    count = len(found.scores)
    assert found.names == CATEGORIES and 0 < count <= 100
    assert found.boxes.shape == (count, 4) and found.joints.shape == (count, 4, 2)
    assert (np.diff(found.scores) <= 0).all() and set(found.categories) <= {0, 1}
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, :2] + found.boxes[:, 2:] <= (96, 72)).all()
    assert len(found.instances) == count and found.instances[0].joint_scores.shape == (4,)
    few = detector(image, min_score=float(found.scores[2]))
    assert 3 <= len(few.scores) < count
    with pytest.raises(UserError, match=r"scales=\(0,\)"):
        Detector.from_checkpoint(workdir, scales=(0,))


@pytest.mark.slow
def test_corners(registered, tmp_path):
    """With a network that pools corners; its input is 63 px, of which 16 cells are made."""
    config, result = run(tmp_path, CORNERS, preset="detection_small")
    assert result["images"] == 8 and result["metrics"]["AP"] >= 0
    assert_going_on_changes_nothing(tmp_path, config)
    found = Detector.from_checkpoint(tmp_path / "run")(np.zeros((30, 200, 3), np.uint8))
    assert found.joints is None and found.boxes.shape == (len(found.scores), 4)


@pytest.mark.slow
def test_a_detector_begins_with_another(registered, tmp_path, monkeypatch, caplog):
    """Of rectangles and discs, for discs and stars with their joints."""
    run(tmp_path, CENTRES)
    monkeypatch.setattr(DrawnBoxes, "categories", ("disc", "star"))
    config = make_config(tmp_path / "other", JOINTS)
    config.num_steps, config.init_from = 2, str(tmp_path / "run")
    with caplog.at_level("INFO"):
        train.train_and_evaluate(config, tmp_path / "begun")
    channels = 2 + 2 + 2 + 8 + 4 + 2
    assert f"5 of {channels} loaded by name; new: star, left_top/x" in caplog.text


def test_a_network_for_poses_is_refused(finished):
    with pytest.raises(UserError, match="'single_pose' does not predict boxes"):
        Detector.from_checkpoint(finished[0])
