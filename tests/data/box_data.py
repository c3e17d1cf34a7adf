"""Small data sets of boxes: six images with two categories, changed by a function."""

import json
import pathlib

import numpy as np
from PIL import Image

from hourglass_jax.data.custom_boxes.source import CustomBoxesSource

WIDTH, HEIGHT = 96, 72


def content(images=6) -> dict:
    """Every image has a box of each category but the last, which is empty; the second a crowd."""
    annotations = [
        {
            "id": 10 * i + kind,
            "image_id": i,
            "category_id": (7, 3)[kind],
            "iscrowd": int(i == 2 and kind == 1),
            "bbox": [10 + 30 * kind, 8 + i, 20, 30],
        }
        for i in range(1, images)
        for kind in (0, 1)
    ]
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT}
            for i in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def write(folder: pathlib.Path, change=lambda made: None, name="boxes.json") -> dict:
    """Writes images and a file of boxes, and returns its content."""
    made = content()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in made["images"]:
        noise = np.random.default_rng(image["id"]).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(noise).save(folder / "images" / image["file_name"])
    change(made)
    (folder / name).write_text(json.dumps(made))
    return made


def make(folder: pathlib.Path, **fields) -> CustomBoxesSource:
    paths = {"train_json": str(folder / "boxes.json"), "image_dir": str(folder / "images")}
    paths["validation_json"] = paths["train_json"]
    return CustomBoxesSource(**{**paths, **fields})


def images_of(source, split="train") -> dict:
    return {image.id: image for image in source.images(split)}
