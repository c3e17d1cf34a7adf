"""Small data sets of keypoints: six images of an animal with four joints, changed by a function."""

import functools
import io
import json
import pathlib

import cv2
import numpy as np
from PIL import Image

from hourglass_jax.data.custom.source import CustomSource

WIDTH, HEIGHT = 200, 160
JOINTS = ["nose", "tail", "left_ear", "right_ear"]
POINTS = [50, 40, 2, 120, 45, 2, 60, 110, 2, 125, 115, 1]
# What stores a scene so that EXIF's orientation turns it upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(i: int, size=(WIDTH, HEIGHT)) -> Image.Image:
    """A smooth image whose halves and quarters differ, so that every turn shows."""
    coarse = np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def content(people=6, size=(WIDTH, HEIGHT)) -> dict:
    width, height = size
    return {
        "images": [
            {"id": i, "file_name": f"p{i}.png", "width": width, "height": height}
            for i in range(1, people + 1)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 10000,
             "bbox": [40, 30, 100, 100], "num_keypoints": 4, "keypoints": list(POINTS)}
            for i in range(1, people + 1)
        ],
        "categories": [
            {"id": 1, "name": "mouse", "skeleton": [[1, 2]], "keypoints": list(JOINTS)}
        ],
    }  # fmt: skip


@functools.cache
def files(orientation: int, size: tuple[int, int]) -> list[bytes]:
    """Six images as files, with their orientation in EXIF."""
    exif, found = Image.Exif(), []
    exif[0x0112] = orientation
    for i in range(6):
        stored = scene(i, size)
        if STORED[orientation] is not None:
            stored = stored.transpose(STORED[orientation])
        buffer = io.BytesIO()
        stored.save(buffer, "PNG", exif=exif, compress_level=1)
        found.append(buffer.getvalue())
    return found


def write(folder, change=lambda content: None, *, orientation=1, size=(WIDTH, HEIGHT)):
    """Writes images and k.json, and returns its content."""
    made = content(size=size)
    (folder / "pics").mkdir(parents=True, exist_ok=True)
    for image, file in zip(made["images"], files(orientation, size), strict=True):
        (folder / "pics" / image["file_name"]).write_bytes(file)
    change(made)
    (folder / "k.json").write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return made


def make(folder: pathlib.Path, **fields) -> CustomSource:
    paths = {"train_json": str(folder / "k.json"), "image_dir": str(folder / "pics")}
    return CustomSource(**{**paths, **fields})


def images_of(source) -> list:
    """Every image that a source yields, sorted by name."""
    found = [image for split in source.splits for image in source.images(split)]
    return sorted(found, key=lambda image: image.name)


def annotations_of(source) -> dict:
    return {a.id: a for image in images_of(source) for a in image.annotations}


def each(part, **fields):
    """Returns a change that sets fields of every entry; values may be functions of the entry."""

    def change(made):
        for entry in made[part]:
            entry.update({k: v(entry) if callable(v) else v for k, v in fields.items()})

    return change


def only(i, part="annotations", **fields):
    """Returns a change that sets fields of one entry."""
    return lambda made: made[part][i].update(fields)
