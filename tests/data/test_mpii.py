"""MPII: the official file's irregularities, splits, boxes, what is refused, and the submission."""

import json
import math
import tarfile

import mpii_files
import numpy as np
import pytest
import scipy.io
from conftest import load_config
from PIL import Image

from hourglass_jax.data.mpii import annotations, submission
from hourglass_jax.data.mpii import source as mpii
from hourglass_jax.data.pipeline import prepare
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.errors import UserError
from hourglass_jax.image import draw as visualize
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose.metrics import pckh

NUM_IMAGES = 120
ABSENT = sum(len(indices) for indices in mpii.customary_split().values())


def mpii_config(manual_dir, data_dir, **fields):
    config = load_config("mpii").data
    config.update({"manual_dir": str(manual_dir), "data_dir": str(data_dir), **fields})
    return config


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    return folder, *mpii_files.write(folder, first_people(), NUM_IMAGES)


def first_people():
    return {
        name: indices[indices[:, 0] <= NUM_IMAGES]
        for name, indices in mpii.customary_split().items()
    }


def build(folder, data_dir, **fields):
    builder = mpii.MpiiPose.from_config(mpii_config(folder, data_dir, **fields))
    prepare(builder, str(folder))
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }


@pytest.fixture(scope="module")
def people(published, tmp_path_factory):
    return build(published[0], tmp_path_factory.mktemp("records"), allow_missing=ABSENT)


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
        ids = {f"{photograph:09d}.jpg/{person}" for photograph, person in indices.tolist()}
        assert len(ids) > 5 and {row["id"].decode() for row in people[name]} == ids
    assert len(tests) > 5 and {row["id"].decode() for row in people["test"]} == set(tests)


def test_joints_boxes_and_heads_are_those_of_the_file(published, people):
    known = published[1]
    for row in people["train"] + people["validation"]:
        name, _, index = row["id"].decode().partition(".jpg/")
        rect = known[int(name), int(index)]
        points = {int(p["id"]): p for p in rect["annopoints"]["point"][0]}
        assert set(np.flatnonzero(row["labelled"])) == set(points)
        to_source = row["record_to_source"]
        joints = row["joints_record"] @ to_source[:, :2].T + to_source[:, 2]
        for k, point in points.items():
            np.testing.assert_allclose(joints[k], (point["x"] - 1, point["y"] - 1), atol=1e-3)
            hidden = point["is_visible"] in (0.0, "0") if np.size(point["is_visible"]) else False
            assert row["visible"][k] == (not hidden)
        center = to_source[:, :2] @ row["center_record"] + to_source[:, 2]
        place = rect["objpos"]["x"] - 1, rect["objpos"]["y"] - 1 + 15 * rect["scale"]
        np.testing.assert_allclose(center, place, atol=1e-3)
        assert row["size_record"] * to_source[0, 0] == pytest.approx(250 * rect["scale"], rel=1e-5)
        assert row["reference"] == pytest.approx(0.6 * math.hypot(20, 20), rel=1e-5)


def test_neck_and_head_count_as_visible(published):
    for entry in annotations.read(published[0] / mpii.ANNOTATIONS):
        for person in entry.people:
            np.testing.assert_array_equal(person.visible[8:10], person.labelled[8:10])


def test_the_archive_gives_the_records_that_the_folder_gives(published, people, tmp_path):
    folder, _, _ = published
    packed = tmp_path / "packed"
    (packed / mpii.UNPACKED).mkdir(parents=True)
    (packed / mpii.UNPACKED / mpii.ANNOTATIONS).hardlink_to(folder / mpii.ANNOTATIONS)
    with tarfile.open(packed / mpii.ARCHIVE, "w:gz") as archive:
        for path in sorted((folder / "images").iterdir()):
            archive.inodes.clear()  # tar would store links as such
            archive.add(path, f"images/{path.name}")
    unpacked = {row["id"]: row for rows in people.values() for row in rows}
    rows = [r for rows in build(packed, tmp_path, allow_missing=ABSENT).values() for r in rows]
    assert {row["id"] for row in rows} == unpacked.keys()
    for row in rows:
        for key in ("image", "joints_record", "record_to_source"):
            np.testing.assert_array_equal(row[key], unpacked[row["id"]][key])


def test_people_that_the_file_lacks_are_refused_unless_allowed(published, tmp_path):
    present = sum(len(indices) for indices in first_people().values())
    with pytest.raises(UserError, match=f"{ABSENT - present} people of the customary split"):
        build(published[0], tmp_path)


def test_missing_and_broken_pictures_are_named(tmp_path):
    folder = tmp_path / "manual"
    mpii_files.write(folder, first_people(), NUM_IMAGES, distinct=NUM_IMAGES)
    first, second = first_people()["train"][[0, -1], 0]
    (folder / f"images/{first:09d}.jpg").unlink()
    with pytest.raises(UserError, match=rf"{first:09d}.jpg is missing.*allow_missing="):
        prepared(folder, tmp_path, lack=0)
    (folder / f"images/{second:09d}.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=rf"{second:09d}.jpg cannot be read"):
        prepared(folder, tmp_path, lack=int((first_people()["train"][:, 0] == first).sum()))


def prepared(folder, data_dir, lack):
    """Builds where only `lack` pictures may be missing, whoever the file itself lacks."""
    from hourglass_jax.data import images as photographs

    entries = annotations.read(folder / mpii.ANNOTATIONS)
    train = mpii.split(entries, ABSENT)["train"]
    source = photographs.Folder(folder / "images")
    return list(photographs.records_of(train, source, lambda **fields: fields, lack))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: b"", "cannot be read as MPII's annotations"),
        (lambda content: content[: len(content) // 2], "cannot be read as MPII's annotations"),
        (lambda content: b"MATLAB 5.0 MAT-file" + bytes(200), "cannot be read as MPII's"),
    ],
    ids=["empty", "cut short", "nothing in it"],
)
def test_a_damaged_file_is_told(published, tmp_path, change, told):
    path = tmp_path / mpii.ANNOTATIONS
    path.write_bytes(change((published[0] / mpii.ANNOTATIONS).read_bytes()))
    with pytest.raises(UserError, match=told):
        annotations.read(path)


def test_an_impossible_joint_is_told(tmp_path):
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
    submission.write(tmp_path / submission.FILE, entries, joints)
    pred = scipy.io.loadmat(
        tmp_path / submission.FILE, struct_as_record=False, squeeze_me=True
    )["pred"]  # fmt: skip
    pictures = [entry for entry in entries if not entry.train]
    assert len(pred) == len(pictures)
    filled = 0
    for entry, told in zip(pictures, pred, strict=True):
        assert told.image.name == entry.name
        rects = np.atleast_1d(told.annorect)
        assert len(rects) == len(entry.people)
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


def test_the_truth_carried_to_the_crop_and_back_scores_one(published, people):
    """Source to record to crop and back, without heatmaps, at every threshold down to 0.01."""
    entries = annotations.read(published[0] / mpii.ANNOTATIONS)
    known = {f"{e.name}/{i}": p for e in entries for i, p in enumerate(e.people, 1)}
    rows = people["validation"]
    truth, carried, head = [], [], []
    for row in rows:
        to_source = row["record_to_source"].astype(np.float64)
        to_crop = geometry.crop_map(row["center_record"], row["size_record"], 256)
        crop = geometry.apply(to_crop, row["joints_record"].astype(np.float64))
        back = geometry.compose(to_source, geometry.invert(to_crop))
        carried.append(geometry.apply(back, crop))
        truth.append(known[row["id"].decode()].joints_source)
        head.append(row["reference"])
    labelled = np.array([row["labelled"] for row in rows])
    for threshold in (0.01, 0.1, 0.5):
        assert (
            pckh(np.array(truth), np.array(carried), labelled, np.array(head), threshold).total == 1
        )


@pytest.mark.slow
def test_a_file_of_the_official_size_has_the_exact_counts(tmp_path):
    _, tests = mpii_files.write(tmp_path / "manual", mpii.customary_split(), 24_987, distinct=50)
    builder = mpii.MpiiPose.from_config(mpii_config(tmp_path / "manual", tmp_path))
    prepare(builder, str(tmp_path / "manual"))
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert counts == {"train": 22_246, "validation": 2_958, "test": len(tests)}


def test_real_pictures_keep_their_joints(shared_data, tmp_path):
    """Three photographs of MPII, in a file of the official structure at their own places."""
    people = json.loads((shared_data / "mpii/annotations.json").read_text())
    # And somebody to train on, without whom there is no data set.
    photograph, index = mpii.customary_split()["train"][0].tolist()
    trained_on = {
        **people[0],
        **{"image": "other.jpg", "annolist_index": photograph, "person_index": index},
    }
    pictures = {path.name: path for path in (shared_data / "mpii/images").iterdir()}
    pictures["other.jpg"] = pictures[people[0]["image"]]
    folder = tmp_path / "manual"
    (folder / "images").mkdir(parents=True)
    count = max(person["annolist_index"] for person in people)
    entries = [{"image": {"name": f"{i}.jpg"}} for i in range(count)]
    for person in [trained_on, *people]:
        name = person["image"]
        (folder / "images" / name).write_bytes(pictures[name].read_bytes())
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
    rows = build(folder, tmp_path / "records", allow_missing=ABSENT)["validation"]
    assert len(rows) == len(people) == 3
    for row in rows:
        name = row["id"].decode().partition("/")[0]
        (person,) = (person for person in people if person["image"] == name)
        affine = row["record_to_source"].astype(np.float64)
        joints = geometry.apply(affine, row["joints_record"].astype(np.float64))
        truth = np.array(person["joints"])[:, :2] - 1
        np.testing.assert_array_equal(row["labelled"], truth[:, 0] >= 0)
        np.testing.assert_allclose(joints[row["labelled"]], truth[row["labelled"]], atol=1e-2)
        # The record's pixels are the photograph's, where the map says that they are.
        photograph = np.asarray(Image.open(folder / "images" / name).convert("RGB"), float)
        height, width = row["image"].shape[:2]
        for u, v in np.random.default_rng(0).integers(4, (width - 4, height - 4), (40, 2)):
            x, y = geometry.apply(affine, np.array([[u, v]], float))[0]
            step = affine[0, 0] / 2
            area = photograph[
                max(round(y - step), 0) : round(y + step) + 1,
                max(round(x - step), 0) : round(x + step) + 1,
            ]
            assert np.abs(row["image"][v, u] - area.mean((0, 1))).mean() < 25, (name, u, v)
        drawn = visualize.draw_skeleton(row["image"], row["joints_record"], row["labelled"], MPII)
        visualize.save_png(tmp_path / f"{name}.png", drawn)  # to be looked at
