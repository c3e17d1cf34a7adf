"""Reads moving images frame by frame: videos by OpenCV, animations by Pillow."""

import contextlib
import itertools
import logging
import math
import os
import pathlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import formats, io

logger = logging.getLogger(__name__)

# Frames per second where a file does not say, and more than any camera's.
RATE, _HIGHEST = 25.0, 10_000.0
# Longest time that a frame is shown, s: time stamps that jump farther are not trusted.
_LONGEST = 60.0
# Browsers show frames that claim less as long as this, s.
_SHORTEST, _USUAL = 0.011, 0.1
# Bytes a pixel of a frame: FFmpeg's, one for each of its threads, and ours.
_BYTES = 30
# Time stamps that are compared with the rate that a file states.
_STAMPS = 16
# FFmpeg may leave out the last frames, and most containers only estimate how many there are.
_LOST = 0.1
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# FFmpeg's messages name no file. OpenCV asks for this once, when it first reads or writes a video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


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
        """Yields each frame, at least one, in RGB, and its time in seconds, which grows from 0.

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
    """Opens a moving image; returns None for a file that shows one image, or cannot be read as one.

    The content decides what a file is; streams without a container need their suffix as well.

    Raises:
      UserError: the file has a video's name, and is not a video that can be read.
    """
    if os.path.isdir(path):
        raise UserError(f"the folder {path} cannot be opened; its files are left out")
    named = path.suffix.lower() in formats.VIDEOS
    try:
        image = io.open_image(path)
    except Exception:  # Pillow's decoders raise many kinds on damaged files
        return _other(path, named)
    pages = _pages(image)
    if len(pages) > 1:
        return _Animation(path, image, pages)
    image.close()
    if named and image.format == "JPEG":  # as a stream of JPEGs begins
        video = _Video(path)
        if len(_stamps(path)) > 1:
            return video
        video.close()
    return None


def _other(path: pathlib.Path, named: bool) -> Frames | None:
    """Opens what is not an image that Pillow knows, as `open_frames` does."""
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return None
    if begin[4:8] == b"ftyp" and begin[8:12] in (*formats.HEIF, b"avif", b"avis"):
        return None  # a damaged image; FFmpeg would show a part of it
    try:
        return _Video(path, streams=named)
    except UserError:
        if named:
            raise
        return None


class _Animation(Frames):
    """GIF, APNG, WebP, AVIF, and the pages of a TIFF."""

    def __init__(self, path: pathlib.Path, image: Image.Image, pages: list[int]):
        self._path, self._image, self._pages = path, image, pages
        self.announced = len(pages)
        try:
            image.seek(pages[0])
            io.frame_of(image)  # some formats know how long it is shown only then
        except Exception as error:  # Pillow's decoders raise many kinds on damaged files
            self.close()
            raise UserError(f"{path} cannot be read ({io.reason(error)})") from None
        self.rate = 1 / self._shown()

    def _shown(self) -> float:
        """Returns for how long the current frame is shown, s."""
        if self._image.format == "TIFF":
            return 1 / RATE
        shown = float(self._image.info.get("duration") or 0) / 1000
        return min(shown, _LONGEST) if shown >= _SHORTEST else _USUAL

    def __iter__(self):
        time = 0.0
        for number, page in enumerate(self._pages):
            try:
                self._image.seek(page)
                frame = io.frame_of(self._image)
            except Exception as error:
                self.problem = (
                    f"{self._path} is damaged from frame {number} on ({io.reason(error)}); the "
                    f"frames before it were read"
                )
                return
            yield frame, time
            time += self._shown()

    def close(self) -> None:
        self._image.close()


def _pages(image: Image.Image) -> list[int]:
    """Returns which of a Pillow image's images are the frames of an animation."""
    if image.format not in formats.ANIMATED:
        return [0]
    if image.format == "TIFF":
        return list(_pages_of_tiff(image))
    try:
        pages = list(range(getattr(image, "n_frames", 1)))
    except Exception:
        return [0]
    # The first one may be for programs that do not know animations.
    return pages[1:] if getattr(image, "default_image", False) else pages


def _pages_of_tiff(image: Image.Image) -> Iterator[int]:
    """Yields the pages that are not thumbnails, up to the first damaged one: reading it tells."""
    for page in itertools.count():
        try:
            image.seek(page)
            thumbnail = formats.is_thumbnail(image)
        except EOFError:  # there are no more
            break
        except Exception:
            yield page
            break
        if not thumbnail:
            yield page
    image.seek(0)


class _Video(Frames):
    def __init__(self, path: pathlib.Path, *, streams: bool = True):
        self._path = path
        self._capture = capture = _open(path, streams=streams)
        width, height = (
            capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height * _BYTES > io.MEMORY:
            self.close()
            raise UserError(
                f"{path} has frames of {width:.0f} x {height:.0f} px, which would take more than "
                f"{io.MEMORY / 1e9:.1f} GB of memory; scale it down"
            )
        self._first = self._next()
        if self._first is None:
            self.close()
            raise UserError(f"{path} is not a video that can be read")
        stated = capture.get(cv2.CAP_PROP_FPS)
        stated = stated if 0 < stated <= _HIGHEST else RATE
        self.rate = _measured_rate(path, stated)
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT) * self.rate / stated
        self.announced = round(announced) if 0 < announced < 1e9 else 0

    def _next(self) -> np.ndarray | None:
        try:
            there, frame = self._capture.read()
        except cv2.error:  # such as too little memory
            return None
        return np.ascontiguousarray(frame[..., ::-1]) if there else None

    def __iter__(self):
        number, time, frame = 0, 0.0, self._first
        self._first = None
        begin = self._stamp()
        while frame is not None:
            yield frame, time
            frame = self._next()
            number += 1
            step = self._stamp() - begin - time
            time += step if 0 < step <= _LONGEST else 1 / self.rate
        if number < self.announced:
            text = f"{self._path} announces {self.announced} frames, but only {number} can be read"
            if number < (1 - _LOST) * self.announced:
                self.problem = f"{text}; it may be cut short"
            else:  # often it is not damaged
                logger.warning(text)

    def _stamp(self) -> float:
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def close(self) -> None:
        self._capture.release()


def _measured_rate(path: pathlib.Path, stated: float) -> float:
    """Returns the rate that a video states, unless its first time stamps show that it is wrong."""
    stamps = _stamps(path)
    steps = [b - a for a, b in itertools.pairwise(stamps)]
    if stamps and stamps[-1] == 0:  # frames that were waiting for the end have none
        steps = steps[:-1]
    if len(steps) < 2 or not all(0 < step <= _LONGEST for step in steps):
        return stated
    measured = len(steps) / math.fsum(steps)
    return stated if abs(measured / stated - 1) < 0.05 else measured


def _stamps(path: pathlib.Path) -> list[float]:
    """Returns the time stamps of a video's first frames, s."""
    capture = _open(path)
    stamps = []
    while len(stamps) < _STAMPS and capture.grab():
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    return stamps


def _open(path: pathlib.Path, *, streams: bool = True) -> cv2.VideoCapture:
    """Opens a video with FFmpeg, of `formats.CONTAINERS` and `formats.STREAMS` alone."""
    names = formats.CONTAINERS + (formats.STREAMS if streams else ())
    with only(names), _name_for_opencv(path) as name:
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG)


@contextlib.contextmanager
def only(names: Iterable[str]) -> Iterator[None]:
    """Returns a context in which OpenCV opens videos of these of FFmpeg's formats alone."""
    allowed = f"format_whitelist;{','.join(names)}"
    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = allowed if before is None else f"{before}|{allowed}"
    try:
        with silent():
            yield
    finally:
        del os.environ[_OPTIONS]
        if before is not None:
            os.environ[_OPTIONS] = before


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Returns a context in which OpenCV prints nothing."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextlib.contextmanager
def _name_for_opencv(path: pathlib.Path) -> Iterator[str]:
    """Yields a name of a file; OpenCV crashes on those that are not UTF-8."""
    name = os.path.abspath(path)  # FFmpeg takes others for URLs, as clip:1.mp4
    try:
        name.encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield name
