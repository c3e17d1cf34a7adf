"""Where drawings of results go: inside the output folder, each input file's apart from others'."""

import contextlib
import errno
import itertools
import os
import pathlib
import tempfile
import unicodedata
import zlib
from collections.abc import Iterable
from typing import Any

from hourglass_jax.runtime import paths

FOLDERS = ("overlays", "heatmaps")
# Prefix of files that are not whole yet.
_PART = ".hourglass-part-"
# Endings of drawings, which folders of input files must not have.
_ENDINGS = (".jpg", ".png", ".webm", ".npz")
# Bytes of a name; most file systems allow 255.
_LONGEST = 200


class Places:
    """The places of drawings in an output folder, which no other process writes to."""

    def __init__(self, output: pathlib.Path, taken: Iterable[tuple[str, str]] = ()):
        """Makes places.

        Args:
          output: output folder.
          taken: stems that are taken, and the names of the files that they belong to.
        """
        self._output = output
        self._stems = {name: stem for stem, name in taken}
        self._taken = {_folded(stem) for stem in self._stems.values()}
        self._numbers = itertools.count()
        self._parts: tempfile.TemporaryDirectory | None = None

    def stem(self, name: str) -> str:
        """Returns the path of an input file's drawings, without folder and suffix.

        It is the name without its suffix, or with it where another file has that stem already.

        Args:
          name: name of the file in the results, relative to the input.
        """
        if name not in self._stems:
            *folders, last = [_harmless(part) for part in pathlib.PurePath(name).parts]
            folders = [f"{part}_" if part.lower().endswith(_ENDINGS) else part for part in folders]
            numbered = (f"{last}-{i}" for i in itertools.count(2))
            forms = itertools.chain([pathlib.PurePath(last).stem, last], numbered)
            stems = ("/".join([*folders, form]) for form in forms)
            free = next(stem for stem in stems if _folded(stem) not in self._taken)
            self._taken.add(_folded(free))
            self._stems[name] = free
        return self._stems[name]

    def part(self, folder: str, suffix: str) -> pathlib.Path:
        """Returns a new file for what is not whole yet, on the same disk as the places.

        For places in a bucket, it is on a disk as well.
        """
        if paths.is_remote(self._output):
            self._parts = self._parts or tempfile.TemporaryDirectory(prefix="hourglass-")
            return pathlib.Path(self._parts.name, f"{next(self._numbers)}{suffix}")
        parent = self._output / folder
        _make(parent)
        path = parent / f"{_PART}{next(self._numbers)}{suffix}"
        path.open("xb").close()
        return path

    def put(self, part: pathlib.Path, folder: str, stem: str, suffix: str) -> None:
        """Moves a file that is whole to its place."""
        target: Any = self._output / folder / as_path(f"{stem}{suffix}")
        if paths.is_remote(target):
            target.upload(part)
            return
        for parent in reversed(target.relative_to(self._output).parents[:-1]):
            _make(self._output / parent)
        part.replace(target)  # and not what a link of that name leads to

    def clear(self, stem: str) -> None:
        """Deletes drawings."""
        for folder, ending in itertools.product(FOLDERS, _ENDINGS):
            target = self._output / folder / as_path(f"{stem}{ending}")
            parents = target.relative_to(self._output).parents[:-1]
            if not any((self._output / parent).is_symlink() for parent in parents):
                with contextlib.suppress(OSError):  # a folder of that name
                    target.unlink()

    def remove_parts(self) -> None:
        """Deletes what a process that was killed has left."""
        if paths.is_remote(self._output):
            return
        for folder in (self._output / name for name in FOLDERS):
            if not folder.is_symlink():
                for part in folder.glob(f"{_PART}*"):
                    part.unlink()


def as_text(path: str) -> str:
    """Returns a file's name as it is in UTF-8, whatever the system's encoding.

    Bytes that are not UTF-8 are lone surrogates, as in Python's names of files.
    """
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def as_path(text: str) -> str:
    """Returns the name of a file in the system's encoding; the inverse of `as_text`."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _make(folder: pathlib.Path) -> None:
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "is a link, and nothing is written through it", str(folder))
    folder.mkdir(exist_ok=True)


def _harmless(part: str) -> str:
    """Returns a part of a path that stays inside its folder on every system."""
    if part in (".", "..") or pathlib.PurePath(part).is_absolute():
        return "_"
    part = part.replace("\\", "_")
    content = part.encode("utf-8", "surrogateescape")
    if len(content) <= _LONGEST:
        return part
    checksum = zlib.crc32(content)
    return f"{part[: _LONGEST // 8]}-{checksum:08x}{pathlib.PurePath(part).suffix[:9]}"


def _folded(stem: str) -> str:
    """Returns what is equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", stem).casefold()
