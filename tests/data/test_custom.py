"""Your own keypoints: what is read from JSON and CSV, what is found in names, what is refused."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.data import images
from hourglass_jax.data.base import Tolerance
from hourglass_jax.data.custom.source import CustomSource
from hourglass_jax.data.formats import coco_json, deeplabcut
from hourglass_jax.errors import UserError

JOINTS = ["snout", "leftear", "rightear", "tail"]


def write_json(folder, pictures=20, **category):
    """Writes keypoints.json and pictures; every third animal lacks the second joint."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for i in range(pictures):
        name = f"img{i}.{'png' if i % 2 else 'jpg'}"
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / name)
        images.append({"id": i, "file_name": name, "width": 64, "height": 48})
        joints = np.c_[rng.uniform(5, 40, (4, 2)), [2, 0 if i % 3 == 0 else 1, 2, 2]]
        annotations.append(
            {
                "id": 100 + i,
                "image_id": i,
                "category_id": 7,
                "keypoints": joints.round(2).ravel().tolist(),
                "bbox": [4.0, 4.0, 40.0, 30.0],
                "iscrowd": 0,
            }
        )
    names = {"id": 7, "name": "mouse", "keypoints": JOINTS, "skeleton": [[1, 2], [1, 3], [1, 4]]}
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cage"}, {**names, **category}],
    }
    (folder / "keypoints.json").write_text(json.dumps(content))
    return content


def make_source(folder, **fields):
    return CustomSource(
        **{"train_json": str(folder / "keypoints.json"), "image_dir": str(folder), **fields}
    )


def annotations_of(source):
    return {
        split: {a.id: a for image in source.images(split) for a in image.annotations}
        for split in source.splits
    }


def read(path):
    """Every annotation of a file in COCO's format."""
    file = coco_json.read(path, path.parent)
    return [annotation for image in file.images for annotation in image.annotations]


def test_everything_comes_from_the_json(tmp_path):
    content = write_json(tmp_path / "mice")
    source = make_source(tmp_path / "mice")
    assert list(source.labels.joints) == JOINTS
    assert source.labels.pairs == (("leftear", "rightear"),)
    assert source.labels.limbs == (("snout", "leftear"), ("snout", "rightear"), ("snout", "tail"))
    assert source.tolerance == Tolerance(0.1)
    assert {split: source.count(split) for split in source.splits} == {"train": 18, "validation": 2}
    annotations = {f"{a['image_id']}/{a['id']}": a for a in content["annotations"]}
    splits = annotations_of(source)
    seen = splits["train"] | splits["validation"]
    assert seen.keys() == annotations.keys()
    for name, annotation in seen.items():
        keypoints = np.reshape(annotations[name]["keypoints"], (4, 3))
        labelled = annotation.labelled
        np.testing.assert_array_equal(labelled, keypoints[:, 2] > 0)
        np.testing.assert_array_equal(annotation.visible, keypoints[:, 2] == 2)
        np.testing.assert_array_equal(annotation.joints[labelled], keypoints[labelled, :2])
        assert annotation.size == 1.25 * 40 and annotation.reference == 40
        np.testing.assert_array_equal(annotation.center, (23.5, 18.5))
    for image in source.images("train"):
        assert image.size == (64, 48) and image.read().shape == (48, 64, 3)


def test_a_validation_file_is_used_and_must_have_the_same_joints(tmp_path):
    write_json(tmp_path / "a")
    write_json(tmp_path / "b", pictures=5)
    fields = {
        "validation_json": str(tmp_path / "b/keypoints.json"),
        "validation_image_dir": str(tmp_path / "b"),
    }
    source = make_source(tmp_path / "a", **fields)
    assert {split: source.count(split) for split in source.splits} == {"train": 20, "validation": 5}
    assert len(source.source_files) == 2 and len(source.large_files) == 25
    write_json(tmp_path / "b", pictures=5, keypoints=[*JOINTS[:3], "nose"])
    with pytest.raises(UserError, match=r"nose.*must be the same"):
        make_source(tmp_path / "a", **fields).count("train")


def test_fields_that_are_wrong_are_named(tmp_path):
    write_json(tmp_path)
    with pytest.raises(UserError, match=r"config\.data\.train_json is not set"):
        make_source(tmp_path, train_json="")
    with pytest.raises(UserError, match=r"config\.data\.image_dir='/nowhere' is not a folder"):
        _ = make_source(tmp_path, image_dir="/nowhere").large_files


@pytest.mark.parametrize("place", ["a", "a/images", "images", "."])
def test_images_are_found_near_their_file(tmp_path, place):
    write_json(tmp_path / "a")
    for image in (tmp_path / "a").glob("img*"):
        (tmp_path / place).mkdir(exist_ok=True)
        image.rename(tmp_path / place / image.name)
    source = make_source(tmp_path / "a", image_dir="")
    assert len(source.large_files) == 20 and source.count("train") == 18


def test_pairs_of_the_file_go_before_those_of_the_names(tmp_path):
    write_json(tmp_path / "mice", pairs=[["snout", "tail"]])
    file = coco_json.read(tmp_path / "mice/keypoints.json", tmp_path)
    assert file.pairs_given and file.skeleton.pairs == (("snout", "tail"),)


def test_pck_can_be_relative_to_two_joints(tmp_path):
    content = write_json(tmp_path / "mice")
    source = make_source(tmp_path / "mice", pck_reference="snout:leftear", pck_threshold=0.5)
    assert source.tolerance == Tolerance(0.5)
    annotations = {f"{a['image_id']}/{a['id']}": a for a in content["annotations"]}
    for name, annotation in annotations_of(source)["train"].items():
        joints = np.reshape(annotations[name]["keypoints"], (4, 3))
        both = joints[1, 2] > 0
        expected = np.linalg.norm(joints[0, :2] - joints[1, :2]) if both else 20
        assert annotation.reference == pytest.approx(expected)
    for wrong in ("snout", "snout:knee", "tail:tail"):
        with pytest.raises(UserError, match=wrong.split(":")[-1]):
            make_source(tmp_path / "mice", pck_reference=wrong)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c.pop("images"), "'images' is missing"),
        (lambda c: c["categories"].pop(), "no category with `keypoints`"),
        (lambda c: c["categories"][1].update(keypoints=["a", "a", "b", "c"]), "'a' twice"),
        (lambda c: c["categories"][1].update(keypoints="abc"), "not a list of the joints' names"),
        (lambda c: c["categories"][1].update(pairs=[["snout", "wing"]]), "no joint 'wing'.*snout"),
    ],
)
def test_what_is_wrong_in_a_json_is_named(tmp_path, damage, message):
    content = write_json(tmp_path)
    damage(content)
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read(tmp_path / "keypoints.json")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c["images"][2].update(width=48, height=64), r"img2\.jpg is 64 x 48.*48 x 64"),
        (lambda c: c["images"][3].update(file_name="a" * 300), "is missing"),
        (lambda c: [a.update(keypoints=[]) for a in c["annotations"]], "20 have no labelled joint"),
    ],
)
def test_what_does_not_belong_together_is_named(tmp_path, damage, message):
    content = write_json(tmp_path)
    damage(content)
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        source = make_source(tmp_path)
        assert source.large_files and source.count("train")
        for split in source.splits:
            list(images.read_all(source.images(split), lambda image: [image.read()], 0))


def test_categories_of_the_same_joints_go_together(tmp_path):
    content = write_json(tmp_path)
    content["categories"].append({**content["categories"][1], "id": 8, "name": "rat"})
    content["annotations"][0]["category_id"] = 8
    content["annotations"][1]["category_id"] = 1
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    assert len(read(tmp_path / "keypoints.json")) == 19


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "1e999"])
def test_a_file_without_annotations_is_refused(tmp_path, text):
    (tmp_path / "keypoints.json").write_text(text)
    with pytest.raises(UserError, match=r"keypoints\.json"):
        read(tmp_path / "keypoints.json")


def test_coordinates_that_are_not_numbers_are_not_labels(tmp_path):
    content = write_json(tmp_path)
    content["annotations"][0]["keypoints"][:3] = [float("nan"), 3.0, 2]
    content["annotations"][1]["keypoints"][:3] = [1e300, 3.0, 2]
    content["annotations"][2]["bbox"] = [0, 0, float("inf"), 3]
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    first, second, third, *_ = read(tmp_path / "keypoints.json")
    assert not first.labelled[0] and not second.labelled[0]
    assert third.box is None


def write_csv(path, *, folders, animals=()):
    """DeepLabCut's table of 12 pictures; the tail of the third picture is not labelled."""
    rng = np.random.default_rng(0)
    groups = [(animal, part) for animal in animals or [""] for part in JOINTS]
    columns = [(animal, part, axis) for animal, part in groups for axis in "xy"]
    index = 3 if folders else 1
    head = [["scorer", *["ann"] * len(columns)]]
    if animals:
        head.append(["individuals", *[animal for animal, _, _ in columns]])
    head += [["bodyparts", *[c[1] for c in columns]], ["coords", *[c[2] for c in columns]]]
    xy = rng.uniform(5, 40, (12, len(columns))).round(3)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([row[0], *[""] * (index - 1), *row[1:]] for row in head)
        for i, numbers in enumerate(xy):
            name = ["labeled-data", "cage", f"img{i}.png"]
            cells = [
                "" if i == 2 and c[1] == "tail" else n
                for n, c in zip(numbers, columns, strict=True)
            ]
            writer.writerow([*(name if folders else ["/".join(name)]), *cells])
    return xy.reshape(12, -1, 4, 2)


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("animals", [(), ("one", "two")])
def test_a_table_of_deeplabcut(tmp_path, folders, animals):
    xy = write_csv(tmp_path / "CollectedData_ann.csv", folders=folders, animals=animals)
    file = deeplabcut.read(tmp_path / "CollectedData_ann.csv", tmp_path)
    assert list(file.skeleton.joints) == JOINTS
    assert file.skeleton.pairs == (("leftear", "rightear"),)
    assert [len(image.annotations) for image in file.images] == [max(len(animals), 1)] * 12
    ids = [a.id for image in file.images for a in image.annotations]
    assert len(set(ids)) == len(ids) and ids[0] == f"{4 + bool(animals)}/1"
    for i, image in enumerate(file.images):
        assert image.name == str(tmp_path / f"labeled-data/cage/img{i}.png")
        for annotation, expected in zip(image.annotations, xy[i], strict=True):
            assert annotation.labelled.tolist() == [True] * 3 + [i != 2]
            labelled = annotation.labelled
            np.testing.assert_array_equal(annotation.joints[labelled], expected[labelled])


def test_damaged_tables_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="DeepLabCut"):
        deeplabcut.read(path, tmp_path)
    write_csv(path, folders=False)
