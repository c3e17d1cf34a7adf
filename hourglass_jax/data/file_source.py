"""Data sets whose files the config names: annotations to train and validate on, and images."""

import collections
import dataclasses
import functools
import logging
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from hourglass_jax.data import images, same_images
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.data.formats import annotation_files, keypoint_file, values
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.errors import UserError
from hourglass_jax.rules import SWITCH, Path, Whole, field

logger = logging.getLogger(__name__)

HELD_OUT = 0.1


@dataclasses.dataclass(frozen=True)
class FileOptions:
    """The files with annotations, and where their images are."""

    train_json: str = field(Path(), default="")
    image_dir: str = field(Path(), default="")
    validation_json: str = field(Path(), default="")
    validation_image_dir: str = field(Path(), default="")
    outside_files: bool = field(SWITCH, default=False)
    allow_missing: int = field(Whole(0), default=0)


class FileSource(Source):
    """Base class of data sets in files that the config names.

    A subclass reads them in `_read_file`, and selects what can be used in `_usable`; it may take
    them from elsewhere in `_named` and `_folder`. Without a validation file a seeded tenth of the
    images is held out.
    """

    def __init__(self, options: FileOptions):
        self.options = options
        self.allow_missing = options.allow_missing
        self.held_out = () if self._named("validation") else ("validation",)

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        return iter(self._splits[split])

    def count(self, split: str) -> int:
        return sum(len(image.annotations) for image in self._splits[split])

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        return [path for file in self._files.values() for path in dict.fromkeys(file.files)]

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        paths: list[pathlib.Path] = []
        for split, file in self._files.items():
            self._check_folder(split)
            names = {image.file for image in self._used(file)}
            paths += [pathlib.Path(name) for name in sorted(names) if images.is_file(name)]
        return paths

    def _read_file(
        self, path: pathlib.Path, folder: pathlib.Path | None, split: str
    ) -> KeypointFile:
        """Reads a split of a file of annotations; see `annotation_files.read`."""
        raise NotImplementedError

    def _numbered(self, split: str, files: Sequence[KeypointFile]) -> Sequence[KeypointFile]:
        """Returns a split's files with their categories numbered alike."""
        return files

    def _usable(self, file: KeypointFile) -> list[AnnotatedImage]:
        """Returns the images that can be learned from, sorted by name."""
        raise NotImplementedError

    def _used(self, file: KeypointFile) -> list[AnnotatedImage]:
        """Returns the images whose files matter."""
        return [image for image in file.images if image.annotations]

    @functools.cached_property
    def _files(self) -> dict[str, KeypointFile]:
        """The annotations by split, of those splits that have a file."""
        given = ["train", *(["validation"] if self._named("validation") else [])]
        return {split: self._read(split) for split in given}

    @functools.cached_property
    def _splits(self) -> dict[str, list[AnnotatedImage]]:
        splits = {split: self._usable(file) for split, file in self._files.items()}
        if "validation" in splits:
            where = self._named("validation")
            same_images.warn_of_seen(splits["validation"], splits["train"], where)
        else:
            splits = _with_validation(splits["train"])
        for split in splits.values():
            images.check_ids(a for image in split for a in image.annotations)
            images.check_files(split, self.allow_missing)
        return splits

    def _named(self, split: str) -> str:
        """Returns what names a split's files of annotations; "" if nothing does."""
        train, own = self.options.train_json, getattr(self.options, f"{split}_json")
        return own if own or split == "train" else annotation_files.validation_of(train)

    def _paths(self, split: str) -> list[pathlib.Path]:
        value = self._named(split)
        if not value:
            raise UserError(
                f"config.data.{split}_json is not set; name the file with the annotations"
            )
        return annotation_files.paths_of(value)

    def _read(self, split: str) -> KeypointFile:
        folder = self._folder(split)
        files = [self._read_file(path, folder, split) for path in self._paths(split)]
        for path, file in zip(self._paths(split), files, strict=True):
            file.files[:] = file.files or [path]
        file = keypoint_file.joined(self._numbered(split, files))
        file.problems.say()
        return file

    def _folder(self, split: str) -> pathlib.Path | None:
        """Returns the folder of a split's images; None if they lie near the annotations."""
        own = self.options.validation_image_dir if split == "validation" else ""
        folder = own or self.options.image_dir
        return pathlib.Path(folder).absolute() if folder else None

    def _check_folder(self, split: str) -> None:
        own = split == "validation" and self.options.validation_image_dir
        name = "validation_image_dir" if own else "image_dir"
        value, folder = getattr(self.options, name), self._folder(split)
        if folder is not None and not folder.is_dir():
            raise UserError(
                f"config.data.{name}={value!r} is not a folder; it must hold the images that "
                f"{self._named(split)} names"
            )


def _with_validation(train: list[AnnotatedImage]) -> dict[str, list[AnnotatedImage]]:
    """Returns both splits of images of which none is to validate on."""
    if len(train) == 1:  # a first try of a new tool
        logger.warning(
            "there is one annotated image, %s: it is trained on and validated on, so what is "
            "measured says nothing about others",
            train[0].name,
        )
        return {"train": train, "validation": train}
    logger.info("no validation_json: a seeded tenth of the images is held out")
    train, validation = hold_out(train)
    return {"train": train, "validation": validation}


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
    groups = same_images.groups_of(annotated)
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
