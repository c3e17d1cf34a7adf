"""A claim on a folder in a bucket, where there are no locks.

The claim is an object that its owner writes again and again. An owner that was killed does so no
longer: after `_EXPIRES` seconds without a change another process takes the claim over. Conditions
on the object's version, which the bucket checks, decide between processes that try at once.
"""

import contextlib
import json
import logging
import os
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

logger = logging.getLogger(__name__)
_EVERY = 10.0  # s between two signs of life
_EXPIRES, _LOOK = 60.0, 0.5  # s without one, and between two looks


@contextlib.contextmanager
def held(path: pathlib.Path, refuse: Callable[[str], None]) -> Iterator[None]:
    """Holds the claim.

    Args:
      path: the object.
      refuse: called with the owner's name if another process holds the claim and is alive; raises,
        or returns to wait.

    Raises:
      OSError: the bucket cannot be written to.
    """
    lease: Any = path
    version = _take(lease, refuse)
    ended, kept = threading.Event(), [version]
    renewing = threading.Thread(target=_renew, args=(lease, kept, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with contextlib.suppress(OSError):
            lease.unlink(missing_ok=True, version=kept[0])


def _take(lease: Any, refuse: Callable[[str], None]) -> int:
    """Takes the claim, and returns its version."""
    seen, since = 0, 0.0
    while True:
        try:
            return lease.swap(_content(), 0)
        except FileExistsError:
            pass
        try:
            version, owner = lease.stat().generation, _parsed(lease.read_bytes())
        except FileNotFoundError:  # just released
            continue
        now = time.monotonic()
        if _is_gone(owner) or (version == seen and now - since > _EXPIRES):
            with contextlib.suppress(FileExistsError):  # somebody else was faster
                return lease.swap(_content(), version)
        elif seen == 0:
            logger.info("looking for %.0f s whether %s is still at work", _EXPIRES, _name(owner))
        elif version != seen:
            refuse(_name(owner))
        if version != seen:
            seen, since = version, now
        time.sleep(_LOOK)


def _renew(lease: Any, kept: list[int], ended: threading.Event) -> None:
    while not ended.wait(_EVERY):
        try:
            kept[0] = lease.swap(_content(), kept[0])
        except FileExistsError:
            print(
                f"error: another process has taken over {lease.parent}, since this one could not "
                f"reach the bucket for {_EXPIRES:.0f} s; it ends here",
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)  # whatever it wrote from now on would spoil what the other one writes
        except OSError as error:
            logger.warning("%s: %s", lease, error.strerror)


def _content() -> bytes:
    """Returns what tells the owner; it differs every time."""
    owner = {"process": os.getpid(), "host": socket.gethostname(), "boot": _boot()}
    return json.dumps({**owner, "time": time.time_ns()}).encode()


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError):
        return {}


def _name(owner: dict[str, Any]) -> str:
    return (
        f"process {owner['process']} on {owner['host']}" if "host" in owner else "another process"
    )


def _boot() -> str:
    """Returns what differs where numbers of processes mean others; "" if that is not known.

    Machines may have the same name, start again, and have containers with numbers of their own.
    """
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _is_gone(owner: dict[str, Any]) -> bool:
    """Returns whether the owner was a process of this machine that has ended."""
    here = {"host": socket.gethostname(), "boot": _boot()}
    if not here["boot"] or {name: owner.get(name) for name in here} != here:
        return False
    try:
        os.kill(int(owner["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, ValueError):
        return False
    return False
