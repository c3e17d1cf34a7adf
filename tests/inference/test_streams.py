"""Streams and cameras: frames that come once."""

import functools
import http.server
import threading

import numpy as np
import pytest
from fake import fake, people_in, run, write_video  # noqa: F401

from hourglass_jax.errors import UserError
from hourglass_jax.image import frames, streams

FRAMES = 20


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *unused):
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a video on this machine."""
    folder = tmp_path_factory.mktemp("served")
    write_video(folder / "day/walk.avi", FRAMES)
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/day/walk.avi", folder
        server.shutdown()


def test_frames_of_a_stream(address):
    text, folder = address
    stream = streams.stream_of(text, lambda: False)
    assert stream is not None and stream.name == "127.0.0.1/day/walk.avi"
    with stream.begin() as live, frames.open_frames(folder / "day/walk.avi") as file:
        pairs = zip(live, file, strict=True)
        for (frame, time), (expected, when) in pairs:
            np.testing.assert_array_equal(frame, expected)
            assert time == pytest.approx(when, abs=1e-3)
    asked = []
    stream = streams.stream_of(text, lambda: asked.append(1) or len(asked) == 5)
    with stream.begin() as live:
        assert len(list(live)) == 5


def test_files_are_no_streams(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert streams.stream_of("0", lambda: False).name == "camera0"
    (tmp_path / "0").touch()
    for text in ("0", "a.mp4", "c:/a.mp4", "file:///a.mp4", "day/0"):
        assert streams.stream_of(text, lambda: False) is None


def test_the_command_follows_a_stream(address, fake, tmp_path, monkeypatch, caplog):  # noqa: F811
    caplog.set_level("INFO")
    flags = ["--whole", "--finder=none"]
    assert run(address[0], tmp_path / "out", *flags) == 0
    names = [f"127.0.0.1/day/walk.avi#{i}" for i in range(FRAMES)]
    assert [person["image_id"] for person in people_in(tmp_path / "out")] == names
    assert (tmp_path / "out/overlays/127.0.0.1/day/walk.webm").stat().st_size > 0
    assert "secret" not in (tmp_path / "out/progress.jsonl").read_text()
    with pytest.raises(UserError, match="holds results already; choose another folder, or give"):
        run(address[0], tmp_path / "out", *flags)
    with pytest.raises(UserError, match=r"--uncertain reads frames twice, .* record them as a"):
        run(address[0], tmp_path / "other", "--uncertain=3", *flags)
    # Ctrl-C ends the stream; what came until then is kept.
    noted = []
    from hourglass_jax.runtime import preemption

    fake.on_call = lambda number: (
        (number == 2 and noted.append(preemption._loop))
        or [loop.note(preemption.signal.SIGINT) for loop in noted]
    )
    fake.calls = 0
    assert run(address[0], tmp_path / "out", "--overwrite", "--batch_size=4", *flags) == 0
    assert noted and 8 <= len(people_in(tmp_path / "out")) < FRAMES
    assert (tmp_path / "out/overlays/127.0.0.1/day/walk.webm").stat().st_size > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("77", "there is no camera 77 that can be read; is it connected, and free?"),
        ("rtsp://me:secret@127.0.0.1:9/x", "there is no video at 127.0.0.1/x that can be read"),
    ],
)
def test_what_is_not_there_is_named(text, reason, fake, tmp_path, capfd):  # noqa: F811
    assert run(text, tmp_path / "out", "--whole") == 1
    error = capfd.readouterr().err
    assert reason in error and len(error.splitlines()) == 1
