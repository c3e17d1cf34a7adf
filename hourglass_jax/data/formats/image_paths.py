"""Where an image lies that a file of annotations names.

Names are tried as they are, then as Windows, URLs and macOS write them, if a file is there.
They lead out of the folder of images only where the user allows it: an image becomes a part of
records and reports. Of an absolute path on another machine, as much of the end counts as is there.
Symbolic links are the user's own, and are followed.
"""

import contextlib
import os
import pathlib
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hourglass_jax.data.images import is_file
from hourglass_jax.errors import UserError

_TRIED = 3  # names that are looked for in a folder
_LEVELS = 3  # folders above a file's own
_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|[\\/]")


class OutsideError(UserError):
    """A name that leads out of the folder of images."""


def image_path(folder: pathlib.Path, name: Any, *, outside: bool = False) -> pathlib.Path:
    """Returns the path of an image.

    Args:
      folder: absolute path of the folder that names are relative to.
      name: name in the file of annotations.
      outside: whether names may lead out of the folder.

    Raises:
      OutsideError: the name leads out of the folder.
      ValueError: the name is not a text, or no file can have it.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError(f"file_name {name!r} is not a file name")
    leads_out = not _inside(folder, name.replace("\\", "/"))
    if leads_out and _ABSOLUTE.match(name) and not is_file(name):  # a path on another machine
        there = moved(folder, name)
        if is_file(there):
            return there
    if leads_out and not outside:
        raise OutsideError(
            f"{name!r} leads out of the folder of images, {folder}; if that is meant, set "
            f"config.data.outside_files=True"
        )
    spellings = list(dict.fromkeys(_spellings(name)))
    for spelling in spellings if len(spellings) > 1 else ():
        if (outside or _inside(folder, spelling)) and is_file(folder / spelling):
            return folder / spelling
    return folder / name.replace("\\", "/")


def moved(folder: pathlib.Path, name: str, *, outside: bool = False) -> pathlib.Path:
    """Returns the path of a file that may have been labelled on another machine.

    As much of the end of its path as is there in the folder counts: `C:\\lab\\day1\\a.mp4` is
    `day1/a.mp4` in the folder, or else `a.mp4`. Without any of them, it is the last.

    Args:
      folder: folder in which to look.
      name: path in the file of annotations, as any system writes it.
      outside: whether the path itself may be used, where it leads out of the folder.

    Raises:
      ValueError: no file can have this name.
    """
    if outside and is_file(folder / name):
        return folder / name
    parts = re.sub("^[A-Za-z]:/", "", name.replace("\\", "/")).split("/")
    parts = [part for part in parts if part not in ("", ".", "..")]
    if not parts:
        raise ValueError(f"{name!r} is not a file name")
    for first in range(len(parts)):
        with contextlib.suppress(ValueError):
            there = image_path(folder, "/".join(parts[first:]))
            if is_file(there):
                return there
    return image_path(folder, parts[-1])


def folder_beside(
    path: pathlib.Path,
    names: Sequence[Any],
    place: Callable[[pathlib.Path, str], pathlib.Path] = image_path,
) -> pathlib.Path:
    """Returns the folder near a file of annotations in which its images are.

    Tools put them beside the file or beside its folder, and there maybe in a folder `images` or in
    one that is called as the file ends: `default` of `person_keypoints_default.json`.

    Args:
      path: file of annotations.
      names: names of images in it, of which the first few are looked for.
      place: function that says where a name is in a folder: `image_path` or `moved`.
    """
    parent, end = path.absolute().parent, path.stem.rpartition("_")[2]
    inside = ("", "images", end, f"images/{end}")
    near = [p / name for p in (parent, *parent.parents[:_LEVELS]) for name in inside]
    for name in [name for name in names if isinstance(name, str)][:_TRIED]:
        for folder in near:
            with contextlib.suppress(ValueError):
                if is_file(place(folder, name)):
                    return folder
    return parent


def _spellings(name: str) -> Iterator[str]:
    for slashes in (name, name.replace("\\", "/")):
        for text in (slashes, urllib.parse.unquote(slashes)):
            yield text
            if not text.isascii():
                for form in (text, *(unicodedata.normalize(n, text) for n in ("NFC", "NFD"))):
                    yield form
                    with contextlib.suppress(UnicodeEncodeError):
                        # Names of files are UTF-8, whatever the locale says.
                        yield os.fsdecode(form.encode("utf-8", "surrogateescape"))


def _inside(folder: pathlib.Path, name: str) -> bool:
    """Returns whether a name stays in the folder, as a text: links are not followed."""
    if re.match("[A-Za-z]:/", name):  # a drive of Windows
        return False
    root = os.path.normpath(folder).rstrip(os.sep) + os.sep
    return os.path.normpath(os.path.join(folder, name)).startswith(root)
