"""The journal of a prediction, from which a stopped command goes on: `progress.jsonl`.

Every line is a JSON object. The first one names the command, the joints and the categories. A line
with "file" begins an input file, lines with "people" (or objects) are its image or its frames, and
a line with "end" ends it; "error" there is null, or what went wrong. "crc32" is the checksum of the
line before it: a damaged line only costs the file that it belongs to.
"""

import dataclasses
import json
import os
import pathlib
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from hourglass_jax.errors import RunError
from hourglass_jax.runtime import disk, mirror

FORMAT = 1
_SUM = b', "crc32": '
# Seconds between two times at which lines are forced to the disk, where they survive a power cut.
_EVERY = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """An input file in the journal.

    Attributes:
      name: name of the file in the results.
      stamp: size and time of change of the file, by which a changed one is recognised.
      stem: path of its drawings without folder and suffix.
      begin: position of its first line.
      images: number of images or frames that were looked at.
      people: number of people in them.
      error: what went wrong, or None.
    """

    name: str
    stamp: list[int] | None
    stem: str
    begin: int
    images: int = 0
    people: int = 0
    error: str | None = None


class Journal:
    """The lines of one output folder.

    Attributes:
      header: the first line; None where there is no journal, or it cannot be read.
      entries: the last ended entry of each file.
      unfinished: the entry that a stopped command left, which may go on.
    """

    def __init__(self, path: pathlib.Path):
        self._mirror = mirror.Mirror(path.parent, path.name)
        self._folder, self.path = path.parent, self._mirror.local / path.name
        self.header: dict[str, Any] | None = None
        self.entries: dict[str, Entry] = {}
        self.unfinished: Entry | None = None
        self._descriptor = -1
        self._end = 0  # after the last whole line
        self._due = 0.0
        try:
            with os.fdopen(_open(self.path, os.O_RDONLY), "rb") as file:
                self._read(file)
        except FileNotFoundError:
            pass

    @property
    def exists(self) -> bool:
        """Whether there is at least a line, readable or not."""
        return self._end > 0

    def _read(self, file: BinaryIO) -> None:
        for begin, line in _lines(file):
            self._end = begin + len(line)
            content = _parse(line)
            if begin == 0:
                self.header = content if content and content.get("format") == FORMAT else None
            elif content is None:
                self.unfinished = None
            else:
                self._note(content, begin)

    def _note(self, content: dict[str, Any], begin: int) -> None:
        """Takes up a line."""
        if "file" in content:
            self.unfinished = Entry(content["file"], content["stamp"], content["stem"], begin)
        elif self.unfinished is None:
            pass  # its beginning is damaged
        elif "people" in content:
            images, people = self.unfinished.images + 1, self.unfinished.people
            people += len(content["people"])
            self.unfinished = dataclasses.replace(self.unfinished, images=images, people=people)
        elif content["images"] == self.unfinished.images:
            ended = dataclasses.replace(self.unfinished, error=content["error"])
            self.entries[ended.name], self.unfinished = ended, None
        else:  # a line in between is damaged
            self.unfinished = None

    def images(self, entry: Entry) -> Iterator[tuple[int | None, list[dict[str, Any]]]]:
        """Yields the frame (None for an image) and the people of each image of an entry."""
        with os.fdopen(_open(self.path, os.O_RDONLY), "rb") as file:
            file.seek(entry.begin)
            file.readline()
            for _ in range(entry.images):
                content = _parse(file.readline())
                if content is None:  # it was whole when the journal was read
                    raise RunError(f"{self.path} was changed while it was read")
                yield content["frame"], content["people"]

    def forget(self) -> None:
        """Forgets what is there; `start` replaces it."""
        self.header, self.entries, self.unfinished, self._end = None, {}, None, 0

    def start(self, command: dict[str, Any], form: Mapping[str, Any]) -> None:
        """Begins with nothing found, in the form of `entries.Format.to_json`."""
        self.forget()
        self._append()
        self.header = {"format": FORMAT, "command": command, **form}
        self._write(self.header)

    def resume(self) -> None:
        """Goes on after the last whole line."""
        self._append()

    def _append(self) -> None:
        with disk.errors(self._folder):
            self._descriptor = _open(self.path, os.O_WRONLY | os.O_CREAT)
            os.ftruncate(self._descriptor, self._end)
            os.lseek(self._descriptor, self._end, os.SEEK_SET)

    def begin(self, name: str, stamp: list[int] | None, stem: str) -> None:
        """Begins a file; see `Entry`."""
        self._write({"file": name, "stamp": stamp, "stem": stem})

    def add(self, frame: int | None, people: list[dict[str, Any]]) -> None:
        """Adds the people of one image."""
        self._write({"frame": frame, "people": people})

    def end(self, error: str | None) -> None:
        """Ends the file."""
        assert self.unfinished is not None
        end = {"end": self.unfinished.name, "images": self.unfinished.images, "error": error}
        self._write(end)

    def _write(self, content: dict[str, Any]) -> None:
        line = json.dumps(content).encode()[:-1]
        line += _SUM + f"{zlib.crc32(line)}}}\n".encode()
        with disk.errors(self._folder):
            rest = line
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            now = time.monotonic()
            if now >= self._due:
                os.fsync(self._descriptor)
                took = time.monotonic() - now
                self._due = now + max(_EVERY, 20 * took)  # a slow disk costs little
                self._mirror.publish()
        if self._end > 0:
            self._note(content, self._end)
        self._end += len(line)

    def close(self) -> None:
        """Forces the last lines to the disk."""
        if self._descriptor >= 0:
            with disk.errors(self._folder):
                descriptor, self._descriptor = self._descriptor, -1
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._mirror.publish(now=True)


def differences(there: Mapping[str, Sequence[str]], here: Mapping[str, Sequence[str]]) -> str:
    """Returns the flags of another command that differ, or ""."""
    texts, none = [], ["None"] * 2  # flags that are not given, or are newer than the results
    for flag in {**there, **here}:
        (shown, identity), now = there.get(flag, none), here.get(flag, none)
        if identity != now[1]:
            same = shown == now[0]
            text = f"no --{flag}" if shown == "None" else f"--{flag}={shown}"
            texts.append(f"{text}{' as it was then' if same else ''}")
    return ", ".join(texts)


def _open(path: pathlib.Path, flags: int) -> int:
    """Opens a file, unless its name is a link out of the folder."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields position and content of the lines; one that was cut off is left out."""
    begin = 0
    for line in file:
        if line.endswith(b"\n"):
            yield begin, line
        begin += len(line)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Returns the content of a line; None if it is damaged."""
    body, _, checksum = line.rpartition(_SUM)
    if checksum != f"{zlib.crc32(body)}}}\n".encode() or not body:
        return None
    return json.loads(body + b"}")
