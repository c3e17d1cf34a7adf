"""Your own keypoints: a JSON in COCO's format or a CSV of DeepLabCut's, and pictures."""

import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from hourglass_jax.data import images as photographs
from hourglass_jax.data import records
from hourglass_jax.data.formats import coco_json as keypoint_json
from hourglass_jax.data.formats import deeplabcut as keypoint_csv
from hourglass_jax.data.formats.coco_json import BOX_MARGIN, Instance, KeypointFile
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

HELD_OUT = 0.1
BOX = "box"


class CustomPose(records.PoseBuilder):
    """Any category with any joints. The skeleton, its pairs and limbs come from the file.

    Without a validation file a seeded tenth of the pictures is held out. A person's box is the
    square around their `bbox`, else around their labelled joints, times 1.25; who has neither is
    left out. PCK is relative to the box's side or, where `pck_reference` names two joints,
    "joint:joint", to their distance; people who lack one of the two are measured by half the box.
    """

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        file = _read(config.train_json, "train_json")
        pairs = ", ".join(f"{a}/{b}" for a, b in file.skeleton.pairs) or "none"
        logger.info(
            "%s: %d joints (%s); pairs that a flip swaps, %s: %s",
            *(config.train_json, file.skeleton.num_joints, ", ".join(file.skeleton.joints)),
            *("as the file says" if file.pairs_given else "found in the names", pairs),
        )
        if not config.get("validation_json", ""):
            logger.info("no validation_json: a seeded tenth of the pictures is held out")
        reference = config.pck_reference
        if reference != BOX:
            for joint in _two_joints(reference):
                file.skeleton.index(joint)
        return {
            "skeleton": file.skeleton.to_json(),
            "pck_reference": reference,
            "pck_threshold": config.pck_threshold,
            "allow_missing": config.get("allow_missing", 0),
        }

    @classmethod
    def paths(cls, config: ConfigDict) -> dict[str, str]:
        folder = config.image_dir
        paths = {
            "train_json": config.train_json,
            "image_dir": folder,
            "validation_json": config.get("validation_json", ""),
            "validation_image_dir": config.get("validation_image_dir", "") or folder,
        }
        return {name: str(pathlib.Path(path).absolute()) for name, path in paths.items() if path}

    @classmethod
    def source_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        paths = cls.paths(config)
        return [pathlib.Path(paths[n]) for n in ("train_json", "validation_json") if n in paths]

    @classmethod
    def large_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        files, paths = [], cls.paths(config)
        for split in ("train", "validation"):
            if f"{split}_json" not in paths:
                continue
            name = "image_dir" if split == "train" else "validation_image_dir"
            folder = pathlib.Path(paths.get(name, ""))
            if name not in paths or not folder.is_dir():
                raise UserError(
                    f"config.data.{name}={config.get(name, '')!r} is no folder; it must hold the "
                    f"pictures that {paths[f'{split}_json']} names"
                )
            names = {i.image for i in _read(paths[f"{split}_json"], f"{split}_json").instances}
            files += [path for n in sorted(names) if os.path.isfile(path := folder / n)]
        return files

    def __init__(self, *, config: records.PoseConfig, **fields):
        self.SKELETON = Skeleton(**config.settings["skeleton"])
        self.MEASURE = self.METRIC = f"PCK@{config.settings['pck_threshold']}"
        super().__init__(config=config, **fields)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        paths = self.builder_config.paths
        train = _read(paths["train_json"], "train_json")
        usable = [instance for instance in train.instances if has_box(instance)]
        if "validation_json" in paths:
            validation = _read(paths["validation_json"], "validation_json")
            if validation.skeleton.joints != train.skeleton.joints:
                raise UserError(
                    f"{paths['validation_json']} has the joints "
                    f"{', '.join(validation.skeleton.joints)}, and {paths['train_json']} "
                    f"{', '.join(train.skeleton.joints)}; they must be the same"
                )
            parts = usable, [instance for instance in validation.instances if has_box(instance)]
        else:
            parts = hold_out(usable)
        logger.info(
            "%d of %d annotations of %s have joints and a box",
            *(len(usable), len(train.instances), paths["train_json"]),
        )
        self.announce(sum(map(len, parts)))
        folders = paths["image_dir"], paths.get("validation_image_dir", paths["image_dir"])
        splits = {}
        for split, instances, folder in zip(("train", "validation"), parts, folders, strict=True):
            people = [self._person(instance) for instance in instances]
            source = photographs.Folder(pathlib.Path(folder))
            photographs.check(people, source, self.builder_config.settings["allow_missing"])
            splits[split] = self._generate_examples(people, source)
        return splits

    def _generate_examples(
        self, people: Sequence[photographs.Person], source: photographs.Folder
    ) -> Iterator[tuple[str, dict]]:
        allowed = self.builder_config.settings["allow_missing"]
        yield from photographs.records_of(people, source, self.record, allowed)

    def _person(self, instance: Instance) -> photographs.Person:
        center, size = instance.square()
        return photographs.Person(
            id=f"{instance.image_id}/{instance.id}",
            image=instance.image,
            joints_source=instance.joints_source,
            labelled=instance.labelled,
            visible=instance.visible,
            center=center,
            size=size,
            reference=self._reference(instance, size / BOX_MARGIN),
            picture_size=instance.picture_size,
        )

    def _reference(self, instance: Instance, side: float) -> float:
        name = self.builder_config.settings["pck_reference"]
        if name == BOX:
            return side
        ends = [self.SKELETON.index(joint) for joint in _two_joints(name)]
        length = np.linalg.norm(np.subtract(*instance.joints_source[ends]))
        return float(length) if instance.labelled[ends].all() and length > 0 else side / 2


def hold_out(instances: Sequence[Instance]) -> tuple[list[Instance], list[Instance]]:
    """Splits annotations into those to train on and those of a seeded tenth of the pictures."""
    images = sorted({instance.image_id for instance in instances})
    if len(images) < 2:
        raise UserError(
            f"there are {len(images)} annotated pictures, of which none can be held out; set "
            f"config.data.validation_json"
        )
    count = max(round(HELD_OUT * len(images)), 1)
    held_out = set(np.random.default_rng(0).permutation(images)[:count].tolist())
    return (
        [instance for instance in instances if instance.image_id not in held_out],
        [instance for instance in instances if instance.image_id in held_out],
    )


def has_box(instance: Instance) -> bool:
    """Tells whether there is a joint to learn, and a box to find it in."""
    enough = 1 if instance.box is not None else 2
    return not instance.crowd and int(instance.labelled.sum()) >= enough


def _two_joints(reference: str) -> list[str]:
    joints = reference.split(":")
    if len(joints) != 2 or joints[0] == joints[1]:
        raise UserError(
            f"config.data.pck_reference={reference!r} is neither 'box' nor two joints 'one:other'"
        )
    return joints


def _read(path: str, field: str) -> KeypointFile:
    if not path:
        raise UserError(f"config.data.{field} is not set; name the file with the annotations")
    file = pathlib.Path(path)
    return keypoint_csv.read(file) if file.suffix.lower() == ".csv" else keypoint_json.read(file)
