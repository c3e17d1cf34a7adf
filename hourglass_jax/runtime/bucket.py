"""Paths in buckets of Google Cloud Storage, with the interface of `pathlib`.

`paths.path` makes them of texts such as gs://bucket/runs/mpii. The class is registered with etils,
so that Orbax and TFDS use it as well: errors and retries are the same everywhere. A bucket has
objects, whose names may have slashes, and no folders: an empty object whose name ends in a slash
stands for a folder, as everywhere else, and every prefix of a name counts as one.

Every fault is an OSError; see `bucket_requests`.
"""

import collections
import contextlib
import errno
import fnmatch
import io
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from etils import epath
from etils.epath import gpath

from hourglass_jax.runtime.bucket_files import Text, Written
from hourglass_jax.runtime.bucket_requests import client, each, errors, request

# Files that make a folder valid: copied last and deleted first, since each file takes a request.
_LAST = ("SHA256SUMS", "dataset_info.json")


class Status:
    """What `stat` returns: the fields of `os.stat` and those of etils.

    Attributes:
      is_directory: whether the path is a folder.
      length: bytes.
      mtime_ns: time of the last change, ns.
      generation: number of the version; 0 for a folder.
    """

    def __init__(self, *, is_directory=False, length=0, mtime_ns=0, generation=0):
        self.is_directory, self.length, self.generation = is_directory, length, generation
        self.st_size, self.st_mtime_ns = length, mtime_ns
        self.st_mtime, self.mtime = mtime_ns / 1e9, mtime_ns // 10**9
        self.owner = self.group = self.mode = None


@epath.register_path_cls("gs://")
class BucketPath(gpath.PosixGPath):
    """A path in a bucket."""

    known: "Status | None" = None  # what a listing has told

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.parts[2] if len(self.parts) > 2 else ""

    @property
    def key(self) -> str:
        """Name of the object; "" for the bucket itself."""
        return "/".join(self.parts[3:])

    @property
    def _prefix(self) -> str:
        """What the names of objects in this folder begin with."""
        return f"{self.key}/" if self.key else ""

    def _blob(self, key: str | None = None) -> Any:
        return client().bucket(self.bucket).blob(self.key if key is None else key)

    def _do(self, function: Callable[..., Any], *arguments, **options) -> Any:
        return request(self, function, *arguments, **options)

    def _blobs(self, prefix: str, **options) -> Iterator[Any]:
        fields = "items(name,size,updated,generation),prefixes,nextPageToken"
        with errors(self):  # pages are read on the way
            yield from self._do(
                client().list_blobs, self.bucket, prefix=prefix, fields=fields, **options
            )

    def check(self) -> None:
        """Raises OSError if the bucket does not exist or must not be read."""
        any(self._blobs("", max_results=1))

    # What is there.

    def stat(self, *, follow_symlinks: bool = True) -> Any:  # a `Status`
        if self.known is not None:
            return self.known
        blob = self._blob() if self.key else None
        if blob is not None:
            with contextlib.suppress(FileNotFoundError):
                self._do(blob.reload)
                return _status(blob)
        if not self.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return Status(is_directory=True)

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        return bool(self.key) and self._do(self._blob().exists)

    def is_dir(self) -> bool:
        return not self.key or any(True for _ in self._blobs(self._prefix, max_results=1))

    def is_symlink(self) -> bool:
        return False

    def iterdir(self) -> Iterator["BucketPath"]:
        return iter([self / name for name in self._names()])

    def _names(self) -> list[str]:
        listing = self._blobs_and_prefixes()
        names = {name.removeprefix(self._prefix).strip("/") for name in listing}
        if not listing and self.key:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return sorted(names - {""})

    def _blobs_and_prefixes(self) -> list[str]:
        with errors(self):
            found = self._do(client().list_blobs, self.bucket, prefix=self._prefix, delimiter="/")
            names = [blob.name for blob in found]
            return [*names, *found.prefixes]

    def tree(self) -> dict["BucketPath", Status]:
        """Returns every file below this folder, with few requests; `stat` of them makes none."""
        found = {}
        for blob in self._blobs(self._prefix):
            if not blob.name.endswith("/"):
                path = self._new(f"gs://{self.bucket}/{blob.name}")
                found[path] = path.known = _status(blob)
        return found

    def glob(self, pattern: str) -> Iterator["BucketPath"]:
        return iter(sorted(self._matches(pathlib.PurePosixPath(pattern).parts)))

    def rglob(self, pattern: str) -> Iterator["BucketPath"]:
        return self.glob(f"**/{pattern}")

    def _matches(self, parts: tuple[str, ...]) -> set["BucketPath"]:
        if not parts:
            return {self}
        if parts[0] == "**":
            files = [path.relative_to(self) for path in self.tree()]
            inside = {p for file in files for p in (file, *file.parents)} - {pathlib.PurePath(".")}
            last = "/".join(parts[1:]) or "*"
            return {self / path for path in inside if str(path) != "." and path.match(last)}
        if not re.search(r"[*?\[]", parts[0]):
            inner = self / parts[0]
            return inner._matches(parts[1:]) if parts[1:] or inner.exists() else set()
        try:
            names = self._names()
        except FileNotFoundError:
            return set()
        inner = (self / name for name in fnmatch.filter(names, parts[0]))
        return set(itertools.chain.from_iterable(path._matches(parts[1:]) for path in inner))

    def walk(self, *, top_down: bool = True, on_error=None):
        """Yields folders with the names in them, those above first."""
        folders = collections.defaultdict(lambda: (set(), set()))
        for file in self.tree():
            folders[file.parent][1].add(file.name)
            for folder in itertools.takewhile(lambda folder: folder != self, file.parents):
                folders[folder.parent][0].add(folder.name)
        pending = [self]
        while pending:
            folder = pending.pop()
            inner, files = (sorted(names) for names in folders[folder])
            yield folder, inner, files
            pending += [folder / name for name in reversed(inner)]  # those that the caller left

    def absolute(self) -> "BucketPath":
        return self

    def resolve(self, strict: bool = False) -> "BucketPath":
        return self

    # Content.

    def open(self, mode: str = "r", buffering=-1, encoding=None, errors=None, newline=None) -> Any:  # pyright: ignore
        """Opens a file; what is written becomes the file, as a whole, when it is closed."""
        kind = mode.replace("b", "").replace("t", "")
        if kind == "r":
            file: IO = io.BytesIO(self._do(self._blob().download_as_bytes))
        elif kind in ("w", "x"):
            file = Written(self, new=kind == "x")
        else:
            raise ValueError(f"mode={mode!r}: nothing can be appended to an object")
        return file if "b" in mode else Text(file, encoding or "utf-8", errors, newline)

    def write_bytes(self, data) -> int:
        self._do(self._blob().upload_from_string, bytes(data))
        return len(data)

    def swap(self, content: bytes, version: int) -> int:
        """Writes the file if it has a version, or does not exist for 0; returns the new version.

        Raises:
          FileExistsError: it has another version.
        """
        blob = self._blob()
        try:
            self._do(blob.upload_from_string, content, if_generation_match=version)
        except FileExistsError:
            # The answer to an attempt that succeeded may have been lost.
            mine = False
            with contextlib.suppress(FileNotFoundError):
                self._do(blob.reload)
                mine = self.read_bytes() == content
            if not mine:
                raise
        return int(blob.generation)

    def write_text(self, data, encoding=None, errors=None, newline=None) -> int:
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def read_text(self, encoding=None, errors=None) -> str:
        with self.open("r", encoding=encoding, errors=errors) as file:
            return file.read()

    def download(self, target: pathlib.Path) -> None:
        """Copies the file to a disk."""
        self._do(self._blob().download_to_filename, str(target))

    def upload(self, source: pathlib.Path) -> None:
        """Writes the file with the content of one on a disk."""
        self._do(self._blob().upload_from_filename, str(source))

    # Changes.

    def mkdir(self, mode: int | None = None, parents: bool = False, exist_ok: bool = False) -> None:
        if not self.key:
            return
        if not exist_ok and self.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self))
        self._do(self._blob(self._prefix).upload_from_string, b"")

    def unlink(self, missing_ok: bool = False, *, version: int | None = None) -> None:
        """Deletes the file; with a version, only if it has that one."""
        try:
            self._do(self._blob().delete, if_generation_match=version)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        if self._names():
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(self))
        self.rmtree()

    def rmtree(self, missing_ok: bool = False) -> None:
        keys = [blob.name for blob in self._blobs(self._prefix)]
        if not keys and not missing_ok:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        last = [key for key in keys if key.endswith(_LAST)]
        each(self._delete, last)
        each(self._delete, (key for key in keys if key not in last))

    def _delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # another attempt has done it
            self._do(self._blob(key).delete)

    def replace(self, target) -> Any:
        """Moves a file or a folder; a folder file by file, `SHA256SUMS` at the end."""
        target = self._new(target)
        if self.key and self._do(self._blob().exists):
            self._copy_object(target, self.key, target.key)
            self.unlink(missing_ok=True)
            return target
        keys = [blob.name for blob in self._blobs(self._prefix)]
        if not keys:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))

        def copy(key: str) -> None:
            self._copy_object(target, key, target._prefix + key.removeprefix(self._prefix))

        last = [key for key in keys if key.endswith(_LAST)]
        each(copy, (key for key in keys if key not in last))
        each(copy, last)
        self.rmtree(missing_ok=True)
        return target

    rename = replace

    def _copy_object(self, target: "BucketPath", key: str, new: str) -> None:
        source, token = self._blob(key), None
        while True:  # large ones take several requests
            token, _, _ = self._do(target._blob(new).rewrite, source, token=token)
            if token is None:
                break


def _status(blob: Any) -> Status:
    changed = int(blob.updated.timestamp() * 1e6) * 1000
    return Status(length=blob.size, mtime_ns=changed, generation=int(blob.generation))
