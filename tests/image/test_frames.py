"""Moving images of the usual formats: every frame, its time, and what is wrong with a file."""

import io
import os
import pathlib
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import frames
from hourglass_jax.image import io as photo

pytestmark = pytest.mark.core

SIZE = (64, 48)


def images_of(count):
    """Returns images that become lighter; containers of a few bytes are not recognised."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 100, (12, 16, 3), np.uint8), SIZE)
    return [texture + np.uint8(20 * i) for i in range(count)]


def video(path, code="MJPG", rate=25.0, count=5):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, SIZE)
    assert writer.isOpened()
    for image in images_of(count):
        writer.write(image)
    writer.release()
    return path


def read(path):
    found = frames.open_frames(pathlib.Path(path))
    assert found is not None
    with found:
        images, times = zip(*found, strict=True)
    return images, np.array(times), found


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(("a.mp4", "mp4v"), ("a.mov", "MJPG"), ("a.3gp", "mp4v"), ("a.3g2", "mp4v")),
        *(("a.AVI", "MJPG"), ("a.mkv", "VP80"), ("a.webm", "VP80"), ("a.mpg", "PIM1")),
        *(("a.mpeg", "mpg2"), ("a.vob", "mpg2"), ("a.ts", "PIM1"), ("a.mts", "mpg2")),
        *(("a.m2ts", "mpg2"), ("a.m2v", "mpg2"), ("a.wmv", "WMV2"), ("a.asf", "WMV1")),
        *(("a.flv", "FLV1"), ("a.ogv", "VP80"), ("a.mjpeg", "MJPG"), ("a.rm", "RV10")),
        *(("a.mxf", "mpg2"), ("a.ivf", "VP80"), ("a.y4m", "I420")),
    ],
)
def test_videos_of_every_usual_format(tmp_path, name, code):
    images, times, found = read(video(tmp_path / name, code))
    assert len(images) == 5 and found.problem is None
    assert found.rate == pytest.approx(25, rel=1e-3)
    np.testing.assert_allclose(times, np.arange(5) / 25, atol=1e-3)
    light = [image.mean() for image in images]
    assert light == sorted(light) and light[-1] > light[0] + 40
    assert images[0].shape == (48, 64, 3)


@pytest.mark.parametrize("rate", [0.5, 12.5, 29.97, 66.667, 107.623, 240])
def test_rates_of_any_kind(tmp_path, rate):
    _, times, found = read(video(tmp_path / "a.avi", rate=rate))
    assert found.rate == pytest.approx(rate, rel=1e-4)
    np.testing.assert_allclose(times, np.arange(5) / rate, rtol=1e-3)


def test_time_stamps_of_a_variable_rate(tmp_path):
    path = video(tmp_path / "a.flv", "FLV1", count=6)
    content, at = bytearray(path.read_bytes()), 13
    stamps = [0, 40, 80, 480, 520, 560]  # ms
    left = list(stamps)
    while at < len(content) - 11:
        size = int.from_bytes(content[at + 1 : at + 4], "big")
        if content[at] == 9 and left:  # a frame
            content[at + 4 : at + 7] = left.pop(0).to_bytes(3, "big")
        at += 11 + size + 4
    path.write_bytes(content)
    images, times, _ = read(path)
    assert len(images) == 6
    np.testing.assert_allclose(times, np.array(stamps) / 1000)


def test_a_phone_held_upright(tmp_path):
    path = video(tmp_path / "a.mp4", "mp4v")
    stored, _, _ = read(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # of its matrix
    turn = [0, 1 << 16, 0, -1 << 16, 0, 0, SIZE[1] << 16, 0, 1 << 30]
    content[at : at + 36] = struct.pack(">9i", *turn)
    path.write_bytes(content)
    turned, _, _ = read(path)
    assert turned[0].shape == (64, 48, 3)
    assert np.abs(turned[0].astype(int) - np.rot90(stored[0], -1)).mean() < 2


def animation(path, durations=100, count=3, **options):
    first, *rest = [Image.fromarray(image) for image in images_of(count)]
    first.save(path, save_all=True, append_images=rest, duration=durations, **options)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.avif", "a.mp4"])
def test_animations(tmp_path, name):
    options = {"format": "GIF"} if name == "a.mp4" else {}  # as some programs name GIFs
    images, times, found = read(animation(tmp_path / name, [100, 300, 50], **options))
    assert len(images) == 3 and found.announced == 3 and found.problem is None
    np.testing.assert_allclose(times, [0, 0.1, 0.4], atol=1e-6)
    assert found.rate == pytest.approx(10)
    light = [image.mean() for image in images]
    assert light[0] + 10 < light[1] < light[2] - 10


def test_pages_of_a_tiff_are_frames_and_its_thumbnails_are_not(tmp_path):
    first, *rest = [Image.fromarray(image) for image in images_of(3)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    images, _, _ = read(tmp_path / "a.tif")
    assert len(images) == 3
    np.testing.assert_array_equal(images[2], images_of(3)[2])
    small = first.resize((8, 6))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "b.tif", save_all=True, append_images=[small])
    assert frames.open_frames(tmp_path / "b.tif") is None
    small.save(tmp_path / "raw.tif", tiffinfo={254: 1})
    with pytest.raises(UserError, match="begins with a thumbnail"):
        photo.as_rgb(tmp_path / "raw.tif")


def test_an_image_for_programs_that_know_no_animations_is_not_a_frame(tmp_path):
    animation(tmp_path / "a.png", count=4, default_image=True)
    images, _, _ = read(tmp_path / "a.png")
    assert len(images) == 3


def test_single_images_are_not_moving(tmp_path):
    first = Image.fromarray(images_of(1)[0])
    for name in ("a.jpg", "a.gif", "a.webp", "a.png", "a.tif", "a.bmp"):
        first.save(tmp_path / name)
        assert frames.open_frames(tmp_path / name) is None
    first.save(tmp_path / "depth.jpg", "MPO", save_all=True, append_images=[first])
    assert frames.open_frames(tmp_path / "depth.jpg") is None
    (tmp_path / "text.jpg").write_text("no image")
    assert frames.open_frames(tmp_path / "text.jpg") is None  # reading it as an image says why


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.mp4.part"])
def test_a_video_by_another_name(tmp_path, name):
    images, _, _ = read(video(tmp_path / "a.avi").rename(tmp_path / name))
    assert len(images) == 5


def test_an_image_by_the_name_of_a_video(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # which FFmpeg would not follow
    for kind in ("JPEG", "PNG", "WEBP"):
        path = tmp_path / f"{kind}.mp4"
        Image.fromarray(images_of(1)[0]).save(path, kind, exif=exif)
        assert frames.open_frames(path) is None
        assert photo.as_rgb(path).shape == (*SIZE, 3)
    images, _, _ = read(video(tmp_path / "a.mjpeg").rename(tmp_path / "stream.avi"))
    assert len(images) == 5


@pytest.mark.parametrize("name", ["a.jpg", "a.mov"])
def test_heif_is_not_shown_in_parts(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert frames.open_frames(tmp_path / name) is None
    with pytest.raises(UserError, match="HEIC is not read; convert it"):
        photo.as_rgb(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.avi\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.avi\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><Period><AdaptationSet/></Period></MPD>',
        "[playlist]\nFile1=other.avi\n",
        "",
    ],
    ids=["ffconcat", "HLS", "SDP", "DASH", "PLS", "empty"],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.ts"])
def test_lists_of_other_files_are_not_videos(tmp_path, text, name):
    video(tmp_path / "other.avi")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name} is not a video that can be read"):
        frames.open_frames(tmp_path / name)


def test_options_of_the_user_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
    assert len(read(video(tmp_path / "a.avi"))[0]) == 5
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "threads;1"


@pytest.mark.parametrize("name", [b"caf\xe9.avi", b"clip:1.avi", b"frame%03d.avi", b"\xf0\x9f.avi"])
def test_names_of_any_kind(tmp_path, monkeypatch, name):
    path = video(tmp_path / "a.avi").rename(tmp_path / os.fsdecode(name))
    assert len(read(path)[0]) == 5
    monkeypatch.chdir(tmp_path)
    assert len(read(path.name)[0]) == 5


def test_frames_before_damage_are_kept(tmp_path, caplog):
    path = video(tmp_path / "a.avi", count=10)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 8 // 10])
    images, _, found = read(path)
    assert 3 <= len(images) < 9
    assert found.problem is not None and "announces 10 frames, but only" in found.problem
    path = animation(tmp_path / "a.gif", count=6)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    images, _, found = read(path)
    assert 2 <= len(images) <= 5 and "a.gif is damaged from frame" in (found.problem or "")
    path.write_bytes(content[:900])
    with pytest.raises(UserError, match=r"a\.gif"):
        assert frames.open_frames(path) or photo.as_rgb(path)
    first, *rest = [Image.fromarray(image) for image in images_of(4)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) * 3 // 4])
    images, _, found = read(tmp_path / "a.tif")
    assert len(images) == 3 and "a.tif is damaged from frame 3 on" in (found.problem or "")


def test_frames_that_would_fill_the_memory(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (7000, 6000)).save(buffer, "JPEG")
    (tmp_path / "a.mjpeg").write_bytes(buffer.getvalue() * 2)
    with pytest.raises(UserError, match=r"frames of 7000 x 6000 px.*GB"):
        frames.open_frames(tmp_path / "a.mjpeg")
