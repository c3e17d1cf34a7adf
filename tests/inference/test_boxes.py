"""Boxes of people from a flag, JSON and CSV."""

import json
import math
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.inference.boxes import Boxes, check_boxes

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


GOOD = [9, 9, 240, 240]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("caf\u00e9.jpg", unicodedata.normalize("NFD", "caf\u00e9.jpg")),
        (unicodedata.normalize("NFD", "caf\u00e9.jpg"), "caf\u00e9.jpg"),
        ("day1\\a.jpg", "day1/a.jpg"),
        ("C:\\data\\day1\\a.jpg", "day1/a.jpg"),
        ("./day1/a.jpg", "day1/a.jpg"),
        ("/home/me/day1/a.jpg", "day1/a.jpg"),
        ("day1/a.jpg", "deep/day1/a.jpg"),
        ("A.JPG", "a.jpg"),
        ("caf\udce9.jpg", "caf\udce9.jpg"),
        ("caf\udce9.jpg", "caf\u00e9.jpg"),
        ("7", "000007.png"),
    ],
)
def test_names_are_matched_however_they_are_written(tmp_path, key, name):
    (tmp_path / "a.json").write_text(json.dumps({key: [GOOD], "other/b.jpg": [[1, 2, 3, 4]]}))
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    boxes.check([name])
    assert boxes.of(name) == [GOOD]


def test_the_exact_name_comes_first():
    keys = ["A.jpg", "a.jpg", "day1/x.jpg", "day2/x.jpg", "a\\b.jpg", "a/b.jpg"]
    boxes = Boxes(by_name={key: [[i, 0, 9, 9]] for i, key in enumerate(keys)})
    for i, key in enumerate(keys):
        assert boxes.of(key) == [[i, 0, 9, 9]]
        assert boxes.of(f"in/{key}") in ([[i, 0, 9, 9]], [])  # never another one's
    assert boxes.of("in/day2/x.jpg") == [[3, 0, 9, 9]]


def test_two_images_do_not_share_the_boxes_of_one():
    with pytest.raises(UserError, match=r"has img\.jpg, but not a/img\.jpg"):
        Boxes(by_name={"img.jpg": [GOOD]}).check(["a/img.jpg", "b/img.jpg"])


def test_checking_takes_time_in_proportion_to_the_images():
    names = [f"{i}.jpg" for i in range(20_000)]
    start = time.perf_counter()
    Boxes(by_name={name: [GOOD] for name in names}).check(names)
    assert time.perf_counter() - start < 3  # it was 5 s, and with the square of the number


def test_boxes_that_show_nothing_of_their_image():
    boxes = Boxes(by_name={"a.jpg": [GOOD, [5000, 5000, 100, 200], [-50, 9, 50, 50]]})
    found, problems = boxes.on("a.jpg", (259, 266, 3))
    assert found == [GOOD] and len(problems) == 2
    assert problems[0].startswith("a.jpg: the box [5000, 5000, 100, 200] shows nothing")
    assert Boxes().on("a.jpg", (259, 266, 3)) == (None, [])


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ([[5000, 5000, 100, 200]], "shows nothing of the image, which is 266 x 259 px"),
        ([0.1, 0.1, 0.5, 0.8], "shares of the image"),
        ([[1, 2, 3, 0]], "at least 1"),
        ([[1, 2, math.nan, 4]], "at least 1"),
        (["a"] * 100_000, "each box must be"),
    ],
)
def test_boxes_of_the_library(boxes, says):
    with pytest.raises(UserError, match=says) as error:
        check_boxes(boxes, (259, 266, 3))
    assert len(str(error.value)) < 300
    assert check_boxes(GOOD, (259, 266, 3)).tolist() == [GOOD]
    assert check_boxes(np.zeros((0, 4)), (259, 266, 3)).shape == (0, 4)


def test_corners_are_noticed(tmp_path, caplog):
    files = []
    for i in range(4):
        Image.new("RGB", (200, 100)).save(tmp_path / f"{i}.png")
        files.append((tmp_path / f"{i}.png", f"{i}.png"))
    corners = {f"{i}.png": [[90 + i, 20, 190, 95]] for i in range(4)}
    with pytest.raises(UserError, match=r"are they corners\? a box is x,y,width,height"):
        Boxes(by_name=corners).check_sizes(files)
    Boxes(by_name={"1.png": corners["1.png"]}).check_sizes(files)
    assert "are they corners?" in caplog.text
    caplog.clear()
    sizes = {f"{i}.png": [[90 + i, 20, 100, 75]] for i in range(4)}
    Boxes(by_name=sizes).check_sizes(files)
    Boxes(by_name=corners | {"0.png": [[90, 20, 80, 95]]}).check_sizes(files)  # no corners
    Boxes(by_name={f"{i}.png": [[20, 30, 90, 200]] for i in range(4)}).check_sizes(
        files
    )  # portraits
    Boxes().check_sizes(files)
    assert not caplog.text
