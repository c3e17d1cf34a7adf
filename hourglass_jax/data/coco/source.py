"""COCO's people with keypoints."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hourglass_jax.data import images, same_images
from hourglass_jax.data.base import AnnotatedImage, Source, Tolerance
from hourglass_jax.data.coco.evaluation import KeypointPrecision
from hourglass_jax.data.formats import coco_json, keypoint_file, values
from hourglass_jax.data.formats.keypoint_file import Box, KeypointFile
from hourglass_jax.data.formats.problems import Problems, text_of
from hourglass_jax.data.formats.usable import fitted, usable
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError
from hourglass_jax.rules import SWITCH, Path, Whole, field
from hourglass_jax.tasks.base import Metric


class CocoSource(Source):
    """Lin et al., ECCV 2014: people in everyday images, 17 joints.

    Training uses people with at least one joint. Evaluation uses the boxes of people with joints
    or, with `detections` and --mode=evaluate, the boxes of a detector. Those may lie over people
    without joints, which COCO's evaluation counts neither for nor against. The box is the square
    around `bbox`, 1.25 times as large, and PCK is relative to the square around `bbox`.
    """

    name = "coco"
    version = 2
    labels = COCO
    tolerance = Tolerance(0.2)

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Where the files are; an empty path stands for the official layout in `manual_dir`."""

        manual_dir: str = field(Path(), default="")
        train_json: str = field(Path(), default="")
        image_dir: str = field(Path(), default="")
        validation_json: str = field(Path(), default="")
        validation_image_dir: str = field(Path(), default="")
        detections: str = field(Path(), default="")
        outside_files: bool = field(SWITCH, default=False)
        allow_missing: int = field(Whole(0), default=0)

    def __init__(self, **options):
        self.options = self.Options(**options)
        self.allow_missing = self.options.allow_missing

    @property
    def splits(self) -> Sequence[str]:
        return ["validation"] if self.options.detections else ["train", "validation"]

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        return iter(self._images[split])

    def count(self, split: str) -> int:
        return sum(len(image.annotations) for image in self._images[split])

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"allow_missing": self.allow_missing}

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        paths = []
        for name in ("train_json", "validation_json"):
            path = self._path(name)
            if not path.is_file():
                raise UserError(
                    f"{path} is missing; unpack annotations_trainval2017.zip in "
                    f"config.data.manual_dir, or set config.data.{name}"
                )
            paths.append(path)
        return paths

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        files: list[pathlib.Path] = []
        for name in ("image_dir", "validation_image_dir"):
            folder = self._path(name)
            if not folder.is_dir():
                raise UserError(
                    f"the folder {folder} is missing; unpack the images in "
                    f"config.data.manual_dir, or set config.data.{name}"
                )
            files += sorted(folder.iterdir())
        return files

    @property
    def evaluation_files(self) -> Sequence[pathlib.Path]:
        detections = self.options.detections
        return [pathlib.Path(detections).absolute()] if detections else []

    def metrics(self, split: str) -> Sequence[Metric]:
        return [self._precision] if split == "validation" else []

    @functools.cached_property
    def _precision(self) -> KeypointPrecision:  # which reads its file once
        scores = None
        if self.options.detections:
            scores = {id: box.score for id, box in self._detections.items()}
        return KeypointPrecision(self._path("validation_json"), scores)

    def _path(self, name: str) -> pathlib.Path:
        defaults = {
            "train_json": "annotations/person_keypoints_train2017.json",
            "image_dir": "train2017",
            "validation_json": "annotations/person_keypoints_val2017.json",
            "validation_image_dir": "val2017",
        }
        default = pathlib.Path(self.options.manual_dir) / defaults[name]
        return pathlib.Path(getattr(self.options, name) or default).absolute()

    @functools.cached_property
    def _images(self) -> dict[str, list[AnnotatedImage]]:
        if self.options.detections:
            splits = {"validation": self._detected()}
        else:
            train = self._read("train_json", "image_dir")
            validation = self._validation
            splits = {
                "train": usable(train, by_joints=False),
                "validation": usable(validation, by_joints=False),
            }
            same_images.warn_of_seen(splits["validation"], splits["train"], validation.name)
        for split in splits.values():
            images.check_ids(a for image in split for a in image.annotations)
            images.check_files(split, self.allow_missing)
        return splits

    @functools.cached_property
    def _validation(self) -> KeypointFile:
        return self._read("validation_json", "validation_image_dir")

    @functools.cached_property
    def _detections(self) -> "dict[str, Detection]":
        return _read_detections(pathlib.Path(self.options.detections), self._validation)

    def _detected(self) -> list[AnnotatedImage]:
        """Returns the images of detected boxes, sorted by name."""
        path = pathlib.Path(self.options.detections)
        problems, found = Problems(path), []
        for image in fitted(_with_boxes(self._detections), self._validation, problems):
            boxes = [a for a in image.annotations if a.box is not None]
            if boxes:
                found.append(dataclasses.replace(image, annotations=boxes))
        problems.say()
        if not found:
            raise UserError(f"{path} holds no box that can be used: {problems}")
        return found

    def _read(self, annotations: str, folder: str) -> KeypointFile:
        path, outside = self._path(annotations), self.options.outside_files
        file = coco_json.read(path, self._path(folder), outside=outside)
        if file.skeleton.joints != COCO.joints:
            raise UserError(
                f"{path} has the joints {', '.join(file.skeleton.joints)}, not COCO's 17; use "
                f"configs/custom.py for other joints"
            )
        file.problems.say()
        return file


class Detection(NamedTuple):
    """A detected person: the image, its box (x, y, width, height) and the detector's score."""

    image: AnnotatedImage
    box: Box
    score: float


def _with_boxes(detections: Mapping[str, Detection]) -> list[AnnotatedImage]:
    """Returns the images of detected boxes; nothing is labelled, as their people are unknown."""
    nothing = np.zeros(COCO.num_joints, bool)
    by_name, people = {}, collections.defaultdict(list)
    for id, (image, box, _) in detections.items():
        by_name[image.name] = image
        people[image.name].append(
            keypoint_file.annotation(id, np.zeros((COCO.num_joints, 2)), nothing, nothing, box)
        )
    return [
        dataclasses.replace(by_name[name], annotations=people[name]) for name in sorted(by_name)
    ]


def _read_detections(path: pathlib.Path, annotations: KeypointFile) -> dict[str, Detection]:
    """Returns each detected person by "image_id/index in the file"."""
    by_id = {image.id: image for image in annotations.images}
    detections: dict[str, Detection] = {}
    entries, problems = coco_json.load_json(path), Problems(path)
    people = ", ".join(map(str, annotations.categories))
    if not isinstance(entries, list):
        raise UserError(f"{path} is not in COCO's results format: it is no list of detections")
    for i, entry in enumerate(entries):
        where = f"entry {i}"
        try:
            if values.identity(entry["category_id"], "category_id") not in annotations.categories:
                what = f"its category_id is not that of people in {annotations.name}, {people}"
                problems.add(f"left out: {what}", where)
                continue
            image_id = str(values.identity(entry["image_id"], "image_id"))
            if image_id not in by_id:
                raise ValueError(f"its image_id is not in {annotations.name}")
            detections[f"{image_id}/{i}"] = _detection(by_id[image_id], entry)
        except KeyError as error:
            problems.add(f"left out: there is no {error}", where)
        except coco_json.WRONG as error:
            problems.add(f"left out: {text_of(error)}", where)
    problems.say()
    if not detections:
        why = f": {problems}" if entries else ""
        raise UserError(f"{path} holds no detections of people that can be used{why}")
    return detections


def _detection(image: AnnotatedImage, entry: Mapping[str, Any]) -> Detection:
    x, y, width, height = (float(number) for number in entry["bbox"])
    score = float(entry["score"])
    if not np.isfinite([x, y, width, height, score]).all() or min(width, height) <= 0:
        raise ValueError("its bbox or score is not of a box")
    return Detection(image, (x, y, width, height), score)
