"""Entries, not files: what is wrong in a file of annotations is named, left out and counted."""

import json
import re

import numpy as np
import pytest
from keypoint_data import (
    JOINTS,
    POINTS,
    annotations_of,
    content,
    each,
    images_of,
    make,
    only,
    write,
)

from hourglass_jax.data.formats import coco_json, keypoint_file
from hourglass_jax.errors import UserError

NAN, INF = float("nan"), float("inf")


def both(*changes):
    return lambda made: [change(made) for change in changes]


def append(part, entry):
    return lambda made: made[part].append(entry)


@pytest.mark.parametrize(
    ("change", "lost", "says"),
    [
        (only(2, keypoints=POINTS[:11]), ["3/3"], r"annotations\[2\]: left out: .*11 numbers"),
        (only(2, keypoints="xyz"), ["3/3"], r"annotations\[2\]: left out: keypoints is not a list"),
        (only(2, keypoints=["x"] * 12), ["3/3"], r"annotations\[2\].*other things than numbers"),
        (only(3, image_id=99), ["4/4"], r"annotations\[3\].*not the id of an image"),
        (only(3, image_id=None), ["4/4"], "there is no image_id"),
        (only(3, image_id=[1]), ["4/4"], r"image_id \[1\] is not a number"),
        (only(3, iscrowd="maybe"), ["4/4"], "iscrowd is 'maybe', not 0 or 1"),
        (lambda c: c["annotations"].insert(0, None), [], r"annotations\[0\].*not an object"),
        (append("annotations", content()["annotations"][0]), [], r"\[6\].*in the file twice"),
        (only(0, "images", file_name=5), ["1/1"], r"images\[0\]: left out: file_name 5 is not"),
        (only(0, "images", file_name="a\0b"), ["1/1"], "is not a file name"),
        (lambda c: c["images"][0].pop("id"), ["1/1"], r"images\[0\]: left out: there is no id"),
        (only(1, "images", id=1), ["1/1", "2/2"], r"images\[1\].*id 1 is that of another image"),
        (append("categories", {"id": 1, "name": "rat"}), [], r"categories\[1\].*another category"),
        (only(2, category_id=5), ["3/3"], r"category_id 5 is no category of the file, which has 1"),
        (only(2, category_id=None), [], ""),  # there is only one
        (both(only(2, category_id=7), append("categories", {"id": 7, "name": "cage"})), ["3/3"],
         "the category 'cage' has no `keypoints`; 'mouse' is meant"),
        (both(only(2, category_id=7), append("categories", {"id": 7, "name": "rat",
         "keypoints": ["beak"]})), ["3/3"], "the category 'rat' has other joints"),
        (only(0, bbox=[1, 2]), [], r"annotations\[0\]: its bbox is left out: it is not the n"),
        (only(0, bbox=[1, 2, 3, 0]), [], "its bbox is left out: it has no width or height"),
        (only(0, bbox=[1, 2, NAN, 3]), [], "its bbox is left out: its numbers are not px"),
        (only(0, bbox=[5000, 9, 9, 9]), [], r"1/1 in p1\.png: its bbox .*shows nothing of the"),
        (only(0, bbox=[0.2, 0.1, 0.5, 0.8]), [], r"1/1 in p1\.png: its bbox .*lies within 1 px"),
        (only(0, bbox=[40, 30, 0.5, 0.9]), [], r"1/1 in p1\.png: its bbox .*smaller than 1 px"),
        (only(0, keypoints=[0.2, 0.1, 2] * 4), ["1/1"], "left out: no joint lies beyond 1 px"),
        (only(0, keypoints=[900, 10, 2] * 4), ["1/1"], "left out: none of its joints lies in the"),
        (only(0, keypoints=[999, 4, 2, *POINTS[3:]]), [], "far outside the image counts as not"),
        (only(0, keypoints=[205, 40, 2, *POINTS[3:]]), [], "outside the image stays labelled"),
        (only(0, keypoints=[NAN, 4, 2, *POINTS[3:]]), [], "whose coordinates are not px counts as"),
        (only(0, keypoints=[1e300, 4, 2, *POINTS[3:]]), [], "whose coordinates are not px counts"),
        (only(0, keypoints=[50, 40, 3, *POINTS[3:]]), [], "visibility other than 0, 1 and 2"),
        (only(0, keypoints=[0, 0, 2, *POINTS[3:]]), [], "exactly 0, 0 stays labelled"),
        (only(0, bbox=[150, 120, 40, 30]), [], "most of its joints lie outside its bbox"),
        (only(2, id=2, image_id=2, bbox=None), ["3/3"], r"\[2\]: taken, though its id occurs"),
        (lambda c: c["categories"][0].update(skeleton=[[1, 2], [2, 5]]), [], r"cannot be \[2, 5\]"),
        (lambda c: c["categories"][0].update(skeleton=[[1], "x", None]), [], "not two joints"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_and_costs_no_other(tmp_path, change, lost, says, caplog):
    write(tmp_path, change)
    found = annotations_of(make(tmp_path))
    wanted = {f"{i}/{i}" for i in range(1, 7)} - set(lost)
    assert wanted <= found.keys() and not set(lost) & found.keys()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any(re.search(says, said) for said in warnings) if says else not warnings
    for id in wanted - {"1/1"}:  # its neighbours are as they were
        assert found[id].box == (40, 30, 100, 100) and found[id].labelled.all()


def test_a_part_of_an_annotation_is_left_out(tmp_path):
    keypoints = [999, 4, 2, NAN, 9, 2, *POINTS[6:]]
    write(tmp_path, only(0, keypoints=keypoints, bbox=[900, 900, 5, 5]))
    person = annotations_of(make(tmp_path))["1/1"]
    assert person.labelled.tolist() == [False, False, True, True] and person.box is None
    np.testing.assert_array_equal(person.center, (92.5, 112.5))  # of the joints that are left


@pytest.mark.parametrize(
    "change",
    [
        each("annotations", category_id="1"),
        each("categories", id="1"),
        each("categories", skeleton=None),
        each("categories", flip_pairs=None),
        each("annotations", keypoints=np.reshape(POINTS, (4, 3)).tolist()),
        each("annotations", keypoints=[str(n) for n in POINTS]),
        each("annotations", bbox=["40", "30.0", 100, 100], iscrowd=None),
        each("annotations", iscrowd=False, area=None),
        both(
            each("images", id=lambda i: str(i["id"])),
            each("annotations", id=lambda a: f"0{a['id']}"),
        ),
        each("annotations", image_id=lambda a: float(a["image_id"])),
        lambda c: [c["categories"][0].pop("id"), *(a.pop("category_id") for a in c["annotations"])],
        each("categories", skeleton=[["nose", "tail"]]),
    ],
)
def test_other_spellings_mean_the_same(tmp_path, change, caplog):
    write(tmp_path / "a")
    write(tmp_path / "b", change)
    one, other = (make(tmp_path / name) for name in "ab")
    assert one.labels.joints == other.labels.joints and one.labels.pairs == other.labels.pairs
    expected, found = annotations_of(one), annotations_of(other)
    assert list(expected) == list(found)
    for id, a in expected.items():
        b = found[id]
        assert a.box == b.box and a.size == b.size and a.crowd == b.crowd
        for name in ("center", "joints", "labelled", "visible"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_texts_are_ids(tmp_path):
    write(tmp_path, both(
        each("images", id=lambda i: f"cage/{i['id']}"),
        each("annotations", image_id=lambda a: f"cage/{a['id']}", id=lambda a: f"a/{a['id']}"),
    ))  # fmt: skip
    assert set(annotations_of(make(tmp_path))) == {f"cage/{i}/a_{i}" for i in range(1, 7)}
    write(tmp_path, lambda c: [a.pop("id") for a in c["annotations"]])
    assert set(annotations_of(make(tmp_path))) == {f"{i}/#{i - 1}" for i in range(1, 7)}


def test_the_category_that_has_annotations_is_meant(tmp_path, caplog):
    empty = {"id": 0, "name": "animals", "keypoints": ["a", "b"]}
    write(tmp_path, lambda c: c["categories"].insert(0, empty))
    source = make(tmp_path)
    assert list(source.labels.joints) == JOINTS and len(annotations_of(source)) == 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (each("annotations", keypoints=[0.2, 0.3, 2, 0.9, 1.0, 2] * 2), "seem to be shares of"),
        (each("annotations", bbox=[0.2, 0.2, 0.5, 0.6]), "6 of 6 bbox lie within 1 px"),
        (each("annotations", bbox=[60, 30, 180, 140], keypoints=[70, 40, 2, 150, 120, 2] * 2),
         "6 of 6 bbox reach out of their images, and as corners x1, y1, x2, y2 they would not"),
        (each("annotations", bbox=[40, 30, 140, 130]), "area of 6 of 6 annotations is that"),
        (each("annotations", keypoints=[50, 40, 2] * 4, bbox=None), "neither a bbox nor two"),
        (each("annotations", category_id=3), "category_id 3 is no category of the file"),
        (each("annotations", image_id=77), "image_id is not the id of an image"),
        (each("annotations", keypoints=[50, 40, 2] + [0] * 9, bbox=None),
         "neither a bbox nor two labelled joints.*give each annotation its bbox"),
        (each("annotations", iscrowd=1), "6 stand for a crowd"),
        (lambda c: c["annotations"].clear(), "there are none"),
        (lambda c: c["images"].clear(), "image_id is not the id of an image"),
        (each("categories", flip_pairs=[["nose", "wing"]]), "flip_pairs: there is no joint 'wing'"),
        (each("categories", flip_pairs=[[1, 9]]), "there is no joint 9"),
        (each("categories", flip_pairs=7), "flip_pairs=7 is not a list"),
        (each("categories", flip_idx=[0, 1, 2, 2]), "does not name each joint once"),
        (each("categories", flip_idx=[1, 2, 0, 3]), "does not lead back"),
    ],
)  # fmt: skip
def test_a_file_without_anything_to_use_says_why(tmp_path, change, says):
    write(tmp_path, change)
    with pytest.raises(UserError, match=says) as error:
        make(tmp_path).count("train")
    assert "k.json" in str(error.value) and "\n" not in str(error.value)


def test_joints_that_may_be_percentages_are_said(tmp_path, caplog):
    percent = [25, 25, 2, 60, 28, 2, 30, 69, 2, 62, 72, 1]
    write(tmp_path, each("annotations", keypoints=percent, bbox=[20, 19, 50, 62]))
    assert len(annotations_of(make(tmp_path))) == 6
    assert "if coordinates are percentages, multiply them" in caplog.text


def test_boxes_that_reach_out_a_little_are_no_corners(tmp_path, caplog):
    write(tmp_path, each("annotations", bbox=[-5, -5, 210, 170]))
    assert len(annotations_of(make(tmp_path))) == 6


@pytest.mark.parametrize(
    ("fields", "pairs"),
    [
        ({"flip_pairs": [[2, 3]]}, [("left_ear", "right_ear")]),
        ({"flip_pairs": [["3", "2"]]}, [("left_ear", "right_ear")]),
        ({"flip_pairs": [[3, 4]]}, [("left_ear", "right_ear")]),  # can only count from 1
        ({"pairs": {"right_ear": "left_ear"}}, [("left_ear", "right_ear")]),
        ({"flip_idx": [0, 1, 3, 2]}, [("left_ear", "right_ear")]),
        ({"flip_idx": [1, 2, 4, 3]}, [("left_ear", "right_ear")]),
        ({"flip_indices": [0, 1, 2, 3]}, []),
        ({"pairs": [[0, 1]]}, [("nose", "tail")]),
        ({"pairs": [[1, 2]], "keypoints": ["a", "l_ear", "r_ear", "b"]}, [("l_ear", "r_ear")]),
        ({"pairs": [[2, 3]], "keypoints": ["a", "l_ear", "r_ear", "b"]}, [("l_ear", "r_ear")]),
        ({"pairs": []}, []),
    ],
)
def test_pairs_of_every_spelling(tmp_path, fields, pairs):
    write(tmp_path, each("categories", **fields))
    file = coco_json.read(tmp_path / "k.json", tmp_path / "pics")
    assert file.pairs_given and file.skeleton.pairs == tuple(pairs)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"keypoints": ["p1", "p2", "p3", "p4"]},
            "no pairs.*augment.flip=0 and config.eval",
        ),
        ({"keypoints": ["p1", "p2", "p3", "p4"], "pairs": []}, ""),
        ({"keypoints": ["nose", "tail", "left_ear", "b"]}, "no pair includes left_ear"),
        ({"pairs": [["nose", "tail"]]}, "no pair includes left_ear, right_ear"),
        ({}, ""),
    ],
)
def test_flips_that_may_train_wrong_labels_are_said(tmp_path, fields, says):
    write(tmp_path, each("categories", **fields))
    warning = make(tmp_path).mirror_warning
    assert re.search(says, warning) if says else not warning


def test_joints_without_a_label_are_left_out(tmp_path, caplog):
    without = [*POINTS[:3], 0, 0, 0, *POINTS[6:]]
    write(tmp_path, each("annotations", keypoints=without))
    write(tmp_path / "v")
    source = make(tmp_path, validation_json=str(tmp_path / "v/k.json"))
    assert source.labels.joints == ("nose", "left_ear", "right_ear") and not source.labels.limbs
    assert "left out, as no annotation labels them: tail" in caplog.text
    for image in images_of(source):
        for a in image.annotations:
            np.testing.assert_array_equal(a.joints, [[50, 40], [60, 110], [125, 115]])


def test_files_are_joined_under_ids_of_their_own(tmp_path):
    for name in "ab":
        write(tmp_path / name)
    reordered = [JOINTS[i] for i in (3, 2, 1, 0)]
    write(tmp_path / "b", each("categories", keypoints=reordered))
    files = [coco_json.read(tmp_path / f"{n}/k.json", tmp_path / f"{n}/pics") for n in "ab"]
    file = keypoint_file.joined(files)
    assert file.count == 12 and [image.id for image in file.images][5:7] == ["6", "2-1"]
    a, b = file.images[0].annotations[0], file.images[6].annotations[0]
    assert b.id == "2-1/1"
    np.testing.assert_array_equal(a.joints[::-1], b.joints)
    write(tmp_path / "b", each("categories", keypoints=["a", "b", "c", "d"]))
    with pytest.raises(UserError, match="they must be the same"):
        keypoint_file.joined([files[0], coco_json.read(tmp_path / "b/k.json", tmp_path)])


def test_every_file_is_read_as_utf8(tmp_path):
    def change(made):
        made["categories"][0]["keypoints"][2:] = ["Ohr_links", "Ohr_rechts"]
        made["categories"][0]["name"] = "Mäuschen"

    write(tmp_path, change)
    text = (tmp_path / "k.json").read_bytes()
    (tmp_path / "k.json").write_bytes(b"\xef\xbb\xbf" + text)  # a byte order mark
    assert make(tmp_path).labels.pairs == (("Ohr_links", "Ohr_rechts"),)
    (tmp_path / "k.json").write_bytes(text.decode().encode("latin-1"))
    with pytest.raises(UserError, match=r"k\.json is not valid JSON"):
        make(tmp_path)
    assert json.loads(text)["categories"][0]["name"] == "Mäuschen"
