"""Frames of a video by their numbers, for labels that a tool has put on some of them.

Videos are decoded from their beginning: what programs call "seeking" lands beside the frame that
was labelled where a video's rate varies or its index is wrong.
"""

import pathlib
import threading
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

from hourglass_jax.errors import UserError
from hourglass_jax.image.frames import Frames, open_frames

Frame = UInt8[np.ndarray, "height width 3"]
# Frames that are kept for threads that ask for them out of order.
_KEPT = 16


class VideoFrames:
    """The wanted frames of a video; threads may ask for them in about their order.

    Attributes:
      path: path of the video.
      size: width and height of its first frame.
    """

    def __init__(self, path: pathlib.Path, wanted: Iterable[int]):
        """Opens a video.

        Args:
          path: path of the video.
          wanted: numbers of the frames that `read` will be asked for, from 0.

        Raises:
          UserError: it is not a video that can be read.
        """
        self.path, self._wanted = path, set(wanted)
        self._lock = threading.Lock()
        self._frames: Frames | None = None
        self._kept: dict[int, Frame] = {}
        self._next = 0
        frames = _open(path)
        with frames:
            first, _ = next(iter(frames))
        self.size = (first.shape[1], first.shape[0])

    def want(self, number: int) -> None:
        """Notes a further frame that `read` will be asked for."""
        self._wanted.add(number)

    def read(self, number: int) -> Frame:
        """Returns a frame in RGB.

        Raises:
          UserError: the video ends before it.
        """
        with self._lock:
            if number not in self._kept:
                if self._frames is None or number < self._next:
                    self._rewind()
                self._advance(number)
            return self._kept[number]

    def _rewind(self) -> None:
        if self._frames is not None:
            self._frames.close()
        self._frames = _open(self.path)
        self._following: Iterator[tuple[Frame, float]] = iter(self._frames)
        self._next = 0

    def _advance(self, number: int) -> None:
        """Decodes up to a frame, and keeps the last wanted ones."""
        for frame, _ in self._following:
            at, self._next = self._next, self._next + 1
            if at in self._wanted or at == number:
                self._kept[at] = frame
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
            if at == number:
                return
        last, self._frames = self._next - 1, None
        raise UserError(f"{self.path} has no frame {number}; its last one is {last}")


def _open(path: pathlib.Path) -> Frames:
    try:
        frames = open_frames(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if frames is None:
        raise UserError(f"{path} is not a video that can be read")
    return frames
