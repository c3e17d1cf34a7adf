"""Reads keypoints as DeepLabCut writes them: CollectedData_<scorer>.csv, of one or more animals.

The first rows name scorer, (individuals,) bodyparts and coords (x, y) of each column; every further
row is an image: its path, in one column or in three (labeled-data, video, image), then numbers,
empty where a joint is not labelled.
"""

import csv
import itertools
import math
import pathlib

import numpy as np

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.formats.coco_json import KeypointFile, annotation
from hourglass_jax.data.images import image_file
from hourglass_jax.data.skeleton import Skeleton, pairs_by_name
from hourglass_jax.errors import UserError

_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_LARGEST = 1e6


def read(path: pathlib.Path, folder: pathlib.Path) -> KeypointFile:
    """Reads a file; each animal in an image is an annotation.

    Args:
      path: CSV file.
      folder: folder that the images' paths are relative to.

    Raises:
      UserError: the file is not in DeepLabCut's format; the line is named.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid CSV: {error}") from None
    names = [row[0].strip().lower() for row in rows[:4]]
    header = {name: i for i, name in enumerate(names) if name in _HEADER}
    if not {"scorer", "bodyparts", "coords"} <= header.keys():
        raise UserError(
            f"{path} does not begin with DeepLabCut's rows scorer, bodyparts and coords"
        )
    parts, coords = rows[header["bodyparts"]], rows[header["coords"]]
    animals = rows[header["individuals"]] if "individuals" in header else ["animal"] * len(parts)
    first = next((i for i, name in enumerate(coords) if name == "x"), 0)
    if not first or not len(parts) == len(coords) == len(animals):
        raise UserError(f"{path}: the rows bodyparts and coords do not name columns x and y")
    column = {(animals[i], parts[i], coords[i]): i for i in range(first, len(parts)) if parts[i]}
    joints = tuple(dict.fromkeys(parts[first:]))
    skeleton = Skeleton(path.stem, joints, pairs_by_name(joints), ())
    images: list[AnnotatedImage] = []
    number = itertools.count(1)
    for line, row in enumerate(rows[len(header) :], start=len(header) + 1):
        if len(row) != len(parts):
            raise UserError(f"{path}, line {line}: {len(row)} columns, not {len(parts)}")
        name = "/".join(cell for cell in row[:first] if cell).replace("\\", "/")
        annotations = []
        for animal in dict.fromkeys(animals[first:]):
            cells = [
                [row[column[animal, joint, axis]] if (animal, joint, axis) in column else ""
                 for axis in "xy"]
                for joint in joints
            ]  # fmt: skip
            xy = np.array([[_number(cell, path, line) for cell in pair] for pair in cells])
            labelled = np.abs(xy).max(axis=1) < _LARGEST  # NaN is not
            if labelled.any():
                xy = np.where(labelled[:, None], xy, 0)
                annotations.append(annotation(f"{line}/{next(number)}", xy, labelled, labelled))
        images.append(image_file(folder / name, annotations, id=str(line)))
    return KeypointFile(skeleton, 1, images, pairs_given=False)


def _number(cell: str, path: pathlib.Path, line: int) -> float:
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise UserError(f"{path}, line {line}: {cell!r} is not a number") from None
