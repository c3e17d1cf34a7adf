"""Checks of the files in a folder of records.

TensorFlow keeps a check sum of every record, and tells when one does not fit. The files that
describe the records have none: digests of them are kept beside them.
"""

import contextlib
import pathlib

from tensorflow_datasets.core.dataset_info import read_from_json

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import digests, lock, paths

_DESCRIPTION = "dataset_info.json"


def advice(folder: pathlib.Path) -> str:
    """Returns what to do about damaged records."""
    return f"delete {folder}, and the next start makes them again"


def keep_digests(folder: pathlib.Path) -> None:
    """Writes the digests of new records' descriptions, or of those of an earlier version."""
    if not (folder / digests.NAME).exists():
        with contextlib.suppress(OSError):  # a disk that can only be read
            digests.write(folder, folder.glob("*.json"))


def check(folder: pathlib.Path, version: str) -> None:
    """Raises UserError if the files that describe records are damaged.

    Args:
      folder: folder of the records, if there are any.
      version: version of the records.
    """
    try:
        _remove_cut_short(folder)
        if not folder.exists():
            return
        if (folder / digests.NAME).exists():
            wrong = digests.damage(folder, lambda name: name.endswith(".json"))
        else:
            wrong = _wrong_description(folder, version)
    except OSError as error:
        if paths.is_remote(folder):
            raise RunError(f"{error.filename}: {error.strerror}") from error
        wrong = f"{error.filename}: {error.strerror}"
    if wrong:
        raise UserError(f"the records in {folder} are damaged ({wrong}); {advice(folder)}")


def _remove_cut_short(folder: pathlib.Path) -> None:
    """Removes records that a process was stopped in giving their name; in a bucket that takes time.

    Their description gets its name last.
    """
    if not paths.is_remote(folder) or not folder.exists():
        return
    if not (folder / _DESCRIPTION).is_file():
        with lock.claim(folder.parent, "config.data.data_dir", wait=True):
            if not (folder / _DESCRIPTION).is_file():
                paths.rmtree(folder)


def _wrong_description(folder: pathlib.Path, version: str) -> str | None:
    if not (folder / _DESCRIPTION).is_file():
        return f"the file {_DESCRIPTION} is missing"
    try:
        found = read_from_json(folder / _DESCRIPTION)
    except Exception as error:  # of JSON, of its encoding, or of Protobuf
        return f"{_DESCRIPTION}: {' '.join(str(error).split())[:200]}"
    if found.version != version:
        return f"{_DESCRIPTION} has the version {found.version}, not {version}"
    return None
