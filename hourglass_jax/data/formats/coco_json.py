"""Reads annotations in COCO's JSON format: keypoints or boxes, of any category and any joints.

Beside images, `file_name` may be a frame of a video, such as `walk.mp4#12`.
"""

import functools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from hourglass_jax.data.formats import image_paths
from hourglass_jax.data.formats.coco_content import WRONG as WRONG
from hourglass_jax.data.formats.coco_content import of_content
from hourglass_jax.data.formats.image_paths import image_path
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Place
from hourglass_jax.data.formats.problems import Problems, text_of
from hourglass_jax.data.images import is_file
from hourglass_jax.data.video_frames import VideoFrames
from hourglass_jax.errors import UserError

# A frame of a video, as predictions name it.
_FRAME = re.compile(r"(.+)#(\d{1,9})", re.DOTALL)


def read(
    path: pathlib.Path,
    folder: pathlib.Path | None,
    *,
    outside: bool = False,
    boxes: bool = False,
) -> KeypointFile:
    """Reads a file: its first category with keypoints, and others with the same joints.

    Categories without annotations are passed over.

    Args:
      path: JSON file.
      folder: folder that the images' file names are relative to; None looks for them beside the
        file.
      outside: whether file names may lead out of that folder.
      boxes: whether to read all categories, also those with other joints or without any.

    Raises:
      UserError: the file is not in COCO's format, or the name of an image leads out of the folder.
    """
    content = checked(path, load_json(path))
    if folder is None:
        names = [entry.get("file_name") for entry in content["images"] if isinstance(entry, dict)]
        folder = image_paths.folder_beside(path, names)
    there, videos = folder, dict[pathlib.Path, VideoFrames]()

    def place_of(entry: Mapping[str, Any]) -> Place:
        path = image_path(there, entry.get("file_name"), outside=outside)
        frame = _FRAME.fullmatch(str(path))
        if frame is None or is_file(path) or not is_file(frame[1]):
            return Place(path)
        video, number = pathlib.Path(frame[1]), int(frame[2])
        if video not in videos:
            videos[video] = VideoFrames(video, [])
        videos[video].want(number)
        return Place(video, f"{number:06}", functools.partial(videos[video].read, number))

    return of_content(path, content, place_of, problems=Problems(path), boxes=boxes)


def load_json(path: pathlib.Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
      UserError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {text_of(error)}") from None


def checked(path: pathlib.Path, content: Any) -> dict[str, list]:
    """Returns the content of a file if it is in COCO's format.

    Raises:
      UserError: it is not.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's format: it is a {type(content).__name__}")
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list):
            what = "is not a list" if name in content else "is missing"
            raise UserError(f"{path} is not in COCO's format: {name!r} {what}")
    return content
