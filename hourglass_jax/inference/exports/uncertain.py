"""Writes the frames that are worth labelling next into a folder, ready for a labelling tool.

`uncertain.csv` lists them, `images/` holds them as files, and `coco.json` is a data set of these
images in COCO's format, with the predictions as labels to correct. See `inference.uncertain`.
"""

import csv
import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hourglass_jax.data import headers
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.data.video_frames import VideoFrames
from hourglass_jax.errors import UserError
from hourglass_jax.image import io
from hourglass_jax.inference import uncertain
from hourglass_jax.inference.entries import Entries
from hourglass_jax.inference.exports import coco
from hourglass_jax.inference.exports.predicted import Predicted, Predictions
from hourglass_jax.inference.places import Places, as_path
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime import disk

logger = logging.getLogger(__name__)

NAME = "uncertain"
# Candidates that are looked at, for each frame that is asked for.
_CANDIDATES = 20


@dataclasses.dataclass(frozen=True)
class _Frame:
    """An image (frame None), or a frame of a video, by the name of its file."""

    name: str
    frame: int | None
    signs: uncertain.Signs

    @property
    def shown(self) -> str:
        return self.name if self.frame is None else f"{self.name}#{self.frame}"


class _Reader:
    """Reads frames; those of one video in their order are decoded once."""

    def __init__(self, paths: Mapping[str, pathlib.Path], frames: Sequence[_Frame]):
        self._paths, self._videos = paths, {}
        self._wanted: dict[str, set[int]] = {}
        for one in frames:
            if one.frame is not None:
                self._wanted.setdefault(one.name, set()).add(one.frame)

    def __call__(self, one: _Frame) -> UInt8[np.ndarray, "height width 3"]:
        path = self._paths[one.name]
        if one.frame is None:
            return io.as_rgb(path)
        if one.name not in self._videos:
            self._videos = {one.name: VideoFrames(path, self._wanted[one.name])}
        return self._videos[one.name].read(one.frame)


def write(
    count: int | None, results: Results, paths: Mapping[str, pathlib.Path], skeleton: Skeleton
) -> None:
    """Writes the folder `uncertain` of the output folder, unless there is one already.

    Args:
      count: number of frames to list; None for none.
      results: what was found.
      paths: paths of the input files by their names in the results.
      skeleton: joints with their limbs.

    Raises:
      UserError: an input file is gone or was changed.
    """
    folder = results.output / NAME
    if count is None:
        return
    if folder.exists():  # its labels may have been corrected since
        logger.info("%s is kept as it is; rename or delete it to list other frames", folder)
        return
    frames = _chosen(count, results, paths)
    part = results.output / f"{NAME}.unfinished"
    with disk.errors(results.output):
        if part.exists():
            shutil.rmtree(part)
        (part / "images").mkdir(parents=True)
        _write(part, frames, results, paths, skeleton)
        part.rename(folder)
    fewer = "" if len(frames) == count else f"; {count} were asked for, and others look like these"
    logger.info("%d frames to label next: %s%s", len(frames), folder, fewer)


def _chosen(count: int, results: Results, paths: Mapping[str, pathlib.Path]) -> list[_Frame]:
    videos: list[list[_Frame]] = []
    for name, found in results.found():
        numbered = list(found) if name in paths else []
        each = uncertain.signs([entries for _, entries in numbered], results.written.joints)
        videos.append([_Frame(name, i, s) for (i, _), s in zip(numbered, each, strict=True)])
    uncertainty = [[one.signs.uncertainty for one in video] for video in videos]
    # In the order of the files, so that each is read once.
    places = sorted(uncertain.candidates(uncertainty, _CANDIDATES * count))
    frames = [videos[video][frame] for video, frame in places]
    read = _Reader(paths, frames)
    thumbnails = np.array([uncertain.thumbnail(read(one)) for one in frames])
    values = np.array([one.signs.uncertainty for one in frames])
    return [frames[i] for i in uncertain.choose(values, thumbnails, count)]


def _write(
    folder: pathlib.Path,
    frames: Sequence[_Frame],
    results: Results,
    paths: Mapping[str, pathlib.Path],
    skeleton: Skeleton,
) -> None:
    wanted = {(one.name, one.frame) for one in frames}
    found: dict[tuple[str, int | None], Entries] = {}
    for name, numbered in results.found():
        if any(one.name == name for one in frames):
            found |= {(name, i): entries for i, entries in numbered if (name, i) in wanted}
    ordered = sorted(range(len(frames)), key=lambda i: (frames[i].name, frames[i].frame or 0))
    read, places = _Reader(paths, frames), Places(folder)
    files: dict[int, Predicted] = {}
    for i in ordered:
        one = frames[i]
        name, size = _copy(one, paths[one.name], folder / "images", places, read)
        entries = found[one.name, one.frame]
        files[i] = Predicted(name, folder / "images" / name, False, [entries], size)
    ranked = [files[i] for i in range(len(frames))]
    content, _ = coco.contents(Predictions(ranked, results.written, skeleton))
    (folder / coco.NAME).write_text(json.dumps(content), encoding="utf-8")
    with (folder / f"{NAME}.csv").open("x", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "source", "uncertainty", "score", "stacks", "time"])
        for one, copy in zip(frames, ranked, strict=True):
            numbers = [one.signs.uncertainty, *one.signs]
            texts = [text.encode("utf-8", "backslashreplace").decode("utf-8")
                     for text in (copy.name, one.shown)]  # fmt: skip
            rows.writerow([*texts, *(f"{number:.4f}" for number in numbers)])


def _copy(
    one: _Frame, path: pathlib.Path, folder: pathlib.Path, places: Places, read: _Reader
) -> tuple[str, tuple[int, int]]:
    """Copies an image or writes a frame, and returns its name in the folder and its size."""
    head = headers.header(str(path)) if one.frame is None else None
    copied = head is not None and head.orientation == 1
    # EXIF's orientation is read in two ways by tools; such images are written upright.
    name = pathlib.PurePath(one.name)
    suffix = name.suffix if copied else ".png"
    if one.frame is not None:
        name = name.with_name(f"{name.stem}-{one.frame:06d}{suffix}")
    name = f"{places.stem(str(name))}{suffix}"
    target = folder / as_path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if copied:
        size = io.size_of(path)
        shutil.copyfile(path, target)
    else:
        pixels = read(one)
        Image.fromarray(pixels).save(target)
        size = pixels.shape[1], pixels.shape[0]
    if size is None:
        raise UserError(f"{path} was changed while it was looked at")
    return name, size
