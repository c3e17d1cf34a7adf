"""Tells JPEGs that lack only their end, so that every pixel is there, from those that lack rows.

What follows the last block changes no pixel; what takes the place of a missing block does. So a
file is whole if it decodes to the same pixels, whatever is put at its end.
"""

import re

_END = b"\xff\xd9"
# Any marker but the restart markers, which are between the codes of blocks.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PROGRESSIVE, _SCAN = 0xC2, 0xDA


def completions(content: bytes) -> list[bytes]:
    """Returns a JPEG that is cut short with several ends; none if it is certainly not whole."""
    content = content.rstrip(b"\xff")  # the first half of a marker
    if not content.startswith(b"\xff\xd8") or not _all_scans(content):
        return []
    return [content + filler + _END for filler in (b"", _filler(0x55, 0), _filler(0xFE, 4))]


def _filler(code: int, first: int) -> bytes:
    """Returns codes of blocks, and restart markers: decoders accept some of these, by turn."""
    codes = bytes((code - 7 * i * i) % 251 for i in range(240))
    return b"".join(codes + bytes([0xFF, 0xD0 + (first + i) % 8]) for i in range(8))


def _all_scans(content: bytes) -> bool:
    """Returns whether a progressive JPEG has every bit of its coefficients."""
    missing: dict[int, set[int]] = {}  # of other JPEGs, whose blocks are complete
    at = 2
    while found := _MARKER.search(content, at):
        begin = found.end()
        at = begin + max(int.from_bytes(content[begin : begin + 2], "big"), 2)
        kind, segment = content[begin - 1], content[begin + 2 : at]
        if kind == _PROGRESSIVE:
            missing = {component: set(range(64)) for component in segment[6::3]}
        elif kind == _SCAN and missing and len(segment) == 4 + 2 * segment[0]:
            first, last, bits = segment[-3:]
            if bits & 15 == 0:  # the last bits of these coefficients
                for component in segment[1:-3:2]:
                    missing.get(component, set()).difference_update(range(first, last + 1))
    return not any(missing.values())
