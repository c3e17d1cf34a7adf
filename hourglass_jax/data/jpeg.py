"""JPEGs of which a window can be decoded for the price of the window.

Decoding is half of the work in a training example, and a crop shows half of a record. Each block
of 8 x 8 px is coded on its own here, between restart markers (ITU-T T.81, E.1.4), so that leaving
out the bytes of some rows and columns of blocks leaves a JPEG. A table of the blocks' lengths, in a
segment that other programs pass over, tells where they are. Colours keep the picture's resolution:
half of it would blur edges by a pixel.
"""

import io

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

_BLOCK = 8  # px
_FRAME, _TABLE, _SCAN = 0xC0, 0xEC, 0xDA  # segments: size, table (APP12), the last before the codes
_NAME = b"blocks\0"
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
    table = _NAME + np.diff(marked + 2, prepend=begin).astype("<u2").tobytes()
    if len(table) > 65533:
        return jpeg  # too large for a segment: decoded whole
    scan = segments[_SCAN]
    return jpeg[:scan] + bytes([0xFF, _TABLE, *divmod(len(table) + 2, 256)]) + table + jpeg[scan:]


def decode(
    jpeg: bytes, left: float, top: float, right: float, bottom: float
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
    if not jpeg.startswith(_NAME, table + 4):
        raise ValueError("a segment of somebody else's")
    height, width = (int.from_bytes(jpeg[frame + i : frame + i + 2], "big") for i in (5, 7))
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    lengths = np.frombuffer(jpeg, "<u2", rows * columns, table + 4 + len(_NAME))
    # The end of each block's codes, where a marker follows.
    ends = (begin - 2 + np.cumsum(lengths, dtype=np.int64)).reshape(rows, columns)

    x0, x1 = _blocks(left, right, columns)
    y0, y1 = _blocks(top, bottom, rows)
    size = min(_BLOCK * y1, height) - _BLOCK * y0, min(_BLOCK * x1, width) - _BLOCK * x0
    header = bytearray(jpeg[:table] + jpeg[scan:begin])
    header[frame + 5 : frame + 9] = b"".join(side.to_bytes(2, "big") for side in size)
    ends = ends[y0:y1, x0:x1]
    starts = ends[:, 0] + 2 - lengths.reshape(rows, columns)[y0:y1, x0]
    stops = ends[:, -1] + 2
    view = memoryview(jpeg)
    parts = [view[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    window = np.frombuffer(bytearray().join([header, *parts]), np.uint8)
    # Each row of blocks has moved. Its markers take turns anew; the last one is the picture's end.
    moved = len(header) - stops + np.cumsum(stops - starts)
    markers = (ends + (moved + 1)[:, None]).ravel()
    if (window[markers - 1] != 0xFF).any() or (window[markers] & 0xF0 != 0xD0).any():
        raise ValueError("the table does not tell where the blocks are")
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
