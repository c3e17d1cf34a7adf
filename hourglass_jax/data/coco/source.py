"""COCO's people with keypoints."""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hourglass_jax.data import images
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.coco.evaluation import KeypointPrecision
from hourglass_jax.data.formats import coco_json
from hourglass_jax.data.formats.coco_json import KeypointFile
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Path, Whole, field
from hourglass_jax.tasks.base import Metric

# Fields of an annotation that COCOeval reads.
_EVALUATED = {"id", "image_id", "bbox", "area", "iscrowd", "keypoints", "num_keypoints"}


class CocoSource(Source):
    """Lin et al., ECCV 2014: people in everyday images, 17 joints.

    Training uses people with at least one joint. Evaluation uses the boxes of people with joints
    or, with `detections` and --mode=evaluate, the boxes of a detector. Those may lie over people
    without joints, which COCO's evaluation counts neither for nor against. The box is the square
    around `bbox`, 1.25 times as large, and PCK is relative to the square around `bbox`.
    """

    name = "coco"
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
            splits = {"validation": _detected(self._detections)}
        else:
            splits = {
                "train": _annotated(_read(self._path("train_json"), self._path("image_dir"))),
                "validation": _annotated(self._validation),
            }
        for split in splits.values():
            images.check_ids(a for image in split for a in image.annotations)
            images.check_files(split, self.allow_missing)
        return splits

    @functools.cached_property
    def _validation(self) -> KeypointFile:
        folder = self._path("validation_image_dir")
        return _read(self._path("validation_json"), folder, evaluated=True)

    @functools.cached_property
    def _detections(self) -> "dict[str, Detection]":
        return _read_detections(pathlib.Path(self.options.detections), self._validation)


class Detection(NamedTuple):
    """A detected person: the image, its box (x, y, width, height) and the detector's score."""

    image: AnnotatedImage
    box: tuple[float, float, float, float]
    score: float


def _read(path: pathlib.Path, folder: pathlib.Path, *, evaluated: bool = False) -> KeypointFile:
    """Reads annotations; `evaluated` ones must have all fields that COCO's evaluation reads."""
    file = coco_json.read(path, folder, required=_EVALUATED if evaluated else ())
    if file.skeleton.joints != COCO.joints:
        raise UserError(
            f"{path} has the joints {', '.join(file.skeleton.joints)}, not COCO's 17; use "
            f"configs/custom.py for other joints"
        )
    return file


def _annotated(file: KeypointFile) -> list[AnnotatedImage]:
    """Returns the images of people with a box and joints, sorted by name."""
    annotated = []
    for image in sorted(file.images, key=lambda image: image.name):
        people = [a for a in image.annotations if _counts(a)]
        if people:
            annotated.append(dataclasses.replace(image, annotations=people))
    return annotated


def _counts(annotation: Annotation) -> bool:
    return annotation.box is not None and not annotation.crowd and bool(np.any(annotation.labelled))


def _detected(detections: Mapping[str, Detection]) -> list[AnnotatedImage]:
    """Returns the images of detected boxes; nothing is labelled, as their people are unknown."""
    nothing = np.zeros(COCO.num_joints, bool)
    by_name, people = {}, collections.defaultdict(list)
    for id, (image, box, _) in detections.items():
        by_name[image.name] = image
        people[image.name].append(
            coco_json.annotation(id, np.zeros((COCO.num_joints, 2)), nothing, nothing, box)
        )
    return [
        images.image_file(pathlib.Path(name), people[name], id=by_name[name].id)
        for name in sorted(by_name)
    ]


def _read_detections(path: pathlib.Path, annotations: KeypointFile) -> dict[str, Detection]:
    """Returns each detected person by "image_id/index in the file"."""
    by_id = {int(image.id): image for image in annotations.images}
    detections = {}
    try:
        for i, entry in enumerate(json.loads(path.read_bytes())):
            if entry["category_id"] != annotations.category_id:
                continue
            box, score = tuple(float(x) for x in entry["bbox"]), float(entry["score"])
            if len(box) != 4 or not np.isfinite([*box, score]).all() or min(box[2:]) <= 0:
                raise ValueError(f"entry {i} has the bbox {entry['bbox']} and the score {score}")
            image_id = coco_json.whole(entry["image_id"])
            detections[f"{image_id}/{i}"] = Detection(by_id[image_id], box, score)
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as detections in COCO's results format "
            f"({type(error).__name__}: {error})"
        ) from None
    if not detections:
        raise UserError(f"{path} holds no detections of the category {annotations.category_id}")
    return detections
