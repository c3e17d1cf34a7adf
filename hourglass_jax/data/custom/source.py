"""Your own keypoints: JSON files in COCO's format or CSV files of DeepLabCut, and images."""

import collections
import dataclasses
import functools
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hourglass_jax.data import images, same_images, sides
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.formats import annotation_files, keypoint_file, values
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.usable import usable
from hourglass_jax.errors import UserError
from hourglass_jax.rules import SWITCH, Number, Path, Text, Whole, field

logger = logging.getLogger(__name__)

HELD_OUT = 0.1
BOX = "box"


class CustomSource(Source):
    """Any category with any joints. The skeleton, its pairs and limbs come from the file.

    Without a validation file a seeded tenth of the images is held out. The box of a person or
    animal is the square around `bbox`, else around the labelled joints, times 1.25; annotations
    with neither are left out. PCK is relative to the box's side or, where `pck_reference` names two
    joints, "joint:joint", to their distance; half the box's side where one of them is missing.
    Joints that no annotation of `train_json` labels are left out.
    """

    name = "custom"
    version = 2

    @dataclasses.dataclass(frozen=True)
    class Options:
        """The files with annotations, where their images are, and how PCK is measured."""

        train_json: str = field(Path(), default="")
        image_dir: str = field(Path(), default="")
        validation_json: str = field(Path(), default="")
        validation_image_dir: str = field(Path(), default="")
        outside_files: bool = field(SWITCH, default=False)
        allow_missing: int = field(Whole(0), default=0)
        pck_reference: str = field(Text(), default=BOX)
        pck_threshold: float = field(Number(0, above=True), default=0.1)

    def __init__(self, **options):
        self.options = self.Options(**options)
        self.allow_missing = self.options.allow_missing
        self.tolerance = Tolerance(self.options.pck_threshold)
        every, labelled = self._files["train"].skeleton, self._labelled
        self.labels = keypoint_file.with_joints(self._files["train"], labelled).skeleton
        self._say_joints(every.joints)
        self.mirror_warning = self._mirror_warning()
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
        return [path for split in self._files for path in self._paths(split)]

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        paths: list[pathlib.Path] = []
        for split, file in self._files.items():
            self._check_folder(split)
            names = {image.name for image in file.images if image.annotations}
            paths += [pathlib.Path(name) for name in sorted(names) if images.is_file(name)]
        return paths

    @functools.cached_property
    def _files(self) -> dict[str, KeypointFile]:
        """The annotations by split, of those splits that have a file."""
        given = ["train", *(["validation"] if self.options.validation_json else [])]
        return {split: self._read(split) for split in given}

    @functools.cached_property
    def _labelled(self) -> list[str]:
        """The joints that are labelled somewhere; all of them if none is."""
        train = self._files["train"]
        return keypoint_file.labelled_joints(train) or list(train.skeleton.joints)

    @functools.cached_property
    def _splits(self) -> dict[str, list[AnnotatedImage]]:
        splits = {split: self._usable(file) for split, file in self._files.items()}
        if "validation" in splits:
            names = self.options.validation_json
            same_images.warn_of_seen(splits["validation"], splits["train"], names)
        else:
            logger.info("no validation_json: a seeded tenth of the images is held out")
            train, validation = hold_out(splits["train"])
            splits = {"train": train, "validation": validation}
        for split in splits.values():
            images.check_ids(a for image in split for a in image.annotations)
            images.check_files(split, self.allow_missing)
        return splits

    def _usable(self, file: KeypointFile) -> list[AnnotatedImage]:
        """Returns the images with annotations that can be learned from, sorted by name."""
        train = self._files["train"]
        if set(file.skeleton.joints) != set(train.skeleton.joints):
            raise UserError(
                f"{file.name} has the joints {', '.join(file.skeleton.joints)}, and {train.name} "
                f"{', '.join(train.skeleton.joints)}; they must be the same"
            )
        return [
            dataclasses.replace(image, annotations=[self._measured(a) for a in image.annotations])
            for image in usable(keypoint_file.with_joints(file, self.labels.joints))
        ]

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

    def _say_joints(self, every: Sequence[str]) -> None:
        pairs = ", ".join(f"{a}/{b}" for a, b in self.labels.pairs) or "none"
        given = self._files["train"].pairs_given
        logger.info(
            "%s: %d joints (%s); pairs that a flip swaps, %s: %s",
            *(self.options.train_json, self.labels.num_joints, ", ".join(self.labels.joints)),
            *("as the file says" if given else "found in the names", pairs),
        )
        nowhere = [joint for joint in every if joint not in self.labels.joints]
        if nowhere:
            logger.warning(
                "%s: left out, as no annotation labels them: %s",
                *(self.options.train_json, ", ".join(nowhere)),
            )

    def _mirror_warning(self) -> str:
        """Returns why flips may train wrong labels: sides that no pair tells apart."""
        labels, where = self.labels, self.options.train_json
        alone = sides.without_partner(labels.joints, labels.pairs)
        if alone:
            found = f"{where}: no pair includes {', '.join(alone)}, whose names tell a side"
        elif labels.num_joints > 1 and not (labels.pairs or self._files["train"].pairs_given):
            found = f"{where}: no pairs of left and right are found in the names of the joints"
        else:
            return ""
        return (
            f"{found}. Half of the images are mirrored in training, and there a joint of the left "
            f"side is labelled as the right one's. Name the pairs in the category of a JSON file, "
            f'"pairs": [["one", "other"]] ([] if there are none), or set config.augment.flip=0 and '
            f"config.eval.flip_test=False"
        )

    def _paths(self, split: str) -> list[pathlib.Path]:
        value = getattr(self.options, f"{split}_json")
        if not value:
            raise UserError(
                f"config.data.{split}_json is not set; name the file with the annotations"
            )
        return annotation_files.paths_of(value)

    def _read(self, split: str) -> KeypointFile:
        folder, outside = self._folder(split), self.options.outside_files
        read = functools.partial(annotation_files.read, folder=folder, outside=outside)
        file = keypoint_file.joined([read(path) for path in self._paths(split)])
        file.problems.say()
        return file

    def _folder(self, split: str) -> pathlib.Path:
        own = self.options.validation_image_dir if split == "validation" else ""
        folder = own or self.options.image_dir or self._project(split)
        return pathlib.Path(folder).absolute()

    def _project(self, split: str) -> str:
        """Returns the folder of a project of DeepLabCut, "" if the annotations are other files."""
        return annotation_files.project_of(getattr(self.options, f"{split}_json"))

    def _check_folder(self, split: str) -> None:
        own = split == "validation" and self.options.validation_image_dir
        name = "validation_image_dir" if own else "image_dir"
        value = getattr(self.options, name)
        if not (value or self._project(split)) or not self._folder(split).is_dir():
            raise UserError(
                f"config.data.{name}={value!r} is not a folder; it must hold the images that "
                f"{getattr(self.options, f'{split}_json')} names"
            )


def hold_out(
    annotated: Sequence[AnnotatedImage],
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Splits images into those to train on and a seeded tenth to validate on.

    Images of the same file or content are held out together.
    """
    if len(annotated) < 2:
        raise UserError(
            f"there are {len(annotated)} annotated images, too few to hold some out for "
            f"validation; set config.data.validation_json"
        )
    groups = same_images.same_images([image.name for image in annotated])
    group_of = dict(zip((image.id for image in annotated), groups, strict=True))
    if len(set(groups)) == 1:
        logger.warning(
            "all %d annotated images have the same content, so what is measured on those that are "
            "held out says nothing about others",
            len(annotated),
        )
        group_of = {image.id: i for i, image in enumerate(annotated)}
    sizes = collections.Counter(group_of.values())
    ids = sorted(group_of, key=values.in_order)
    left = max(round(HELD_OUT * len(ids)), 1)
    held_out = set()
    for i in np.random.default_rng(0).permutation(len(ids)):
        group = group_of[ids[i]]
        if group not in held_out and sizes[group] <= left:
            held_out.add(group)
            left -= sizes[group]
    held_out = held_out or {min(sizes, key=lambda group: sizes[group])}
    return (
        [image for image in annotated if group_of[image.id] not in held_out],
        [image for image in annotated if group_of[image.id] in held_out],
    )
