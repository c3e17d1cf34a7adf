"""Your own boxes: files of labelling tools, and images."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.file_source import FileOptions, FileSource
from hourglass_jax.data.formats import annotation_files, boxes, keypoint_file
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.rules import SWITCH, field


class CustomBoxesSource(FileSource):
    """Boxes of any categories, and joints where categories have them.

    The categories are those of which `train_json` has a box. Where `exhaustive` is False, or an
    image's `all_people_listed` is false in the file, there may be objects without a box.
    """

    name = "custom_boxes"

    @dataclasses.dataclass(frozen=True)
    class Options(FileOptions):
        """The files with annotations, where their images are, and whether they list everything."""

        exhaustive: bool = field(SWITCH, default=True)

    options: Options

    def __init__(self, **options):
        super().__init__(self.Options(**options))
        self.labels = self._files["train"].skeleton  # which finds the categories, too
        self.category_ids = _whole(self._ids)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "categories": self.categories,
            "skeleton": self.labels.to_json(),
            "exhaustive": self.options.exhaustive,
            "allow_missing": self.allow_missing,
        }

    def _read_file(
        self, path: pathlib.Path, folder: pathlib.Path | None, split: str
    ) -> KeypointFile:
        outside = self.options.outside_files
        return annotation_files.read(path, folder, outside=outside, boxes=True, split=split)

    def _numbered(self, split: str, files: Sequence[KeypointFile]) -> list[KeypointFile]:
        if split == "train":
            seen = boxes.seen_categories(files)
            self.categories, self._ids = tuple(seen), tuple(seen.values())
        return [keypoint_file.with_categories(file, self.categories) for file in files]

    def _usable(self, file: KeypointFile) -> list[AnnotatedImage]:
        return [
            dataclasses.replace(image, exhaustive=image.exhaustive and self.options.exhaustive)
            for image in boxes.with_boxes(file)
        ]

    def _used(self, file: KeypointFile) -> list[AnnotatedImage]:
        return file.images


def _whole(ids: Sequence[int | str | None]) -> tuple[int, ...]:
    """Returns the ids of categories if they can stand in results; else none."""
    whole = tuple(id for id in ids if isinstance(id, int))
    return whole if len(set(whole)) == len(ids) else ()
