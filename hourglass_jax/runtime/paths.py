"""Paths that are the user's: folders of a disk, or gs:// of Google Cloud Storage.

    workdir = paths.path("gs://bucket/runs/mpii", "--workdir")
    (workdir / "config.json").write_text(text, "utf-8")

What has the interface of `pathlib` is used in the same way in both places. What only a disk can
give is here; see `mirror.py` for files that grow, and `fetched.py` for whole folders.
"""

import concurrent.futures
import contextlib
import errno
import functools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from hourglass_jax.errors import RunError, UserError

BUCKET = "gs://"


def path(value: str | os.PathLike, where: str = "") -> pathlib.Path:
    """Returns the path of a text.

    Args:
      value: a path, or gs:// with a bucket and a path in it.
      where: flag or field that gave it; if it is given, the bucket is asked for.

    Raises:
      UserError: there is no such bucket, it may not be read, or google-cloud-storage is missing.
      RunError: the bucket cannot be reached.
    """
    if not is_remote(value):
        return pathlib.Path(value)
    from hourglass_jax.runtime import bucket

    found: Any = bucket.BucketPath(os.fspath(value))
    if not found.bucket or os.fspath(value).startswith(f"{BUCKET}/"):
        raise UserError(f"{where or 'the path'}={value} names no bucket")
    if where:
        _check(found.bucket, f"{where}={value}")
    return found


@functools.cache
def _check(bucket: str, where: str) -> None:
    try:
        path(f"{BUCKET}{bucket}").check()  # pyright: ignore[reportAttributeAccessIssue]
    except OSError as error:
        mistake = error.errno in (errno.EACCES, errno.ENOENT)
        raise (UserError if mistake else RunError)(f"{where}: {error.strerror}") from error


def is_remote(value: Any) -> bool:
    """Returns whether a path is in a bucket."""
    return isinstance(value, (str, os.PathLike)) and str(os.fspath(value)).startswith(BUCKET)


def is_file(value: str | os.PathLike) -> bool:
    """Returns whether a file is there; False for names that no disk can have."""
    return path(value).is_file() if is_remote(value) else os.path.isfile(value)


def walk(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, list[str], list[str]]]:
    """Yields folders with the names of folders and files in them, as `os.walk` does."""
    if is_remote(folder):
        yield from folder.walk()  # pyright: ignore[reportAttributeAccessIssue]
    else:
        for place, folders, files in os.walk(folder):
            yield pathlib.Path(place), folders, files


def statuses(folder: pathlib.Path) -> Iterator[os.stat_result]:
    """Yields the status of everything in a folder, and of the folder itself if it has one."""
    if is_remote(folder):
        yield from folder.tree().values()  # pyright: ignore[reportAttributeAccessIssue]
    else:
        yield from (each.stat() for each in (folder, *folder.rglob("*")))


def rmtree(folder: pathlib.Path) -> None:
    """Removes a folder; what cannot be removed stays."""
    if is_remote(folder):
        with contextlib.suppress(OSError):
            folder.rmtree(missing_ok=True)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def local(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the file on a disk: itself, or a copy that exists as long as the context."""
    if not is_remote(file):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:
        copy = pathlib.Path(folder, file.name)
        file.download(copy)  # pyright: ignore[reportAttributeAccessIssue]
        yield copy


@contextlib.contextmanager
def all_local(files: Sequence[pathlib.Path]) -> Iterator[list[pathlib.Path]]:
    """Yields files as `local` does, copied at the same time; those that cannot be, as they are."""
    if not any(map(is_remote, files)):
        yield list(files)
        return
    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:

        def copied(number: int) -> pathlib.Path:
            file: Any = files[number]
            copy = pathlib.Path(folder, str(number), file.name)
            copy.parent.mkdir()
            try:
                file.download(copy)
            except OSError:
                return file
            return copy

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            copies = list(threads.map(copied, range(len(files))))
        yield copies


@contextlib.contextmanager
def written(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a file on a disk to write, which is copied to the bucket at the end."""
    with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:
        copy = pathlib.Path(folder, target.name)
        yield copy
        target.upload(copy)  # pyright: ignore[reportAttributeAccessIssue]
