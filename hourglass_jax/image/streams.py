"""Cameras and streams, whose frames come once: `0`, the first camera, or an address such as rtsp://."""

import dataclasses
import os
import pathlib
import urllib.parse
from collections.abc import Callable

import cv2
import numpy as np

from hourglass_jax.errors import UserError
from hourglass_jax.image import formats, frames, io
from hourglass_jax.runtime.command_line import STREAMS

# FFmpeg's formats behind addresses. Playlists would lead to other addresses.
_FORMATS = (
    *formats.CONTAINERS,
    "rtsp",
    "rtp",
    "sdp",
    "mpjpeg",
    "mpegvideo",
    "mjpeg",
    "h264",
    "hevc",
)
# Longest time to wait for the first frame and for further ones, ms.
_PATIENCE = 10_000


@dataclasses.dataclass(frozen=True)
class Stream:
    """A camera or stream in place of the path of a video.

    Attributes:
      address: number of the camera, or address of the stream.
      ended: returns whether to stop, asked before each frame.
    """

    address: str
    ended: Callable[[], bool] = lambda: False

    @property
    def name(self) -> str:
        """Name in results, without a user's name and password."""
        if self.address.isdecimal():
            return f"camera{self.address}"
        parts = urllib.parse.urlsplit(self.address)
        return f"{parts.hostname or ''}{parts.path}".strip("/")

    def __str__(self) -> str:
        return self.name

    def stat(self) -> os.stat_result:
        """Raises FileNotFoundError, as a file that is gone: a stream never comes again."""
        raise FileNotFoundError(self.name)

    def begin(self) -> frames.Frames:
        """Opens it, and reads the first frame.

        Raises:
          UserError: there is no such camera, or no video comes from the address.
        """
        return _Live(self)


def stream_of(text: str, ended: Callable[[], bool]) -> Stream | None:
    """Returns the stream that a text stands for; None for a file's path, even if it is named 0."""
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if (text.isdecimal() and not os.path.exists(text)) or scheme in STREAMS:
        return Stream(text, ended)
    return None


def open_frames(path: pathlib.Path | Stream) -> frames.Frames | None:
    """Opens a stream, or a file as `frames.open_frames` does."""
    return path.begin() if isinstance(path, Stream) else frames.open_frames(path)


class _Live(frames.Frames):
    def __init__(self, stream: Stream):
        self._stream = stream
        number = stream.address.isdecimal()
        if number:
            with frames.silent():
                self._capture = cv2.VideoCapture(int(stream.address))
        else:
            waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _PATIENCE]
            waits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _PATIENCE]
            with frames.only(_FORMATS):
                self._capture = cv2.VideoCapture(stream.address, cv2.CAP_FFMPEG, waits)
        self._first = self._next()
        if self._first is None:
            self.close()
            where = f"camera {stream.address}" if number else f"video at {stream}"
            remedy = "is it connected, and free?" if number else "check the address"
            raise UserError(f"there is no {where} that can be read; {remedy}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 1000 else frames.RATE

    def _next(self) -> np.ndarray | None:
        try:
            there, frame = self._capture.read()
        except cv2.error:  # such as too little memory
            return None
        if not there or frame.size * 10 > io.MEMORY:
            return None
        return np.ascontiguousarray(frame[..., ::-1])

    def __iter__(self):
        time, frame = 0.0, self._first
        self._first = None
        begin = self._stamp()
        while frame is not None:
            yield frame, time
            if self._stream.ended():
                return
            frame = self._next()
            step = self._stamp() - begin - time
            time += step if 0 < step <= 60 else 1 / self.rate

    def _stamp(self) -> float:
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def close(self) -> None:
        self._capture.release()
