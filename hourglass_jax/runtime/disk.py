"""Disks that are full, read-only or gone: errors in one sentence, and files that are complete."""

import contextlib
import errno
import os
import pathlib
import tempfile
from collections.abc import Iterator

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import paths

# What a disk that has failed answers; other errors come from a wrong path or from lacking rights.
FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)


@contextlib.contextmanager
def errors(workdir: pathlib.Path) -> Iterator[None]:
    """Turns errors of files into a RunError that says how to go on.

    Args:
      workdir: workdir of the run, for messages.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or workdir
        raise RunError(
            f"{where}: {error.strerror or error}; after making space or granting access, run the "
            f"same command to continue from what is in {workdir}"
        ) from error


def refusal(error: OSError, where: str) -> UserError | RunError:
    """Returns the error for a folder or file that cannot be made.

    Args:
      error: what went wrong.
      where: flag and path, such as "--output=poses".
    """
    reason = error.strerror or str(error)
    if error.errno in FAILED:
        return RunError(
            f"{where}: {reason}; run the same command again when the disk can be written to, or "
            f"choose another folder"
        )
    return UserError(f"{where}: {reason}; choose another folder")


def check_utf8(path: str | pathlib.Path, where: str) -> None:
    """Raises UserError if an absolute path is not UTF-8: TensorFlow and others do not take it."""
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{where}: the path is not UTF-8, as TensorFlow and others need; rename its folders, "
            f"or choose another"
        ) from None


def make_folder(folder: pathlib.Path, where: str) -> None:
    """Makes a folder, if it does not exist, and makes sure that files can be written to it.

    Args:
      folder: the folder.
      where: flag and path, for messages.

    Raises:
      UserError: it cannot be written to, or its path is not UTF-8.
      RunError: the disk has failed.
    """
    check_utf8(folder, where)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except OSError as error:
        raise refusal(error, where) from None


def check_writable(folder: pathlib.Path) -> None:
    """Raises OSError if nothing can be written to a folder."""
    if paths.is_remote(folder):
        folder.mkdir(exist_ok=True)
    else:
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a file to write, which takes the place of `path` when it is complete.

    The file is on a disk, also for a path in a bucket.
    """
    if paths.is_remote(path):
        with paths.written(path) as copy:
            yield copy
        return
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)  # it may be a link
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # a power cut leaves the one or the other
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it leaves no room for the next attempt
            unfinished.unlink()
