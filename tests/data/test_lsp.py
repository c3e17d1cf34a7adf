"""Leeds Sports Pose: splits, conventions of the two files, boxes, and what is refused."""

import shutil

import cv2
import numpy as np
import pytest
import scipy.io
from conftest import write_lsp
from PIL import Image

from hourglass_jax.data.lsp import near_duplicates
from hourglass_jax.data.lsp.source import LspSource
from hourglass_jax.errors import UserError


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    return folder, *write_lsp(folder, extended=20)


@pytest.fixture(scope="module")
def people(published):
    """Every annotation of every split by id, and the ids of each split."""
    source = LspSource(manual_dir=str(published[0]))
    annotations, splits = {}, {}
    for split in source.splits:
        images = list(source.images(split))
        assert [a.key for image in images for a in image.annotations] == list(range(len(images)))
        splits[split] = [image.id for image in images]
        annotations |= {a.id: a for image in images for a in image.annotations}
        assert source.count(split) == len(images)
    return annotations, splits


def test_splits_are_the_official_ones_with_a_tenth_of_training_held_out(people):
    _, splits = people
    official = {f"lsp/im{i:04d}.jpg" for i in range(1001, 2001)}
    assert set(splits["test"]) == official and len(splits["test"]) == 1000
    training = [*splits["train"], *splits["validation"]]
    assert len(set(training)) == len(training) == 1020 and not set(training) & official
    assert len(splits["validation"]) == 102
    assert sum(name.startswith("lspet/") for name in training) == 20


def test_near_duplicates_are_held_out_together_and_those_of_test_images_are_left_out(tmp_path):
    write_lsp(tmp_path, extended=20)
    images = tmp_path / "lsp/images"
    joints = scipy.io.loadmat(tmp_path / "lsp/joints.mat")["joints"]

    def repeat(one, other):
        """Makes another, slightly darker frame of an image, the person in the same place."""
        frame = Image.open(images / f"im{one:04d}.jpg").point(lambda value: 0.9 * value)
        frame.save(images / f"im{other:04d}.jpg", quality=60)
        joints[:, :, other - 1] = joints[:, :, one - 1]

    repeat(1500, 10)
    for i in range(100, 600, 5):  # a hundred bursts of five
        for j in range(1, 5):
            repeat(i, i + j)
    scipy.io.savemat(tmp_path / "lsp/joints.mat", {"joints": joints})
    source = LspSource(manual_dir=str(tmp_path))
    ids = {split: {image.id for image in source.images(split)} for split in source.splits}
    assert "lsp/im0010.jpg" not in ids["train"] | ids["validation"] and len(ids["test"]) == 1000
    held_out = 0
    for i in range(100, 600, 5):
        burst = {f"lsp/im{i + j:04d}.jpg" for j in range(5)}
        assert len(burst & ids["train"]) in (0, 5)
        assert len(burst & ids["validation"]) == (not burst & ids["train"])
        held_out += not burst & ids["train"]
    assert 20 < held_out < 60  # the draw falls into 41 of a hundred


def test_folders_that_are_split_together_hold_out_the_same_people(published, people):
    """Of people who are held out in one folder, no near-duplicate is trained on in another."""
    folder, _, _ = published
    images = folder / "lspet/images"
    own = LspSource(manual_dir=str(folder), folders=("lsp",), beside=("lspet",))
    more = LspSource(manual_dir=str(folder), folders=("lspet",), beside=("lsp",))
    _, splits = people
    for source, name in ((own, "lsp"), (more, "lspet")):
        assert source.held_out == ("validation",) and len(list(source.source_files)) == 2022
        for split in ("train", "validation"):
            ids = [image.id for image in source.images(split)]
            assert ids == [id for id in splits[split] if id.startswith(f"{name}/")]
    # Someone who is held out occurs in the extended set as well.
    held_out = next(own.images("validation")).id
    kept = images / "im00020.jpg"
    content = kept.read_bytes()
    shutil.copy(folder / held_out.replace("/", "/images/"), kept)
    try:
        again = LspSource(**vars(more.options))
        used = [image.id for split in ("train", "validation") for image in again.images(split)]
    finally:
        kept.write_bytes(content)
    assert set(splits["train"] + splits["validation"]) - set(used) >= {"lspet/im00020.jpg"}
    assert len(used) == 19


def test_crops_of_one_image_are_near_duplicates_and_other_images_are_not():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (320, 240))
    other = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (320, 240))
    center = np.array([150.0, 120.0])
    copies = [
        near_duplicates.thumbnails(image, center, 100),
        near_duplicates.thumbnails(other, center, 100),
        near_duplicates.thumbnails(image[40:200, 80:240], center - (80, 40), 104),
        near_duplicates.thumbnails(cv2.resize(image, (160, 120)), center / 2, 50),
    ]
    assert near_duplicates.groups(copies) == [0, 1, 0, 0]


def test_third_rows_mean_the_opposite_in_the_two_files(published, people):
    _, official, extended = published
    annotations, _ = people
    for i in (0, 999, 1000, 1999):
        annotation = annotations[f"lsp/im{i + 1:04d}.jpg"]
        assert annotation.labelled.all()
        np.testing.assert_array_equal(annotation.visible, official[i, :, 2] == 0)
    for i in range(20):
        annotation = annotations[f"lspet/im{i + 1:05d}.jpg"]
        np.testing.assert_array_equal(annotation.labelled, extended[i, :, 2] == 1)
        np.testing.assert_array_equal(annotation.visible, annotation.labelled)


def test_joints_count_from_zero(published, people):
    np.testing.assert_array_equal(people[0]["lsp/im1003.jpg"].joints, published[1][1002, :, :2] - 1)


def test_box_is_the_square_around_the_joints_and_the_torso_the_reference(published, people):
    _, official, _ = published
    annotation, joints = people[0]["lsp/im0007.jpg"], official[6, :, :2] - 1
    assert annotation.size == pytest.approx(1.25 * (joints.max(0) - joints.min(0)).max())
    np.testing.assert_allclose(annotation.center, (joints.max(0) + joints.min(0)) / 2)
    # Left shoulder is the tenth joint of the order, right hip the third.
    assert annotation.reference == pytest.approx(np.linalg.norm(joints[9] - joints[2]))


def test_every_image_is_a_source_file(published):
    names = [path.name for path in LspSource(manual_dir=str(published[0])).source_files]
    assert len(names) == 2 + 2000 + 20 and names.count("joints.mat") == 2
    official = LspSource(manual_dir=str(published[0]), extended=False)
    assert len(official.source_files) == 1 + 2000 and official.settings == {"extended": False}


def damage_empty(folder):
    (folder / "lsp" / "joints.mat").write_bytes(b"")
    return "joints.mat"


def damage_cut(folder):
    path = folder / "lspet" / "joints.mat"
    path.write_bytes(path.read_bytes()[:100])
    return "lspet.joints.mat"


def damage_shape(folder):
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"joints": np.zeros((14, 3, 2000))})
    return r"lsp/joints.mat: joints must have the shape \(3, 14, 2000\)"


def damage_other_joints(folder):
    scipy.io.savemat(folder / "lspet" / "joints.mat", {"joints": np.zeros((16, 3, 3))})
    return r"lspet/joints.mat: joints has the shape \(16, 3, 3\), neither \(3, 14, people\)"


def damage_no_joints(folder):
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"other": np.zeros((3, 14, 2000))})
    return "joints"


def damage_nan(folder):
    scipy.io.savemat(folder / "lsp" / "joints.mat", {"joints": np.full((3, 14, 2000), np.nan)})
    return "are not numbers"


def damage_missing_image(folder):
    (folder / "lsp" / "images" / "im0002.jpg").unlink()
    return "im0002.jpg is missing"


def damage_text_image(folder):
    path = folder / "lsp" / "images" / "im0002.jpg"
    path.unlink()
    path.write_text("not an image")
    return "im0002.jpg cannot be read as a JPEG"


def damage_png_image(folder):
    path = folder / "lsp" / "images" / "im0002.jpg"
    path.unlink()
    Image.new("RGB", (20, 20)).save(path, format="png")
    return "im0002.jpg cannot be read as a JPEG"


def damage_cut_image(folder):
    path = folder / "lsp" / "images" / "im0002.jpg"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    return "im0002.jpg cannot be read as a JPEG"


def damage_folder(folder):
    shutil.rmtree(folder / "lspet")
    return "lacks lspet/joints.mat"


@pytest.mark.parametrize("damage", [f for name, f in list(globals().items()) if "damage_" in name])
def test_damaged_sources_are_named(tmp_path, damage):
    write_lsp(tmp_path)
    message = damage(tmp_path)
    source = LspSource(manual_dir=str(tmp_path))
    with pytest.raises(UserError, match=message):
        assert source.source_files and source.count("train")


@pytest.mark.slow
def test_the_published_files(shared_data):
    source = LspSource(manual_dir=str(shared_data))
    counts = {split: source.count(split) for split in source.splits}
    assert counts == {"train": 5913, "validation": 658, "test": 1000}
    # Head above ankles for most: the coordinates are those of the images.
    people = [a for image in source.images("test") for a in image.annotations]
    above = [person.joints[13, 1] < person.joints[[0, 5], 1].mean() for person in people]
    assert np.mean(above) > 0.9
