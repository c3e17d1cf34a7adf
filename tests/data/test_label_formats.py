"""Labels of other tools: joints on the right pixels, in one command, wherever the images are."""

import base64
import json
import zipfile

import label_files
import numpy as np
import pytest
from conftest import ROOT
from keypoint_data import HEIGHT, WIDTH, images_of, scene
from label_files import BOXES, JOINTS, joints_of

from hourglass_jax import import_labels
from hourglass_jax.data.custom.source import CustomSource
from hourglass_jax.data.custom_boxes.source import CustomBoxesSource
from hourglass_jax.errors import UserError

SAMPLES = ROOT.parent / "shared/data/formats"
FORMATS = (
    label_files.yolo,
    label_files.labelme,
    label_files.label_studio,
    label_files.cvat,
    label_files.deeplabcut_h5,
)
each_format = pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="the sample files are not here")


def source_of(labels, **fields):
    return CustomSource(train_json=str(labels), **fields)


def number_of(image):
    return int(image.name.rpartition(".")[0][-1])


@each_format
def test_joints_are_on_their_pixels(tmp_path, write):
    source = source_of(write(tmp_path))
    assert source.labels.joints == JOINTS
    assert source.labels.pairs == (("left_ear", "right_ear"),)
    found = images_of(source)
    assert len(found) == label_files.IMAGES and source.large_files
    for image in found:
        number = number_of(image)
        np.testing.assert_array_equal(image.read(), np.asarray(scene(number)))
        assert image.size in ((WIDTH, HEIGHT), None)
        xy = joints_of(number)
        assert len(image.annotations) == 2
        for a, joints, box in zip(image.annotations, xy, BOXES, strict=True):
            np.testing.assert_array_equal(a.labelled, np.isfinite(joints[:, 0]))
            np.testing.assert_allclose(a.joints[a.labelled], joints[a.labelled], atol=2e-6)
            if write is not label_files.deeplabcut_h5:  # which has no boxes
                np.testing.assert_allclose(a.box, box, atol=2e-6)


@each_format
def test_labels_are_imported(tmp_path, write):
    labels, output = write(tmp_path / "labels"), tmp_path / "coco"
    assert import_labels.main([str(labels), f"--output={output}"]) == 0
    splits = {path.stem for path in output.glob("*.json")}
    assert splits == ({"train", "validation"} if write is label_files.yolo else {"train"})
    before, after = (
        {number_of(i): i for i in images_of(source)}
        for source in (source_of(labels), source_of(output / "train.json"))
    )
    assert after.keys() == before.keys() - ({3} if "validation" in splits else set())
    for number, image in after.items():
        np.testing.assert_array_equal(image.read(), before[number].read())
        for a, b in zip(image.annotations, before[number].annotations, strict=True):
            np.testing.assert_array_equal(a.joints, b.joints)
            np.testing.assert_array_equal(a.labelled, b.labelled)
            np.testing.assert_allclose([*a.center, a.size], [*b.center, b.size], atol=1e-4)
    with pytest.raises(UserError, match="holds labels; choose another folder"):
        import_labels.main([str(labels), f"--output={output}"])


def test_images_that_are_missing_are_named_and_others_imported(tmp_path, capsys):
    labels = label_files.labelme(tmp_path / "labels")
    (labels / "bïld 1.png").unlink()
    assert import_labels.main([str(labels), f"--output={tmp_path / 'coco'}"]) == 1
    assert "bïld 1.png is missing" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "coco/train.json").read_text())["images"]) == 3


def test_changed_labels_are_other_data(tmp_path):
    label_files.yolo(tmp_path)
    source = source_of(tmp_path)
    assert [path.name for path in source.source_files][:2] == ["data.yaml", "bïld 0.txt"]
    assert len(source.source_files) == 6  # data.yaml of both splits


def test_boxes_of_other_tools_are_learned(tmp_path):
    label_files.yolo(tmp_path)
    for path in tmp_path.glob("labels/*/*.txt"):
        lines = [" ".join(line.split()[:5]) for line in path.read_text().splitlines()]
        path.write_text("\n".join([*lines, "0 0.1 0.1 0.1 0.1 0.2 0.3", "7 0.1 0.1 0.1 0.1"]))
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {0: mouse}\n")
    source = CustomBoxesSource(train_json=str(tmp_path))
    assert source.categories == ("mouse",) and source.count("train") == 6
    with pytest.raises(UserError, match=r"data\.yaml has no category .* configs/custom_boxes\.py"):
        source_of(tmp_path)


def test_boxes_of_labelme(tmp_path):
    label_files.labelme(tmp_path)
    for path in tmp_path.glob("*.json"):
        content = json.loads(path.read_text())
        content["shapes"] = content["shapes"][::4]
        path.write_text(json.dumps(content))
    assert CustomBoxesSource(train_json=str(tmp_path)).count("train") == 6
    with pytest.raises(UserError, match=r"learn them with configs/custom_boxes\.py"):
        source_of(tmp_path)


def test_an_image_inside_labelmes_file_is_used_where_there_is_no_other(tmp_path):
    label_files.labelme(tmp_path)
    for i in range(label_files.IMAGES):
        image, path = tmp_path / f"bïld {i}.png", tmp_path / f"bïld {i}.json"
        content = json.loads(path.read_text())
        content["imageData"] = base64.b64encode(image.read_bytes()).decode()
        path.write_text(json.dumps(content))
        image.unlink()
    for image in images_of(source_of(tmp_path)):
        np.testing.assert_array_equal(image.read(), np.asarray(scene(number_of(image))))


def test_points_are_grouped_by_rectangles_and_twice_is_said(tmp_path, caplog):
    folder = label_files.labelme(tmp_path)
    path = folder / "bïld 1.json"
    content = json.loads(path.read_text())
    point = content["shapes"][1]
    others = ({"points": [[5, 5]]}, {"points": [[9, 5]], "label": "left_ear"})
    content["shapes"] += [point, *({**point, **other} for other in others)]
    content["shapes"].append({**point, "shape_type": "circle"})
    path.write_text(json.dumps(content))
    found = {number_of(image): image for image in images_of(source_of(folder))}
    assert [a.labelled.sum() for a in found[1].annotations] == [3, 2, 2]
    assert "'nose' is labelled twice of the same object" in caplog.text
    assert "a circle is neither a point nor a rectangle" in caplog.text


def test_the_minimal_form_of_label_studio(tmp_path):
    path = label_files.label_studio(tmp_path)
    minimal = []
    for task in json.loads(path.read_text()):
        parts = task["annotations"][0]["result"]
        regions = {"kp": [], "box": []}
        for part in parts:
            if "value" in part:
                size = {k: part[k] for k in ("original_width", "original_height")}
                kind = "kp" if part["type"].startswith("key") else "box"
                regions[kind].append({**part["value"], **size})
        minimal.append({"id": task["id"], "image": task["data"]["image"], **regions})
    path.write_text(json.dumps(minimal))
    for image in images_of(source_of(path)):
        for a, joints in zip(image.annotations, joints_of(number_of(image)), strict=True):
            np.testing.assert_allclose(a.joints[a.labelled], joints[a.labelled], atol=1e-9)


def test_subsets_of_a_zip_are_the_splits(tmp_path):
    label_files.cvat(tmp_path)
    content = label_files.coco_content()
    with zipfile.ZipFile(tmp_path / "task.zip") as archive:
        images = {n: archive.read(n) for n in archive.namelist() if n.startswith("images")}
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for subset, numbers in (("Train", (0, 1, 2)), ("Validation", (3,))):
            part = {**content, "images": [content["images"][i] for i in numbers]}
            part["annotations"] = [a for a in content["annotations"] if a["image_id"] in numbers]
            name = f"annotations/person_keypoints_{subset}.json"
            archive.writestr(name, json.dumps(part))
            for i in numbers:
                name = f"images/{subset}/bïld {i}.png"
                archive.writestr(name, images[f"images/default/bïld {i}.png"])
    source = source_of(tmp_path / "two.zip")
    assert {s: [number_of(i) for i in source.images(s)] for s in source.splits} == {
        "train": [0, 1, 2],
        "validation": [3],
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"image_id": 1, "score": 1, "keypoints": []}]', "COCO's results"),
        ("a.json", '[{"image_id": "a", "keypoint_annotations": {}}]', "AI Challenger"),
        ("a.json", '{"_via_img_metadata": {}}', "VGG Image Annotator"),
        ("a.json", '{"shapes": []}', "LabelMe's and has no points"),
        ("a.json", '[{"data": {}, "annotations": []}]', "Label Studio's and has no key points"),
        ("a.xml", "<?xml version='1.0'?><annotations>", "CVAT's XML.*COCO Keypoints"),
        ("a.yaml", "data:\n  csv_file: x.csv\n", "Lightning Pose; name its table"),
        ("a.yaml", "bodyparts: [a]\nscorer: b\n", "DeepLabCut .* name its folder"),
        ("a.yaml", "names: [a]\ntrain: images\n", "images is not there in .*image_dir"),
        ("a.yaml", "names: [a\n", "not valid YAML"),
        ("a.csv", "scorer,n,n,n\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,1,1\n", "predictions"),
        ("a.h5", "x", "no format that is read, which are COCO"),
    ],
)
def test_what_cannot_be_read_says_what_it_looks_like(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        source_of(tmp_path / name).count("train")
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_zip_of_another_format_says_so(tmp_path):
    for member, message in (("annotations.xml", "CVAT's XML"), ("data.yaml", "unpack it")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(member, "")
        with pytest.raises(UserError, match=message):
            source_of(tmp_path / "a.zip")


@needs_samples
def test_yolos_sample_is_the_same_as_its_images_in_coco():
    found = images_of(source_of(SAMPLES / "yolo_pose"))
    people = SAMPLES.parent / "coco_people"
    labels = {}
    for split in ("train", "validation"):
        content = json.loads((people / f"{split}.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for a in content["annotations"]:
            if a["num_keypoints"]:
                labels.setdefault(names[a["image_id"]].rpartition("/")[2], []).append(a)
    assert len(found) == 15
    for image in found:
        expected = labels[image.name.rpartition("/")[2]]
        assert len(image.annotations) == len(expected)
        for a, b in zip(image.annotations, expected, strict=True):
            table = np.reshape(b["keypoints"], (17, 3))
            np.testing.assert_array_equal(a.labelled, table[:, 2] > 0)
            np.testing.assert_array_equal(a.visible, table[:, 2] == 2)
            np.testing.assert_allclose(a.joints[a.labelled], table[a.labelled, :2], atol=1e-3)


@needs_samples
def test_deeplabcuts_sample_is_the_same_in_both_forms():
    project = SAMPLES / "deeplabcut/Reaching-Mackenzie-2018-08-30"
    table = project / "labeled-data/reachingvideo1/CollectedData_Mackenzie.csv"
    source = source_of(project / "config.yaml")
    assert source.labels.limbs == (("Hand", "Finger1"), ("Joystick1", "Joystick2"))
    expected = images_of(source)
    for labels in (table, table.with_suffix(".h5")):
        found = images_of(source_of(labels))
        assert len(found) == 12
        for image, other in zip(found, expected, strict=True):
            assert (image.name, image.id) == (other.name, other.id)
            for a, b in zip(image.annotations, other.annotations, strict=True):
                np.testing.assert_array_equal(a.joints, b.joints)
