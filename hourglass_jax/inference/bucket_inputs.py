"""The files that a command's --input stands for, where it is in a bucket."""

import fnmatch
import functools
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any


def found(
    pattern: Any, images_of: Callable[[Sequence[pathlib.Path]], list[pathlib.Path]]
) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """Returns the files, and the folder that their names in the results begin in.

    A listing tells everything: asking for each of a million files would take hours.

    Args:
      pattern: a file, a folder, or a pattern in a bucket.
      images_of: function that selects images and videos by their names.
    """
    fixed = pattern
    while any(re.search(r"[*?\[]", part) for part in fixed.parts):
        fixed = fixed.parent
    wanted = pattern.relative_to(fixed).parts
    listed = sorted(fixed.tree())
    if not wanted:
        if fixed.is_file():
            return fixed.parent, [fixed]
        return fixed, images_of(listed)
    matches = functools.partial(_matches, wanted=wanted)
    paths = [path for path in listed if matches(path.relative_to(fixed).parts)]
    if not paths:  # "day*" stands for folders
        inner = [
            path
            for path in listed
            if any(matches(folder.parts) for folder in path.relative_to(fixed).parents)
        ]
        paths = images_of(inner)
    # What the first and the last have in common, all of them have.
    inside = (folder for folder in paths[0].parents if folder in paths[-1].parents) if paths else ()
    return next(iter(inside), fixed), paths


def _matches(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        rest = wanted[1:] or ("*",)
        return any(_matches(parts[i:], rest) for i in range(len(parts)))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
    )
