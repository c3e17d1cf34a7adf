"""MPII: the official file's irregularities, splits, boxes, what is refused, and the submission."""

import json
import math
import tarfile

import mpii_files
import numpy as np
import pytest
import scipy.io
from PIL import Image

from hourglass_jax.data.mpii import annotations, submission
from hourglass_jax.data.mpii import source as mpii
from hourglass_jax.data.mpii.source import MpiiSource
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Instance

NUM_IMAGES = 120
ABSENT = sum(len(indices) for indices in mpii.customary_split().values())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    return folder, *mpii_files.write(folder, first_people(), NUM_IMAGES)


def first_people():
    return {
        name: indices[indices[:, 0] <= NUM_IMAGES]
        for name, indices in mpii.customary_split().items()
    }


def read(folder, **fields):
    """The annotations of each split by id."""
    source = MpiiSource(manual_dir=str(folder), **fields)
    splits = {
        split: {a.id: a for image in source.images(split) for a in image.annotations}
        for split in source.splits
    }
    assert {split: source.count(split) for split in splits} == {
        split: len(people) for split, people in splits.items()
    }
    return splits


@pytest.fixture(scope="module")
def people(published):
    return read(published[0], allow_missing=ABSENT)


def test_the_customary_split_has_the_customary_people():
    split = mpii.customary_split()
    assert {name: len(people) for name, people in split.items()} == {
        "train": 22_246,
        "validation": 2_958,
    }
    everybody = np.concatenate(list(split.values())).tolist()
    assert len({tuple(person) for person in everybody}) == 25_204


def test_splits_hold_exactly_their_people(published, people):
    tests = published[2]
    for name, indices in first_people().items():
        ids = {f"{image:09d}.jpg/{person}" for image, person in indices.tolist()}
        assert len(ids) > 5 and people[name].keys() == ids
    assert len(tests) > 5 and people["test"].keys() == set(tests)


def test_joints_boxes_and_heads_are_those_of_the_file(published, people):
    known = published[1]
    for id, person in (people["train"] | people["validation"]).items():
        name, _, index = id.partition(".jpg/")
        rect = known[int(name), int(index)]
        points = {int(p["id"]): p for p in rect["annopoints"]["point"][0]}
        assert set(np.flatnonzero(person.labelled)) == set(points)
        for k, point in points.items():
            np.testing.assert_array_equal(person.joints[k], (point["x"] - 1, point["y"] - 1))
            hidden = point["is_visible"] in (0.0, "0") if np.size(point["is_visible"]) else False
            assert person.visible[k] == (not hidden)
        place = rect["objpos"]["x"] - 1, rect["objpos"]["y"] - 1 + 15 * rect["scale"]
        np.testing.assert_allclose(person.center, place)
        assert person.size == pytest.approx(250 * rect["scale"])
        assert person.reference == pytest.approx(0.6 * math.hypot(20, 20))


def test_neck_and_head_count_as_visible(published):
    for entry in annotations.read(published[0] / mpii.ANNOTATIONS):
        for person in entry.annotations:
            np.testing.assert_array_equal(person.visible[8:10], person.labelled[8:10])


def test_the_archive_gives_what_the_folder_gives(published, tmp_path):
    folder, _, _ = published
    (tmp_path / mpii.UNPACKED).mkdir()
    (tmp_path / mpii.UNPACKED / mpii.ANNOTATIONS).hardlink_to(folder / mpii.ANNOTATIONS)
    with tarfile.open(tmp_path / mpii.ARCHIVE, "w:gz") as archive:
        for path in sorted((folder / "images").iterdir())[1:]:
            archive.inodes.clear()  # tar would store links as such
            archive.add(path, f"images/{path.name}")
    unpacked = MpiiSource(manual_dir=str(folder), allow_missing=ABSENT)
    packed = MpiiSource(manual_dir=str(tmp_path), allow_missing=ABSENT)
    assert [path.name for path in packed.large_files] == [mpii.ARCHIVE]
    for split in unpacked.splits:
        assert packed.count(split) == unpacked.count(split)
        expected = {image.id: image for image in unpacked.images(split)}
        found = {image.id: image for image in packed.images(split)}
        assert found.keys() == expected.keys()
        for name, image in found.items():
            assert [a.id for a in image.annotations] == [a.id for a in expected[name].annotations]
            if name == "000000001.jpg":  # the archive lacks it: it comes last
                assert name == list(found)[-1]
                with pytest.raises(UserError, match=r"tar.gz:images/000000001.jpg is missing"):
                    image.read()
            else:
                np.testing.assert_array_equal(image.read(), expected[name].read())


def test_people_that_the_file_lacks_are_refused_unless_allowed(published, tmp_path):
    absent = len(mpii.customary_split()["train"]) - len(first_people()["train"])
    with pytest.raises(UserError, match=f"{absent} people of the customary train split"):
        MpiiSource(manual_dir=str(published[0])).count("train")


def test_images_that_are_missing_are_named(tmp_path, monkeypatch):
    few = first_people()
    monkeypatch.setattr(mpii, "customary_split", lambda: few)
    mpii_files.write(tmp_path, few, NUM_IMAGES, distinct=NUM_IMAGES)
    lost = few["train"][0, 0], few["validation"][0, 0]
    # Of a split, whichever lacks more.
    count = max(sum(int((people[:, 0] == i).sum()) for i in lost) for people in few.values())
    for i in lost:
        (tmp_path / f"images/{i:09d}.jpg").unlink()
    with pytest.raises(UserError, match=rf"[0-9]+.jpg is missing.*allow_missing={count}"):
        MpiiSource(manual_dir=str(tmp_path), allow_missing=count - 1).count("test")
    source = MpiiSource(manual_dir=str(tmp_path), allow_missing=count)
    assert source.count("train") == len(few["train"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "cannot be read as MPII's annotations"),
        (lambda content: content[: len(content) // 2], "cannot be read as MPII's annotations"),
        (lambda content: b"MATLAB 5.0 MAT-file" + bytes(200), "cannot be read as MPII's"),
    ],
    ids=["empty", "cut short", "nothing in it"],
)
def test_a_damaged_file_is_named(published, tmp_path, change, message):
    path = tmp_path / mpii.ANNOTATIONS
    path.write_bytes(change((published[0] / mpii.ANNOTATIONS).read_bytes()))
    with pytest.raises(UserError, match=message):
        annotations.read(path)


def test_an_impossible_joint_is_named(tmp_path):
    path = tmp_path / mpii.ANNOTATIONS
    point = mpii_files.structs([{"x": 1.0, "y": 1.0, "id": 16.0}])
    entry = {"image": {"name": "a.jpg"}, "annorect": {"annopoints": {"point": point}}}
    scipy.io.savemat(path, {"RELEASE": {"annolist": entry, "img_train": 1.0}})
    with pytest.raises(UserError, match=r"annolist\(1\): a point's id is 16"):
        annotations.read(path)


def test_submission_has_the_servers_structure(published, tmp_path):
    folder, _, tests = published
    entries = annotations.read(folder / mpii.ANNOTATIONS)
    rng = np.random.default_rng(1)
    joints = {name: rng.uniform(0, 300, (16, 2)) for name in tests}
    found = {name: Instance(1.0, joints=xy) for name, xy in joints.items()}
    source = MpiiSource(manual_dir=str(folder), allow_missing=ABSENT)
    assert source.write_submission(found, tmp_path) == tmp_path / submission.FILE
    pred = scipy.io.loadmat(
        tmp_path / submission.FILE, struct_as_record=False, squeeze_me=True
    )["pred"]  # fmt: skip
    images = [entry for entry in entries if not entry.train]
    assert len(pred) == len(images)
    filled = 0
    for entry, written in zip(images, pred, strict=True):
        assert written.image.name == entry.name
        rects = np.atleast_1d(written.annorect)
        assert len(rects) == len(entry.annotations)
        for i, rect in enumerate(rects, 1):
            expected = joints.get(f"{entry.name}/{i}")
            if expected is None:
                assert np.size(rect.annopoints) == 0
                continue
            filled += 1
            points = rect.annopoints.point
            assert [point.id for point in points] == list(range(16))
            np.testing.assert_allclose([(p.x - 1, p.y - 1) for p in points], expected)
    assert filled == len(tests)


@pytest.mark.slow
def test_a_file_of_the_official_size_has_the_exact_counts(tmp_path):
    _, tests = mpii_files.write(tmp_path / "manual", mpii.customary_split(), 24_987, distinct=50)
    source = MpiiSource(manual_dir=str(tmp_path / "manual"))
    counts = {split: source.count(split) for split in source.splits}
    assert counts == {"train": 22_246, "validation": 2_958, "test": len(tests)}


def test_real_images_keep_their_joints(shared_data, tmp_path):
    """Three images of MPII, in a file of the official structure at their own places."""
    people = json.loads((shared_data / "mpii/annotations.json").read_text())
    # And somebody to train on, without whom there is no data set.
    image, index = mpii.customary_split()["train"][0].tolist()
    trained_on = {
        **people[0],
        **{"image": "other.jpg", "annolist_index": image, "person_index": index},
    }
    files = {path.name: path for path in (shared_data / "mpii/images").iterdir()}
    files["other.jpg"] = files[people[0]["image"]]
    folder = tmp_path / "manual"
    (folder / "images").mkdir(parents=True)
    count = max(person["annolist_index"] for person in people)
    entries = [{"image": {"name": f"{i}.jpg"}} for i in range(count)]
    for person in [trained_on, *people]:
        name = person["image"]
        (folder / "images" / name).write_bytes(files[name].read_bytes())
        points = [
            {"x": x, "y": y, "id": float(k), "is_visible": visible}
            for k, (x, y, visible) in enumerate(person["joints"])
            if x > 0  # the official file leaves out joints that are not labelled
        ]
        rects = [{}] * (person["person_index"] - 1) + [
            {
                **{"x1": 1.0, "y1": 1.0, "x2": 51.0, "y2": 51.0, "scale": person["scale"]},
                "objpos": dict(zip("xy", person["objpos"], strict=True)),
                "annopoints": {"point": mpii_files.structs(points)},
            }
        ]
        entries[person["annolist_index"] - 1] = {
            "image": {"name": name},
            "annorect": mpii_files.structs(rects),
        }
    release = {
        "annolist": mpii_files.structs(entries),
        "img_train": np.array([[float("annorect" in entry) for entry in entries]]),
    }
    scipy.io.savemat(folder / mpii.ANNOTATIONS, {"RELEASE": release})
    source = MpiiSource(manual_dir=str(folder), allow_missing=ABSENT)
    assert list(source.splits) == ["train", "validation"]  # nobody is in a test image
    images = list(source.images("validation"))
    assert len(images) == len(people) == 3
    for image in images:
        (person,) = (person for person in people if person["image"] == image.id)
        (annotation,) = image.annotations
        truth = np.array(person["joints"])[:, :2] - 1
        np.testing.assert_array_equal(annotation.labelled, truth[:, 0] >= 0)
        labelled = annotation.labelled
        np.testing.assert_allclose(annotation.joints[labelled], truth[labelled])
        np.testing.assert_array_equal(
            image.read(), np.asarray(Image.open(folder / "images" / image.id).convert("RGB"))
        )
