"""Predictions as DeepLabCut's tables: a .csv and an .h5 for each video, and one for all images.

A row is a frame, its columns x, y and likelihood of each joint, empty where nobody is found.
Somebody who keeps a number through a video is one individual, `track_<number>`.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from hourglass_jax.inference.entries import Entries
from hourglass_jax.inference.exports.predicted import Predictions, table
from hourglass_jax.runtime import disk, extra

NAME = "deeplabcut"
SCORER = "hourglass_jax"


def check(purpose: str) -> None:
    """Raises UserError if pandas or PyTables is not installed."""
    extra.library("pandas", purpose)
    extra.library("tables", purpose)


def write(predictions: Predictions, output: pathlib.Path) -> None:
    """Writes the tables into the folder `deeplabcut`, named as the videos are, or `images`."""
    joints = predictions.skeleton.joints
    tables: dict[str, tuple[list, list[Entries]]] = {}
    images = [file for file in predictions.files if not file.is_video]
    for file in predictions.files:
        if file.is_video:
            stem = str(pathlib.PurePath(file.name).with_suffix(""))
            stem = stem if stem not in tables else file.name
            tables[stem] = list(range(len(file.frames))), file.frames
    if images:
        stem = "images" if "images" not in tables else "all images"
        tables[stem] = [file.name for file in images], [file.frames[0] for file in images]
    for stem, (index, frames) in tables.items():
        _write(output / NAME / stem, index, frames, joints)


def _write(path: pathlib.Path, index: list, frames: list[Entries], joints: Sequence[str]) -> None:
    pandas = extra.library("pandas", "DeepLabCut's table")
    tracks = sorted(
        {entry["track_id"] for found in frames for entry in found if "track_id" in entry}
    )
    several = bool(tracks) or max(map(len, frames), default=0) > 1
    count = len(tracks) or max(map(len, frames), default=1)
    places = {track: i for i, track in enumerate(tracks)}
    numbers = np.full((len(frames), max(count, 1), len(joints), 3), np.nan)
    for row, found in zip(numbers, frames, strict=True):
        for i, entry in enumerate(found):
            row[places.get(entry.get("track_id"), i)] = table(entry)
    individuals = [f"track_{track}" for track in tracks]
    individuals = individuals or [f"individual{i + 1}" for i in range(max(count, 1))]
    levels = {"scorer": [SCORER], "individuals": individuals, "bodyparts": list(joints)}
    levels |= {"coords": ["x", "y", "likelihood"]}
    if not several:
        del levels["individuals"]
    columns = pandas.MultiIndex.from_product(levels.values(), names=list(levels))
    content = pandas.DataFrame(numbers.reshape(len(frames), -1), index=index, columns=columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.replacing(path.with_name(f"{path.name}.csv")) as part:
        content.to_csv(part)
    with disk.replacing(path.with_name(f"{path.name}.h5")) as part:
        content.to_hdf(part, key="df_with_missing", mode="w")
