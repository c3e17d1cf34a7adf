"""Fingerprints of what records are made of: changed sources never train on stale records.

The data of a checkpoint and of a run are compared by what records hold, where that is known. Other
rules to make records are no other data, nor is a file whose labels are the same.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from hourglass_jax.data.base import Annotation
from hourglass_jax.errors import UserError


def digest(
    identity: str, files: Iterable[pathlib.Path] = (), large: Iterable[pathlib.Path] = ()
) -> str:
    """Returns a digest of an identity and of files; moving the data set does not change it.

    Args:
      identity: text that differs where records differ.
      files: files to digest by name and content.
      large: further files, to digest by name and size.

    Raises:
      UserError: a file cannot be read.
    """
    result = hashlib.blake2b(identity.encode(), digest_size=8)
    try:
        for path in large:
            result.update(_name(path) + f":{path.stat().st_size}:".encode())
        for path in files:
            content = path.read_bytes()
            result.update(_name(path) + f":{len(content)}:".encode())
            result.update(content)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return result.hexdigest()


def _name(path: pathlib.Path) -> bytes:
    # Names need not be UTF-8.
    return f"{path.parent.name}/{path.name}".encode("utf-8", "surrogateescape")


def of_labels(image_id: str, upright: bool, annotations: Sequence[Annotation]) -> bytes:
    """Returns a digest of an image's labels that does not depend on the machine."""
    result = hashlib.blake2b(repr((image_id, upright)).encode(), digest_size=8)
    for annotation in annotations:
        for field in dataclasses.fields(annotation):
            value = getattr(annotation, field.name)
            if isinstance(value, (float, tuple)):
                value = np.array(value)
            if isinstance(value, np.ndarray):
                # Norms differ by the last bit of 64.
                value = np.asarray(value, np.float32 if value.dtype.kind == "f" else None)
                result.update(repr(value.shape).encode() + value.tobytes())
            else:
                result.update(repr(value).encode())
    return result.digest()


def same_data(one: str, other: str) -> bool:
    """Returns whether two identities of `Records.data` are of the same data."""
    (files, _, held), (other_files, _, other_held) = one.partition("/"), other.partition("/")
    return held == other_held if held and other_held else files == other_files
