"""Writes annotations in the official MPII structure, irregular in the ways the real file is."""

import pathlib

import numpy as np
import scipy.io
from PIL import Image

NOTHING = np.zeros((0, 0))


def structs(rows: list[dict]) -> np.ndarray:
    """A MATLAB struct array; fields that a row lacks are empty in it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for i, row in enumerate(rows):
        for name in names:
            array[0, i][name] = row.get(name, NOTHING)
    return array


def person(rng: np.random.Generator, middle: np.ndarray, *, test: bool = False) -> dict:
    """An annorect with irregular `is_visible`, and one in three with some joints not labelled."""
    rect = {
        **dict(zip(("x1", "y1", "x2", "y2"), (*(middle - 50), *(middle - 30)), strict=True)),
        "scale": rng.uniform(0.4, 0.9),
        "objpos": {"x": float(middle[0]), "y": float(middle[1])},
    }
    if test:
        return rect
    joints = rng.permutation(16)[: rng.choice([16, 16, int(rng.integers(1, 16))])]
    kinds = [1.0, 0.0, "1", "0", "", NOTHING]
    points = [
        {
            "x": float(middle[0] + rng.uniform(-40, 40)),
            "y": float(middle[1] + rng.uniform(-40, 40)),
            "id": float(joint),
            "is_visible": NOTHING if joint in (8, 9) else kinds[rng.integers(6)],
        }
        for joint in joints
    ]
    return {**rect, "annopoints": {"point": structs(points)}}


def write(
    folder: pathlib.Path, split: dict[str, np.ndarray], num_images: int, distinct: int = 3
) -> tuple[dict, list[str]]:
    """Writes a folder like the official download, of the first `num_images` photographs.

    Photographs named by the split hold its people, between others who lack a scale, joints or a
    place; the rest are test pictures with none, one or two people, a third of them without a scale.
    Pictures beyond the first `distinct` are links to them.

    Returns:
      the annorects of the split's people by (annolist index, annorect index), and the ids of the
      people of `test`.
    """
    rng = np.random.default_rng(0)
    wanted = {}
    for indices in split.values():
        for photograph, index in indices.tolist():
            wanted.setdefault(photograph, set()).add(index)
    images, annolist, img_train, known, tests = folder / "images", [], [], {}, []
    images.mkdir(parents=True)
    for number in range(1, num_images + 1):
        name = f"{number:09d}.jpg"
        if number <= distinct:
            noise = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((320, 240)).save(images / name)
        else:
            (images / name).hardlink_to(images / f"{number % distinct + 1:09d}.jpg")
        train = number in wanted
        if train:
            rects = [{"x1": 1.0}] * max(wanted[number])  # a rect of which little is known
            for index in wanted[number]:
                rects[index - 1] = person(rng, rng.uniform(80, 200, 2))
                known[number, index] = rects[index - 1]
        else:
            rects = [
                person(rng, rng.uniform(80, 200, 2), test=True) for _ in range(rng.integers(3))
            ]
            for rect in rects:
                if rng.random() < 1 / 3:
                    rect["scale"] = NOTHING
            tests += [
                f"{name}/{i}" for i, r in enumerate(rects, 1) if isinstance(r["scale"], float)
            ]
        entry = {"image": {"name": name}, "annorect": structs(rects) if rects else NOTHING}
        annolist.append(entry)
        img_train.append(float(train))
    release = {
        "annolist": structs(annolist),
        "img_train": np.array([img_train]),
        "single_person": np.array([[np.array([[1.0]])] for _ in img_train], dtype=object),
        "act": structs([{"act_name": "walking"} for _ in img_train]),
        "version": "12",
    }
    scipy.io.savemat(folder / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    return known, tests
