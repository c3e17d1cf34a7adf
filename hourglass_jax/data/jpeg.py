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
_NAME = b"block ends\0"
_RESTART = bytes(range(0xD0, 0xD8))  # the markers between blocks, which take turns
# As many as a table has room for, each with the byte before it.
_TURNS = np.tile(np.array([0xFF + 256 * marker for marker in _RESTART], "<u2"), 2**12)
_END = b"\xd9"


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
    table = _NAME + rows.astype("<u4").tobytes() + ends.astype("<u2").tobytes()
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
    at = table + 4 + len(_NAME)
    x0, x1 = _blocks(left, right, columns)
    y0, y1 = _blocks(top, bottom, rows)
    # Of the rows that the window touches, to the end of the codes of their last block in it.
    begins = begin + np.frombuffer(jpeg, "<u4", rows, at)[y0:y1].astype(np.int64)
    ends = np.frombuffer(jpeg, "<u2", rows * columns, at + 4 * rows)
    ends = ends.reshape(rows, columns)[y0:y1]
    starts = begins + ends[:, x0 - 1] if x0 else begins
    stops = begins + ends[:, x1 - 1]

    size = min(_BLOCK * y1, height) - _BLOCK * y0, min(_BLOCK * x1, width) - _BLOCK * x0
    view = memoryview(jpeg)
    header = bytearray().join([view[:table], view[scan:begin]])
    header[frame + 5 : frame + 9] = b"".join(side.to_bytes(2, "big") for side in size)
    parts = [view[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    window = bytearray().join([header, *parts])
    # Each row of blocks has moved. Its markers take turns anew; the last one is the picture's end.
    # NumPy lets go of Python's lock in each operation on so many, for which threads queue: few.
    moved = len(header) + np.cumsum(stops - starts) - ends[:, x1 - 1] - 2
    markers = (ends[:, x0:x1] + moved[:, None]).ravel()
    pairs = np.ndarray(len(window) - 1, "<u2", window, strides=1)
    # What is found at the blocks' ends, and before each row but the picture's first.
    before = np.ndarray(len(jpeg) - 1, "<u2", jpeg, strides=1)[starts[x0 + y0 == 0 :] - 2]
    found = pairs[markers].tobytes() + before.tobytes()
    if found[::2].strip(b"\xff") or found[1::2].strip(_RESTART + _END):
        raise ValueError("the table does not tell where the blocks are")
    pairs[markers] = _TURNS[: len(markers)]
    window[-1:] = _END
    window = np.frombuffer(window, np.uint8)
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
