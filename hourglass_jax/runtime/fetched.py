"""Copies of the user's files in a bucket, for what reads files in ways that only a disk allows.

A copy is kept in the cache of the user, and what has not changed since is not copied again.
"""

import logging
import os
import pathlib
import re
import shutil
from typing import Any

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import disk, paths

logger = logging.getLogger(__name__)


def fetched(value: str, where: str, *, beside: bool = False) -> str:
    """Returns the path of a copy.

    Args:
      value: a file, a folder or a pattern in a bucket, or several with commas between; others are
        returned as they are.
      where: field that gave it, for messages.
      beside: of a file, copy the whole folder, since it may name others there.

    Raises:
      UserError: there is nothing of that name, it may not be read, or the disk has too little room.
      RunError: the bucket cannot be reached, or the disk has failed.
    """
    if not paths.is_remote(value):
        return value
    return ",".join(_fetched(part, where, beside) for part in re.split(",(?=gs://)", value))


def _fetched(value: str, where: str, beside: bool) -> str:
    source: Any = paths.path(value, where)
    try:
        fixed = source
        while any(re.search(r"[*?\[]", part) for part in fixed.parts):
            fixed = fixed.parent
        root = fixed.parent if beside and fixed.is_file() else fixed
        if not root.key:
            raise UserError(f"{where}={value}: put the files into a folder of the bucket")
        files = root.tree() or {root: root.stat()}
        home = _home() / source.bucket
        _copy(files, home, home / root.key)
    except FileNotFoundError:
        raise UserError(f"{where}={value}: there is nothing of that name") from None
    except OSError as error:
        raise disk.refusal(error, f"{where}={value}") from None
    return str(home / source.key)


def _copy(files: dict[Any, Any], home: pathlib.Path, root: pathlib.Path) -> None:
    """Copies files that have changed, and removes copies of those that are gone."""
    from hourglass_jax.runtime.bucket_requests import each

    targets = {file: home / file.key for file in files}
    if any(".." in file.parts for file in files):
        raise UserError(f"{next(iter(files))}: there are objects with .. in their names")
    changed = [file for file in files if not _is_same(targets[file], files[file])]
    if changed:
        size = sum(files[file].st_size for file in changed)
        root.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root.parent).free
        text = f"{len(changed)} files, {size / 1e9:.1f} GB, to {root}"
        if size > 0.95 * free:
            raise UserError(
                f"copying {text} needs more than the {free / 1e9:.1f} GB that are left; set "
                f"XDG_CACHE_HOME to a folder with more room"
            )
        logger.info("copying %s", text)

    def copy(file: Any) -> None:
        target = targets[file]
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        file.download(part)
        os.utime(part, ns=(files[file].st_mtime_ns,) * 2)
        part.replace(target)

    each(copy, changed)
    for path in set(root.rglob("*")) - set(targets.values()):
        if path.is_file() and not path.name.startswith("."):
            path.unlink(missing_ok=True)


def _is_same(copy: pathlib.Path, status: Any) -> bool:
    try:
        here = copy.stat()
    except OSError:
        return False
    return (here.st_size, here.st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def _home() -> pathlib.Path:
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home, "hourglass_jax_buckets")
