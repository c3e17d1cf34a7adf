"""Checks that a checkpoint is what was written, before it is used."""

import errno
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import digests, distributed, paths

Content = TypeVar("Content")
_LARGEST_METADATA = 2**24  # bytes; a config and a thousand names take 100 kB
# What TensorStore raises if a bucket answers with an error, or not at all.
_UNREACHED = re.compile("UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAUTHENTICATED|ABORTED")
# Arrays are compressed, but trained weights hardly get smaller.
_LARGEST_RATIO, _SMALL = 100, 2**26


class DamagedError(UserError):
    """A checkpoint cannot be read."""


def damaged(folder: pathlib.Path, error: Exception | None) -> DamagedError:
    """Returns the error for a checkpoint that could not be read, here or by another process."""
    reason = "by another process"
    if isinstance(error, UserError):
        reason = str(error)
    elif error is not None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return DamagedError(
        f"the checkpoint {folder} cannot be read ({reason}); copy it again, or move the folder "
        f"away to use the one before it, if there is any"
    )


def check_reached(folder: pathlib.Path, error: Exception) -> None:
    """Raises RunError if a checkpoint in a bucket was not reached, which does not damage it."""
    known = isinstance(error, OSError) and error.errno in (errno.EIO, errno.EACCES)
    if paths.is_remote(folder) and (known or _UNREACHED.search(str(error))):
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise RunError(
            f"the checkpoint {folder} cannot be read now ({reason[:300]}); run the same command "
            f"when the bucket can be reached"
        ) from error


def reading(folder: pathlib.Path, read: Callable[[pathlib.Path], Content]) -> Content:
    """Returns what `read` makes of the folder of a step; all processes call it together.

    Raises:
      DamagedError: it cannot be read, here or by another process.
      RunError: it cannot be read now.
    """
    content = failure = None
    try:
        content = read(folder)
    except (PermissionError, MemoryError) as error:
        raise RunError(f"the checkpoint {folder} cannot be read ({error})") from error
    except Exception as error:  # Orbax, TensorStore and JSON raise various errors
        if "RESOURCE_EXHAUSTED" in str(error):
            raise
        check_reached(folder, error)
        failure = error
    # If one process cannot read it, all of them must treat it as damaged.
    if not distributed.gather(np.array(failure is None)).all():
        raise damaged(folder, failure) from failure
    return content  # pyright: ignore[reportReturnType]  # no failure, hence a content


def metadata(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the content of a step's metadata, as it was written.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged.
    """
    check_digests(folder, "metadata")
    content = _json(folder)
    content.pop("digests", None)  # of this file's business alone
    return content


def check_digests(folder: pathlib.Path, part: str = "") -> bool:
    """Compares the files of a checkpoint with its digests.

    Args:
      folder: folder of one step.
      part: a file or folder in it; only this part is compared.

    Returns:
      Whether there are digests; earlier versions wrote none.

    Raises:
      OSError: a file cannot be read.
      UserError: names a file that is damaged.
    """
    if (folder / digests.NAME).exists():
        inside = f"{part}/"
        wrong = digests.damage(
            folder, (lambda name: name == part or name.startswith(inside)) if part else None
        )
    elif "digests" not in _json(folder):
        return False
    else:
        wrong = f"the file {digests.NAME} is missing"
    if wrong:
        raise UserError(wrong)
    return True


def _json(folder: pathlib.Path) -> dict[str, Any]:
    with (folder / "metadata" / "metadata").open("rb") as file:
        text = file.read(_LARGEST_METADATA + 1)
    if len(text) > _LARGEST_METADATA:
        raise UserError("the file metadata/metadata is too large")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the file metadata/metadata is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError("the file metadata/metadata does not hold fields by name")
    return content


def check_size(folder: pathlib.Path, like: Any) -> None:
    """Raises UserError if the arrays of `like` cannot come from the files, before they are made."""
    claimed = sum(np.dtype(x.dtype).itemsize * x.size for x in jax.tree.leaves(like))
    stored = sum(path.stat().st_size for path in digests.files_in(folder))
    if claimed > max(_LARGEST_RATIO * stored, _SMALL):
        raise UserError(
            f"by its metadata it holds {claimed:.3g} bytes, and its files have {stored:,}"
        )


def check_arrays(state: Any) -> None:
    """Raises UserError for arrays that are missing, and weights that are not finite numbers.

    The optimizer's numbers are left to the training loop.
    """
    for path, array in jax.tree.leaves_with_path(state):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not isinstance(array, (jax.Array, np.ndarray)):
            raise UserError(f"it lacks {name}")
        values = array.addressable_data(0) if isinstance(array, jax.Array) else array
        if not name.startswith("opt_state/") and not np.isfinite(np.asarray(values)).all():
            raise UserError(f"the values of {name} are not finite")


def steps_in(folder: pathlib.Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, in order."""
    found = [path for path in folder.glob("*") if path.name.isdigit()]
    if paths.is_remote(folder):
        found = [path for path in found if (path / digests.NAME).is_file()]
    return sorted(int(path.name) for path in found)
