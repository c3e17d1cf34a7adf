"""Predictions as a data set in COCO's format, `coco.json`, with COCO's results beside it.

Annotations have a score and, in videos, a track_id. The visibility of a joint is 2 if its score is
above that of drawn joints, else 1: tools show it as uncertain, where it can be moved.
"""

import json
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float

from hourglass_jax.inference.exports.predicted import Predictions, table
from hourglass_jax.runtime import disk
from hourglass_jax.tasks.single_pose.drawing import SURE

NAME, RESULTS = "coco.json", "coco_results.json"


def check(purpose: str) -> None:
    """Nothing but this package is needed."""


def write(predictions: Predictions, output: pathlib.Path) -> None:
    """Writes both files; the ids of images are the same in them."""
    for name, value in zip((NAME, RESULTS), contents(predictions), strict=True):
        with disk.replacing(output / name) as path:
            path.write_text(json.dumps(value), encoding="utf-8")


def contents(predictions: Predictions) -> tuple[dict[str, list[dict[str, Any]]], list[dict]]:
    """Returns what the data set holds, and the results."""
    form, skeleton = predictions.form, predictions.skeleton
    names = form.categories or ("person",)
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}
    limbs = [[skeleton.index(joint) + 1 for joint in limb] for limb in skeleton.limbs]
    joints = {"keypoints": list(skeleton.joints), "skeleton": limbs} if skeleton.joints else {}
    for id, name in zip(form.category_ids, names, strict=True):
        content["categories"].append({"id": id, "name": name, "supercategory": "", **joints})
    results = []
    for file in predictions.files:
        for number, entries in enumerate(file.frames):
            image = len(content["images"]) + 1
            width, height = file.size
            name = f"{file.name}#{number}" if file.is_video else file.name
            frame = {"video": file.name, "frame": number} if file.is_video else {}
            content["images"].append(
                {"id": image, "file_name": name, "width": width, "height": height, **frame}
            )
            for entry in entries:
                results.append({"image_id": image, **entry})
                id = len(content["annotations"]) + 1
                content["annotations"].append({"id": id, "image_id": image, **_annotation(entry)})
    return content, results


def _annotation(entry: dict[str, Any]) -> dict[str, Any]:
    joints = table(entry)
    x, y, width, height = entry.get("bbox") or _around(joints)
    kept = ("category_id", "score", "track_id")
    annotation = {name: entry[name] for name in kept if name in entry}
    annotation |= {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
    if len(joints):
        flags = np.where(joints[:, 2] > SURE, 2, 1).tolist()
        xy = [[*place, flag] for place, flag in zip(joints[:, :2].tolist(), flags, strict=True)]
        annotation |= {"keypoints": [v for joint in xy for v in joint], "num_keypoints": len(xy)}
    return annotation


def _around(joints: Float[np.ndarray, "joints 3"]) -> list[float]:
    """Returns x, y, width and height around joints, from the image's corner."""
    low, high = joints[:, :2].min(axis=0), joints[:, :2].max(axis=0)
    return [*(low + 0.5).tolist(), *(high - low).tolist()]
