"""Poses as text, drawings, tables and files: what the methods of `Poses` give."""

import io
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image.io import as_rgb
from hourglass_jax.runtime import disk, extra
from hourglass_jax.tasks.single_pose.drawing import LIKELY, draw_people

if TYPE_CHECKING:
    from hourglass_jax.inference.found import Poses

_SHOWN = 20  # people in a summary
_DRAWINGS = (".png", ".jpg", ".jpeg", ".webp")


def summary(poses: "Poses") -> str:
    """Returns a line for each person: score, box, and joints that are sure enough to be drawn."""
    count, joints = len(poses.joints), len(poses.names)
    lines = [f"Poses of {count} {'person' if count == 1 else 'people'} with {joints} joints"]
    rows = zip(poses.person_scores, poses.boxes, poses.scores, strict=True)
    for i, (score, box, scores) in list(enumerate(rows))[:_SHOWN]:
        numbers = ", ".join(f"{value:.0f}" for value in box)
        sure = int((scores > LIKELY).sum())
        lines.append(f"  {i}: score {score:.2f}, box ({numbers}), {sure} joints above {LIKELY}")
    if count > _SHOWN:
        lines.append(f"  and {count - _SHOWN} more")
    return "\n".join(lines)


def drawing(poses: "Poses", image: Any) -> Image.Image:
    """Returns the image with the people's skeletons.

    Raises:
      UserError: the image is not known, or is not one.
    """
    pixels = poses.image if image is None else as_rgb(image)
    if pixels is None:
        raise UserError("these poses do not hold their image; give it, as poses.draw(image)")
    skeleton = poses.skeleton or Skeleton("", poses.names, (), ())
    return Image.fromarray(draw_people(pixels, poses.instances, skeleton))


def png(poses: "Poses") -> bytes | None:
    """Returns a drawing as PNG for notebooks; None without an image."""
    if poses.image is None:
        return None
    buffer = io.BytesIO()
    drawing(poses, None).save(buffer, "PNG")
    return buffer.getvalue()


def as_dict(poses: "Poses") -> dict[str, Any]:
    """Returns the poses as JSON can hold them."""
    people = []
    rows = zip(poses.person_scores, poses.boxes, poses.joints, poses.scores, strict=True)
    for score, box, joints, scores in rows:
        table = np.c_[joints, scores].astype(float).tolist()
        named = dict(zip(poses.names, table, strict=True))
        people.append({"score": score, "box": box.tolist(), "joints": named})
    return {"people": people}


def as_dataframe(poses: "Poses") -> Any:
    """Returns a DataFrame with a row per joint: person, joint, x, y, score."""
    pandas = extra.library("pandas", "Poses.to_dataframe")
    count, joints = poses.scores.shape
    columns = {
        "person": np.repeat(np.arange(count), joints),
        "joint": list(poses.names) * count,
        "x": poses.joints[..., 0].ravel(),
        "y": poses.joints[..., 1].ravel(),
        "score": poses.scores.ravel(),
    }
    return pandas.DataFrame(columns)


def as_coco(poses: "Poses", file_name: str) -> dict[str, list[dict[str, Any]]]:
    """Returns a data set in COCO's format with this image; see `exports.coco`."""
    from hourglass_jax.inference.entries import Format
    from hourglass_jax.inference.exports import coco
    from hourglass_jax.inference.exports.predicted import Predicted, Predictions

    form = Format(poses.names)
    entries = [form.entry(one) for one in poses.instances]
    height, width = (0, 0) if poses.image is None else poses.image.shape[:2]
    one = Predicted(file_name, pathlib.Path(file_name), False, [entries], (width, height))
    skeleton = poses.skeleton or Skeleton("", poses.names, (), ())
    content, _ = coco.contents(Predictions([one], form, skeleton))
    if poses.image is None:
        del content["images"][0]["width"], content["images"][0]["height"]
    return content


def save(poses: "Poses", path: str | os.PathLike, file_name: str) -> None:
    """Writes a file whose suffix says of what kind it is.

    Raises:
      UserError: the suffix is unknown, the file cannot be written, or the poses do not hold their
        image.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix in _DRAWINGS:
        content = drawing(poses, None)
    elif suffix == ".json":
        content = json.dumps(as_coco(poses, file_name))
    elif suffix == ".csv":
        content = _csv(poses)
    else:
        kinds = ", ".join((*_DRAWINGS, ".json", ".csv"))
        raise UserError(f"{path}: the suffix of poses must be one of {kinds}")
    try:
        with disk.replacing(path) as part:
            if isinstance(content, str):
                part.write_text(content, encoding="utf-8", newline="")
            else:
                content.save(part, "JPEG" if suffix in (".jpg", ".jpeg") else suffix[1:].upper())
    except OSError as error:
        raise disk.refusal(error, str(path)) from None


def _csv(poses: "Poses") -> str:
    lines = ["person,joint,x,y,score"]
    for i, (joints, scores) in enumerate(zip(poses.joints, poses.scores, strict=True)):
        for name, (x, y), score in zip(poses.names, joints, scores, strict=True):
            quoted = '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name
            lines.append(f"{i},{quoted},{x:.2f},{y:.2f},{score:.4f}")
    return "\n".join(lines) + "\n"
