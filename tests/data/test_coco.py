"""COCO: who is trained on and evaluated, and figures equal to a direct call of COCOeval."""

import json

import numpy as np
import pycocotools.coco
import pytest
from conftest import load_config
from PIL import Image
from pycocotools.cocoeval import COCOeval

from hourglass_jax.data.coco import source as coco
from hourglass_jax.data.pipeline import prepare
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError


def write_coco(folder, pictures=6):
    """Writes annotations and pictures: a person with joints, one without and a crowd in each."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(1, pictures + 1):
        name = f"{i:012d}.jpg"
        Image.fromarray(rng.integers(0, 256, (120, 160, 3), np.uint8)).save(
            folder / "images" / name
        )
        images.append({"id": i, "file_name": name, "width": 160, "height": 120})
        joints = np.c_[rng.uniform(10, 110, (17, 2)), rng.integers(0, 3, 17)].round()
        joints[joints[:, 2] == 0] = 0
        for kind, (keypoints, crowd) in enumerate([(joints, 0), (0 * joints, 0), (joints, 1)]):
            annotations.append(
                {
                    "id": 10 * i + kind,
                    "image_id": i,
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                    "bbox": [5.0 + 20 * kind, 6.0, 110.0, 100.0],
                    "area": 6000.0 if i % 2 else 12_000.0,
                    "iscrowd": crowd,
                }
            )
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": [[16, 14]]}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "keypoints.json").write_text(json.dumps(content))
    return content


def make_builder(folder, data_dir, annotations="keypoints.json", **fields):
    config = load_config("coco").data
    config.update(
        {
            "train_json": str(folder / annotations),
            "validation_json": str(folder / annotations),
            "image_dir": str(folder / "images"),
            "validation_image_dir": str(folder / "images"),
            "data_dir": str(data_dir),
            "resolution": 128,
            **fields,
        }
    )
    builder = coco.CocoPose.from_config(config)
    prepare(builder, "")
    return builder


def rows_of(builder, split):
    return list(builder.as_dataset(split=split).as_numpy_iterator())


def direct_call(path, results):
    truth = pycocotools.coco.COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def source_joints(row):
    to_source = row["record_to_source"].astype(np.float64)
    return row["joints_record"] @ to_source[:, :2].T + to_source[:, 2]


def check_against_direct_call(builder, path, seed):
    """Perturbs the truth by the square root of the person's size; half score low."""
    rng = np.random.default_rng(seed)
    rows = rows_of(builder, "validation")
    spread = 0.05 * np.array([row["reference"] for row in rows])[:, None, None]
    joints = np.array([source_joints(row) for row in rows])
    joints = joints + spread * rng.normal(size=joints.shape)
    scores = rng.uniform(0.1, 1, joints.shape[:2])
    ids = np.array([row["id"].decode() for row in rows])
    figures = builder.figures(ids, joints, scores)
    results = [
        {
            "image_id": int(name.split("/")[0]),
            "category_id": 1,
            "keypoints": np.c_[xy, s].ravel().tolist(),
            "score": float(s.mean()),
        }
        for name, xy, s in zip(ids, joints, scores, strict=True)
    ]
    expected = direct_call(path, results)
    assert [figures[name] for name in coco.FIGURES] == pytest.approx(
        [value if value >= 0 else np.nan for value in expected], abs=1e-12, nan_ok=True
    )
    assert 0 < figures["AP"] < 1


def test_people_with_joints_are_trained_on_and_evaluated(tmp_path):
    content = write_coco(tmp_path)
    builder = make_builder(tmp_path, tmp_path)
    for split in ("train", "validation"):
        rows = {row["id"].decode(): row for row in rows_of(builder, split)}
        assert set(rows) == {f"{i}/{10 * i}" for i in range(1, 7)}
    truth = {f"{a['image_id']}/{a['id']}": a for a in content["annotations"]}
    for name, row in rows.items():
        keypoints = np.reshape(truth[name]["keypoints"], (17, 3))
        np.testing.assert_array_equal(row["labelled"], keypoints[:, 2] > 0)
        np.testing.assert_array_equal(row["visible"], keypoints[:, 2] == 2)
        labelled = row["labelled"]
        np.testing.assert_allclose(source_joints(row)[labelled], keypoints[labelled, :2], atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_coco(tmp_path, seed):
    write_coco(tmp_path)
    check_against_direct_call(make_builder(tmp_path, tmp_path), tmp_path / "keypoints.json", seed)


def test_detections_are_evaluated_with_their_scores(tmp_path):
    content = write_coco(tmp_path)
    detections = [
        {
            "image_id": a["image_id"],
            "category_id": 1,
            "bbox": a["bbox"],
            "score": 0.2 + 0.05 * i,
        }
        for i, a in enumerate(content["annotations"])
        if not a["iscrowd"]
    ]
    (tmp_path / "boxes.json").write_text(
        json.dumps([*detections, {**detections[0], "category_id": 3}])
    )
    builder = make_builder(tmp_path, tmp_path, detections=str(tmp_path / "boxes.json"))
    # They are no part of what is trained on: a checkpoint of before can be evaluated on them.
    assert builder.builder_config.training == make_builder(tmp_path, tmp_path).builder_config.name
    assert list(builder.info.splits) == ["validation"]
    rows = rows_of(builder, "validation")
    assert len(rows) == len(detections) == 12 and not any(row["labelled"].any() for row in rows)
    rng = np.random.default_rng(0)
    truth = {a["image_id"]: a for a in content["annotations"] if a["num_keypoints"]}
    ids, joints, results = [], [], []
    for row in rows:
        image_id, _, place = row["id"].decode().partition("/")
        xy = np.reshape(truth[int(image_id)]["keypoints"], (17, 3))[:, :2]
        xy = xy + rng.normal(size=xy.shape) * 3
        ids.append(row["id"].decode())
        joints.append(xy)
        results.append(
            {
                "image_id": int(image_id),
                "category_id": 1,
                "keypoints": np.c_[xy, np.full(17, 0.5)].ravel().tolist(),
                "score": 0.5 * detections[int(place)]["score"],
            }
        )
    figures = builder.figures(np.array(ids), np.array(joints), np.full((12, 17), 0.5))
    expected = direct_call(tmp_path / "keypoints.json", results)
    np.testing.assert_allclose([figures[name] for name in coco.FIGURES], expected, atol=1e-12)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[1]", '[{"category_id": 1, "bbox": [1, 2, 3, "x"], "score": 1}]']
)
def test_detections_that_are_none_are_told(tmp_path, text):
    write_coco(tmp_path)
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(UserError, match=r"boxes\.json"):
        make_builder(tmp_path, tmp_path, detections=str(tmp_path / "boxes.json"))


def test_what_cocos_evaluation_needs_is_looked_for_before_training(tmp_path):
    content = write_coco(tmp_path)
    del content["annotations"][4]["area"]
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"annotations\[4\].*'area'"):
        make_builder(tmp_path, tmp_path)


def test_other_joints_are_told(tmp_path):
    content = write_coco(tmp_path)
    content["categories"][0]["keypoints"][0] = "beak"
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"beak.*not COCO's"):
        make_builder(tmp_path, tmp_path)


def test_real_pictures(shared_data, tmp_path):
    builder = make_builder(shared_data / "coco", tmp_path, "annotations.json")
    assert len(rows_of(builder, "validation")) == 12
    check_against_direct_call(builder, shared_data / "coco/annotations.json", 0)
