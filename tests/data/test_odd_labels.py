"""Labels in odd cases: folders apart, what is left over, and files of other programs."""

import json
import shutil
import zipfile

import label_files
import numpy as np
import pytest
from keypoint_data import HEIGHT, WIDTH, images_of, scene

from hourglass_jax import import_labels
from hourglass_jax.data.custom.source import CustomSource
from hourglass_jax.errors import UserError


def number_of(image):
    return int(image.name.rpartition(".")[0][-1])


def assert_read(labels, **fields):
    found = images_of(CustomSource(train_json=str(labels), **fields))
    assert len(found) == label_files.IMAGES
    for image in found:
        np.testing.assert_array_equal(image.read(), np.asarray(scene(number_of(image))))


def test_images_in_a_folder_beside_that_of_the_labels(tmp_path):
    label_files.labelme(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    for path in (tmp_path / "images").glob("*.json"):
        content = json.loads(path.read_text())
        content["imagePath"] = f"..\\images\\{path.stem}.png"
        (tmp_path / "labels" / path.name).write_text(json.dumps(content))
        path.unlink()
    assert_read(tmp_path / "labels")


@pytest.mark.parametrize("root", ["C:\\lab\\day 1\\", "\\\\server\\lab\\", "/home/ann/lab/"])
def test_paths_of_another_machine_in_cocos_format(tmp_path, root):
    label_files.write_images(tmp_path / "pics")
    content = label_files.coco_content()
    for image in content["images"]:
        image["file_name"] = root + image["file_name"]
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="leads out of the folder of images"):
        CustomSource(train_json=str(tmp_path / "labels.json"), image_dir=str(tmp_path))
    for fields in ({}, {"image_dir": str(tmp_path / "pics")}):
        (tmp_path / "pics/labels.json").write_text(json.dumps(content))
        assert_read(tmp_path / "pics/labels.json", **fields)


def test_images_above_the_labels(tmp_path):
    path = label_files.label_studio(tmp_path)
    (tmp_path / "exports").mkdir()
    assert_read(shutil.move(path, tmp_path / "exports/project.json"))


def test_an_unpacked_zip(tmp_path):
    with zipfile.ZipFile(label_files.cvat(tmp_path)) as archive:
        archive.extractall(tmp_path)
    assert_read(tmp_path / "annotations/person_keypoints_default.json")


def test_a_data_set_of_yolo_may_be_called_as_deeplabcuts_project(tmp_path):
    path = label_files.yolo(tmp_path)
    assert_read(path.rename(tmp_path / "config.yaml"))


def test_a_part_of_a_task_that_is_wrong_costs_no_other(tmp_path, caplog):
    path = label_files.label_studio(tmp_path)
    tasks = json.loads(path.read_text())
    result = tasks[1]["annotations"][0]["result"]
    point = next(part for part in result if part.get("type") == "keypointlabels")
    other = {**point, "id": "other", "value": {**point["value"], "x": None}}
    deleted = {"type": "relation", "from_id": point["id"], "to_id": "deleted"}
    result += [None, other, deleted, {"type": "relation"}]
    path.write_text(json.dumps([*tasks, None]))
    assert_read(path)
    assert "its x, y are not numbers" in caplog.text
    assert "task 4: left out: it is not an object with fields" in caplog.text


def test_labels_for_images_of_another_size_are_not_imported(tmp_path, capsys):
    folder = label_files.labelme(tmp_path / "labels")
    path = folder / "bïld 1.json"
    content = json.loads(path.read_text()) | {"imageWidth": 2 * WIDTH, "imageHeight": 2 * HEIGHT}
    path.write_text(json.dumps(content))
    broken = folder / "bïld 2.png"
    broken.write_bytes(broken.read_bytes()[:500])
    assert import_labels.main([str(folder), f"--output={tmp_path / 'coco'}"]) == 1
    said = capsys.readouterr().err
    assert "the annotations say" in said and "cut short" in said
    assert len(json.loads((tmp_path / "coco/train.json").read_text())["images"]) == 2


def test_nothing_labelled_is_an_error(tmp_path):
    header = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n"
    label_files.write_images(tmp_path)
    for i, rows in enumerate(("", "bïld 0.png,,\n")):
        (tmp_path / "labels.csv").write_text(header + rows)
        with pytest.raises(UserError, match=r"nothing is labelled in .*labels\.csv$"):
            import_labels.main([str(tmp_path / "labels.csv"), f"--output={tmp_path / str(i)}"])
    label_files.labelme(tmp_path / "labelme")
    for path in (tmp_path / "labelme").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"shapes": []}))
    with pytest.raises(UserError, match="that can be used: there are none"):
        CustomSource(train_json=str(tmp_path / "labelme"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "annotation_id,image\n1,a.png\n", "Label Studio's table; export .* as JSON"),
        ("a.csv", "filename,region_shape_attributes\n", "VGG Image Annotator's table"),
        ("a.csv", "track,frame_idx,A.x\n", "SLEAP's; name the file of labels"),
        ("a.json", '{"skeletons": [], "videos": []}', "early SLEAP; .* save them as .slp"),
        ("a.json", '{"version": 1.3, "people": []}', "OpenPose's, which are predictions"),
        ("a.json", '{"categories": {}, "items": []}', "Datumaro's; export"),
        ("a.json", '{"data": {}, "annotations": []}', "single task of Label Studio; export"),
        ("a.json", '[{"data": {}, "predictions": []}]', "Label Studio's and has no key points"),
        ("config.yaml", "data:\n  csv_file: x.csv\n", "Lightning Pose; name its table"),
    ],
)
def test_other_files_say_what_they_look_like(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        CustomSource(train_json=str(tmp_path / name))
    assert name in str(error.value)
