"""Pictures of every kind come out upright and in RGB; what is none is told in one sentence."""

import io
import struct
import zlib

import cv2
import jax.numpy as jnp
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
    dark = (grey // 64).astype(np.uint16) * 300
    Image.fromarray(dark).save(tmp_path / "dark.png")
    np.testing.assert_array_equal(photo.as_rgb(tmp_path / "dark.png"), photo.as_rgb(dark))
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "shallow.png")
    with pytest.raises(UserError, match=r"shallow\.png.*largest value is 248; save it with 8"):
        photo.as_rgb(tmp_path / "shallow.png")
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


FLOATS = ("float16", "bfloat16", "float32", "float64", "longdouble", "float8_e4m3fn")


@pytest.mark.parametrize("kind", FLOATS)
def test_floats_of_every_type(picture, kind):
    coarse = (picture // 128).astype(np.uint8) * 255  # every type has 0 and 1
    given = coarse / 255
    given = given.astype(kind) if kind == "longdouble" else np.asarray(given).astype(np.dtype(kind))
    np.testing.assert_array_equal(photo.as_rgb(given), coarse)


def test_arrays_of_jax(picture):
    found = photo.as_rgb(jnp.asarray(picture / 255, jnp.bfloat16))
    assert np.abs(found.astype(int) - picture).max() <= 1  # bfloat16 has 8 bits
    np.testing.assert_array_equal(photo.as_rgb(jnp.asarray(picture)), picture)
    np.testing.assert_array_equal(photo.as_rgb(picture / np.float32(255) + 1e-4), picture)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"\xff\xd8\xff" * 100_000, "io.BytesIO"),
        (bytearray(10), "type bytearray"),
        ([[[0, 0, 0]] * 300] * 300, "type list"),
        (None, "type NoneType"),
        (np.zeros((8, 8, 3), complex), "complex"),
        (np.full((8, 8), 255, np.uint16), "largest value of this one is 255; give 8 bits as uint8"),
        (np.full((8, 8), "text"), "<U4"),
        (np.zeros((8, 8), [("a", int), ("b", float)]), "uint8, or of floats"),
        (np.zeros((2, 8, 8, 3)), r"shape \(2, 8, 8, 3\)"),
        (np.zeros((3, 8, 8)), r"transpose\(1, 2, 0\)"),
        (np.full((8, 8), np.inf, np.float16), "inf"),
        (np.full((8, 8), 40_000, np.int32), "40000"),
        (jnp.full((8, 8), jnp.nan, jnp.bfloat16), "nan"),
        ("A" * 100_000, "File name too long"),
        ("a\0b", "null"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else type(value).__name__,
)
def test_what_is_no_picture_is_refused_in_a_sentence(given, says):
    with pytest.raises(UserError, match=says) as error:
        photo.as_rgb(given)
    assert len(str(error.value)) < 300


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_only_its_end_is_taken(picture, caplog, progressive):
    content = encoded(picture, progressive=progressive)
    whole = photo.as_rgb(io.BytesIO(content))
    for cut in (1, 2):
        found = photo.decode(io.BytesIO(content[:-cut]), "cut.jpg", upright=False)
        np.testing.assert_array_equal(found, whole)
    assert "cut.jpg lacks its end, but every pixel is there" in caplog.text
    for cut in range(3, len(content) - 650, 11):
        assert_whole_or_refused(content[:-cut], whole)


def assert_whole_or_refused(content, whole):
    try:
        found = photo.as_rgb(io.BytesIO(content))
    except UserError as error:
        assert "cut short" in str(error)
    else:
        np.testing.assert_array_equal(found, whole)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0, 1, 4])
def test_a_jpeg_that_lacks_a_pixel_is_never_taken(interval):
    rng = np.random.default_rng(interval)
    image = cv2.resize(rng.integers(0, 255, (5, 4, 3), np.uint8), (100, 80))
    options = [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    content = cv2.imencode(".jpg", image, options)[1].tobytes()
    whole = photo.as_rgb(io.BytesIO(content))
    for cut in range(3, len(content) - 650):
        assert_whole_or_refused(content[:-cut], whole)


def png_header(width, height, depth, colours):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)


@pytest.mark.parametrize(
    "content",
    [
        png_header(15_800, 15_800, 1, 0),
        png_header(12_000, 12_000, 16, 6),
        b"P6 60000 60000 255\n",
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(3) + b"," + bytes(20),
        struct.pack(
            "<2sIHHI IiiHHIIiiII", b"BM", 99, 0, 0, 54, 40, 40_000, 40_000, 1, 24, *[0] * 6
        ),
    ],
    ids=["a bit a pixel", "16 bits with opacity", "PPM", "GIF", "BMP"],
)
def test_memory_is_known_before_it_is_taken(content, monkeypatch):
    def load(*unused):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(UserError, match="GB of memory") as error:
        photo.as_rgb(io.BytesIO(content))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is none of JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not read; convert it to JPEG"),
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is none of JPEG"),
    ],
    ids=["PostScript", "HEIC", "empty", "text"],
)
def test_formats_that_are_not_read(tmp_path, content, says):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(UserError, match=f"photo.jpg cannot be read .{says}"):
        photo.as_rgb(tmp_path / "photo.jpg")


def test_other_formats_that_tools_write(picture):
    exact = {"BMP": {}, "PPM": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}}
    for kind, options in exact.items():
        found = photo.as_rgb(io.BytesIO(encoded(picture, kind, **options)))
        np.testing.assert_array_equal(found, picture, kind)
    for kind in ("JPEG2000", "AVIF"):
        found = photo.as_rgb(io.BytesIO(encoded(picture, kind)))
        assert np.abs(found.astype(int) - picture).mean() < 20
    palette = Image.fromarray(picture).quantize(8)
    palette.info["transparency"] = 0
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert (photo.as_rgb(buffer) == 255).all(-1).any()


def test_strips_do_not_change_deep_images(monkeypatch, picture):
    deep = picture[..., 0].astype(np.uint16) * 257
    whole = photo.as_rgb(io.BytesIO(encoded(deep, "PNG")))
    monkeypatch.setattr(photo, "_PIXELS", 100)
    np.testing.assert_array_equal(photo.as_rgb(io.BytesIO(encoded(deep, "PNG"))), whole)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_sizes_are_known_without_decoding(picture, kind):
    for orientation in (1, 3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = io.BytesIO(encoded(picture, kind, exif=exif))
        assert photo.size_of(content) == photo.as_rgb(content).shape[1::-1]
    assert photo.size_of(io.BytesIO(b"text")) is None
    assert photo.size_of(io.BytesIO(png_header(90_000, 90_000, 1, 0))) == (90_000, 90_000)


def test_a_pillow_image_that_is_not_decoded_yet(picture):
    cut = Image.open(io.BytesIO(encoded(picture, "BMP")[:-300]))
    with pytest.raises(UserError, match="cut short"):
        photo.as_rgb(cut)
    exif = Image.Exif()
    exif[0x0112] = 6
    held = Image.open(io.BytesIO(encoded(picture, "PNG", exif=exif)))
    assert photo.as_rgb(held).shape == (picture.shape[1], picture.shape[0], 3)
    assert held.size == picture.shape[1::-1]  # the user's image is as it was


def test_the_first_of_several_frames_is_taken_with_a_warning(tmp_path, picture, caplog):
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    for name in ("a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(photo.as_rgb(tmp_path / name), picture)
        assert f"{name} has several frames; the first is taken" in caplog.text
    caplog.clear()
    frames[0].save(tmp_path / "a.gif")
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    photo.as_rgb(tmp_path / "a.gif"), photo.as_rgb(tmp_path / "a.jpg")
    assert not caplog.text
