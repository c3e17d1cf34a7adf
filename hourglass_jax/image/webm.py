"""Writes videos that browsers play: WebM files with VP8.

OpenCV encodes the frames, to an IVF file. Its own WebM files have one rate for all frames, a time
base that does not suit every rate, and no index for seeking; so the container is written here.
"""

import os
import pathlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

# Longest side of a frame, px: more is slow to encode and to play, and VP8 ends at 16,383.
LARGEST = 1920
_SMALLEST = 16  # the encoder takes no less
# Ticks by which a frame may follow the beginning of its cluster (16 bits with a sign), and bytes
# of a cluster, which players hold in memory.
_LONGEST, _FULL = 2**15 - 1, 2**22


class Writer:
    """Encodes frames one after the other.

    Frames are scaled to the size of the first one, which is at most `LARGEST` px.
    """

    def __init__(self, encoded: pathlib.Path, rate: float):
        """Makes a writer.

        Args:
          encoded: file for the encoded frames until they are saved; its name ends in .ivf.
          rate: frames per second: for frames without a time, and for how long the last one is seen.
        """
        self._encoded = encoded
        self._period = 1 / rate if 0 < rate < float("inf") else 0.04
        self._times: list[float] = []
        self._size = self._full = (0, 0)
        self._encoder: cv2.VideoWriter | None = None

    def write(self, image: UInt8[np.ndarray, "height width 3"], time: float | None = None) -> None:
        """Adds a frame in RGB.

        Args:
          image: the frame.
          time: its time in seconds; one that does not follow that of the frame before, or None, is
            replaced by what the rate gives.

        Raises:
          OSError: the file cannot be written, or OpenCV cannot encode VP8.
        """
        if self._encoder is None:
            self._open(image.shape[1], image.shape[0])
        assert self._encoder is not None
        before = self._times[-1] if self._times else -self._period
        # False for NaN, too. A day is longer than any pause in a video: a damaged time.
        follows = time is not None and before < time < before + 86400
        self._times.append(time if follows else before + self._period)  # type: ignore
        if image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        right, below = self._full[0] - self._size[0], self._full[1] - self._size[1]
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
        self._encoder.write(np.ascontiguousarray(image[..., ::-1]))

    def _open(self, width: int, height: int) -> None:
        zoom = min(1.0, LARGEST / max(width, height))
        self._size = width, height = max(round(width * zoom), 1), max(round(height * zoom), 1)
        # OpenCV would leave out the last row or column of an odd number.
        self._full = (max(width + width % 2, _SMALLEST), max(height + height % 2, _SMALLEST))
        self._encoded.open("wb").close()  # where it cannot be written, this tells why
        name: Any = os.path.abspath(self._encoded)  # FFmpeg takes others for URLs, as clip:1.ivf
        try:
            name.encode()
        except UnicodeEncodeError:  # OpenCV would crash; before version 5 it refuses bytes
            name = os.fsencode(name)
        self._encoder = cv2.VideoWriter(
            name,
            cv2.CAP_FFMPEG,
            cv2.VideoWriter.fourcc(*"VP80"),
            25.0,  # times are written below
            self._full,
        )
        if not self._encoder.isOpened():
            raise OSError("OpenCV is installed without the video format VP8")

    def save(self, path: pathlib.Path) -> None:
        """Writes the video, after its last frame.

        Raises:
          OSError: the file cannot be written.
        """
        self.close()
        frames = list(_frames(self._encoded))
        if len(frames) != len(self._times):  # OpenCV does not tell
            raise OSError("not every frame could be written; the disk may be full")
        with self._encoded.open("rb") as encoded, path.open("wb") as file:
            times = np.array(self._times) - self._times[0]
            for part in _webm(encoded, frames, times, self._period, self._full):
                file.write(part)

    def close(self) -> None:
        """Ends encoding."""
        if self._encoder is not None:
            self._encoder.release()


def _frames(path: pathlib.Path) -> Iterator[tuple[int, int, bool]]:
    """Yields position and size of each frame of an IVF file, and whether it is a key frame."""
    end = path.stat().st_size
    with path.open("rb") as file:
        file.seek(32)
        while len(head := file.read(12)) == 12:
            size = struct.unpack("<I", head[:4])[0]
            begin = file.tell()
            first = file.read(1)
            if begin + size > end:
                return
            yield begin, size, bool(first) and not first[0] & 1
            file.seek(begin + size)


def _webm(
    encoded, frames: Sequence[tuple[int, int, bool]], times: np.ndarray, period: float, size
) -> Iterator[bytes]:
    """Yields the parts of a WebM file: https://www.matroska.org/technical/elements.html."""
    spacing = np.diff(times)
    # Nanoseconds a tick: milliseconds as in most files, except where frames follow too closely.
    tick = 1_000_000 if spacing.min(initial=1) >= 1e-3 else 1000
    ticks = np.round(times * 1e9 / tick).astype(int).tolist()
    regular = np.abs(times - np.arange(len(times)) * period).max() < 1e-3
    yield _element(
        0x1A45DFA3,
        *(_number(0x4286, 1), _number(0x42F7, 1), _number(0x42F2, 4), _number(0x42F3, 8)),
        *(_element(0x4282, b"webm"), _number(0x4287, 2), _number(0x4285, 2)),
    )
    info = _element(
        0x1549A966,
        _number(0x2AD7B1, tick),
        _element(0x4489, struct.pack(">d", (times[-1] + period) * 1e9 / tick)),
        *(_element(0x4D80, b"hourglass_jax"), _element(0x5741, b"hourglass_jax")),
    )
    track = [_number(0xD7, 1), _number(0x73C5, 1), _number(0x83, 1), _number(0x9C, 0)]
    track += [_element(0x86, b"V_VP8")]
    track += [_number(0x23E383, round(period * 1e9))] if regular else []
    track += [_element(0xE0, _number(0xB0, size[0]), _number(0xBA, size[1]))]
    tracks = _element(0x1654AE6B, _element(0xAE, *track))
    clusters = list(_clusters(frames, ticks))
    # Every element of an index entry has a fixed length, so that positions are known before.
    position = len(info) + len(tracks) + len(_index([(0, 0)] * len(clusters)))
    entries = []
    for numbers in clusters:
        entries.append((ticks[numbers[0]], position))
        position += _HEAD + sum(frames[i][1] + _BLOCK for i in numbers)
    yield bytes.fromhex("18538067") + struct.pack(">Q", 1 << 56 | position)
    yield info + tracks + _index(entries)
    for numbers in clusters:
        begin = ticks[numbers[0]]
        length = sum(frames[i][1] + _BLOCK for i in numbers)
        yield bytes.fromhex("1F43B675") + struct.pack(">Q", 1 << 56 | length + _HEAD - 12)
        yield _number(0xE7, begin)
        for i in numbers:
            where, count, key = frames[i]
            yield b"\xa3" + struct.pack(
                ">QBhB", 1 << 56 | count + 4, 0x81, ticks[i] - begin, key << 7
            )
            encoded.seek(where)
            yield encoded.read(count)


# Bytes of a cluster before its frames, and of a frame before its content.
_HEAD, _BLOCK = 12 + 17, 13


def _clusters(frames, ticks: Sequence[int]) -> Iterator[list[int]]:
    """Yields the numbers of the frames of each cluster; it begins with a key frame if it can."""
    numbers: list[int] = []
    size = 0
    for i, (_, count, key) in enumerate(frames):
        if numbers and (key or ticks[i] - ticks[numbers[0]] > _LONGEST or size > _FULL):
            yield numbers
            numbers, size = [], 0
        numbers.append(i)
        size += count
    yield numbers


def _index(entries: Sequence[tuple[int, int]]) -> bytes:
    """Returns the index: time and position of each cluster."""
    points = (
        _element(
            0xBB,
            _number(0xB3, time),
            _element(0xB7, _number(0xF7, 1), _number(0xF1, position)),
        )
        for time, position in entries
    )
    return _element(0x1C53BB6B, *points)


def _element(name: int, *content: bytes) -> bytes:
    body = b"".join(content)
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + struct.pack(">Q", 1 << 56 | len(body)) + body


def _number(name: int, value: int) -> bytes:
    return _element(name, struct.pack(">Q", value))
