"""A short run: it trains, resumes, evaluates, reports and finds everybody."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import shrink
from drawn_boxes import DrawnBoxes
from PIL import Image
from recorded_reads import recorded_reads

from hourglass_jax import config_files, data, predict
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.grouped_pose.options import Options
from hourglass_jax.training import train


def test_everybodys_joints(monkeypatch, tmp_path):
    """With the network of associative embedding, which has no BatchNorm."""
    monkeypatch.setitem(data.SOURCES, "drawn_boxes", DrawnBoxes)
    config = shrink(config_files.load("default"))
    config.task, config.data.dataset = "grouped_pose", "drawn_boxes"
    config.data.data_dir = str(tmp_path / "records")
    config.grouped_pose = {"sigma": 1.0, "max_people": 4, "threshold": 0.01}
    del config.model["num_residuals"], config.model["stem"]
    config.model.update({"network": "pose_ae", "growth": 2})
    config.augment.update({"rotation": 20.0, "scale": 0.2, "translate": 0.1})
    workdir, config.num_steps = tmp_path / "run", 2
    with recorded_reads(Options) as read:
        train.train_and_evaluate(config, workdir)
        config.num_steps = 4
        result = train.train_and_evaluate(config, workdir)
        image = Image.fromarray(next(DrawnBoxes().images("validation")).read())
        image.save(tmp_path / "image.png")
        where = [f"--input={tmp_path}/image.png", f"--output={tmp_path}/found"]
        more = ["--min_score=0", "--batch_size=1"]
        assert predict.main([f"--checkpoint={workdir}", *where, *more]) == 0
    assert {name for _, name in read} == {field.name for field in dataclasses.fields(Options)}
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 4 and np.isfinite(losses).all()
    assert 0.9 < lines[0]["ratio_to_plateau"][0] < 1.1
    assert result["images"] == 8 and {"OKS AP", "OKS AR"} <= set(result["metrics"])
    assert train.evaluate_only(config, workdir)["metrics"] == result["metrics"]
    entries = json.loads((workdir / "predictions.json").read_text())
    assert all(len(e["keypoints"]) == 12 and e["category_id"] == 3 for e in entries)
    assert "8 records" in (workdir / "report.html").read_text()
    for name in ("training_batch.png", "pictures/best.png", "pictures/worst.png"):
        assert (workdir / name).stat().st_size > 0
    people = json.loads((tmp_path / "found/predictions.json").read_text())
    assert len(people) <= 4 and all(len(one["keypoints"]) == 12 for one in people)
    assert (tmp_path / "found/overlays/image.jpg").is_file()
    with pytest.raises(UserError, match="no BatchNorm"):
        train.calibrate_batch_norm(config, workdir)
