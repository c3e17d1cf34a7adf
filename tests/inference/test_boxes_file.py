"""Files with boxes: a bad entry is named and left out, and costs no other one."""

import json
import logging
import math

import pytest

from hourglass_jax.errors import UserError
from hourglass_jax.inference.boxes import Boxes

pytestmark = pytest.mark.core

GOOD = [9, 9, 240, 240]


def coco(*boxes, **more):
    """Annotations of one image, with these boxes or whole entries."""
    entries = [box if isinstance(box, (dict, type(None))) else {"image_id": 1, "bbox": box}
               for box in boxes]  # fmt: skip
    images = [{"id": 1, "file_name": "a.jpg"}]
    return json.dumps({"images": images, "annotations": entries, **more})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", coco(GOOD, [296.65, 388.33, 1.03, 0.0]), "annotation 1.*at least 1"),
        ("a.json", coco(None, GOOD), 'annotation 0.*no "bbox", as None'),
        ("a.json", coco(GOOD, {"image_id": 1}), 'annotation 1.*no "bbox"'),
        ("a.json", coco(GOOD, {"image_id": 2, "bbox": GOOD}), "no image of the id 2"),
        ("a.json", coco(GOOD, {"bbox": GOOD}), "no image of the id None"),
        ("a.json", coco([1, 2, -3, 4], GOOD), "annotation 0"),
        ("a.json", coco("1234", GOOD), "annotation 0"),
        ("a.json", coco({"image_id": 1, "bbox": {"x": 1}}, GOOD), "annotation 0"),
        ("a.json", json.dumps({"a.jpg": [GOOD, [1, 2, math.inf, 4]]}), "a.jpg: a box is"),
        ("a.json", json.dumps({"a.jpg": [GOOD, None]}), "a.jpg: a box is.*None"),
        ("a.json", json.dumps({"a.jpg": [GOOD], "b.jpg": None}), "b.jpg: expected a list"),
        ("a.json", json.dumps([{"image_id": "a", "bbox": GOOD}, 5]), "entry 1"),
        ("a.json", json.dumps([{"image_id": "a", "bbox": GOOD}, {"image_id": [], "bbox": GOOD}]),
         "entry 1.*neither"),
        ("a.csv", "image,x,y,width,height\na.jpg,9,9,240,240\na.jpg,9,9,wide,9\n", "line 3"),
        ("a.csv", "image,x,y,width,height\na.jpg,9,9\na.jpg,9,9,240,240\n", "3 fields, not 5"),
        ("a.csv", "image,x,y,width,height\n,9,9,9,9\na.jpg,9,9,240,240\n", "names no image"),
        ("a.csv", "image,x,y,width,height\na.jpg,,,,\na.jpg,9,9,240,240\n", "line 2"),
    ],
)  # fmt: skip
def test_a_bad_entry_is_named_and_the_others_are_found(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    boxes = Boxes.from_flags(None, str(tmp_path / name))
    assert boxes.of("a.jpg") == [GOOD]
    (problem,) = boxes.problems
    with pytest.raises(UserError, match=f"{name}, .*{says}"):
        raise UserError(problem)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (coco(None), "annotation 0"),
        (coco("12"), "annotation 0"),
        (coco(GOOD, images=[{"file_name": "a.jpg"}]), 'image 0: it has no "id"'),
        (coco(GOOD, images=[{"id": 1}]), 'image 0: it has no "file_name"'),
        (coco(images=[{"id": [1], "file_name": "a.jpg"}]), "image 0"),
        (coco({"image_id": [1], "bbox": GOOD}, images=[]), "annotation 0"),
        (coco(GOOD, images=[{"id": 1, "file_name": "a.jpg"}, "p"]), "list objects, and not 'p'"),
        (coco(GOOD, images=None), "must list objects, and not None"),
        (coco(GOOD, images=3), "must list objects, and not 3"),
        ("[" * 100_000, "too deeply nested"),
        ('[{"file_name": "a.jpg", "bbox": [1, 2, 3, 1' + "0" * 400 + "]}]", "entry 0"),
        ('[{"file_name": "a.jpg", "bbox": [1, 2, 3, 1' + "0" * 5000 + "]}]", "not valid JSON"),
        ('{"a.jpg": [[9, 9, 9, 9]], "a.jpg": [[5, 5, 5, 5]]}', "'a.jpg' occurs more than once"),
        ('{"a.jpg": [[0.1, 0.1, 0.5, 0.8]], "b.jpg": [[0, 0, 1, 1]]}', "shares of the image"),
        (coco([0.1, 0.1, 0.5, 0.8]), "shares of the image"),
    ],
)  # fmt: skip
def test_files_without_a_box_that_can_be_used(tmp_path, text, says):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=says) as error:
        Boxes.from_flags(None, str(tmp_path / "a.json"))
    assert str(tmp_path / "a.json") in str(error.value) and len(str(error.value)) < 1500


def test_many_bad_entries_are_not_many_lines(tmp_path):
    (tmp_path / "a.json").write_text(coco(GOOD, *[None] * 1000))
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    assert len(boxes.problems) == 11 and "990 more" in boxes.problems[-1]


def test_csv_as_spreadsheets_write_it(tmp_path):
    rows = {
        "blank.csv": b"image,x,y,width,height\r\na.jpg,9,9,240,240\r\n,,,,\r\n\r\n",
        "order.csv": b"Height,WIDTH,y,x,score,Image\n240,240,9,9,0.5,a.jpg\n",
        "comma.csv": b'image;x;y;width;height\n"a.jpg";9,0;9;240;"240,0"\n',
        "tab.csv": "image\tx\ty\twidth\theight\na.jpg\t9\t9\t240\t240\n".encode("utf-16"),
        "mark.txt": b"\xef\xbb\xbf\nimage,x,y,width,height\na.jpg,9,9,240,240",
    }
    for name, content in rows.items():
        (tmp_path / name).write_bytes(content)
        boxes = Boxes.from_flags(None, str(tmp_path / name))
        assert boxes.of("a.jpg") == [GOOD] and not boxes.problems, name
    (tmp_path / "long.csv").write_text("image,x,y,width,height\n" + "a" * 200_000)
    with pytest.raises(UserError, match=r"long\.csv, line 2: field larger than"):
        Boxes.from_flags(None, str(tmp_path / "long.csv"))


def test_crowds_and_other_categories_are_not_people(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    entries = [
        {"image_id": 1, "bbox": GOOD, "category_id": "1", "iscrowd": 0},
        {"image_id": 1.0, "bbox": [1, 2, 30, 40], "category_id": 18},
        {"image_id": "1", "bbox": [1, 2, 30, 40], "category_id": 1, "iscrowd": 1},
    ]
    names = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    (tmp_path / "a.json").write_text(coco(*entries, categories=names))
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    assert boxes.of("a.jpg") == [GOOD] and not boxes.problems
    assert "left out 2 boxes of crowds and of other categories" in caplog.text


def test_spellings_of_crowds_and_people(tmp_path, caplog):
    entries = [
        {"image_id": 1, "bbox": GOOD, "category_id": 1, "iscrowd": "0"},
        {"image_id": 1, "bbox": [1, 2, 30, 40], "category_id": 1, "iscrowd": "true"},
        {"image_id": 1, "bbox": [1, 2, 30, 40], "category_id": 2, "iscrowd": False},
        {"image_id": 1, "bbox": [1, 2, 30, 40], "category_id": 1, "iscrowd": [1]},
    ]
    names = [{"id": 1, "name": "Person"}, {"id": 2, "name": "dog"}]
    (tmp_path / "a.json").write_text(coco(*entries, categories=names))
    boxes = Boxes.from_flags(None, str(tmp_path / "a.json"))
    assert boxes.of("a.jpg") == [GOOD]
    (problem,) = boxes.problems
    assert "annotation 3: iscrowd is [1], not 0 or 1" in problem
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (tmp_path / "a.json").write_text(coco(*entries[:3], categories=names))
    assert len(Boxes.from_flags(None, str(tmp_path / "a.json")).of("a.jpg") or []) == 2
    assert "boxes of 2 categories, and does not say which is people" in caplog.text


@pytest.mark.parametrize("written", [b"caf\xe9.jpg", rb"caf\udce9.jpg"])
def test_names_that_are_not_utf8(tmp_path, written):
    (tmp_path / "a.csv").write_bytes(b"image,x,y,width,height\n" + written + b",9,9,240,240\n")
    assert Boxes.from_flags(None, str(tmp_path / "a.csv")).of("caf\udce9.jpg") == [GOOD]
