"""Pictures of every kind come out upright and in RGB; what is none is told in one sentence."""

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import io as photo

pytestmark = pytest.mark.core


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)
    return np.kron(small, np.ones((8, 8, 1), np.uint8))  # JPEG keeps even blocks


# EXIF's orientation, and what a camera held that way did to the picture.
HELD = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", HELD)
def test_a_camera_held_sideways(tmp_path, picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(HELD[orientation](picture)))
    stored.save(tmp_path / "held.png", exif=exif)
    np.testing.assert_array_equal(photo.as_rgb(tmp_path / "held.png"), picture)


def test_files_of_other_kinds(tmp_path, picture):
    grey = picture[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("grey", "deep"):
        found = photo.as_rgb(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, -1))
    dark = (grey // 64).astype(np.uint16)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    np.testing.assert_array_equal(photo.as_rgb(tmp_path / "dark.png"), photo.as_rgb(dark))
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "float.tif")
    assert (photo.as_rgb(tmp_path / "float.tif")[..., 0] == grey).all()
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    found = photo.as_rgb(str(tmp_path / "cmyk.jpg"))
    assert np.abs(found.astype(int) - picture).mean() < 8
    opacity = np.full((*grey.shape, 1), 255, np.uint8)
    opacity[:8] = 0
    Image.fromarray(np.concatenate([picture, opacity], -1)).save(tmp_path / "clear.png")
    found = photo.as_rgb(tmp_path / "clear.png")
    assert (found[:8] == 255).all() and (found[8:] == picture[8:]).all()
    Image.fromarray(picture).quantize(16).save(tmp_path / "palette.gif")
    assert photo.as_rgb(tmp_path / "palette.gif").shape == picture.shape


def test_arrays_and_pillow_images(picture):
    for given in (picture, Image.fromarray(picture), picture / 255, picture.astype(np.int64)):
        np.testing.assert_array_equal(photo.as_rgb(given), picture)
    np.testing.assert_array_equal(photo.as_rgb(picture.astype(np.uint16) * 257), picture)
    assert photo.as_rgb(picture[..., 0]).shape == picture.shape
    assert photo.as_rgb(picture[..., :1]).shape == picture.shape


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
        (np.full((8, 8, 3), 255.0), r"must lie in \[0, 1\]"),
        (np.full((8, 8, 3), np.nan), r"must lie in \[0, 1\]"),
        (np.full((8, 8, 3), 300), "0 to 255"),
    ],
    ids=["channels first", "empty", "floats to 255", "no numbers", "too large"],
)
def test_arrays_that_are_no_pictures(given, says):
    with pytest.raises(UserError, match=says):
        photo.as_rgb(given)


def test_files_that_are_no_pictures(tmp_path, picture):
    (tmp_path / "text.jpg").write_text("no picture")
    Image.fromarray(picture).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-40])
    for name, says in (
        ("text.jpg", "cannot be read"),
        ("half.jpg", "cannot be read"),
        ("gone.jpg", "No such file"),
    ):
        with pytest.raises(UserError, match=f"{name}.*{says}"):
            photo.as_rgb(tmp_path / name)
