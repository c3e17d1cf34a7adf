"""Where an image lies that a file of annotations names.

Names are tried as they are, then as Windows, URLs and macOS write them, if a file is there.
They lead out of the folder of images only where the user allows it: an image becomes a part of
records and reports. Symbolic links are the user's own, and are followed.
"""

import contextlib
import os
import pathlib
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from typing import Any

from hourglass_jax.data.images import is_file
from hourglass_jax.errors import UserError


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
    if not outside and not _inside(folder, name.replace("\\", "/")):
        raise OutsideError(
            f"{name!r} leads out of the folder of images, {folder}; if that is meant, set "
            f"config.data.outside_files=True"
        )
    spellings = list(dict.fromkeys(_spellings(name)))
    for spelling in spellings if len(spellings) > 1 else ():
        if (outside or _inside(folder, spelling)) and is_file(folder / spelling):
            return folder / spelling
    return folder / name.replace("\\", "/")


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
