"""Digests of a folder's files, by which damage is found when the files are read.

They are kept in the folder as `sha256sum` writes them, which checks them as well:
`sha256sum -c SHA256SUMS`. A folder that is added later, as a whole, brings its own.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable

from hourglass_jax.runtime import paths

NAME = "SHA256SUMS"
_LARGEST = 2**24  # bytes of SHA256SUMS; a checkpoint of some hundred files takes 20 kB


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files in a folder, without SHA256SUMS and the hidden ones of file managers.

    Files of inner folders that have their own digests are left out as well.
    """
    found = []
    for place, folders, names in paths.walk(folder):
        if NAME in names and place != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [place / name for name in names if not name.startswith(".")]
    return sorted(path for path in found if path != folder / NAME)


def write(folder: pathlib.Path, files: Iterable[pathlib.Path] | None = None) -> None:
    """Writes the digests of a folder's files, all of them or those given, atomically."""
    lines = _lines(folder, files_in(folder) if files is None else files)
    if paths.is_remote(folder):  # an object is there as a whole or not at all
        (folder / NAME).write_text("".join(lines.values()), encoding="utf-8")
        return
    new = folder / f".{NAME}.{os.getpid()}"
    new.write_text("".join(lines.values()), encoding="utf-8", newline="\n")
    new.replace(folder / NAME)


def damage(folder: pathlib.Path, concerns: Callable[[str], bool] | None = None) -> str | None:
    """Compares a folder's files with its digests.

    Args:
      folder: folder that has digests.
      concerns: selects the files to compare by their names; None: all of them.

    Returns:
      What is wrong, with the name of the first file; None if nothing is.

    Raises:
      OSError: a file cannot be read.
    """
    with (folder / NAME).open("rb") as file:
        content = file.read(_LARGEST)
    kept = {}
    for line in content.decode("utf-8", "backslashreplace").splitlines(keepends=True):
        name = line[66:].rstrip("\n")
        if not name or not line.endswith("\n"):
            return f"the file {NAME} is not as it was written"
        kept[name] = line

    def compared(name: str) -> bool:
        return concerns is None or concerns(name)

    found = _lines(folder, (p for p in files_in(folder) if compared(_name(folder, p))))
    for name in sorted({*filter(compared, kept), *found}):
        if name not in found:
            return f"the file {name} is missing"
        if name not in kept:
            return f"{NAME} does not know the file {name}"
        if kept[name] != found[name]:
            return f"the file {name} is not as it was written"
    for inner in sorted(folder.glob(f"*/{NAME}")):
        wrong = damage(inner.parent) if compared(_name(folder, inner)) else None
        if wrong:
            return f"{inner.parent.name}: {wrong}"
    if concerns is None and content != "".join(found.values()).encode():
        return f"the file {NAME} is not as it was written"
    return None


def of_small_files(folder: pathlib.Path) -> str:
    """Returns a digest of a checkpoint that differs with its weights.

    Files of weights have random names, by which the small ones refer to them: no large one is read.
    """
    if paths.is_remote(folder):
        return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            small = path.read_bytes() if path.stat().st_size < 2**16 else b""
            entry = [str(path.relative_to(folder)), path.stat().st_size, small.hex()]
            digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def _lines(folder: pathlib.Path, files: Iterable[pathlib.Path]) -> dict[str, str]:
    """Returns the lines of SHA256SUMS by file name, in order."""
    files = list(files)
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as threads:
        digests = list(threads.map(_digest, files))
    names = [_name(folder, path) for path in files]
    return {n: f"{digest}  {n}\n" for n, digest in sorted(zip(names, digests, strict=True))}


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(folder: pathlib.Path, path: pathlib.Path) -> str:
    return path.relative_to(folder).as_posix()
