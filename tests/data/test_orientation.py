"""EXIF: images are read the way up that their labels are, and what nothing tells is said."""

import json
import re
import tarfile

import numpy as np
import pytest
from keypoint_data import STORED, each, images_of, make, scene, write
from PIL import Image
from test_flic import write as write_flic

from hourglass_jax.data import headers, images, orientation
from hourglass_jax.data.flic.source import FlicSource
from hourglass_jax.data.images import image_file


def upright(image, i, size=(200, 160)):
    """Whether the pixels are those of the scene as it is seen."""
    return (
        image.shape[1::-1] == size and np.abs(image - np.asarray(scene(i, size), float)).max() < 1
    )


@pytest.mark.parametrize("turn", range(1, 9))
def test_labels_as_seen_get_the_upright_image(tmp_path, turn, caplog):
    """The sizes tell where axes change places; the others go like most programs, and are said."""
    write(tmp_path, orientation=turn)
    for i, image in enumerate(images_of(make(tmp_path))):
        assert upright(image.read(), i) and image.size == (200, 160)
    said = "6 images carry an orientation" in caplog.text
    assert said == (turn in (2, 3, 4))


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_labels_as_stored_get_the_stored_image(tmp_path, turn, caplog):
    swap = {"width": 160, "height": 200}
    write(tmp_path, each("images", **swap), orientation=turn)
    with caplog.at_level("INFO"):
        for i, image in enumerate(images_of(make(tmp_path))):
            assert image.read().shape == (200, 160, 3) and not upright(image.read(), i)
    assert "0 are read upright and 6 as stored" in caplog.text


def sizes_of_some(made):
    for image in made["images"][2:]:
        del image["width"], image["height"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: [i.pop("width") for i in c["images"]], "as their sizes say, 6 are read upright"),
        (sizes_of_some, "4 images .* are read upright, like the others of the file"),
        (
            lambda c: [i.update(width=None, height="x") for i in c["images"]],
            "6 images carry .*read upright, as nothing tells",
        ),
        (
            lambda c: [i.update(width="200", height="160.0") for i in c["images"]],
            "as their sizes say, 6 are read upright",
        ),
    ],
)
def test_images_without_sizes_are_taken_like_the_others_and_said(tmp_path, change, says, caplog):
    write(tmp_path, change, orientation=6)
    with caplog.at_level("INFO"):
        assert all(upright(im.read(), i) for i, im in enumerate(images_of(make(tmp_path))))
    assert len([r for r in caplog.records if "orientation" in r.message]) in (1, 2)
    assert any(re.search(says, r.getMessage()) for r in caplog.records)


def test_labels_that_fit_one_way_alone_tell_which_it_is(tmp_path, caplog):
    def as_stored(made):
        each("images", width=None, height=None)(made)
        for entry in made["annotations"]:
            entry.update(keypoints=[50, 190, 2, 60, 45, 2, 60, 110, 2, 125, 115, 1], bbox=None)

    write(tmp_path, as_stored, orientation=6)
    assert all(im.read().shape == (200, 160, 3) for im in images_of(make(tmp_path)))
    assert "read as stored, as their labels fit" in caplog.text


def test_square_images_are_said(tmp_path, caplog):
    write(tmp_path, orientation=6, size=(180, 180))
    images = images_of(make(tmp_path))
    assert all(upright(image.read(), i, (180, 180)) for i, image in enumerate(images))
    assert "6 images carry an orientation" in caplog.text


def test_a_table_of_deeplabcut_follows_the_rule(tmp_path, caplog):
    write(tmp_path, orientation=3)
    rows = [f"p{i}.png,50,40,120,45" for i in range(1, 7)]
    head = ["scorer,A,A,A,A", "bodyparts,nose,nose,tail,tail", "coords,x,y,x,y"]
    (tmp_path / "t.csv").write_text("\n".join([*head, *rows]))
    images = images_of(make(tmp_path, train_json=str(tmp_path / "t.csv")))
    assert all(upright(image.read(), i) for i, image in enumerate(images))
    assert "6 images carry an orientation" in caplog.text


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png", ".tif"])
def test_headers_of_every_format(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a{suffix}"
    scene(0).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    head = headers.header(str(path))
    if suffix == ".tif":  # Pillow turns them itself
        assert head == ((200, 160), 1)
    else:
        assert head == ((160, 200), 6) and head.seen(True) == (200, 160)
    found = orientation.settle(
        [image_file(path, [], id="0", size=(200, 160))], where="here", prefer_upright=False
    )
    assert found[0].read().shape == (160, 200, 3)
    scene(0).save(path)
    assert headers.header(str(path)) == ((200, 160), 1)
    path.write_bytes(path.read_bytes()[:9])
    assert headers.header(str(path)) is None


def test_other_sizes_than_the_files_are_still_refused(tmp_path):
    made = write(tmp_path, orientation=6)
    made["images"][0].update(width=999, height=None)
    (tmp_path / "k.json").write_text(json.dumps(made))
    image = images_of(make(tmp_path))[0]
    with pytest.raises(Exception, match=r"160 x 200 px, and the annotations say 999 x 200"):
        image.read()


def turn(path, orientation):
    """Stores an image file so that EXIF turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).transpose(STORED[orientation]).save(path, exif=exif)


def test_flics_sizes_decide_as_well(tmp_path, caplog):
    write_flic(tmp_path, sides="person")
    files = sorted((tmp_path / "FLIC/images").iterdir())
    turn(files[0], 6)
    turn(files[1], 3)
    source = FlicSource(manual_dir=str(tmp_path))
    found = {i.id: i for split in source.splits for i in source.images(split)}
    assert {image.read().shape for image in found.values()} == {(48, 72, 3)}
    assert found[files[0].name].upright and found[files[1].name].upright
    assert "1 images carry an orientation" in caplog.text


def test_what_was_labelled_with_matlab_is_read_as_stored(tmp_path, caplog):
    scene(0).save(tmp_path / "a.jpg")
    scene(1).save(tmp_path / "b.jpg")
    turn(tmp_path / "b.jpg", 6)
    names = [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    orientation.check_stored(names, "joints.mat")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.add(tmp_path / name, f"images/{name}")
    found = list(images.in_archive(tmp_path / "t.tar", "images/", {"a.jpg": [], "b.jpg": []}))
    assert [image.read().shape for image in found] == [(160, 200, 3), (200, 160, 3)]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and all("1 images carry" in s and "as stored" in s for s in said)
