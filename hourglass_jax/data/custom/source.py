"""Your own keypoints: a JSON file in COCO's format or a CSV file of DeepLabCut, and images."""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hourglass_jax.data import images
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.formats import coco_json, deeplabcut
from hourglass_jax.data.formats.coco_json import KeypointFile
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Number, Path, Text, Whole, field

logger = logging.getLogger(__name__)

HELD_OUT = 0.1
BOX = "box"


class CustomSource(Source):
    """Any category with any joints. The skeleton, its pairs and limbs come from the file.

    Without a validation file a seeded tenth of the images is held out. The box of a person or
    animal is the square around `bbox`, else around the labelled joints, times 1.25; annotations
    with neither are left out. PCK is relative to the box's side or, where `pck_reference` names two
    joints, "joint:joint", to their distance; half the box's side where one of them is missing.
    """

    name = "custom"

    @dataclasses.dataclass(frozen=True)
    class Options:
        """The files with annotations, where their images are, and how PCK is measured."""

        train_json: str = field(Path(), default="")
        image_dir: str = field(Path(), default="")
        validation_json: str = field(Path(), default="")
        validation_image_dir: str = field(Path(), default="")
        allow_missing: int = field(Whole(0), default=0)
        pck_reference: str = field(Text(), default=BOX)
        pck_threshold: float = field(Number(0, above=True), default=0.1)

    def __init__(self, **options):
        self.options = self.Options(**options)
        self.allow_missing = self.options.allow_missing
        self.tolerance = Tolerance(self.options.pck_threshold)
        self._train = self._read("train")
        self.labels = self._train.skeleton
        pairs = ", ".join(f"{a}/{b}" for a, b in self.labels.pairs) or "none"
        logger.info(
            "%s: %d joints (%s); pairs that a flip swaps, %s: %s",
            *(self.options.train_json, self.labels.num_joints, ", ".join(self.labels.joints)),
            *("as the file says" if self._train.pairs_given else "found in the names", pairs),
        )
        if not self.options.validation_json:
            logger.info("no validation_json: a seeded tenth of the images is held out")
        self._ends = self._reference_joints()

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        return iter(self._splits[split])

    def count(self, split: str) -> int:
        return sum(len(image.annotations) for image in self._splits[split])

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "skeleton": self.labels.to_json(),
            "pck_reference": self.options.pck_reference,
            "pck_threshold": self.options.pck_threshold,
            "allow_missing": self.allow_missing,
        }

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        paths = (self.options.train_json, self.options.validation_json)
        return [pathlib.Path(path).absolute() for path in paths if path]

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        paths: list[pathlib.Path] = []
        for split, file in self._files.items():
            self._check_folder(split)
            names = {image.name for image in file.images if image.annotations}
            paths += [pathlib.Path(name) for name in sorted(names) if os.path.isfile(name)]
        return paths

    @functools.cached_property
    def _files(self) -> dict[str, KeypointFile]:
        """The annotations by split, of those splits that have a file."""
        if not self.options.validation_json:
            return {"train": self._train}
        return {"train": self._train, "validation": self._read("validation")}

    @functools.cached_property
    def _splits(self) -> dict[str, list[AnnotatedImage]]:
        train, validation = self._train, self._files.get("validation")
        usable = self._usable(train)
        splits: dict[str, list[AnnotatedImage]]
        if validation is None:
            splits = dict(zip(("train", "validation"), hold_out(usable), strict=True))
        elif validation.skeleton.joints == train.skeleton.joints:
            splits = {"train": usable, "validation": self._usable(validation)}
        else:
            raise UserError(
                f"{self.options.validation_json} has the joints "
                f"{', '.join(validation.skeleton.joints)}, and {self.options.train_json} "
                f"{', '.join(train.skeleton.joints)}; they must be the same"
            )
        logger.info(
            "%d of %d annotations of %s have joints and a box",
            *(_count(usable), _count(train.images), self.options.train_json),
        )
        for split in splits.values():
            images.check_ids(a for image in split for a in image.annotations)
            images.check_files(split, self.allow_missing)
        return splits

    def _usable(self, file: KeypointFile) -> list[AnnotatedImage]:
        """Returns the images with annotations that can be learned from, sorted by name."""
        usable = []
        for image in sorted(file.images, key=lambda image: image.name):
            annotations = [self._measured(a) for a in image.annotations if has_box(a)]
            if annotations:
                usable.append(dataclasses.replace(image, annotations=annotations))
        return usable

    def _measured(self, annotation: Annotation) -> Annotation:
        """Returns the annotation with the reference that the config asks for."""
        if self._ends is None:
            return annotation
        joints, labelled = annotation.joints, annotation.labelled
        assert joints is not None and labelled is not None
        length = float(np.linalg.norm(np.subtract(*joints[self._ends])))
        measured = labelled[self._ends].all() and length > 0
        return dataclasses.replace(
            annotation, reference=length if measured else annotation.reference / 2
        )

    def _reference_joints(self) -> list[int] | None:
        """Returns the two joints whose distance is the reference; None for the box's side."""
        reference = self.options.pck_reference
        if reference == BOX:
            return None
        joints = reference.split(":")
        if len(joints) != 2 or joints[0] == joints[1]:
            raise UserError(
                f"config.data.pck_reference={reference!r} must be 'box' or two joints 'one:other'"
            )
        return [self.labels.index(joint) for joint in joints]

    def _read(self, split: str) -> KeypointFile:
        path = getattr(self.options, f"{split}_json")
        if not path:
            raise UserError(
                f"config.data.{split}_json is not set; name the file with the annotations"
            )
        file = pathlib.Path(path).absolute()
        reader = deeplabcut if file.suffix.lower() == ".csv" else coco_json
        return reader.read(file, self._folder(split))

    def _folder(self, split: str) -> pathlib.Path:
        own = self.options.validation_image_dir if split == "validation" else ""
        return pathlib.Path(own or self.options.image_dir).absolute()

    def _check_folder(self, split: str) -> None:
        own = split == "validation" and self.options.validation_image_dir
        name = "validation_image_dir" if own else "image_dir"
        value = getattr(self.options, name)
        if not value or not self._folder(split).is_dir():
            raise UserError(
                f"config.data.{name}={value!r} is not a folder; it must hold the images that "
                f"{getattr(self.options, f'{split}_json')} names"
            )


def hold_out(
    annotated: Sequence[AnnotatedImage],
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Splits images into those to train on and a seeded tenth to validate on."""
    ids = sorted(int(image.id) for image in annotated)
    if len(ids) < 2:
        raise UserError(
            f"there are {len(ids)} annotated images, too few to hold some out for validation; set "
            f"config.data.validation_json"
        )
    count = max(round(HELD_OUT * len(ids)), 1)
    held_out = set(np.random.default_rng(0).permutation(ids)[:count].tolist())
    return (
        [image for image in annotated if int(image.id) not in held_out],
        [image for image in annotated if int(image.id) in held_out],
    )


def has_box(annotation: Annotation) -> bool:
    """Returns whether there is a joint to learn, and a box to crop."""
    assert annotation.labelled is not None  # every keypoint file has joints
    enough = 1 if annotation.box is not None else 2
    return not annotation.crowd and int(annotation.labelled.sum()) >= enough


def _count(annotated: Sequence[AnnotatedImage]) -> int:
    return sum(len(image.annotations) for image in annotated)
