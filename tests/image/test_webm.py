"""Videos that browsers play: any rate, any size, times of any kind."""

import math
import os
import shutil
import struct

import cv2
import numpy as np
import pytest

from hourglass_jax.image import webm


def write(path, *, times=None, frames=5, rate=25.0, size=(32, 24)):
    rng = np.random.default_rng(0)
    encoded = path.with_suffix(".ivf")
    writer = webm.Writer(encoded, rate)
    for i in range(frames if times is None else len(times)):
        image = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        writer.write(image, None if times is None else times[i])
    writer.save(path)
    encoded.unlink()


def read(path):
    """Returns the times of a video's frames in seconds, and its size, as OpenCV reads them."""
    capture, times = cv2.VideoCapture(str(path)), []
    while capture.read()[0]:
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    size = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    return times, size


def duration(path):
    """Returns the duration in seconds, found without the code that wrote it."""
    content = path.read_bytes()
    tick = struct.unpack(">Q", content.split(b"\x2a\xd7\xb1", 1)[1][8:16])[0]
    ticks = struct.unpack(">d", content.split(b"\x44\x89", 1)[1][8:16])[0]
    return ticks * tick / 1e9


@pytest.mark.parametrize("rate", [66.667, 107.623, 24000 / 1001, 240, 1000, 5000, 0.5, 1 / 60])
def test_any_rate(tmp_path, rate):
    write(tmp_path / "a.webm", rate=rate)
    times, _ = read(tmp_path / "a.webm")
    assert math.isclose(duration(tmp_path / "a.webm"), 5 / rate, rel_tol=0.01)
    np.testing.assert_allclose(times, np.arange(5) / rate, atol=max(0.001, 0.01 / rate))
    fps = cv2.VideoCapture(str(tmp_path / "a.webm")).get(cv2.CAP_PROP_FPS)
    assert math.isclose(fps, rate, rel_tol=0.01)


@pytest.mark.parametrize("rate", [math.nan, math.inf, 0, -3])
def test_no_rate(tmp_path, rate):
    write(tmp_path / "a.webm", rate=rate)
    np.testing.assert_allclose(read(tmp_path / "a.webm")[0], np.arange(5) / 25, atol=0.001)


def test_frames_have_their_times(tmp_path):
    times = [7, 7.1, 7.15, 9, 9.001, 60, 400]
    write(tmp_path / "a.webm", times=times)
    np.testing.assert_allclose(read(tmp_path / "a.webm")[0], np.array(times) - 7, atol=0.001)
    assert duration(tmp_path / "a.webm") == 393.04
    # Damaged ones do not follow one another.
    write(tmp_path / "a.webm", times=[0, 0.1, 0.05, math.nan, 1e9, 0.3])
    expected = [0, 0.1, 0.14, 0.18, 0.22, 0.3]
    np.testing.assert_allclose(read(tmp_path / "a.webm")[0], expected, atol=0.001)


@pytest.mark.parametrize(
    ("size", "written"),
    [((33, 25), (34, 26)), ((1, 1), (16, 16)), ((5000, 40), (1920, 16)), ((20, 70000), (16, 1920))],
)
def test_any_size(tmp_path, size, written):
    write(tmp_path / "a.webm", size=size, frames=2)
    times, found = read(tmp_path / "a.webm")
    assert len(times) == 2 and found == written


def test_a_frame_of_another_size(tmp_path):
    writer = webm.Writer(tmp_path / "a.ivf", 25)
    for side in (30, 40, 17):
        writer.write(np.full((side, side, 3), 200, np.uint8))
    writer.save(tmp_path / "a.webm")
    assert len(read(tmp_path / "a.webm")[0]) == 3


def test_a_folder_of_any_name(tmp_path):
    folder = tmp_path / os.fsdecode(b"clip:caf\xe9")
    folder.mkdir()
    writer = webm.Writer(folder / "a.ivf", 25)
    try:
        writer.write(np.zeros((16, 16, 3), np.uint8))
    except cv2.error:
        pytest.skip("OpenCV before version 5 takes only names that are UTF-8")
    writer.save(folder / "a.webm")
    assert (folder / "a.webm").stat().st_size > 300


def test_a_long_one(tmp_path):
    """Several clusters, each with its entry in the index; equal frames give equal files."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "x.webm", frames=100, size=(16, 16))
    times, _ = read(tmp_path / "a/x.webm")
    np.testing.assert_allclose(times, np.arange(100) / 25, atol=0.001)
    content = (tmp_path / "a/x.webm").read_bytes()
    assert content.count(b"\x1f\x43\xb6\x75") == content.count(b"\xbb\x01\0\0\0\0\0") > 1
    assert content == (tmp_path / "b/x.webm").read_bytes()


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_any_rate_size_and_times(tmp_path, times):
    rng = np.random.default_rng(0)
    for _ in range(times):
        rate = float(rng.choice([math.nan, -1, 10 ** rng.uniform(-2, 3.3)]))
        size = tuple(int(2 ** rng.uniform(0, 7)) for _ in range(2))
        steps = rng.choice(
            [1, 0.01, 0.5, 0, -1, 3600, math.nan, math.inf], int(rng.integers(1, 20))
        )
        write(tmp_path / "a.webm", rate=rate, size=size, times=np.cumsum(steps).tolist())
        found, _ = read(tmp_path / "a.webm")
        assert len(found) == len(steps) and all(np.diff(found) > 0)
        assert duration(tmp_path / "a.webm") > found[-1]


def test_what_cannot_be_written_is_told(tmp_path, monkeypatch):
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(FileNotFoundError):
        webm.Writer(tmp_path / "gone/a.ivf", 25).write(image)
    writer = webm.Writer(tmp_path / "a.ivf", 25)
    writer.write(image)
    writer._times.append(1.0)  # as if a frame had found no room
    with pytest.raises(OSError, match="disk may be full"):
        writer.save(tmp_path / "a.webm")
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda self: False)
    writer = webm.Writer(tmp_path / "a.ivf", 25)
    with pytest.raises(OSError, match="without the video format VP8"):
        writer.write(image)


@pytest.mark.slow
def test_a_browser_plays_it(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium is installed; on Debian: apt install chromium")
    write(tmp_path / "a.webm", frames=100, rate=66.667, size=(121, 161))
    (tmp_path / "page.html").write_text("<video src='a.webm'></video>")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"file://{tmp_path}/page.html")
        found = page.evaluate(
            """() => new Promise((done) => {
              const video = document.querySelector("video");
              video.onerror = () => done(video.error.message);
              video.onseeked = () => done([video.duration, video.currentTime, video.videoWidth]);
              video.currentTime = 1;
            })"""
        )
        browser.close()
    assert found == [pytest.approx(1.5, rel=0.01), pytest.approx(1, abs=0.01), 122]
