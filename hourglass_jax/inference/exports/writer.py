"""Writes what a command has found in the forms of other tools: `--format=coco,deeplabcut,sleap`."""

import pathlib
from collections.abc import Mapping, Sequence

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import io
from hourglass_jax.image.frames import open_frames
from hourglass_jax.inference.exports import coco, deeplabcut, sleap
from hourglass_jax.inference.exports.predicted import Predicted, Predictions
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime import disk
from hourglass_jax.runtime import paths as runtime_paths
from hourglass_jax.tasks.base import Task

FORMATS = {"coco": coco, "deeplabcut": deeplabcut, "sleap": sleap}


def skeleton_of(task: Task) -> Skeleton:
    """Returns the joints of a task, with limbs and pairs where it knows them."""
    return getattr(task, "skeleton", None) or Skeleton("", tuple(task.joints), (), ())


def formats(text: str | None, skeleton: Skeleton, output: pathlib.Path) -> list[str]:
    """Returns the formats to write: those that a flag names, and those that are there already.

    The latter would otherwise hold what a former command has found.

    Args:
      text: names with commas between, or None.
      skeleton: what the network predicts.
      output: output folder.

    Raises:
      UserError: there is no such format, a library for it is not installed, or it is for joints and
        the network has none.
    """
    names = [name.strip().lower() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format={text}: choose from {', '.join(FORMATS)}")
        if name != "coco" and not skeleton.joints:
            raise UserError(f"--format={name} is for joints, and the network finds boxes alone")
        FORMATS[name].check(f"--format={name}")
    for name, module in FORMATS.items():
        if (output / module.NAME).exists() and (name == "coco" or skeleton.joints):
            module.check(f"{output / module.NAME}")
            names.append(name)
    return list(dict.fromkeys(names))


def write(
    names: Sequence[str],
    results: Results,
    paths: Mapping[str, pathlib.Path],
    skeleton: Skeleton,
) -> None:
    """Writes files of each format into the output folder.

    Args:
      names: names of formats.
      results: what was found.
      paths: paths of the input files by their names in the results.
      skeleton: joints with their limbs.
    """
    if not names:
        return
    files = []
    for name, found in results.found():
        frames = list(found) if name in paths else []
        if frames:
            is_video = frames[0][0] is not None
            entries = [found for _, found in frames]
            with runtime_paths.local(paths[name]) as file:
                size = _size(file, is_video)
            files.append(Predicted(name, paths[name], is_video, entries, size))
    predictions = Predictions(files, results.written, skeleton)
    with disk.errors(results.output):
        for name in names:
            FORMATS[name].write(predictions, results.output)


def _size(path: pathlib.Path, is_video: bool) -> tuple[int, int]:
    """Returns width and height of an image or of a video's first frame."""
    frames = open_frames(path) if is_video else None
    if frames is not None:
        with frames:
            first, _ = next(iter(frames))
        return first.shape[1], first.shape[0]
    size = io.size_of(path)
    if size is None:
        raise UserError(f"{path} was changed while it was looked at")
    return size
