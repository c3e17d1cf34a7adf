"""Results of prediction: predictions.json (COCO's results format) and predictions.csv.

Both are made from the journal, at the end and now and then, and are whole at every instant.
"""

import contextlib
import csv
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.inference.entries import Entries, Format
from hourglass_jax.inference.journal import Entry, Journal, differences
from hourglass_jax.inference.places import Places, as_path
from hourglass_jax.runtime import command_line, disk, lock, paths
from hourglass_jax.tasks.base import Instance

JSON, CSV, JOURNAL = "predictions.json", "predictions.csv", "progress.jsonl"
# Seconds between two times at which the files are written, and as a multiple of what it takes.
_EVERY, _MULTIPLE = 5.0, 50


class Count(NamedTuple):
    """What is in the results of some files.

    Attributes:
      found: number of people or objects.
      files: number of files in which there is at least one.
      seen: number of files that were looked at.
    """

    found: int
    files: int
    seen: int


class Results:
    """The results of one command in its output folder; a context manager.

    Attributes:
      failed: number of files of which something could not be read or written.
    """

    def __init__(
        self,
        output: pathlib.Path,
        command: Mapping[str, Sequence[str]],
        names: Sequence[str],
        *,
        overwrite: bool = False,
    ):
        """Makes results.

        Args:
          output: output folder.
          command: flags that the results depend on: the value of each for people, and a text that
            differs where the results do.
          names: names of the input files, in the order of the results.
          overwrite: whether to replace what is there.
        """
        self.output, self.failed = output, 0
        self._command = {flag: list(texts) for flag, texts in command.items()}
        self._names, self._overwrite = names, overwrite
        self._known, self._stem = 0, ""
        self._error: str | None = None
        self._due = time.monotonic() + _EVERY

    def __enter__(self) -> "Results":
        """Claims the folder, and takes up what is there.

        Raises:
          UserError: the folder cannot be used, another process is at work there, or it holds the
            results of another command.
          RunError: the disk has failed or is full.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock.claim(self.output, "--output"))
            for name in (JSON, CSV, JOURNAL):
                if (self.output / name).is_dir():
                    raise UserError(f"{self.output / name} is a folder; choose another --output")
            try:
                Places(self.output).remove_parts()
                self._journal = Journal(self.output / JOURNAL)
            except OSError as error:
                kind = RunError if paths.is_remote(self.output) else UserError
                reason = f"{error.filename}: {error.strerror}"
                raise kind(f"{reason}; choose another --output") from None
            self._check()
            self._replaced = [entry.stem for entry in self._entries()] if self._overwrite else []
            if self._overwrite:
                self._journal.forget()
            self._claimed = stack.pop_all()
        taken = [(entry.stem, entry.name) for entry in self._entries()]
        self._places = Places(self.output, taken)
        return self

    def __exit__(self, *unused) -> None:
        self._claimed.close()

    def _check(self) -> None:
        header, problem = self._journal.header, None
        if header is not None:
            different = differences(header["command"], self._command)
            if different:
                problem = f"of another command, with {different}"
        elif self._journal.exists:
            problem = f"whose {JOURNAL} cannot be read"
        elif any((self.output / name).exists() for name in (JSON, CSV)):
            problem = f"without {JOURNAL}, which would tell where they come from"
        if problem and not self._overwrite:
            raise UserError(
                f"--output={self.output} holds results {problem}; give --overwrite to replace "
                f"them, or choose another folder"
            )

    def is_done(self, path: pathlib.Path, name: str) -> bool:
        """Returns whether a file is finished, and has not changed since."""
        entry = self._journal.entries.get(name)
        return entry is not None and entry.error is None and entry.stamp == _stamp(path)

    def is_begun(self, name: str) -> bool:
        """Returns whether a stopped command left the file in the middle."""
        entry = self._journal.unfinished
        return entry is not None and entry.name == name

    @contextlib.contextmanager
    def recording(self, form: Format) -> Iterator[None]:
        """Returns a context in which results are added, and whose end writes the files.

        What a former command has found comes first.
        """
        self.form = form
        if self._journal.header is None:
            with disk.errors(self.output):
                for name in (JSON, CSV):
                    (self.output / name).unlink(missing_ok=True)
                for stem in self._replaced:
                    self._places.clear(stem)
            self._journal.start(self._command, form.to_json())
        else:
            self._journal.resume()
        try:
            yield
        finally:
            # A disk that has failed does so here again: one error is enough.
            known = isinstance(sys.exc_info()[1], RunError)
            with contextlib.suppress(RunError) if known else contextlib.nullcontext():
                self._journal.close()
                self.write()

    @contextlib.contextmanager
    def file(
        self, path: pathlib.Path, name: str, copy: pathlib.Path | None = None
    ) -> Iterator[None]:
        """Returns a context for the results of one input file; its errors are named and noted.

        Args:
          path: the input file.
          name: its name in the results.
          copy: the file that is read for it, if that is another one.
        """
        stamp, begun = _stamp(path), self._journal.unfinished
        self._known, self._error = 0, None
        if begun is not None and (begun.name, begun.stamp) == (name, stamp):
            self._known, self._stem = begun.images, begun.stem
        else:
            self._stem = self._places.stem(name)
            self._journal.begin(name, stamp, self._stem)
        try:
            yield
        except (UserError, OSError, cv2.error, MemoryError) as error:
            self._fail(error, path, copy or path)
        self._journal.end(self._error)
        self.failed += self._error is not None

    def _fail(
        self, error: Exception, where: pathlib.Path, copy: pathlib.Path | None = None
    ) -> None:
        text = (isinstance(error, OSError) and error.strerror) or str(error)
        text = " ".join(text.split()) or type(error).__name__
        text = text.replace(str(copy or where), str(where))
        text = text if isinstance(error, UserError) else f"{where}: {text}"
        self._error = self._error or text
        command_line.say(f"error: {text}")

    def known(self) -> Iterator[Entries]:
        """Yields what a stopped command has found in the frames of this file."""
        if self._known:
            assert self._journal.unfinished is not None
            yield from (found for _, found in self._journal.images(self._journal.unfinished))

    def add(self, frame: int | None, found: Sequence[Instance]) -> Entries:
        """Adds what is in an image (frame None) or in a frame of a video, and returns entries."""
        entries = [self.form.entry(one) for one in found]
        if (frame or 0) >= self._known:
            self._journal.add(frame, entries)
        if time.monotonic() >= self._due:
            self.write()
        return entries

    def draw(self, folder: str, suffix: str, write: Callable[[pathlib.Path], object]) -> None:
        """Writes a drawing of the current input file.

        What goes wrong is named and noted, and costs nothing else.

        Args:
          folder: folder for drawings of the kind.
          suffix: suffix of the drawing.
          write: function that writes it to a file.
        """
        part = None
        try:
            part = self._places.part(folder, suffix)
            write(part)
            self._places.put(part, folder, self._stem, suffix)
        except Exception as error:  # encoders raise many kinds
            self._fail(error, self.output / folder / as_path(f"{self._stem}{suffix}"))
        finally:
            if part is not None:
                part.unlink(missing_ok=True)

    def part(self, folder: str, suffix: str) -> pathlib.Path:
        """Returns a new file for what becomes a drawing in the end."""
        return self._places.part(folder, suffix)

    def count(self) -> Count:
        """Returns what is in the results of the input files."""
        names = set(self._names)
        seen = [entry for entry in self._entries() if entry.name in names and entry.images]
        people = [entry.people for entry in seen]
        return Count(sum(people), sum(map(bool, people)), len(seen))

    def _entries(self) -> list[Entry]:
        """Returns what was found: in the order of the input, then of files that are gone."""
        found = dict(self._journal.entries)
        begun = self._journal.unfinished
        if begun is not None:
            found.setdefault(begun.name, begun)
        inputs = [found.pop(name) for name in self._names if name in found]
        return [*inputs, *found.values()]

    def errors(self) -> dict[str, str]:
        """Returns what went wrong, by the names of files."""
        return {entry.name: entry.error for entry in self._entries() if entry.error is not None}

    @property
    def written(self) -> Format:
        """How everything that was found is written, also by a former command."""
        assert self._journal.header is not None
        return Format.from_json(self._journal.header)

    def found(self) -> Iterator[tuple[str, Iterator[tuple[int | None, Entries]]]]:
        """Yields the name of each file, with what is in its image (frame None) or frames."""
        for entry in self._entries():
            yield entry.name, self._followed(entry)

    def _followed(self, entry: Entry) -> Iterator[tuple[int | None, Entries]]:
        follow = self.written.following()
        for frame, raw in self._journal.images(entry):
            yield frame, follow(frame, raw)

    def write(self) -> None:
        """Writes predictions.json and predictions.csv with all that was found until now."""
        begin = time.monotonic()
        form, separator = self.written, ""
        with (
            disk.errors(self.output),
            disk.replacing(self.output / JSON) as json_path,
            disk.replacing(self.output / CSV) as csv_path,
            json_path.open("x", encoding="utf-8") as objects,
            csv_path.open("x", encoding="utf-8", newline="") as table,
        ):
            rows = csv.writer(table)
            rows.writerow(form.columns)
            objects.write("[")
            for file, frames in self.found():
                for frame, found in frames:
                    name = file if frame is None else f"{file}#{frame}"
                    for one in found:
                        whole = {"image_id": name, **one}
                        objects.write(f"{separator}\n{json.dumps(whole)}")
                        separator = ","
                    rows.writerows(form.rows(name, found))
            objects.write("\n]\n")
        now = time.monotonic()
        self._due = now + max(_EVERY, _MULTIPLE * (now - begin))


def _stamp(path: pathlib.Path) -> list[int] | None:
    """Returns size and time of change of a file; None if it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
