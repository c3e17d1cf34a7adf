"""MPII Human Pose from its two official downloads."""

import functools
import importlib.resources
import logging
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from hourglass_jax.data import images as photographs
from hourglass_jax.data import records
from hourglass_jax.data.mpii import annotations, submission
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

ANNOTATIONS = "mpii_human_pose_v1_u12_1.mat"
UNPACKED = "mpii_human_pose_v1_u12_2"  # the folder that the annotations' zip unpacks to
ARCHIVE = "mpii_human_pose_v1.tar.gz"


class MpiiPose(records.PoseBuilder):
    """25,000 photographs of people in 410 activities (Andriluka et al., CVPR 2014).

    The splits `train` and `validation` are those of Tompson et al. (CVPR 2015), 22,246 and 2,958
    people of the training pictures; `test` is everybody with a position and a scale in the test
    pictures, whose joints are not public. The box is the original's: its middle 15 units of scale
    below objpos, its side 1.25 times 200 px a unit.
    """

    SKELETON = MPII
    MEASURE = METRIC = "PCKh@0.5"
    SUBMIT = "test"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Place {ANNOTATIONS} and images/ or {ARCHIVE} in <manual_dir>, from "
        f"http://human-pose.mpi-inf.mpg.de/#download."
    )

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        return {"allow_missing": config.get("allow_missing", 0)}

    @classmethod
    def source_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        return [_annotations_file(pathlib.Path(config.manual_dir))]

    @classmethod
    def large_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        manual_dir = pathlib.Path(config.manual_dir)
        folder, archive = manual_dir / "images", manual_dir / ARCHIVE
        if folder.is_dir():
            return sorted(folder.iterdir())
        if archive.is_file():
            return [archive]
        raise UserError(
            f"data.manual_dir={str(manual_dir)!r} holds neither images/ nor {ARCHIVE}; download "
            f"the pictures from http://human-pose.mpi-inf.mpg.de"
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        root = pathlib.Path(dl_manager.manual_dir)
        logger.info("reading %s", _annotations_file(root))
        entries = annotations.read(_annotations_file(root))
        everybody = split(entries, self._allowed)
        if (root / "images").is_dir():
            pictures = photographs.Folder(root / "images")
        else:
            pictures = photographs.Archive(root / ARCHIVE, "images/")
        together = [person for people in everybody.values() for person in people]
        photographs.check(together, pictures, self._allowed)
        self.announce(len(together))
        return {
            name: self._generate_examples(people, pictures)
            for name, people in everybody.items()
            if people or name in (self.TRAIN, self.REPORT)
        }

    def write_submission(self, joints, manual_dir, folder) -> pathlib.Path:
        path = folder / submission.FILE
        submission.write(path, annotations.read(_annotations_file(manual_dir)), joints)
        return path

    @property
    def _allowed(self) -> int:
        return self.builder_config.settings["allow_missing"] if self.builder_config else 0

    def _generate_examples(self, people, pictures) -> Iterator[tuple[str, dict]]:
        yield from photographs.records_of(people, pictures, self.record, self._allowed)


def _annotations_file(root: pathlib.Path) -> pathlib.Path:
    for path in (root / ANNOTATIONS, root / UNPACKED / ANNOTATIONS):
        if path.is_file():
            return path
    raise UserError(
        f"data.manual_dir={str(root)!r} lacks {ANNOTATIONS}; unpack mpii_human_pose_v1_u12_2.zip "
        f"there, from http://human-pose.mpi-inf.mpg.de"
    )


@functools.cache
def customary_split() -> dict[str, np.ndarray]:
    """Returns for `train` and `validation` the people as (annolist index, annorect index) from 1.

    The split of Tompson et al. (CVPR 2015) as HRNet and pytorch-pose distribute it.
    """
    file = importlib.resources.files("hourglass_jax.data.mpii") / "split.npz"
    with file.open("rb") as stream, np.load(stream) as arrays:
        return {
            name: np.stack([np.cumsum(arrays[f"{name}_photograph_steps"]),
                            arrays[f"{name}_person"]], axis=1).astype(int)
            for name in ("train", "validation")
        }  # fmt: skip


def split(
    entries: list[annotations.Photograph], allow_missing: int = 0
) -> dict[str, list[photographs.Person]]:
    """Returns the people of each split.

    Raises:
      UserError: more people of the customary split than `allow_missing` are not in the file.
    """
    people, lost = {}, []
    for name, indices in customary_split().items():
        people[name] = []
        for photograph, person in indices.tolist():
            problem = _problem(entries, photograph, person, measured=name == "validation")
            if problem:
                lost.append(f"annolist({photograph}).annorect({person}) {problem}")
            else:
                people[name].append(_person(entries[photograph - 1], person))
    if len(lost) > allow_missing:
        raise UserError(
            f"{len(lost)} people of the customary split are not in {ANNOTATIONS}: "
            f"{'; '.join(lost[:3])}{'; ...' if len(lost) > 3 else ''}. Take the official file, or "
            f"go on without them with config.data.allow_missing={len(lost)}"
        )
    people["test"] = [
        _person(entry, i)
        for entry in entries
        if not entry.train
        for i, annotation in enumerate(entry.people, start=1)
        if annotation.has_box
    ]
    return people


def _problem(entries, photograph: int, person: int, measured: bool) -> str | None:
    if photograph > len(entries) or person > len(entries[photograph - 1].people):
        return "does not exist"
    annotation = entries[photograph - 1].people[person - 1]
    if not annotation.has_box:
        return "has no objpos or scale"
    if not annotation.labelled.any():
        return "has no joints"
    if measured and not 0 < annotation.head_size < math.inf:
        return "has no head box"
    return None


def _person(entry: annotations.Photograph, index: int) -> photographs.Person:
    annotation = entry.people[index - 1]
    known = 0 < annotation.head_size < math.inf
    return photographs.Person(
        id=f"{entry.name}/{index}",
        image=entry.name,
        joints_source=annotation.joints_source,
        labelled=annotation.labelled,
        visible=annotation.visible,
        center=annotation.objpos + np.array([0, 15 * annotation.scale]),
        size=200 * 1.25 * annotation.scale,
        # Test people have a head box but no joints to measure.
        reference=annotation.head_size if known else 1.0,
    )
