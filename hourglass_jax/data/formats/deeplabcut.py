"""Reads keypoints as DeepLabCut writes them: CollectedData_<scorer>.csv or .h5.

The first rows name scorer, (individuals,) bodyparts and coords (x, y) of each column; every further
row is an image: its path, in one column or in three (labeled-data, video, image), then numbers,
empty where a joint is not labelled. Columns of the individual "single" are unique parts, such as a
corner of the arena: they are no joints of an animal. A table in HDF5 is read as the same rows.
x, y of 0 are the middle of the first pixel, as here. Lightning Pose uses the same tables.
"""

import csv
import dataclasses
import itertools
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.formats import deeplabcut_h5
from hourglass_jax.data.formats.image_paths import OutsideError, image_path
from hourglass_jax.data.formats.keypoint_file import LARGEST, KeypointFile, annotation
from hourglass_jax.data.formats.problems import Problems, text_of
from hourglass_jax.data.images import image_file, is_file
from hourglass_jax.data.sides import pairs_by_name
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError

_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_UNIQUE = "single"  # DeepLabCut's name of what all animals share
_LABELS = "labeled-data"  # its folder of images
_ANIMAL = "animal"  # the category of what is labelled


class _Columns(NamedTuple):
    """The columns of a table: where numbers begin, and where each coordinate is."""

    first: int
    width: int
    animals: list[str]
    joints: tuple[str, ...]
    places: dict[tuple[str, str, str], int]


def read(path: pathlib.Path, folder: pathlib.Path | None, *, outside: bool = False) -> KeypointFile:
    """Reads a file; each animal in an image is an annotation.

    Args:
      path: CSV or HDF5 file.
      folder: folder that the images' paths are relative to; those that it lacks are looked for
        beside the file. None stands for the file's project, else its folder.
      outside: whether paths may lead out of that folder.

    Raises:
      UserError: the file is not in DeepLabCut's format, or a path leads out of the folder.
    """
    problems = Problems(path)
    folder = folder or project_of(path)
    is_table = path.suffix.lower() not in (".h5", ".hdf5")
    rows, decimal = _rows(path) if is_table else (deeplabcut_h5.rows(path), ".")
    header = {}
    for i, (_, row) in enumerate(rows[: len(_HEADER)]):
        if row[0].strip().lower() in _HEADER:
            header.setdefault(row[0].strip().lower(), i)
    columns = _columns(path, [row for _, row in rows], header, problems)
    limbs = _limbs(path, columns.joints)
    skeleton = Skeleton(path.stem, columns.joints, pairs_by_name(columns.joints), limbs)
    images: list[AnnotatedImage] = []
    number, seen = itertools.count(1), set()
    for line, row in rows[len(header) :]:
        where = f"line {line}"
        try:
            if tuple(row) in seen:
                raise ValueError("it is in the file twice")
            seen.add(tuple(row))
            numbers = _numbers(row, columns, decimal)
            there = _image(path, row[: columns.first], folder, outside)
        except OutsideError as error:
            raise UserError(f"{path}, {where}: {error}") from None
        except ValueError as error:
            problems.add(f"left out: {text_of(error)}", where)
            continue
        annotations = []
        for track, animal in enumerate(columns.animals):
            xy = np.array([
                [numbers[columns.places[key]] if key in columns.places else math.nan
                 for key in ((animal, joint, "x"), (animal, joint, "y"))]
                for joint in columns.joints
            ])  # fmt: skip
            labelled = np.all(np.abs(xy) < LARGEST, axis=1)  # NaN is not
            if (~np.all(np.isnan(xy), axis=1) & ~labelled).any():
                problems.add("a joint whose coordinates are not px counts as not labelled", where)
            if labelled.any():
                xy = np.where(labelled[:, None], xy, 0)
                found = annotation(f"{line}/{next(number)}", xy, labelled, labelled)
                several = len(columns.animals) > 1
                annotations.append(dataclasses.replace(found, track=track if several else None))
        images.append(image_file(there, annotations, id=str(line)))
    return KeypointFile(str(path), skeleton, images, problems, {1: _ANIMAL}, files=[path])


def _rows(path: pathlib.Path) -> tuple[list[tuple[int, list[str]]], str]:
    """Returns the rows that are not blank, with their numbers, and the mark of decimals."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            # Spreadsheets of many countries write 1,5;2,5.
            separator = max(",;\t", key=first.count)
            rows = [row for row in csv.reader(stream, delimiter=separator) if row]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid CSV in UTF-8: {error}") from None
    numbered = [(i, row) for i, row in enumerate(rows, start=1) if any(map(str.strip, row))]
    return numbered, "," if separator == ";" else "."


def _columns(
    path: pathlib.Path, rows: Sequence[list[str]], header: dict[str, int], problems: Problems
) -> _Columns:
    if not {"scorer", "bodyparts", "coords"} <= header.keys():
        raise UserError(
            f"{path} does not begin with DeepLabCut's rows scorer, bodyparts and coords"
        )
    parts, coords = ([cell.strip() for cell in rows[header[n]]] for n in ("bodyparts", "coords"))
    animals = [_ANIMAL] * len(parts)
    if "individuals" in header:
        animals = [cell.strip() for cell in rows[header["individuals"]]]
    first = next((i for i, name in enumerate(coords) if name == "x"), 0)
    if not first or not len(parts) == len(coords) == len(animals):
        raise UserError(f"{path}: the rows bodyparts and coords do not name columns x and y")
    if "likelihood" in coords and all(row[0].strip().isdigit() for row in rows[len(header) :]):
        raise UserError(
            f"{path} looks like DeepLabCut's predictions for a video; name the labels, "
            f"{_LABELS}/*/CollectedData_*.csv"
        )
    places: dict[tuple[str, str, str], int] = {}
    for i in range(first, len(parts)):
        key = (animals[i], parts[i], coords[i])
        if parts[i] and places.setdefault(key, i) != i:
            raise UserError(f"{path}: two columns hold {coords[i]} of {parts[i]!r} of {animals[i]}")
    every = list(dict.fromkeys(animals[first:]))
    own = [animal for animal in every if animal != _UNIQUE] or every
    unique = [part for animal, part, _ in places if animal not in own]
    for part in dict.fromkeys(unique):
        problems.add(
            "left out: a unique part is no joint of an animal; a network finds it with a table "
            "that has this part alone",
            f"the part {part!r}",
        )
    joints = tuple(dict.fromkeys(part for animal, part, _ in places if animal in own))
    return _Columns(first, len(parts), own, joints, places)


def _numbers(row: list[str], columns: _Columns, decimal: str) -> list[float]:
    if len(row) < columns.width or any(cell.strip() for cell in row[columns.width :]):
        raise ValueError(f"{len(row)} columns, not {columns.width}")
    cells = row[columns.first : columns.width]
    return [math.nan] * columns.first + [_number(cell.replace(decimal, ".")) for cell in cells]


def _number(cell: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a number") from None


def _image(
    path: pathlib.Path, cells: Sequence[str], folder: pathlib.Path, outside: bool
) -> pathlib.Path:
    """Returns the path of a row's image."""
    name = "/".join(cell for cell in cells if cell).replace("\\", "/")
    # Old versions wrote where the project was on another machine.
    _, inside, rest = name.rpartition(f"{_LABELS}/")
    there = image_path(folder, inside + rest if inside else name, outside=outside)
    beside = path.parent / there.name
    return beside if not is_file(there) and is_file(beside) else there


def project_of(table: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the project that a table is in; the table's own if there is none."""
    parents = table.absolute().parents
    inside = next((p for p in parents if p.name == _LABELS), None)
    return inside.parent if inside else parents[0]


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the tables of a project, one a video.

    Args:
      folder: the project's folder, its folder `labeled-data`, or one video's folder in it.

    Raises:
      UserError: there are none, or those of several people.
    """
    for place in (f"{_LABELS}/*/", "*/", ""):
        pattern = f"{place}CollectedData_*.csv"
        found = sorted(folder.glob(pattern))
        if not found:  # whoever deletes the tables in CSV has the same in HDF5
            pattern = f"{place}CollectedData_*.h5"
            found = sorted(folder.glob(pattern))
        if found:
            break
    else:
        raise UserError(
            f"the folder {folder} holds no tables {_LABELS}/*/CollectedData_*.csv of DeepLabCut, "
            f"no data.yaml of YOLO and no files of LabelMe; name the file with the annotations"
        )
    scorers = sorted({path.stem.removeprefix("CollectedData_") for path in found})
    own = [path for path in found if path.stem == f"CollectedData_{_scorer(folder)}"]
    if len(scorers) > 1 and own:
        return own
    if len(scorers) > 1:
        raise UserError(
            f"{folder} holds tables of several people, {', '.join(scorers)}; name those of one as "
            f"{folder / pattern.replace('_*', f'_{scorers[0]}')}"
        )
    return found


def _scorer(folder: pathlib.Path) -> str:
    """Returns whose tables config.yaml says are the project's; "" if it does not."""
    return str(_config(folder).get("scorer") or "")


def _limbs(table: pathlib.Path, joints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns the limbs between joints that the project's config.yaml has, for drawing."""
    found = _config(project_of(table)).get("skeleton")
    limbs = [list(map(str, limb)) for limb in found or () if isinstance(limb, (list, tuple))]
    known = [limb for limb in limbs if len(set(limb)) == len(limb) == 2 and set(limb) <= {*joints}]
    return tuple(dict.fromkeys((a, b) for a, b in known))


def _config(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the content of a project's config.yaml; nothing where it cannot be read."""
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
