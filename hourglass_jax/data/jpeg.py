"""JPEGs of which a window can be decoded at the cost of the window alone.

Decoding is half of the work in a training example, and a crop shows half of a record. Each block
of 8 x 8 px is coded separately here, between restart markers (ITU-T T.81, E.1.4), so that leaving
out the bytes of some rows and columns of blocks leaves a JPEG. A table after the image's end, where
other programs do not look, lists the blocks' places. Colours keep the image's resolution: half of
it would blur edges by a pixel.

Threads wait for each other wherever they hold Python's lock: the steps here are few and short.
"""

import math
import struct
import zlib

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8

_BLOCK = 8  # px
# At the quality of the brightness, colours would take a third of the bytes; they matter less.
_PARAMETERS = [
    *(cv2.IMWRITE_JPEG_QUALITY, 92),  # of both, where OpenCV is built without the next two
    *(cv2.IMWRITE_JPEG_LUMA_QUALITY, 92),
    *(cv2.IMWRITE_JPEG_CHROMA_QUALITY, 80),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    *(cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
]
_FRAME, _SCAN = 0xC0, 0xDA  # markers of the segment with the size, and of the last before the codes
_SIZE = struct.Struct(">HH")  # height and width, after five bytes of the frame
# The table: where each row of blocks begins in the JPEG ("<i4"), and where in the row its blocks
# begin and the last one ends ("<u2"). It ends with a checksum of these, where the frame is, the
# numbers of rows and columns, and a name.
_TAIL = struct.Struct("<IIHH8s")
_NAME = b"\0blocks\0"
_END = 0xD9
# The restart markers in their cyclic order, for a row of the widest image and more.
_CYCLE = np.tile(np.arange(0xD0, 0xD8, dtype=np.uint8), 2**10 + 1)
# NumPy keeps Python's lock for so few values; having released it, a thread may have to wait.
_FEW = 500


def encode(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encodes RGB as a JPEG for `decode`; any other program can read it as well."""
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PARAMETERS)
    jpeg = coded.tobytes()
    frame, begin = _segments(jpeg)
    rows, columns = (-(-side // _BLOCK) for side in image.shape[:2])
    codes = np.frombuffer(jpeg, np.uint8)
    markers = begin + np.flatnonzero(codes[begin:-1] == 0xFF)
    markers = markers[codes[markers + 1] != 0]  # a zero follows a byte of the codes
    ends = markers.reshape(rows, columns) + 2
    begins = np.concatenate([[begin], ends[:-1, -1]])
    bounds = np.concatenate([begins[:, None], ends], axis=1) - begins[:, None]
    if bounds.max() >= 2**16:
        return jpeg  # too long a row for the table: decoded whole
    table = begins.astype("<i4").tobytes() + bounds.astype("<u2").tobytes()
    return jpeg + table + _TAIL.pack(zlib.crc32(table), frame, rows, columns, _NAME)


def memory_for(windows: list[list[float]]) -> UInt8[np.ndarray, " bytes"]:
    """Returns memory into which `decode` can write any one of these windows."""
    pixels = [
        (right - left + 2 * _BLOCK) * (bottom - top + 2 * _BLOCK)
        for left, top, right, bottom in windows
    ]
    # libjpeg-turbo writes rows that begin at a multiple of 16 or 32 bytes past the cache, and the
    # next reader waits for memory: an eighth of the time of an example.
    return np.empty(4 * math.ceil(max(pixels) + 1), np.uint8)[4:]


def decode(
    jpeg: bytes | memoryview,
    left: float,
    top: float,
    right: float,
    bottom: float,
    memory: UInt8[np.ndarray, " bytes"] | None = None,
) -> tuple[UInt8[np.ndarray, "newheight newwidth 4"], tuple[int, int]]:
    """Decodes a window of a JPEG made by `encode`, or the whole of any other JPEG.

    Args:
      jpeg: encoded image.
      left, top, right, bottom: the window, px of the image; it may extend beyond the image.
      memory: result of `memory_for`, to be overwritten; None allocates memory.

    Returns:
      RGBA of at least the window's part of the image, and the px left out to its left and top.

    Raises:
      ValueError: the bytes are not a JPEG.
    """
    try:
        window, corner = _window(memoryview(jpeg), left, top, right, bottom)
        return simplejpeg.decode_jpeg(window, "RGBA", buffer=memory), corner
    except (IndexError, ValueError, struct.error):  # of another kind, or damaged
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if image is None:
        raise ValueError("an image in them is not a JPEG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGBA), (0, 0)


def _window(jpeg, left, top, right, bottom):
    """Returns a JPEG of the blocks that a window touches, at least one, and its left and top."""
    end = len(jpeg) - _TAIL.size
    checksum, frame, rows, columns, name = _TAIL.unpack_from(jpeg, max(end, 0))
    if name != _NAME or jpeg[frame + 1] != _FRAME:
        raise ValueError("another program's")
    table = jpeg[end - 4 * rows - 2 * rows * (columns + 1) : end]
    begins = np.frombuffer(table, "<i4", rows)
    bounds = np.frombuffer(table, "<u2", offset=4 * rows).reshape(rows, columns + 1)
    if zlib.crc32(table) != checksum or begins[-1] + bounds[-1, -1] != end - len(table):
        raise ValueError("damaged, or another program's codes")
    begin = int(begins[0])

    x0, x1 = _blocks(left, right, columns)
    y0, y1 = _blocks(top, bottom, rows)
    height, width = _SIZE.unpack_from(jpeg, frame + 5)
    header = bytearray(jpeg[:begin])
    size = min(_BLOCK * y1, height) - _BLOCK * y0, min(_BLOCK * x1, width) - _BLOCK * x0
    _SIZE.pack_into(header, frame + 5, *size)
    begins, bounds = begins[y0:y1], bounds[y0:y1]
    edges = begins[:, None] + bounds[:, x0 : x1 + 1 : x1 - x0]
    parts = [jpeg[start:stop] for start, stop in edges.tolist()]
    window = np.frombuffer(bytearray().join([header, *parts]), np.uint8)
    # The rows of blocks have moved: their markers are numbered again, and the last ends the image.
    moved = (edges[:, 1] - edges[:, 0]).cumsum() - bounds[:, x1] + (begin - 1)
    few = max(_FEW // (x1 - x0), 1)
    for y in range(0, y1 - y0, few):
        markers = (bounds[y : y + few, x0 + 1 : x1 + 1] + moved[y : y + few, None]).ravel()
        first = y * (x1 - x0) % 8
        window[markers] = _CYCLE[first : first + len(markers)]
    window[-1] = _END
    return window, (_BLOCK * x0, _BLOCK * y0)


def _segments(jpeg):
    """Returns where the frame and the codes begin."""
    at, begins = 2, {}
    while _SCAN not in begins:
        begins[jpeg[at + 1]] = at
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return begins[_FRAME], at


def _blocks(low, high, count):
    """Returns the first block of `count` that px low to high touch, and the last one + 1."""
    first = min(max(int(low // _BLOCK), 0), count - 1)
    return first, min(max(int(-(-high // _BLOCK)), first + 1), count)
