"""A folder is written by one process at a time.

The claim is a lock on the file `.lock` in the folder. The system releases it when the owner ends,
however it ends, so that the claim of a dead process never blocks; NFS releases it across hosts. In
a bucket it is a lease; see `lease.py`.
"""

import contextlib
import errno
import logging
import os
import pathlib
import socket
import sys
from collections.abc import Iterator

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import disk, lease, paths

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)
_WAITING = "%s: waiting for %s, which is at work there"
_held: set[int] = set()  # descriptors of the files that this process has locked


@contextlib.contextmanager
def claim(folder: pathlib.Path, flag: str, *, wait: bool = False) -> Iterator[None]:
    """Makes a folder if it does not exist, and keeps other processes out of it.

    On a file system without locks it only warns: refusing would leave no way to work there.

    Args:
      folder: the folder.
      flag: flag that gave it, such as "--workdir", for messages.
      wait: wait until another process is done, instead of refusing.

    Raises:
      UserError: another process is at work in the folder, or it cannot be written to.
      RunError: the disk has failed or is full.
    """
    path = folder / ".lock"
    if paths.is_remote(folder):
        with _leased(path, f"{flag}={folder}", wait):
            yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, f"{flag}={folder}", wait)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    except OSError as error:
        raise disk.refusal(error, f"{flag}={folder}") from None
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            with contextlib.suppress(OSError):
                path.unlink()  # while it is still locked
            _held.discard(descriptor)
            os.close(descriptor)


@contextlib.contextmanager
def _leased(path: pathlib.Path, where: str, wait: bool) -> Iterator[None]:
    said = False

    def refuse(owner: str) -> None:
        nonlocal said
        if not wait:
            raise _taken(where, owner)
        if not said:
            logger.info(_WAITING, where, owner)
        said = True

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lease.held(path, refuse))
        except OSError as error:
            raise disk.refusal(error, where) from None
        yield


def _taken(where: str, owner: str) -> UserError:
    return UserError(
        f"{where}: {owner} is at work there; wait until it ends, or choose another folder"
    )


def _locked(path: pathlib.Path, where: str, wait: bool) -> int:
    """Returns a descriptor of the locked file."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o666)
        try:
            if sys.platform != "win32":
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner before may have deleted the file since it was opened.
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                owner = os.read(descriptor, 300).decode(errors="replace") or "another process"
                if wait:
                    logger.info(_WAITING, where, owner)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.close(descriptor)
                if wait:
                    continue
                raise _taken(where, owner) from None
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                os.close(descriptor)
                raise
            logger.warning("%s has no locks: start only one process there at a time", path.parent)
            return descriptor
        os.close(descriptor)


def _release_in_child() -> None:
    # Descriptors are shared with forked processes, which would keep the lock of a dead parent.
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
