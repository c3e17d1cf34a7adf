"""MPII Human Pose from its two official downloads."""

import collections
import dataclasses
import functools
import importlib.resources
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hourglass_jax.data import images, orientation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.mpii import annotations, submission
from hourglass_jax.data.mpii.annotations import Entry
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Path, Whole, field
from hourglass_jax.tasks.base import Instance

logger = logging.getLogger(__name__)

ANNOTATIONS = "mpii_human_pose_v1_u12_1.mat"
UNPACKED = "mpii_human_pose_v1_u12_2"  # the folder that the annotations' zip unpacks to
ARCHIVE = "mpii_human_pose_v1.tar.gz"


class MpiiSource(Source):
    """25,000 images of people in 410 activities (Andriluka et al., CVPR 2014).

    The splits `train` and `validation` are those of Tompson et al. (CVPR 2015), 22,246 and 2,958
    people of the training images; `test` has everybody with a position and a scale in the test
    images, whose joints are not public. The box is the original's: its centre lies 15 px per unit
    of scale below objpos, and its side is 1.25 times 200 px per unit of scale.
    """

    name = "mpii"
    labels = MPII
    tolerance = Tolerance(0.5, heads=True)
    submit = "test"

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Where the files are, and how many annotations may lack an image."""

        manual_dir: str = field(Path(), default="")
        allow_missing: int = field(Whole(0), default=0)

    def __init__(self, **options):
        self.options = self.Options(**options)
        self.allow_missing = self.options.allow_missing
        self._root = pathlib.Path(self.options.manual_dir)

    @property
    def splits(self) -> Sequence[str]:
        return [split for split in self._splits if self._splits[split] or split != self.submit]

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        if self._folder.is_dir():
            return iter(images.in_folder(self._folder, self._splits[split]))
        return images.in_archive(self._archive, "images/", self._splits[split])

    def count(self, split: str) -> int:
        return sum(map(len, self._splits[split].values()))

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"allow_missing": self.allow_missing}

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        return [self._annotations_file]

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        if self._folder.is_dir():
            return sorted(self._folder.iterdir())
        if self._archive.is_file():
            return [self._archive]
        raise UserError(
            f"config.data.manual_dir={self.options.manual_dir!r} holds neither images/ nor "
            f"{ARCHIVE}; download the images from http://human-pose.mpi-inf.mpg.de"
        )

    def write_submission(self, found: Mapping[str, Instance], folder: pathlib.Path) -> pathlib.Path:
        path = folder / submission.FILE
        submission.write(path, self._entries, found)
        return path

    @property
    def _folder(self) -> pathlib.Path:
        return self._root / "images"

    @property
    def _archive(self) -> pathlib.Path:
        return self._root / ARCHIVE

    @property
    def _annotations_file(self) -> pathlib.Path:
        for path in (self._root / ANNOTATIONS, self._root / UNPACKED / ANNOTATIONS):
            if path.is_file():
                return path
        raise UserError(
            f"config.data.manual_dir={self.options.manual_dir!r} lacks {ANNOTATIONS}; unpack "
            f"mpii_human_pose_v1_u12_2.zip there, from http://human-pose.mpi-inf.mpg.de"
        )

    @functools.cached_property
    def _entries(self) -> list[Entry]:
        logger.info("reading %s", self._annotations_file)
        return annotations.read(self._annotations_file)

    @functools.cached_property
    def _splits(self) -> dict[str, dict[str, list[Annotation]]]:
        splits = split(self._entries, self.allow_missing)
        images.check_ids(a for part in splits.values() for people in part.values() for a in people)
        if self._folder.is_dir():  # an archive must be read to its end to know what it lacks
            for part in splits.values():
                images.check_files(images.in_folder(self._folder, part), self.allow_missing)
            names = [str(self._folder / name) for part in splits.values() for name in part]
            orientation.check_stored(names, str(self._annotations_file))
        return splits


@functools.cache
def customary_split() -> dict[str, np.ndarray]:
    """Returns for `train` and `validation` the people as (annolist index, annorect index) from 1.

    This is the split of Tompson et al. (CVPR 2015) as HRNet and pytorch-pose distribute it.
    """
    file = importlib.resources.files("hourglass_jax.data.mpii") / "split.npz"
    with file.open("rb") as stream, np.load(stream) as arrays:
        return {
            name: np.stack([np.cumsum(arrays[f"{name}_photograph_steps"]),
                            arrays[f"{name}_person"]], axis=1).astype(int)
            for name in ("train", "validation")
        }  # fmt: skip


def split(
    entries: Sequence[Entry], allow_missing: int = 0
) -> dict[str, dict[str, list[Annotation]]]:
    """Returns the annotations of each split, by the image's name.

    Raises:
      UserError: more people of the customary split than `allow_missing` are not in the file.
    """
    splits: dict[str, dict[str, list[Annotation]]] = {}
    for name, indices in customary_split().items():
        splits[name] = collections.defaultdict(list)
        lost = []
        for image, person in indices.tolist():
            problem = _problem(entries, image, person, measured=name == "validation")
            if problem:
                lost.append(f"annolist({image}).annorect({person}) {problem}")
            else:
                entry = entries[image - 1]
                splits[name][entry.name].append(_measured(entry.annotations[person - 1]))
        if len(lost) > allow_missing:
            raise UserError(
                f"{len(lost)} people of the customary {name} split are not in {ANNOTATIONS}: "
                f"{'; '.join(lost[:3])}{'; ...' if len(lost) > 3 else ''}. Take the official file, "
                f"or go on without them with config.data.allow_missing={len(lost)}"
            )
    splits["test"] = collections.defaultdict(list)
    for entry in entries:
        for annotation in entry.annotations:
            if not entry.train and _has_box(annotation):
                splits["test"][entry.name].append(_measured(annotation))
    return {name: dict(part) for name, part in splits.items()}


def _problem(entries: Sequence[Entry], image: int, person: int, measured: bool) -> str | None:
    if image > len(entries) or person > len(entries[image - 1].annotations):
        return "does not exist"
    annotation = entries[image - 1].annotations[person - 1]
    if not _has_box(annotation):
        return "has no objpos or scale"
    if not np.any(annotation.labelled):
        return "has no joints"
    if measured and not 0 < annotation.reference < math.inf:
        return "has no head box"
    return None


def _has_box(annotation: Annotation) -> bool:
    return bool(np.isfinite(annotation.center).all() and 0 < annotation.size < math.inf)


def _measured(annotation: Annotation) -> Annotation:
    """Returns the annotation with a usable reference: 1 for people without a head box."""
    if 0 < annotation.reference < math.inf:
        return annotation
    return dataclasses.replace(annotation, reference=1.0)
