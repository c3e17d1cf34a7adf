"""COCO's boxes of 80 categories, or its people with their joints."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.coco.categories import CATEGORIES, CATEGORY_IDS
from hourglass_jax.data.file_source import FileOptions, FileSource
from hourglass_jax.data.formats import boxes, coco_json, keypoint_file
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError
from hourglass_jax.rules import SWITCH, Path, field

_FOLDERS = {"train": "train2017", "validation": "val2017"}


class CocoDetectionSource(FileSource):
    """Lin et al., ECCV 2014: boxes in everyday images, 118,287 to train on and 5,000 to validate.

    With `joints`, people alone, with their 17 joints; training then leaves out images without
    people, as CenterNet does. Crowds stay, marked as such.
    """

    name = "coco_detection"

    @dataclasses.dataclass(frozen=True)
    class Options(FileOptions):
        """Where the files are; an empty path stands for the official layout in `manual_dir`."""

        manual_dir: str = field(Path(), default="")
        joints: bool = field(SWITCH, default=False)

    options: Options

    def __init__(self, **options):
        super().__init__(self.Options(**options))
        self.categories, self.category_ids = CATEGORIES, CATEGORY_IDS
        if self.options.joints:
            self.labels, self.categories, self.category_ids = COCO, CATEGORIES[:1], CATEGORY_IDS[:1]

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"joints": self.options.joints, "allow_missing": self.allow_missing}

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        return [path for split in self.splits for path in self._paths(split)]

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        files: list[pathlib.Path] = []
        for split in self.splits:
            folder = self._folder(split)
            if not folder.is_dir():
                raise UserError(
                    f"the folder {folder} is missing; unpack the images in config.data.manual_dir, "
                    f"or set config.data.image_dir and config.data.validation_image_dir"
                )
            files += sorted(folder.iterdir())
        return files

    def _named(self, split: str) -> str:
        kind = "person_keypoints" if self.options.joints else "instances"
        default = self._official("annotations", f"{kind}_{_FOLDERS[split]}.json")
        return super()._named(split) or default

    def _paths(self, split: str) -> list[pathlib.Path]:
        paths = super()._paths(split)
        for path in paths:
            if not path.is_file():
                raise UserError(
                    f"{path} is missing; unpack annotations_trainval2017.zip in "
                    f"config.data.manual_dir, or set config.data.{split}_json"
                )
        return paths

    def _folder(self, split: str) -> pathlib.Path:
        given = {"train": self.options.image_dir, "validation": self.options.validation_image_dir}
        return pathlib.Path(given[split] or self._official(_FOLDERS[split])).absolute()

    def _official(self, *names: str) -> str:
        return str(pathlib.Path(self.options.manual_dir, *names))

    def _read_file(
        self, path: pathlib.Path, folder: pathlib.Path | None, split: str
    ) -> KeypointFile:
        file = coco_json.read(path, folder, outside=self.options.outside_files, boxes=True)
        if self.options.joints and file.skeleton.joints != COCO.joints:
            raise UserError(
                f"{path} has the joints {', '.join(file.skeleton.joints) or 'of nobody'}, not "
                f"COCO's 17; use configs/custom_boxes.py for others"
            )
        return file

    def _numbered(self, split: str, files: Sequence[KeypointFile]) -> list[KeypointFile]:
        return [keypoint_file.with_categories(file, self.categories) for file in files]

    def _usable(self, file: KeypointFile) -> list[AnnotatedImage]:
        usable = boxes.with_boxes(file)
        if self.options.joints and file is self._files["train"]:
            return [image for image in usable if image.annotations]
        return usable
