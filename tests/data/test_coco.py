"""COCO: who is trained on and evaluated, and figures equal to a direct call of COCOeval."""

import json

import numpy as np
import pycocotools.coco
import pytest
from PIL import Image
from pycocotools.cocoeval import COCOeval

from hourglass_jax.data.coco.evaluation import FIGURES
from hourglass_jax.data.coco.source import CocoSource
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Instance


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


def make_source(folder, annotations="keypoints.json", **fields):
    return CocoSource(
        train_json=str(folder / annotations),
        validation_json=str(folder / annotations),
        image_dir=str(folder / "images"),
        validation_image_dir=str(folder / "images"),
        **fields,
    )


def annotations_of(source, split):
    return {a.id: a for image in source.images(split) for a in image.annotations}


def figures_of(source, ids, joints, scores):
    """Figures of one instance for each record, after a stack that is not asked for."""
    (metric,) = source.metrics("validation")
    found = [
        [Instance(1.0, joints=xy, joint_scores=s)] for xy, s in zip(joints, scores, strict=True)
    ]
    truth = [{"id": id} for id in ids]
    figures = metric([[[]] * len(ids), found], truth)
    assert list(figures) == list(FIGURES) and metric.headline in figures
    cells = [cell for row in metric.table([found], truth).rows for cell in row[1:]]
    np.testing.assert_array_equal(cells, list(figures.values()))
    assert np.isnan(metric.errors([found], truth)).tolist() == [True] * len(ids)
    return figures


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


def check_against_direct_call(source, path, seed):
    """Perturbs the truth by a share of the person's size."""
    rng = np.random.default_rng(seed)
    people = annotations_of(source, "validation")
    spread = 0.05 * np.array([person.reference for person in people.values()])[:, None, None]
    joints = np.array([person.joints for person in people.values()])
    joints = joints + spread * rng.normal(size=joints.shape)
    scores = rng.uniform(0.1, 1, joints.shape[:2])
    figures = figures_of(source, people, joints, scores)
    results = [
        {
            "image_id": int(name.split("/")[0]),
            "category_id": 1,
            "keypoints": np.c_[xy, s].ravel().tolist(),
            "score": float(s.mean()),
        }
        for name, xy, s in zip(people, joints, scores, strict=True)
    ]
    expected = direct_call(path, results)
    assert [figures[name] for name in FIGURES] == pytest.approx(
        [value if value >= 0 else np.nan for value in expected], abs=1e-12, nan_ok=True
    )
    assert 0 < figures["AP"] < 1


def test_people_with_joints_are_trained_on_and_evaluated(tmp_path):
    content = write_coco(tmp_path)
    source = make_source(tmp_path)
    truth = {f"{a['image_id']}/{a['id']}": a for a in content["annotations"]}
    assert source.splits == ["train", "validation"] and source.metrics("train") == []
    for split in source.splits:
        people = annotations_of(source, split)
        assert set(people) == {f"{i}/{10 * i}" for i in range(1, 7)}
        assert source.count(split) == len(people)
        for name, person in people.items():
            keypoints = np.reshape(truth[name]["keypoints"], (17, 3))
            np.testing.assert_array_equal(person.labelled, keypoints[:, 2] > 0)
            np.testing.assert_array_equal(person.visible, keypoints[:, 2] == 2)
            labelled = person.labelled
            np.testing.assert_array_equal(person.joints[labelled], keypoints[labelled, :2])
            assert person.size == 1.25 * 110 and person.reference == 110
            np.testing.assert_array_equal(person.center, (5 + 55 - 0.5, 6 + 50 - 0.5))


@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_coco(tmp_path, seed):
    write_coco(tmp_path)
    check_against_direct_call(make_source(tmp_path), tmp_path / "keypoints.json", seed)


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
    source = make_source(tmp_path, detections=str(tmp_path / "boxes.json"))
    # They are not part of what is trained on: a checkpoint of before can be evaluated on them.
    assert source.evaluation_files == [tmp_path / "boxes.json"]
    plain = make_source(tmp_path)
    assert source.settings == plain.settings and source.source_files == plain.source_files
    assert list(source.splits) == ["validation"] and source.count("validation") == 12
    people = annotations_of(source, "validation")
    assert len(people) == len(detections) == 12
    assert not any(person.labelled.any() for person in people.values())
    rng = np.random.default_rng(0)
    truth = {a["image_id"]: a for a in content["annotations"] if a["num_keypoints"]}
    ids, joints, results = [], [], []
    for name in people:
        image_id, _, place = name.partition("/")
        xy = np.reshape(truth[int(image_id)]["keypoints"], (17, 3))[:, :2]
        xy = xy + rng.normal(size=xy.shape) * 3
        ids.append(name)
        joints.append(xy)
        results.append(
            {
                "image_id": int(image_id),
                "category_id": 1,
                "keypoints": np.c_[xy, np.full(17, 0.5)].ravel().tolist(),
                "score": 0.5 * detections[int(place)]["score"],
            }
        )
    figures = figures_of(source, ids, joints, np.full((12, 17), 0.5))
    expected = direct_call(tmp_path / "keypoints.json", results)
    np.testing.assert_allclose([figures[name] for name in FIGURES], expected, atol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "[1]", '[{"category_id": 1, "bbox": [1, 2, 3, "x"], "score": 1}]'),
        '[{"category_id": 1, "bbox": [1, 2, 3, 4], "score": 1, "image_id": Infinity}]',
    ],
)
def test_damaged_detections_are_refused(tmp_path, text):
    write_coco(tmp_path)
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(UserError, match=r"boxes\.json"):
        make_source(tmp_path, detections=str(tmp_path / "boxes.json")).count("validation")


def test_other_joints_are_refused(tmp_path):
    content = write_coco(tmp_path)
    content["categories"][0]["keypoints"][0] = "beak"
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"beak.*not COCO's"):
        make_source(tmp_path).count("train")


def test_files_of_the_official_layout_are_found_in_manual_dir(tmp_path):
    source = CocoSource(manual_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"person_keypoints_train2017\.json is missing"):
        _ = source.source_files
    with pytest.raises(UserError, match="train2017 is missing"):
        _ = source.large_files


def test_real_images(shared_data):
    source = make_source(shared_data / "coco", "annotations.json")
    assert source.count("validation") == 12
    check_against_direct_call(source, shared_data / "coco/annotations.json", 0)
