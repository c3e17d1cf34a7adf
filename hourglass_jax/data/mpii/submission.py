"""Writes test predictions in the structure that MPII's evaluation server takes.

The server's readme: `pred = RELEASE.annolist(RELEASE.img_train == 0)` with
`pred(i).annorect(r).annopoints.point(k)` set to x, y and id 0 to 15 for the people to be judged,
saved as `pred_keypoints_mpii.mat`. Everybody with a position and a scale is filled in; the
server picks the single persons among them. Pixels count from 1.
"""

import pathlib
from collections.abc import Mapping

import numpy as np
import scipy.io
from jaxtyping import Float

from hourglass_jax.data.mpii import annotations

FILE = "pred_keypoints_mpii.mat"


def write(
    path: pathlib.Path,
    entries: list[annotations.Photograph],
    joints: Mapping[str, Float[np.ndarray, "16 2"]],
) -> None:
    """Writes the file.

    Args:
      path: to write.
      entries: of the official annotations, all of them.
      joints: by the person's id; px of the photograph, 0-based.
    """
    tests = [entry for entry in entries if not entry.train]
    pred = np.zeros(len(tests), dtype=[("image", object), ("annorect", object)])
    for i, entry in enumerate(tests):
        rects = np.zeros(len(entry.people), dtype=[("annopoints", object)])
        for r in range(len(entry.people)):
            known = joints.get(f"{entry.name}/{r + 1}")
            rects[r]["annopoints"] = (
                np.zeros((0, 0)) if known is None else {"point": _points(known)}
            )
        pred[i]["image"], pred[i]["annorect"] = {"name": entry.name}, rects
    scipy.io.savemat(path, {"pred": pred}, do_compression=True)


def _points(joints: Float[np.ndarray, "16 2"]) -> np.ndarray:
    points = np.zeros(len(joints), dtype=[("x", object), ("y", object), ("id", object)])
    for k, (x, y) in enumerate(joints.astype(float) + 1):
        points[k] = (x, y, float(k))
    return points
