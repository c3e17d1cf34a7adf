"""Reads moving images frame by frame: videos by OpenCV."""

import os
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

from hourglass_jax.errors import UserError
from hourglass_jax.image import formats

# Frames per second where a file does not say.
RATE = 25.0


class Frames:
    """The frames of a moving image, in order; a context manager.

    Frames may differ in size, where a file's do.

    Attributes:
      rate: frames per second, the average where the rate varies.
      announced: number of frames that the file announces, maybe too many; 0 for none.
      problem: known after the last frame: what is wrong with the file, or None.
    """

    rate: float = RATE
    announced: int = 0
    problem: str | None = None

    def __iter__(self) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], float]]:
        """Yields each frame in RGB, and its time in seconds, which increases from 0.

        Damage ends the iteration: frames before it are not lost, and `problem` names it.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Closes the file."""

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, *unused) -> None:
        self.close()


def open_frames(path: pathlib.Path) -> Frames | None:
    """Opens a moving image; returns None for a file that shows one image.

    Raises:
      UserError: the file is not a video that can be read.
    """
    if path.suffix.lower() in formats.VIDEOS:
        return _Video(path)
    return None


class _Video(Frames):
    def __init__(self, path: pathlib.Path):
        self._path = path
        self._capture = cv2.VideoCapture(os.path.abspath(path))
        self._first = self._next()
        if self._first is None:
            self.close()
            raise UserError(f"{path} is not a video that can be read")
        self.announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if rate > 0 else RATE

    def _next(self) -> np.ndarray | None:
        there, frame = self._capture.read()
        return np.ascontiguousarray(frame[..., ::-1]) if there else None

    def __iter__(self):
        number, frame = 0, self._first
        while frame is not None:
            yield frame, number / self.rate
            number, frame = number + 1, self._next()
        if number < self.announced:  # often too many, so this may not be damage
            self.problem = (
                f"{self._path} announces {self.announced} frames, but only {number} could be read"
            )

    def close(self) -> None:
        self._capture.release()
