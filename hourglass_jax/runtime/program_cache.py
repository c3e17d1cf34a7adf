"""The cache of compiled programs: private to its owner, and without damaged entries.

JAX runs what the cache holds, and its entries have no check sums: whoever may write there may run
programs in the user's name, and a flipped bit is a wrong program. Each entry therefore has a digest
beside it. An entry without one is compiled again.
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import stat

import jax
from jax._src import compilation_cache  # it has no public interface for other caches
from jax._src.compilation_cache_interface import CacheInterface
from jax._src.lru_cache import LRUCache

logger = logging.getLogger(__name__)


def verify() -> None:
    """Makes JAX verify the entries of its cache, in whichever folder; call it before compiling."""
    compilation_cache.get_file_cache = _open


def make_private(folder: pathlib.Path) -> None:
    """Makes a folder that nobody else can read, or takes such rights away.

    Raises:
      OSError: the folder cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == _user():
        folder.chmod(0o700)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0  # Windows: folders of users are private


def _open(path: str) -> tuple[CacheInterface, str] | None:
    """Returns the cache in a folder, or None if others may write there."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode, owner = folder.stat().st_mode, folder.stat().st_uid
    except OSError as error:
        logger.warning("compiled programs are not kept in %s: %s", folder, error.strerror)
        return None
    others = mode & (stat.S_IWOTH if owner == _user() else stat.S_IWOTH | stat.S_IWGRP)
    if os.name == "posix" and (others or owner not in (0, _user())):
        logger.warning(
            "compiled programs are not kept in %s, since other users may write there; set "
            "JAX_COMPILATION_CACHE_DIR to a folder that only you may write to",
            folder,
        )
        return None
    return VerifiedCache(folder), path


class VerifiedCache(CacheInterface):
    """JAX's cache, with a digest beside each entry."""

    def __init__(self, folder: pathlib.Path):
        """Opens the cache in a folder; JAX_COMPILATION_CACHE_MAX_SIZE limits its size."""
        limit: int = jax.config.jax_compilation_cache_max_size  # pyright: ignore
        self._cache, self._path = LRUCache(str(folder), max_size=limit), folder

    def get(self, key: str) -> bytes | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns an entry; None if it is not there or is damaged, so that it is made again."""
        value = self._cache.get(key)
        if value is None:
            return None
        with contextlib.suppress(OSError):  # of an earlier version, or its writer was killed
            if self._digest_file(key).read_bytes() == _digest(key, value):
                return value
        with contextlib.suppress(OSError):
            (self._path / f"{key}-cache").unlink(missing_ok=True)
        return None

    def put(self, key: str, value: bytes) -> None:
        """Adds an entry, and then its digest; where that fails, it is compiled again next time."""
        file = self._digest_file(key)
        new = file.with_name(f".{file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full or read-only disk
            self._cache.put(key, value)
            new.write_bytes(_digest(key, value))
            new.replace(file)

    def _digest_file(self, key: str) -> pathlib.Path:
        return self._path / f"{key}-sha256"


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).hexdigest().encode()
