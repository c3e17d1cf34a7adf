"""Reads SLEAP's labels through sleap-io: .slp, .pkg.slp with images inside, and .analysis.h5.

Frames are read from the videos by this package. x, y of 0 are the middle of the first pixel, as
here; sleap-io moves those of files from before that rule.
"""

import functools
import logging
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hourglass_jax.data import images
from hourglass_jax.data.formats.gathered import Gathered
from hourglass_jax.data.formats.image_paths import folder_beside, moved
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Image, Place
from hourglass_jax.data.formats.problems import text_of
from hourglass_jax.data.video_frames import VideoFrames
from hourglass_jax.errors import UserError
from hourglass_jax.image import io as image_io
from hourglass_jax.runtime import extra

logger = logging.getLogger(__name__)


def read(
    path: pathlib.Path, folder: pathlib.Path | None, *, outside: bool = False, boxes: bool = False
) -> KeypointFile:
    """Reads the labels that somebody has set; predictions only where there is nothing else.

    Args:
      path: file of labels.
      folder: folder of the videos; None looks for them near the file.
      outside: whether videos may be where the file says, outside of that folder.
      boxes: as in `coco_content.of_content`.

    Raises:
      UserError: sleap-io is not installed, the file cannot be read, or a video is missing.
    """
    labels = _load(path)
    gathered = Gathered(path)
    frames = [(frame, frame.user_instances) for frame in labels.labeled_frames]
    if not any(instances for _, instances in frames):
        frames = [(frame, frame.instances) for frame in labels.labeled_frames]
        logger.warning("%s: nothing is labelled by hand; its predictions are taken", path)
    frames = [(frame, instances) for frame, instances in frames if instances]
    if not frames:
        raise UserError(f"{path} has no labelled frame")
    categories = {}
    for skeleton in labels.skeletons:
        pairs = [[a, b] for a, b in skeleton.symmetry_names] if skeleton.symmetries else None
        name = skeleton.name or "animal"
        limbs = [(int(a), int(b)) for a, b in skeleton.edge_inds]
        pairs = {"pairs": pairs} if pairs else {}
        categories[id(skeleton)] = gathered.category(name, skeleton.node_names, limbs, **pairs)
    tracks = {id(track): i for i, track in enumerate(labels.tracks)}
    names = [_name(frame.video) for frame, _ in frames]
    root = folder or folder_beside(path, list(dict.fromkeys(names)), moved)
    _check_videos(path, [frame.video for frame, _ in frames], root, outside)
    for video in labels.videos:
        own = [(f.frame_idx, instances) for f, instances in frames if f.video is video]
        if not own:
            continue
        own.sort(key=lambda one: one[0])
        place_of = _places(path, video, [number for number, _ in own], root, outside)
        for number, instances in own:
            image = gathered.image(*place_of(number))
            for instance in instances:
                xy = instance.numpy()
                labelled = np.isfinite(xy).all(axis=1)
                keypoints = np.c_[np.where(labelled[:, None], xy, 0), 2 * labelled].tolist()
                category, track = categories[id(instance.skeleton)], tracks.get(id(instance.track))
                gathered.annotation(image, category, keypoints, track=track)
    return gathered.result(boxes=boxes)


def _load(path: pathlib.Path) -> Any:
    sleap_io = extra.library("sleap_io", f"{path} is SLEAP's, which")
    try:
        if path.suffix.lower() == ".slp":
            return sleap_io.load_slp(str(path))
        return sleap_io.load_analysis_h5(str(path))
    except Exception as error:  # of many kinds, on damaged files
        raise UserError(f"{path} cannot be read by sleap-io: {text_of(error)}") from None


def _check_videos(
    path: pathlib.Path, videos: Sequence[Any], root: pathlib.Path, outside: bool
) -> None:
    """Raises UserError if none of the videos is there; reading names those that are missing."""
    names = dict.fromkeys(v.filename for v in videos if isinstance(v.filename, str))
    there = [moved(root, name, outside=outside) for name in names]
    if names and not any(_is_embedded(v) for v in videos) and not any(map(images.is_file, there)):
        found = next((name for name in names if images.is_file(name)), "")
        remedy = "set config.data.outside_files=True" if found else "put the video there"
        raise UserError(
            f"{path} holds SLEAP's labels on frames of {found or there[0].name}, which is not in "
            f"{root}; {remedy}, or name its folder as config.data.image_dir"
        )


def _name(video: Any) -> str:
    """Returns the name of a video's file, or of the first of its images."""
    name = video.filename
    return str(name[0] if isinstance(name, list) and name else name)


def _is_embedded(video: Any) -> bool:
    return type(video.backend).__name__ == "HDF5Video"


def _places(
    path: pathlib.Path, video: Any, wanted: Sequence[int], root: pathlib.Path, outside: bool
) -> Callable[[int], tuple[Place, tuple[int, int] | None]]:
    """Returns a function of the frame that says where it is, and its width and height."""
    name = video.filename
    if isinstance(name, list):  # images one by one
        files = [moved(root, str(one), outside=outside) for one in name]
        return lambda number: (Place(files[number]), None)
    if _is_embedded(video):
        read, lock = functools.partial(_embedded, path, video), threading.Lock()
        part = str(video.backend.dataset).partition("/")[0]
        return lambda number: (
            Place(path, f"{part}/{number:06}", functools.partial(read, lock, number)),
            None,
        )
    there = moved(root, str(name), outside=outside)
    if not images.is_file(there):
        missing = functools.partial(_missing, there)
        return lambda number: (Place(there, f"{number:06}", missing), None)
    found = VideoFrames(there, wanted)
    return lambda number: (
        Place(there, f"{number:06}", functools.partial(found.read, number)),
        found.size,
    )


def _missing(path: pathlib.Path) -> Image:
    raise UserError(f"{path} is missing")


def _embedded(path: pathlib.Path, video: Any, lock: threading.Lock, number: int) -> Image:
    """Returns an image inside a file of labels."""
    try:
        with lock:
            pixels = np.asarray(video[number])
    except Exception as error:  # of many kinds, on damaged files
        raise UserError(f"{path}: its frame {number} cannot be read: {text_of(error)}") from None
    return image_io.as_rgb(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
