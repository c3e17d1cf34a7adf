"""The main job, shrunk, on every data set that is read from files: train, evaluate, predict."""

import json

import numpy as np
import pytest
import scipy.io
from conftest import load_config, shrink
from mpii_files import write as write_mpii
from test_coco import write_coco
from test_custom import write_json
from test_flic import write as write_flic
from test_mpii import ABSENT, NUM_IMAGES, first_people

from hourglass_jax.errors import UserError
from hourglass_jax.training import train


def make_mpii(folder):
    write_mpii(folder, first_people(), NUM_IMAGES)
    return {"manual_dir": str(folder), "allow_missing": ABSENT}


def make_coco(folder):
    write_coco(folder)
    annotations, images = str(folder / "keypoints.json"), str(folder / "images")
    return {
        "train_json": annotations,
        "validation_json": annotations,
        "image_dir": images,
        "validation_image_dir": images,
    }


def make_flic(folder):
    write_flic(folder, sides="person")
    return {"manual_dir": str(folder)}


def make_custom(folder):
    write_json(folder)
    return {"train_json": str(folder / "keypoints.json"), "image_dir": str(folder)}


@pytest.mark.parametrize(
    ("name", "make", "split", "figures"),
    [
        ("mpii", make_mpii, "validation", {"PCKh@0.5", "PCKh@0.1", "PCKh/AUC", "PCKh@0.5/wrist"}),
        pytest.param(
            *("coco", make_coco, "validation", {"AP", "AR", "PCK@0.2", "PCK@0.2/nose"}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("flic", make_flic, "test", {"PCK@0.2", "PCK@0.2/elbow", "PCK@0.2/wrist"}),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("custom", make_custom, "validation", {"PCK@0.1", "PCK@0.1/snout"}),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_main_job_runs_on_it(tmp_path, name, make, split, figures):
    config = shrink(load_config(name))
    config.data.update({"data_dir": str(tmp_path / "records"), **make(tmp_path / "source")})
    config.num_steps = config.eval.every_steps = 2
    workdir = tmp_path / "run"
    result = train.train_and_evaluate(config, workdir)
    assert result["split"] == split and figures <= result["metrics"].keys()
    predictions = np.load(workdir / "predictions.npz")
    assert len(predictions["ids"]) == result["persons"] > 0
    assert json.loads((workdir / "evaluation.json").read_text())["dataset"] == name

    if name == "mpii":
        path = train.predict_test(config, workdir)
        pred = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True)["pred"]
        filled = [np.size(r.annopoints) for p in pred for r in np.atleast_1d(p.annorect)]
        assert path.name == "pred_keypoints_mpii.mat" and sum(filled) > 5
    else:
        with pytest.raises(UserError, match=f"data.dataset={name!r} has no evaluation server"):
            train.predict_test(config, workdir)
    if name == "coco":
        content = json.loads((tmp_path / "source/keypoints.json").read_text())
        boxes = [
            {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5}
            for a in content["annotations"]
        ]
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        config.data.detections = str(tmp_path / "boxes.json")
        assert train.evaluate_only(config, workdir)["persons"] == len(boxes)
        with pytest.raises(UserError, match="no records to train on"):
            train.train_and_evaluate(config, tmp_path / "other")
