"""Your own keypoints: files of labelling tools, and images or videos."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hourglass_jax.data import sides
from hourglass_jax.data.base import AnnotatedImage, Annotation, Tolerance
from hourglass_jax.data.file_source import FileOptions, FileSource
from hourglass_jax.data.formats import annotation_files, keypoint_file
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.usable import usable
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Number, Text, field

logger = logging.getLogger(__name__)

BOX = "box"


class CustomSource(FileSource):
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
    class Options(FileOptions):
        """The files with annotations, where their images are, and how PCK is measured."""

        pck_reference: str = field(Text(), default=BOX)
        pck_threshold: float = field(Number(0, above=True), default=0.1)

    options: Options

    def __init__(self, **options):
        super().__init__(self.Options(**options))
        self.tolerance = Tolerance(self.options.pck_threshold)
        every, labelled = self._files["train"].skeleton, self._labelled
        self.labels = keypoint_file.with_joints(self._files["train"], labelled).skeleton
        self._say_joints(every.joints)
        self.mirror_warning = self._mirror_warning()
        self._ends = self._reference_joints()

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "skeleton": self.labels.to_json(),
            "pck_reference": self.options.pck_reference,
            "pck_threshold": self.options.pck_threshold,
            "allow_missing": self.allow_missing,
        }

    @functools.cached_property
    def _labelled(self) -> list[str]:
        """The joints that are labelled somewhere; all of them if none is."""
        train = self._files["train"]
        return keypoint_file.labelled_joints(train) or list(train.skeleton.joints)

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

    def _read_file(
        self, path: pathlib.Path, folder: pathlib.Path | None, split: str
    ) -> KeypointFile:
        outside = self.options.outside_files
        return annotation_files.read(path, folder, outside=outside, split=split)
