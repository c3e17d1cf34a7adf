"""Reads annotations in COCO's format from a zip, as CVAT, Roboflow and others export them.

CVAT's holds `annotations/person_keypoints_<subset>.json`, and `images/` if it was asked for them.
Subsets whose names say "val" or "valid" are for validation.
"""

import functools
import io
import json
import pathlib
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hourglass_jax.data import headers, images
from hourglass_jax.data.formats import coco_json, keypoint_file
from hourglass_jax.data.formats.coco_content import of_content
from hourglass_jax.data.formats.image_paths import folder_beside, image_path
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Image, Place
from hourglass_jax.data.formats.problems import Problems, text_of
from hourglass_jax.errors import UserError
from hourglass_jax.image.io import MEMORY

_VALIDATION = re.compile(r"(?i)(?<![a-z])val(id|idation)?(?![a-z])")
_TEST = re.compile(r"(?i)(?<![a-z])test(?![a-z])")
_FORMATS = "COCO Keypoints 1.0 or COCO 1.0"


def read(
    path: pathlib.Path,
    folder: pathlib.Path | None,
    *,
    outside: bool = False,
    boxes: bool = False,
    split: str = "train",
) -> KeypointFile:
    """Reads the annotations of a split in a zip.

    Args:
      path: zip file.
      folder: folder of images that the zip lacks; None looks beside the zip.
      outside: whether names of images may lead out of that folder.
      boxes: as in `coco_content.of_content`.
      split: "train" or "validation".

    Raises:
      UserError: it holds no annotations in COCO's format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m.filename for m in archive.infolist() if not m.is_dir()]
            contents = _contents(path, archive, members)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be read: {text_of(error)}") from None
    files = []
    for name in _chosen(list(contents), split):
        content = contents[name]
        names = [entry.get("file_name") for entry in content["images"] if isinstance(entry, dict)]
        there = folder or folder_beside(path, names)
        file = of_content(
            path / name,
            content,
            _place_of(path, name, members, there, outside),
            problems=Problems(f"{path}, {name}"),
            boxes=boxes,
        )
        files.append(file)
    file = keypoint_file.joined(files)
    file.files.append(path)
    return file


def has_validation(path: pathlib.Path) -> bool:
    """Returns whether a zip holds annotations to validate on, beside others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".json")]
    except (OSError, zipfile.BadZipFile):
        return False
    return any(map(_is_validation, names)) and not all(map(_is_validation, names))


def _is_validation(name: str) -> bool:
    return bool(_VALIDATION.search(name))


def _chosen(names: Sequence[str], split: str) -> list[str]:
    """Returns the files of a split: to train on are those not to validate or test on."""
    validation = [name for name in names if _is_validation(name)]
    if split == "validation" and validation:
        return validation
    train = [name for name in names if not _is_validation(name) and not _TEST.search(name)]
    return train or list(names)


def _contents(
    path: pathlib.Path, archive: zipfile.ZipFile, members: Sequence[str]
) -> dict[str, dict[str, list]]:
    """Returns the annotations by the names of their files, those with entries."""
    found, wrong = {}, ""
    for name in sorted(m for m in members if m.lower().endswith(".json")):
        try:
            content = coco_json.checked(path / name, json.loads(_member(archive, name)))
        except (ValueError, RecursionError) as error:
            wrong = text_of(error)
            continue
        if content["annotations"]:
            found[name] = content
    if found:
        return found
    if "annotations.xml" in members:
        what = "CVAT's XML; export the task again as " + _FORMATS
    elif any(m.endswith((".csv", ".txt", ".yaml", ".xml")) for m in members):
        what = "a zip of another format; unpack it, and name the folder or file inside"
    else:
        what = "a zip without annotations in COCO's format; export them as " + _FORMATS
    raise UserError(f"{path} looks like {what}{f' ({wrong})' if wrong else ''}")


def _place_of(
    path: pathlib.Path,
    file: str,
    members: Sequence[str],
    folder: pathlib.Path,
    outside: bool,
) -> Callable[[Mapping[str, Any]], Place]:
    """Returns the function that finds the image of an entry of a file in the zip."""
    known = set(members)
    subset = pathlib.PurePosixPath(file).stem.rpartition("_")[2]
    by_end: dict[str, list[str]] = {}
    for member in members:
        by_end.setdefault(pathlib.PurePosixPath(member).name, []).append(member)

    def place_of(entry: Mapping[str, Any]) -> Place:
        name = entry.get("file_name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"file_name {name!r} is not a file name")
        name = name.replace("\\", "/")
        beside = str(pathlib.PurePosixPath(file).parent / name)
        near = [f"images/{subset}/{name}", f"images/{name}", name, beside]
        near += [m for m in by_end.get(name.rpartition("/")[2], []) if f"/{m}".endswith(f"/{name}")]
        member = next((candidate for candidate in near if candidate in known), None)
        if member is None:
            return Place(image_path(folder, name, outside=outside))
        size = entry.get("width"), entry.get("height")
        return Place(path, member, functools.partial(_decoded, path, member, size))

    return place_of


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns a file of a zip; small ones can claim to be enormous.

    Raises:
      ValueError: it is larger than what an image may take.
    """
    size = archive.getinfo(name).file_size
    if size > MEMORY:
        raise ValueError(f"{name} would take {size / 1e9:.1f} GB of memory; unpack the zip")
    return archive.read(name)


def _decoded(path: pathlib.Path, member: str, size: tuple[Any, Any]) -> Image:
    """Returns an image of a zip, turned as EXIF says unless its stated size says otherwise."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = _member(archive, member)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: {member} cannot be read ({text_of(error)})") from None
    head = headers.header(io.BytesIO(content))
    stored = head is not None and head.size == size and head.seen(upright=True) != size
    return images.read_image(content, f"{path}#{member}", upright=not stored)
