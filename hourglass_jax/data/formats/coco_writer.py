"""Writes labels of any format as a folder in COCO's: `<split>.json`, and `images/`."""

import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from hourglass_jax.data import headers
from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.problems import Problems
from hourglass_jax.data.formats.usable import fitted
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import disk

IMAGES = "images"


class Writer:
    """Writes splits into a folder, whose images they share.

    Attributes:
      folder: the folder.
      missing: what is wrong with images that could not be read, one by one.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.missing: list[str] = []
        self._names: dict[str, str] = {}  # of images as read, to names in the folder
        self._taken: set[str] = set()

    def write(self, file: KeypointFile, split: str) -> tuple[int, int]:
        """Writes a split, and returns its numbers of images and of annotations.

        Images without annotations are written, too; those that cannot be read, or have another size
        than the labels say, are left out.

        Args:
          file: labels, with categories numbered as in `file.categories`.
          split: name of the JSON file.

        Raises:
          UserError: nothing is labelled, no image can be read, or numbers mean something else than
            px.
        """
        problems = Problems(file.problems.path)
        annotated = list(fitted(sorted(file.images, key=lambda i: i.name), file, problems))
        problems.say()
        if not any(_shows_something(a) for image in annotated for a in image.annotations):
            why = "; ".join(str(p) for p in (problems, file.problems) if p)
            raise UserError(f"nothing is labelled in {file.name}{f': {why}' if why else ''}")
        root = _root(image.file for image in annotated)
        content: dict[str, Any] = {
            "info": {"description": f"{split} of {pathlib.Path(file.name).name}"},
            "images": [],
            "annotations": [],
            "categories": list(_categories(file)),
        }
        has_joints = bool(file.skeleton.joints)
        for image in annotated:
            try:
                name, (width, height) = self._image(image, root)
            except (UserError, OSError) as error:
                self.missing.append(str(error))
                continue
            number = len(content["images"]) + 1
            content["images"].append(
                {"id": number, "file_name": name, "width": width, "height": height}
                | ({} if image.exhaustive else {"all_people_listed": False})
            )
            for a in image.annotations:
                id = len(content["annotations"]) + 1
                entry = {"id": id, "image_id": number, **_annotation(a, has_joints)}
                content["annotations"].append(entry)
        if not content["images"]:
            raise UserError(f"no image of {file.name} can be read: {self.missing[0]}")
        with disk.replacing(self.folder / f"{split}.json") as path:
            path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return len(content["images"]), len(content["annotations"])

    def _image(self, image: AnnotatedImage, root: pathlib.Path) -> tuple[str, tuple[int, int]]:
        """Writes an image unless it is there, and returns its name and size."""
        path, pixels = pathlib.Path(image.file), image.read()
        head = None if image.container else headers.header(image.file)
        copied = head is not None and head.orientation == 1
        if image.container:
            inside = image.name.removeprefix(f"{image.container}#").replace("/", "_")
            inside = pathlib.PurePath(inside).with_suffix("").name
            name = path.relative_to(root).with_suffix("") / f"{inside}.png"
        else:
            name = path.relative_to(root) if copied else path.relative_to(root).with_suffix(".png")
        if image.name not in self._names:
            self._names[image.name] = self._free(name)
            target = self.folder / IMAGES / self._names[image.name]
            target.parent.mkdir(parents=True, exist_ok=True)
            if copied:
                shutil.copyfile(path, target)
            else:  # without an orientation in EXIF, which programs read in two ways
                Image.fromarray(pixels).save(target)
        height, width = pixels.shape[:2]
        return self._names[image.name], (width, height)

    def _free(self, name: pathlib.PurePath) -> str:
        free, number = name, 1
        while str(free).casefold() in self._taken:
            number += 1
            free = name.with_stem(f"{name.stem}-{number}")
        self._taken.add(str(free).casefold())
        return free.as_posix()


def _root(files: Iterable[str]) -> pathlib.Path:
    """Returns the folder that all files are in."""
    folders = {str(pathlib.Path(file).parent) for file in files}
    return pathlib.Path(os.path.commonpath(folders)) if folders else pathlib.Path()


def _categories(file: KeypointFile) -> Iterable[Mapping[str, Any]]:
    skeleton = file.skeleton
    limbs = [[skeleton.index(joint) + 1 for joint in limb] for limb in skeleton.limbs]
    for id, name in enumerate(file.categories.values(), start=1):
        entry: dict[str, Any] = {"id": id, "name": name, "supercategory": ""}
        if skeleton.joints:
            entry |= {"keypoints": list(skeleton.joints), "skeleton": limbs}
        if file.pairs_given:
            entry["pairs"] = [list(pair) for pair in skeleton.pairs]
        yield entry


def _shows_something(a: Annotation) -> bool:
    return a.box is not None or bool(np.any(a.labelled))


def _annotation(a: Annotation, has_joints: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"category_id": a.category + 1, "iscrowd": int(a.crowd)}
    if a.track is not None:
        entry["track_id"] = a.track
    box = a.box
    if has_joints:
        assert a.joints is not None and a.labelled is not None and a.visible is not None
        flags = np.where(a.labelled, 1 + a.visible, 0)
        xy = np.where(a.labelled[:, None], a.joints, 0).tolist()
        joints = [[x, y, flag] for (x, y), flag in zip(xy, flags.tolist(), strict=True)]
        entry["keypoints"] = [number for joint in joints for number in joint]
        entry["num_keypoints"] = int(a.labelled.sum())
        if box is None and a.labelled.any():
            # From the image's corner, half a pixel before the first one's centre.
            low, high = (f(a.joints[a.labelled], axis=0) for f in (np.min, np.max))
            box = (*(low + 0.5), *np.maximum(high - low, 1))
    if box is not None:
        x, y, width, height = (float(value) for value in box)
        area = width * height if a.area is None else a.area
        entry |= {"bbox": [x, y, width, height], "area": area}
    return entry
