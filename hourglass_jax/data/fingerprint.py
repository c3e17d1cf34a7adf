"""What records were made of, in one short text: changed sources never train on stale records."""

import hashlib
import pathlib
from collections.abc import Sequence

from hourglass_jax.errors import UserError

_HERE = pathlib.Path(__file__).parent
_PACKAGE = _HERE.parent
_SHARED_CODE = [
    *(_HERE / f"{name}.py" for name in ("records", "images", "jpeg", "skeleton")),
    *sorted((_HERE / "formats").glob("*.py")),
    *(_PACKAGE / f"image/{name}.py" for name in ("crop", "geometry", "io")),
]


def code_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the code that makes the records of a builder's folder: one of their sources."""
    return [*sorted(folder.glob("*.py")), *sorted(folder.glob("*.npz")), *_SHARED_CODE]


def digest(identity: str, files: Sequence[pathlib.Path], large: Sequence[pathlib.Path] = ()) -> str:
    """Digests the files' names and contents, or sizes; where they lie does not matter."""
    result = hashlib.blake2b(identity.encode(), digest_size=8)
    for path in large:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        result.update(f"{path.parent.name}/{path.name}:{size}:".encode())
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        result.update(f"{path.parent.name}/{path.name}:{len(content)}:".encode())
        result.update(content)
    return result.hexdigest()
