"""The same labels as files of several tools: two animals an image, of which one lacks a joint."""

import json
import pathlib
import zipfile

import h5py
import numpy as np
from keypoint_data import HEIGHT, WIDTH, files

JOINTS = ("nose", "left_ear", "right_ear")
IMAGES = 4
BOXES = np.array([[20, 30, 60, 50], [110, 60, 70, 80]], float)


def joints_of(i: int) -> np.ndarray:
    """Joints [animal, joint, 2] in an image; the second animal's right ear is not labelled."""
    inside = np.array([[0.2, 0.3], [0.5, 0.75], [0.875, 0.5]])
    xy = BOXES[:, None, :2] + inside * BOXES[:, None, 2:] + 0.25 * i
    xy[1, 2] = np.nan
    return xy


def write_images(folder: pathlib.Path) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"bïld {i}.png" for i in range(IMAGES)]
    for path, content in zip(paths, files(1, (WIDTH, HEIGHT)), strict=False):
        path.write_bytes(content)
    return paths


def yolo(folder):
    """The third image has no labels; the last one is to validate on."""
    paths = write_images(folder / "images/train")
    (folder / "images/val").mkdir()
    paths[-1] = paths[-1].rename(folder / "images/val" / paths[-1].name)
    scale = np.array([WIDTH, HEIGHT])
    for i, path in enumerate(paths):
        lines = []
        for box, joints in zip(BOXES, joints_of(i), strict=True):
            middle, sides = (box[:2] + box[2:] / 2) / scale, box[2:] / scale
            table = np.c_[joints / scale, np.where(np.isnan(joints[:, 0]), 0, 2)]
            numbers = [*middle, *sides, *np.nan_to_num(table).ravel()]
            lines.append(" ".join(["0", *(f"{number:.8f}" for number in numbers)]))
        target = folder / "labels" / path.parent.name / f"{path.stem}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")
    text = (
        "path: /datasets/of/another/machine\ntrain: images/train\nval: ../images/val\n"
        "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: [mouse]\nkpt_names:\n  0: "
        f"[{', '.join(JOINTS)}]\n"
    )
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def labelme(folder):
    """Points of the first image are grouped; those of others lie in rectangles."""
    for i, path in enumerate(write_images(folder)):
        shapes = []
        for a, (box, joints) in enumerate(zip(BOXES, joints_of(i), strict=True)):
            group = a if i == 0 else None
            corners = [(box[:2] + box[2:]).tolist(), box[:2].tolist()]
            shapes.append(
                {"label": "mouse", "points": corners, "group_id": group, "shape_type": "rectangle"}
            )
            shapes += [
                {"label": name, "points": [xy.tolist()], "group_id": group, "shape_type": "point"}
                for name, xy in zip(JOINTS, joints, strict=True)
                if np.isfinite(xy).all()
            ]
        content = {"version": "5.4.1", "shapes": shapes, "imagePath": f"C:\\lab\\{path.name}"}
        content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imageData": None}
        path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _region(kind, value, **fields):
    sizes = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"type": kind, "value": value, **sizes, **fields}


def label_studio(folder):
    """Points belong to rectangles by their parents in the first image, else by relations."""
    tasks = []
    for i, path in enumerate(write_images(folder / "images")):
        result = []
        for a, (box, joints) in enumerate(zip(BOXES, joints_of(i), strict=True)):
            x, y, width, height = box * 100 / [WIDTH, HEIGHT, WIDTH, HEIGHT]
            value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
            result.append(
                _region("rectanglelabels", {**value, "rectanglelabels": ["mouse"]}, id=f"r{a}")
            )
            for name, xy in zip(JOINTS, joints * 100 / [WIDTH, HEIGHT], strict=True):
                if np.isnan(xy).any():
                    continue
                value = {"x": xy[0], "y": xy[1], "width": 0.5, "keypointlabels": [name]}
                own = {"id": f"{name}{a}"} | ({"parentID": f"r{a}"} if i == 0 else {})
                result.append(_region("keypointlabels", value, **own))
                if i > 0:
                    ends = {"from_id": f"{name}{a}", "to_id": f"r{a}"}
                    result.append({"type": "relation", "direction": "right", **ends})
        wrong = {"result": [], "was_cancelled": True}
        image = f"/data/upload/3/0a1b2c3d-{path.name}"
        annotations = [{"result": result, "was_cancelled": False}, wrong]
        tasks.append({"id": i, "data": {"image": image}, "annotations": annotations})
    (folder / "project.json").write_text(json.dumps(tasks), encoding="utf-8")
    return folder / "project.json"


def coco_content() -> dict:
    annotations = []
    for i in range(IMAGES):
        for box, joints in zip(BOXES, joints_of(i), strict=True):
            table = np.nan_to_num(np.c_[joints, np.where(np.isnan(joints[:, 0]), 0, 2)])
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
                 "bbox": box.tolist(), "keypoints": table.ravel().tolist(),
                 "attributes": {"occluded": False}}
            )  # fmt: skip
    images = [
        {"id": i, "file_name": f"bïld {i}.png", "width": WIDTH, "height": HEIGHT}
        for i in range(IMAGES)
    ]
    category = {"id": 1, "name": "mouse", "keypoints": list(JOINTS), "skeleton": [[1, 2]]}
    return {"images": images, "annotations": annotations, "categories": [category]}


def cvat(folder):
    """A zip with images, as CVAT exports it."""
    paths = write_images(folder / "unused")
    with zipfile.ZipFile(folder / "task.zip", "w") as archive:
        text = json.dumps(coco_content())
        archive.writestr("annotations/person_keypoints_default.json", text)
        for path in paths:
            archive.write(path, f"images/default/{path.name}")
            path.unlink()
    return folder / "task.zip"


def deeplabcut_h5(folder):
    """A project with a table in HDF5, of two individuals."""
    where = folder / "labeled-data/vidéo"
    paths = write_images(where)
    keys = [(a, joint, axis) for a in range(2) for joint in range(len(JOINTS)) for axis in range(2)]
    levels = [["me"], ["m1", "m2"], list(JOINTS), ["x", "y"]]
    with h5py.File(where / "CollectedData_me.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs.update({"pandas_type": np.bytes_("frame"), "nblocks": 1, "axis0_nlevels": 4})
        group.attrs.update({"block0_items_nlevels": 4, "axis1_nlevels": 3})
        for axis in ("axis0", "block0_items"):
            for level, values in enumerate(levels):
                places = [0] * len(keys) if level == 0 else [key[level - 1] for key in keys]
                group[f"{axis}_level{level}"] = np.array([v.encode() for v in values])
                group[f"{axis}_label{level}"] = np.array(places, np.int8)
        names = [["labeled-data"], ["vidéo"], [path.name for path in paths]]
        for level, values in enumerate(names):
            group[f"axis1_level{level}"] = np.array([v.encode() for v in values])
            places = range(IMAGES) if level == 2 else [0] * IMAGES
            group[f"axis1_label{level}"] = np.array(places, np.int8)
        group["block0_values"] = np.array([joints_of(i).ravel() for i in range(IMAGES)])
    (folder / "config.yaml").write_text("scorer: me\nskeleton: [[nose, left_ear], [nose, tail]]\n")
    return folder
