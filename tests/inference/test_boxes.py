"""Boxes of people from a flag, JSON and CSV."""

import json

import pytest

from hourglass_jax.errors import UserError
from hourglass_jax.inference.boxes import Boxes

pytestmark = pytest.mark.core


def test_one_box_for_every_picture_or_none():
    assert Boxes.from_flags("1,2.5,3,4", None).of("any.jpg") == [[1, 2.5, 3, 4]]
    assert Boxes.from_flags(None, None).of("any.jpg") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps({"in/a.jpg": [[1, 2, 3, 4], [5, 6, 7, 8]], "b.jpg": [9, 9, 9, 9]})),
        (
            "b.json",
            json.dumps(
                [
                    {"file_name": "in/a.jpg", "bbox": [1, 2, 3, 4], "score": 0.5},
                    {"image_id": "b", "bbox": [9, 9, 9, 9]},
                    {"image_id": "in/a.jpg", "bbox": [5, 6, 7, 8]},
                ]
            ),
        ),
        (
            "c.CSV",
            "\ufeffimage,x,y,width,height\nin/a.jpg,1,2,3,4\nb.jpg,9,9,9,9\nin/a.jpg,5,6,7,8\n",
        ),
    ],
    ids=["JSON by name", "a detector's", "CSV"],
)
def test_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    boxes = Boxes.from_flags(None, str(tmp_path / name))
    assert boxes.of("in/a.jpg") == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert boxes.of("b.jpg") == [[9, 9, 9, 9]]
    assert boxes.of("c.jpg") == []  # nobody was found there
    assert boxes.of("a.jpg") == boxes.of("in/a.jpg")  # of a folder that is the input
    boxes.check(["a.jpg", "c.jpg"])
    assert boxes.of("a.mp4") == []  # another file of the same name
    with pytest.raises(UserError, match="lists none of the images"):
        boxes.check(["c.jpg"])


def test_numbers_of_coco(tmp_path):
    (tmp_path / "a.json").write_text('[{"image_id": 139, "bbox": [1, 2, 3, 4]}]')
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    assert boxes.of("val/000000000139.jpg") == [[1, 2, 3, 4]]
    assert boxes.of("val/000000000140.jpg") == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "[", "not valid JSON"),
        ("a.json", '{"a.jpg": 3}', "expected a list"),
        ("a.json", '{"a.jpg": [[1, 2]]}', "a box is"),
        ("a.json", '[{"file_name": "a.jpg"}]', 'has no "bbox"'),
        ("a.json", '[{"bbox": [1, 2, 3, 4]}]', "neither"),
        ("a.json", "3", 'has no "bbox"'),
        ("a.csv", "image,x,y,height\n", "lacks the column 'width'"),
        ("a.csv", "image,x,y,width,height\na.jpg,1,2,3,wide\n", "a box is"),
        ("a.csv", "", "lacks the column 'image'"),
        ("a.csv", "image,x,y,width,height\na.jpg,1,2,0,4\n", "the last two at least 1"),
        ("a.json", '{"a.jpg": [[1, 2, NaN, 4]]}', "the last two at least 1"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        Boxes.from_flags(None, str(tmp_path / name))


def test_a_flag_or_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match="--box=1,2,3: a box is"):
        Boxes.from_flags("1,2,3", None)
    with pytest.raises(UserError, match="cannot be read"):
        Boxes.from_flags(None, str(tmp_path / "gone.json"))


def test_pictures_of_one_name_in_several_folders(tmp_path):
    (tmp_path / "a.json").write_text('{"a/img.jpg": [[1, 2, 3, 4]], "b/img.jpg": [[5, 6, 7, 8]]}')
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    boxes.check(["a/img.jpg", "b/img.jpg", "c/img.jpg"])
    assert boxes.of("c/img.jpg") == []
    (tmp_path / "a.json").write_text('{"a/img.jpg": [[1, 2, 3, 4]]}')
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    with pytest.raises(UserError, match=r"has a/img\.jpg, but not c/img\.jpg"):
        boxes.check(["a/img.jpg", "c/img.jpg"])


def test_columns_as_people_write_them(tmp_path):
    (tmp_path / "a.csv").write_text("image; x; y; width ; height\na.jpg; 1;2; 3;4\n")
    assert Boxes.from_flags(None, str(tmp_path / "a.csv")).of("a.jpg") == [[1, 2, 3, 4]]


def test_annotations_of_coco(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": []}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert Boxes.from_flags(None, str(tmp_path / "a.json")).of("a.jpg") == [[1, 2, 3, 4]]
