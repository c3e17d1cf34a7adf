"""Reads variables from MATLAB files of version 5 (MATLAB 5 to 7.2, and SciPy).

Every size that a file states is compared with the bytes that are there before memory is taken for
it. SciPy's reader writes over memory on damaged files, and takes 13 GB for one of 848 bytes.
The format: MathWorks, "MAT-File Format", chapter 1.
"""

import math
import pathlib
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
# Types of stored numbers, and classes of arrays.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_STORED |= {12: "i8", 13: "u8"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_NUMBERS |= {14: "i8", 15: "u8"}
_OTHERS = {3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object"}
_ENCODINGS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}  # of texts
_DEEPEST = 32
# Bytes of memory per byte of the file, and what any file may take. MPII's file needs 30 per byte.
_MEMORY, _SMALL = 100, 2**26
_ITEM = 100  # bytes of memory for each array or item in another


class _Array(NamedTuple):
    """The beginning of an array: its class, sizes, name, and where its content begins."""

    kind: int
    complex: bool
    shape: tuple[int, ...]
    name: str
    begin: int


def load(path: pathlib.Path, variable: str, *, squeeze: bool = True) -> Any:
    """Returns a variable of a MATLAB file.

    Args:
      path: the file.
      variable: name of the variable.
      squeeze: drop sides of length 1, as readers of structures expect; an array of one item is
        returned as the item.

    Returns:
      Arrays of numbers as such, texts as strings, structures as `Struct`, and cells as arrays of
      objects.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is damaged, of another format, or lacks the variable.
    """
    try:
        return _Reader(path.read_bytes(), squeeze).variable(variable)
    except (struct.error, zlib.error, OverflowError) as error:
        raise ValueError(f"it is damaged: {error}") from None


class Struct:
    """A structure, whose fields are attributes."""

    def __init__(self, fields: dict[str, Any]):
        self.__dict__.update(fields)


class _Reader:
    """Reads the elements of a file; offsets are into `content`.

    Attributes:
      content: the bytes of the file, or of the variable that is being read where it is compressed.
      squeeze: see `load`.
      budget: bytes of memory that may still be taken.
      order: byte order, as in `struct`.
      known: beginnings of arrays that were read before.
    """

    def __init__(self, content: bytes, squeeze: bool):
        self.content, self.squeeze = content, squeeze
        self.budget = max(_MEMORY * len(content), _SMALL)
        _check_header(content)
        self.order = "<" if content[126:128] == b"IM" else ">"
        self.words = struct.Struct(f"{self.order}2I")
        self.known: dict[bytes, _Array] = {}

    def variable(self, name: str) -> Any:
        """Returns a variable of the file."""
        at, whole, found = 128, self.content, []
        while at < len(whole):
            self.content = whole
            kind, begin, end, at = self.tag(at, len(whole), padded=False)
            if kind == _COMPRESSED:
                inner = zlib.decompressobj()
                self.content = inner.decompress(whole[begin:end], self.budget)
                if inner.unconsumed_tail:
                    raise ValueError("it takes too much memory for its size")
                self.take(len(self.content))
                if not inner.eof:
                    raise ValueError("it is cut short")
                kind, begin, end, _ = self.tag(0, len(self.content))
            if kind != _MATRIX:
                raise ValueError(f"it has an element of the unknown type {kind}")
            found.append(self.header(begin, end).name)
            if found[-1] == name:
                return self.array(begin, end, 0)
        others = ", ".join(found)[:200] or "no variable"
        raise ValueError(f"it lacks {name!r}, and has {others}")

    def take(self, size: int) -> None:
        """Raises ValueError if all that is made of the file takes too much memory."""
        self.budget -= size
        if self.budget < 0:
            raise ValueError("it takes too much memory for its size")

    def tag(self, at: int, limit: int, *, padded: bool = True) -> tuple[int, int, int, int]:
        """Returns type, begin and end of an element, and where the next one begins."""
        if at + 8 > limit:
            raise ValueError("it is cut short")
        kind, size = self.words.unpack_from(self.content, at)
        if kind >> 16:  # small: size and type share a word, and the content is in the other one
            kind, size, begin, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError(f"an element of {size} bytes claims to be small")
        else:
            begin = at + 8
            following = begin + (size if not padded or kind == _COMPRESSED else -(-size // 8) * 8)
        end = begin + size
        if end > limit:
            raise ValueError(f"an element of {size} bytes reaches beyond its end")
        return kind, begin, end, min(following, limit)

    def header(self, begin: int, end: int) -> _Array:
        """Returns how an array begins; most begin with the same 40 bytes."""
        start = self.content[begin : min(begin + 40, end)]
        if start in self.known:
            known = self.known[start]
            return known._replace(begin=begin + known.begin)
        kind, at, stop, following = self.tag(begin, end)
        if kind != 6 or stop - at != 8:
            raise ValueError("an array lacks its flags")
        (flags, _) = self.words.unpack_from(self.content, at)
        kind, at, stop, following = self.tag(following, end)
        if kind != 5 or (stop - at) % 4 or not 8 <= stop - at <= 4 * 32:
            raise ValueError("an array lacks its sizes")
        shape = struct.unpack_from(f"{self.order}{(stop - at) // 4}i", self.content, at)
        if min(shape) < 0:
            raise ValueError(f"an array has the sizes {shape}")
        kind, at, stop, following = self.tag(following, end)
        if kind not in (1, 2):
            raise ValueError("an array lacks its name")
        name = self.content[at:stop].rstrip(b"\0").decode("ascii", "replace")
        made = _Array(flags & 0xFF, bool(flags & 0x800), shape, name, following)
        if following - begin == 40:
            self.known[start] = made._replace(begin=40)
        return made

    def array(self, begin: int, end: int, depth: int) -> Any:
        """Returns an array of any class; `depth` others are around it."""
        if begin == end:
            return np.zeros((0, 0))  # as an empty field is stored
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        self.take(_ITEM)
        head = self.header(begin, end)
        count = math.prod(head.shape)
        if head.kind in _NUMBERS:
            return self.shaped(self.numbers(head, count, end), head.shape)
        if head.kind == _CHAR:
            return self.text(head, count, end)
        if head.kind == _CELL:
            items = self.items(head.begin, end, count, depth)
            return self.shaped(_objects(items), head.shape)
        if head.kind == _STRUCT:
            return self.structs(head, count, end, depth)
        raise ValueError(f"it holds {_OTHERS.get(head.kind, f'the unknown class {head.kind}')}")

    def numbers(self, head: _Array, count: int, end: int) -> np.ndarray:
        real, at = self.stored(head.begin, count, end)
        dtype = np.dtype(_NUMBERS[head.kind])
        self.take(count * dtype.itemsize)
        if head.complex:
            imaginary, _ = self.stored(at, count, end)
            return real.astype(np.complex128) + 1j * imaginary
        return real.astype(dtype)

    def stored(self, at: int, count: int, end: int) -> tuple[np.ndarray, int]:
        """Returns so many numbers as they are stored, and where the next element begins."""
        kind, begin, stop, following = self.tag(at, end)
        if kind not in _STORED:
            raise ValueError(f"numbers are stored as the unknown type {kind}")
        dtype = np.dtype(self.order + _STORED[kind])
        if stop - begin != count * dtype.itemsize:
            raise ValueError(f"{count} numbers are stored in {stop - begin} bytes")
        return np.frombuffer(self.content, dtype, count, begin), following

    def text(self, head: _Array, count: int, end: int) -> Any:
        """Returns a text, or an array of them where there are several rows."""
        kind, begin, stop, _ = self.tag(head.begin, end)
        if kind in _ENCODINGS:
            encoding = _ENCODINGS[kind] + {16: ""}.get(kind, "-le" if self.order == "<" else "-be")
            text = self.content[begin:stop].decode(encoding)
        else:  # each letter as a number
            codes, _ = self.stored(head.begin, count, end)
            text = "".join(map(chr, codes.tolist()))
        if len(text) != count:
            raise ValueError(f"a text of {count} letters has {len(text)}")
        self.take(4 * count)
        if not count:
            return np.zeros(0, "U1")
        rows = head.shape[0]
        return text if rows == 1 else np.array([text[row::rows] for row in range(rows)])

    def items(self, at: int, end: int, count: int, depth: int) -> list:
        if 8 * count > end - at:
            raise ValueError(f"{count} items are stored in {end - at} bytes")
        found = []
        for _ in range(count):
            kind, begin, stop, at = self.tag(at, end)
            if kind != _MATRIX:
                raise ValueError(f"an item has the type {kind}")
            found.append(self.array(begin, stop, depth + 1))
        return found

    def structs(self, head: _Array, count: int, end: int, depth: int) -> Any:
        kind, begin, stop, at = self.tag(head.begin, end)
        if kind != 5 or stop - begin != 4:
            raise ValueError("a structure lacks the length of its fields' names")
        (length,) = struct.unpack_from(f"{self.order}i", self.content, begin)
        kind, begin, stop, at = self.tag(at, end)
        if kind not in (1, 2) or length < 1 or (stop - begin) % length:
            raise ValueError("a structure lacks the names of its fields")
        names = [
            self.content[i : i + length].split(b"\0")[0].decode("ascii", "replace")
            for i in range(begin, stop, length)
        ]
        if not names and count > 1:
            raise ValueError(f"{count} structures have no fields")
        values = self.items(at, end, count * len(names), depth)
        self.take(count * _ITEM * 3)
        width = len(names)
        made = [
            Struct(dict(zip(names, values[i * width : (i + 1) * width], strict=True)))
            for i in range(count)
        ]
        return self.shaped(_objects(made), head.shape)

    def shaped(self, items: np.ndarray, shape: tuple[int, ...]) -> Any:
        """Returns items in a file's order as an array of a shape."""
        if not self.squeeze:
            return items.reshape(shape, order="F")
        if not items.size:
            return items
        if items.size == 1:
            return items.item()
        return items.reshape([side for side in shape if side != 1], order="F")


def _objects(items: list) -> np.ndarray:
    array = np.empty(len(items), object)
    for i, item in enumerate(items):  # all at once, arrays of one size would be joined
        array[i] = item
    return array


def _check_header(content: bytes) -> None:
    """Raises ValueError for files of other formats."""
    start = content[:512].lstrip()
    if not content:
        raise ValueError("it is empty; copy or download it again")
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[512:520] == b"\x89HDF\r\n\x1a\n":
        raise ValueError("it is of version 7.3, which is HDF5; save it with MATLAB's option '-v7'")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError("it is a pointer of Git LFS and not the file; run `git lfs pull`")
    if start[:1] == b"<":
        raise ValueError("it is a web page, such as that of a failed download; download it again")
    if content[:2] == b"PK" or content[:2] == b"\x1f\x8b":
        raise ValueError("it is an archive; unpack it")
    if content[126:128] not in (b"IM", b"MI") or b"\0" in content[:4]:
        if content[:1] in b"\0\1" and content[1:2] in b"\0\1\2\3":
            raise ValueError("it is of version 4; save it with MATLAB's option '-v7'")
        raise ValueError("it does not begin as one")
