"""Writes test predictions in the structure that MPII's evaluation server takes.

The server's readme: `pred = RELEASE.annolist(RELEASE.img_train == 0)` with
`pred(i).annorect(r).annopoints.point(k)` set to x, y and id 0 to 15 for the people to be judged,
saved as `pred_keypoints_mpii.mat`. Everybody with a position and a scale is written; the
server picks the single persons among them. Pixels count from 1.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.io
from jaxtyping import Float

from hourglass_jax.data.mpii.annotations import Entry
from hourglass_jax.tasks.base import Instance

FILE = "pred_keypoints_mpii.mat"


def write(path: pathlib.Path, entries: Sequence[Entry], found: Mapping[str, Instance]) -> None:
    """Writes the file.

    Args:
      path: file to write.
      entries: all entries of the official annotations.
      found: people with joints by annotation id; px of the image, 0-based.
    """
    tests = [entry for entry in entries if not entry.train]
    pred = np.zeros(len(tests), dtype=[("image", object), ("annorect", object)])
    for i, entry in enumerate(tests):
        rects = np.zeros(len(entry.annotations), dtype=[("annopoints", object)])
        for r, annotation in enumerate(entry.annotations):
            instance = found.get(annotation.id)
            joints = None if instance is None else instance.joints
            rects[r]["annopoints"] = (
                np.zeros((0, 0)) if joints is None else {"point": _points(joints)}
            )
        pred[i]["image"], pred[i]["annorect"] = {"name": entry.name}, rects
    with path.open("wb") as file:
        scipy.io.savemat(file, {"pred": pred}, do_compression=True)


def _points(joints: Float[np.ndarray, "16 2"]) -> np.ndarray:
    points = np.zeros(len(joints), dtype=[("x", object), ("y", object), ("id", object)])
    for k, (x, y) in enumerate(joints.astype(float) + 1):
        points[k] = (x, y, float(k))
    return points
