"""Errors of disks that are full, read-only or gone, as one sentence."""

import contextlib
import errno
import pathlib

from hourglass_jax.errors import RunError

# What a disk that has failed answers; other errors come from a wrong path or from lacking rights.
FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)


@contextlib.contextmanager
def errors(workdir: pathlib.Path):
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
