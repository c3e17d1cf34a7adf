"""JPEGs of which a window can be decoded for the price of the window.

Decoding is half of the work in a training example, and a crop shows half of a record. Each block
of 8 x 8 px is coded on its own here, between restart markers (ITU-T T.81, E.1.4), so that leaving
out the bytes of some rows and columns of blocks leaves a JPEG. A table of the blocks' lengths, in a
segment that other programs pass over, tells where they are. Colours keep the picture's resolution:
half of it would blur edges by a pixel.
"""

import io
import zlib

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

_BLOCK = 8  # px
_FRAME, _TABLE, _SCAN = 0xC0, 0xEC, 0xDA  # segments: size, table (APP12), the last before the codes
_NAME = b"block ends\0"
_CHECKSUM = 4  # bytes
_END = 0xD9
# The restart markers, which take turns; a table has room for fewer blocks.
_TURNS = np.tile(np.arange(0xD0, 0xD8, dtype=np.uint8), 2**12)


def encode(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encodes RGB as a JPEG for `decode`; any other program can read it as well."""
    stream = io.BytesIO()
    Image.fromarray(image).save(
        stream, format="jpeg", quality=92, subsampling=0, restart_marker_blocks=1
    )
    jpeg = stream.getvalue()
    segments, begin = _segments(jpeg)
    codes = np.frombuffer(jpeg, np.uint8)
    marked = begin + np.flatnonzero(codes[begin:-1] == 0xFF)
    marked = marked[codes[marked + 1] != 0]  # a zero follows a byte of the codes
    # Where each row of blocks begins in the codes, and where each block ends in its row.
    ends = (marked + 2 - begin).reshape(-1, -(-image.shape[1] // _BLOCK))
    rows = np.concatenate([[0], ends[:-1, -1]])
    ends = ends - rows[:, None]
    table = rows.astype("<u4").tobytes() + ends.astype("<u2").tobytes()
    table = _NAME + zlib.crc32(table).to_bytes(_CHECKSUM, "little") + table
    if len(table) > 65533 or ends.max() >= 2**16:
        return jpeg  # too large for a segment: decoded whole
    scan = segments[_SCAN]
    return jpeg[:scan] + bytes([0xFF, _TABLE, *divmod(len(table) + 2, 256)]) + table + jpeg[scan:]


def decode(
    jpeg: bytes | memoryview, left: float, top: float, right: float, bottom: float
) -> tuple[UInt8[np.ndarray, "newheight newwidth 3"], tuple[int, int]]:
    """Decodes a window of what `encode` made, and all of any other JPEG.

    Args:
      jpeg: the picture.
      left, top, right, bottom: the window, px of the picture, which it may reach beyond.

    Returns:
      BGR of at least the window's part of the picture, and what is left out on its left and top.

    Raises:
      ValueError: it is no JPEG.
    """
    try:
        window, first = _window(jpeg, left, top, right, bottom)
        picture = cv2.imdecode(window, cv2.IMREAD_COLOR)
    except (IndexError, KeyError, ValueError):  # of another kind, or damaged
        picture = None
    if picture is None and jpeg:
        picture, first = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), (0, 0)
    if picture is None:
        raise ValueError("a picture in them is no JPEG")
    return picture, first


def _window(jpeg, left, top, right, bottom):
    """Returns a JPEG of the blocks that a window touches, of one at least, and where it begins."""
    segments, begin = _segments(jpeg)
    frame, table, scan = (segments[marker] for marker in (_FRAME, _TABLE, _SCAN))
    if jpeg[table + 4 : table + 4 + len(_NAME)] != _NAME:
        raise ValueError("a segment of somebody else's")
    height, width = (int.from_bytes(jpeg[frame + i : frame + i + 2], "big") for i in (5, 7))
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    view = memoryview(jpeg)
    at = table + 4 + len(_NAME)
    checksum, at = int.from_bytes(view[at : at + _CHECKSUM], "little"), at + _CHECKSUM
    content = view[at : at + 4 * rows + 2 * rows * columns]
    if zlib.crc32(content) != checksum:
        raise ValueError("the table is damaged")
    begins = begin + np.frombuffer(content, "<u4", rows).astype(np.int64)
    ends = np.frombuffer(content, "<u2", offset=4 * rows).reshape(rows, columns)
    if begins[-1] + ends[-1, -1] != len(jpeg):
        raise ValueError("cut short, or another program's codes")

    x0, x1 = _blocks(left, right, columns)
    y0, y1 = _blocks(top, bottom, rows)
    size = min(_BLOCK * y1, height) - _BLOCK * y0, min(_BLOCK * x1, width) - _BLOCK * x0
    header = bytearray().join([view[:table], view[scan:begin]])
    header[frame + 5 : frame + 9] = b"".join(side.to_bytes(2, "big") for side in size)
    begins, ends = begins[y0:y1], ends[y0:y1]
    starts = begins + ends[:, x0 - 1] if x0 else begins
    stops = begins + ends[:, x1 - 1]
    parts = [view[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    window = np.frombuffer(bytearray().join([header, *parts]), np.uint8)
    # Each row of blocks has moved. Its markers take turns anew; the last one is the picture's end.
    # NumPy lets go of Python's lock in each operation on so many, for which threads queue: few.
    moved = len(header) + np.cumsum(stops - starts) - ends[:, x1 - 1] - 1
    markers = (ends[:, x0:x1] + moved[:, None]).ravel()
    window[markers] = _TURNS[: len(markers)]
    window[-1] = _END
    return window, (_BLOCK * x0, _BLOCK * y0)


def _segments(jpeg):
    """Returns where each segment begins, by its marker, and where the codes do."""
    at, begins = 2, {}
    while _SCAN not in begins:
        begins[jpeg[at + 1]] = at
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return begins, at


def _blocks(low, high, count):
    """Returns the blocks, of `count` in a row, that low to high px touches: first, last + 1."""
    first = min(max(int(low // _BLOCK), 0), count - 1)
    return first, min(max(int(-(-high // _BLOCK)), first + 1), count)
