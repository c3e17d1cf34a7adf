"""Leeds Sports Pose: splits, conventions of the two files, boxes, and what is refused."""

import shutil

import cv2
import numpy as np
import pytest
import scipy.io
from conftest import load_config, write_lsp
from PIL import Image

from hourglass_jax.data.lsp import near_duplicates as alike
from hourglass_jax.data.lsp import source as lsp
from hourglass_jax.data.pipeline import prepare
from hourglass_jax.errors import UserError


def lsp_config(manual_dir, data_dir, **fields):
    config = load_config("lsp").data
    config.update({"manual_dir": str(manual_dir), "data_dir": str(data_dir), **fields})
    return config


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    return folder, *write_lsp(folder, extended=20)


@pytest.fixture(scope="module")
def people(published, tmp_path_factory):
    """Every record of every split by id, and the ids of each split."""
    folder, _, _ = published
    builder = lsp.LspPose.from_config(lsp_config(folder, tmp_path_factory.mktemp("records")))
    prepare(builder, str(folder))
    records, splits = {}, {}
    for split in builder.info.splits:
        rows = list(builder.as_dataset(split=split).as_numpy_iterator())
        splits[split] = [row["id"].decode() for row in rows]
        records |= {row["id"].decode(): row for row in rows}
    return records, splits


def test_splits_are_the_official_ones_with_a_tenth_of_training_held_out(people):
    _, splits = people
    official = {f"lsp/im{i:04d}.jpg" for i in range(1001, 2001)}
    assert set(splits["test"]) == official and len(splits["test"]) == 1000
    training = [*splits["train"], *splits["validation"]]
    assert len(set(training)) == len(training) == 1020 and not set(training) & official
    assert len(splits["validation"]) == 102
    assert sum(name.startswith("lspet/") for name in training) == 20


def test_alike_pictures_are_held_out_together_and_test_people_are_not_trained_on(tmp_path):
    write_lsp(tmp_path, extended=20)
    pictures, joints = (
        tmp_path / "lsp/images",
        scipy.io.loadmat(tmp_path / "lsp/joints.mat")["joints"],
    )

    def repeat(one, other):
        """Makes another, slightly darker frame of a picture, the person in the same place."""
        frame = Image.open(pictures / f"im{one:04d}.jpg").point(lambda value: 0.9 * value)
        frame.save(pictures / f"im{other:04d}.jpg", quality=60)
        joints[:, :, other - 1] = joints[:, :, one - 1]

    repeat(1500, 10)
    for i in range(100, 600, 5):  # a hundred bursts of five
        for j in range(1, 5):
            repeat(i, i + j)
    scipy.io.savemat(tmp_path / "lsp/joints.mat", {"joints": joints})
    builder = lsp.LspPose.from_config(lsp_config(tmp_path, tmp_path / "records"))
    prepare(builder, str(tmp_path))
    ids = {
        split: {row["id"].decode() for row in builder.as_dataset(split=split).as_numpy_iterator()}
        for split in builder.info.splits
    }
    assert "lsp/im0010.jpg" not in ids["train"] | ids["validation"] and len(ids["test"]) == 1000
    held_out = 0
    for i in range(100, 600, 5):
        burst = {f"lsp/im{i + j:04d}.jpg" for j in range(5)}
        assert len(burst & ids["train"]) in (0, 5)
        assert len(burst & ids["validation"]) == (not burst & ids["train"])
        held_out += not burst & ids["train"]
    assert held_out > 20  # the draw falls into 41 of a hundred


def test_crops_of_one_photograph_are_alike_and_other_pictures_are_not():
    rng = np.random.default_rng(0)
    photograph = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (320, 240))
    other = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (320, 240))
    center = np.array([150.0, 120.0])
    copies = [
        alike.thumbnails(photograph, center, 100),
        alike.thumbnails(other, center, 100),
        alike.thumbnails(photograph[40:200, 80:240], center - (80, 40), 104),
        alike.thumbnails(cv2.resize(photograph, (160, 120)), center / 2, 50),
    ]
    assert alike.groups(copies) == [0, 1, 0, 0]


def test_third_rows_mean_the_opposite_in_the_two_files(published, people):
    _, official, extended = published
    records, _ = people
    for i in (0, 999, 1000, 1999):
        record = records[f"lsp/im{i + 1:04d}.jpg"]
        assert record["labelled"].all()
        np.testing.assert_array_equal(record["visible"], official[i, :, 2] == 0)
    for i in range(20):
        record = records[f"lspet/im{i + 1:05d}.jpg"]
        np.testing.assert_array_equal(record["labelled"], extended[i, :, 2] == 1)
        np.testing.assert_array_equal(record["visible"], record["labelled"])


def test_joints_count_from_zero_and_lead_back_to_the_photograph(published, people):
    _, official, _ = published
    record = people[0]["lsp/im1003.jpg"]
    linear, offset = record["record_to_source"][:, :2], record["record_to_source"][:, 2]
    joints_source = record["joints_record"] @ linear.T + offset
    np.testing.assert_allclose(joints_source, official[1002, :, :2] - 1, atol=1e-4)


def test_box_is_the_square_around_the_joints_and_the_torso_the_reference(published, people):
    _, official, _ = published
    record, joints = people[0]["lsp/im0007.jpg"], official[6, :, :2] - 1
    size = 1.25 * (joints.max(0) - joints.min(0)).max()
    assert record["size_record"] == pytest.approx(size, rel=1e-5)
    # Left shoulder is the tenth joint of the order, right hip the third.
    torso = np.linalg.norm(joints[9] - joints[2])
    assert record["reference"] == pytest.approx(torso, rel=1e-5)


def test_records_are_kept_by_the_content_of_their_sources(published, tmp_path):
    folder = published[0]
    config = lsp_config(folder, tmp_path)
    before = lsp.LspPose.from_config(config).builder_config.name
    assert lsp.LspPose.from_config(config).builder_config.name == before
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert lsp.LspPose.from_config(lsp_config(copy, tmp_path)).builder_config.name == before
    picture = copy / "lsp" / "images" / "im0001.jpg"
    content = bytearray(picture.read_bytes())
    content[-3] ^= 1
    picture.write_bytes(content)
    assert lsp.LspPose.from_config(lsp_config(copy, tmp_path)).builder_config.name != before
    changed = lsp_config(folder, tmp_path, extended=False)
    assert lsp.LspPose.from_config(changed).builder_config.name != before
    changed = lsp_config(folder, tmp_path, resolution=96)
    assert lsp.LspPose.from_config(changed).builder_config.name != before


def damage_empty(folder):
    (folder / "lsp" / "joints.mat").write_bytes(b"")
    return "joints.mat"


def damage_cut(folder):
    path = folder / "lspet" / "joints.mat"
    path.write_bytes(path.read_bytes()[:100])
    return "lspet.joints.mat"


def damage_shape(folder):
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"joints": np.zeros((14, 3, 2000))})
    return r"\(14, 3, 2000\)"


def damage_no_joints(folder):
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"other": np.zeros((3, 14, 2000))})
    return "joints"


def damage_nan(folder):
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"joints": np.full((3, 14, 2000), np.nan)})
    return "no numbers"


def damage_missing_picture(folder):
    (folder / "lsp" / "images" / "im0002.jpg").unlink()
    return "im0002.jpg is missing"


def damage_text_picture(folder):
    path = folder / "lsp" / "images" / "im0002.jpg"
    path.unlink()
    path.write_text("not a picture")
    return "im0002.jpg cannot be read as a JPEG"


def damage_png_picture(folder):
    path = folder / "lsp" / "images" / "im0002.jpg"
    path.unlink()
    Image.new("RGB", (20, 20)).save(path, format="png")
    return "im0002.jpg cannot be read as a JPEG"


def damage_cut_picture(folder):
    path = folder / "lsp" / "images" / "im0002.jpg"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    return "im0002.jpg cannot be read as a JPEG"


def damage_folder(folder):
    shutil.rmtree(folder / "lspet")
    return "lacks lspet/joints.mat"


@pytest.mark.parametrize("damage", [f for name, f in list(globals().items()) if "damage_" in name])
def test_damaged_sources_are_named_and_leave_no_records(tmp_path, damage):
    manual, records = tmp_path / "manual", tmp_path / "records"
    write_lsp(manual)
    message = damage(manual)
    with pytest.raises(UserError, match=message):
        prepare(lsp.LspPose.from_config(lsp_config(manual, records)), str(manual))
    assert not list(records.rglob("*.tfrecord*")) if records.exists() else True


def test_the_published_files(shared_data, tmp_path):
    builder = lsp.LspPose.from_config(lsp_config(shared_data, tmp_path))
    prepare(builder, str(shared_data))
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert counts == {"train": 5913, "validation": 658, "test": 1000}
    # Head above ankles for most: the coordinates are those of the pictures.
    rows = list(builder.as_dataset(split="test").as_numpy_iterator())
    above = [row["joints_record"][13, 1] < row["joints_record"][[0, 5], 1].mean() for row in rows]
    assert np.mean(above) > 0.9
