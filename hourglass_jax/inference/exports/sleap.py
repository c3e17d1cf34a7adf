"""Predictions as SLEAP's labels, `predictions.slp`, to open and correct them in SLEAP.

Each video is one there, and the images of a folder are another. Frames in which nobody is found
are left out. x, y of 0 are the middle of the first pixel, in SLEAP as here.
"""

import collections
import os
import pathlib
from typing import Any

from hourglass_jax.inference.exports.predicted import Predictions, table
from hourglass_jax.runtime import disk, extra
from hourglass_jax.runtime import paths as runtime_paths

NAME = "predictions.slp"


def check(purpose: str) -> None:
    """Raises UserError if sleap-io is not installed."""
    extra.library("sleap_io", purpose)


def write(predictions: Predictions, output: pathlib.Path) -> None:
    """Writes the file; paths of videos in it are absolute."""
    sleap_io = extra.library("sleap_io", "SLEAP's file")
    joints = predictions.skeleton
    skeleton = sleap_io.Skeleton(list(joints.joints), list(joints.limbs), name=joints.name)
    for left, right in joints.pairs:
        skeleton.add_symmetry(left, right)
    videos, frames, tracks = [], [], []
    folders: dict[str, list] = collections.defaultdict(list)
    for file in predictions.files:
        if file.is_video:
            own: dict[int, Any] = {}
            width, height = file.size
            video = sleap_io.Video(
                _absolute(file.path),
                backend_metadata={
                    "type": "MediaVideo",
                    "shape": (len(file.frames), height, width, 3),
                },
                open_backend=False,
            )
            videos.append(video)
            for number, entries in enumerate(file.frames):
                instances = []
                for entry in entries:
                    track = None
                    if (own_number := entry.get("track_id")) is not None:
                        new = sleap_io.Track(f"{file.path.stem} {own_number}")
                        track = own.setdefault(own_number, new)
                    instances.append(_instance(sleap_io, entry, skeleton, track))
                if instances:
                    frames.append(sleap_io.LabeledFrame(video, number, instances))
            tracks += own.values()
        else:
            folders[str(file.path.parent)].append(file)
    for files in folders.values():
        paths = [_absolute(file.path) for file in files]
        video = sleap_io.Video.from_filename(paths)
        videos.append(video)
        for number, file in enumerate(files):
            instances = [_instance(sleap_io, entry, skeleton, None) for entry in file.frames[0]]
            if instances:
                frames.append(sleap_io.LabeledFrame(video, number, instances))
    labels = sleap_io.Labels(frames, videos=videos, skeletons=[skeleton], tracks=tracks)
    with disk.replacing(output / NAME) as part:
        labels.save(str(part), format="slp", verbose=False)


def _absolute(path: pathlib.Path) -> str:
    return str(path) if runtime_paths.is_remote(path) else os.path.abspath(path)


def _instance(sleap_io: Any, entry: dict[str, Any], skeleton: Any, track: Any) -> Any:
    joints = table(entry)
    return sleap_io.PredictedInstance.from_numpy(
        joints[:, :2],
        skeleton,
        point_scores=joints[:, 2],
        score=entry["score"],
        track=track,
    )
