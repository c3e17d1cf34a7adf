"""Fingerprints of what records are made of: changed sources never train on stale records."""

import hashlib
import pathlib
from collections.abc import Sequence

from hourglass_jax.errors import UserError


def digest(identity: str, files: Sequence[pathlib.Path], large: Sequence[pathlib.Path] = ()) -> str:
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
            result.update(f"{path.parent.name}/{path.name}:{path.stat().st_size}:".encode())
        for path in files:
            content = path.read_bytes()
            result.update(f"{path.parent.name}/{path.name}:{len(content)}:".encode())
            result.update(content)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    return result.hexdigest()
