"""What was found in an input file, for those who write it in the form of another tool."""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.inference.entries import Entries, Format


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
    """What was found in an image or in the frames of a video.

    Attributes:
      name: name of the file in the results.
      path: path of the file.
      is_video: whether it has frames.
      frames: what was found in the image, or in each frame; see `entries`.
      size: width and height, px.
    """

    name: str
    path: pathlib.Path
    is_video: bool
    frames: list[Entries]
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """All predictions of a command.

    Attributes:
      files: what was found, file by file.
      form: how entries are written.
      skeleton: joints with their limbs; without joints for boxes alone.
    """

    files: list[Predicted]
    form: Format
    skeleton: Skeleton


def table(entry: dict) -> Float[np.ndarray, "joints 3"]:
    """Returns x, y and score of an entry's joints."""
    return np.reshape(np.asarray(entry.get("keypoints", ()), float), (-1, 3))
