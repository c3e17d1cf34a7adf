"""FLIC: upper bodies in Hollywood films."""

import logging
import pathlib

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from hourglass_jax.data import images as photographs
from hourglass_jax.data import records
from hourglass_jax.data.skeleton import FLIC
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)

# The file has 29 joints; those that are labelled, from 0, in the order of the skeleton: left
# shoulder, elbow, wrist, right ones, hips, eyes and nose.
LABELLED = [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]
# The hourglass's box: 440 px of a frame 480 px high, in its middle row.
BOX_SHARE = 440 / 480
HELD_OUT = 0.1
_LARGEST = 1e6  # px, beyond any picture


class FlicPose(records.PoseBuilder):
    """5,003 film frames, 3,987 for training and 1,016 for test (Sapp and Taskar, CVPR 2013).

    Of the training frames a seeded tenth is held out as `validation`. Joints come out
    person-centric, as the published file has them. If in most frames the file's left shoulder lies
    left of its right one, its sides are the observer's and change their names, which is right for
    people who face the camera, as nearly all of them do. The reference
    length is from right shoulder to left hip as the file names them, as the hourglass's authors
    measure; PCK@0.2 is reported for elbows and wrists.
    """

    SKELETON = FLIC
    MEASURE = METRIC = "PCK@0.2"
    REPORT = "test"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Unpack FLIC.zip in <manual_dir>: FLIC/examples.mat and images/."

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        return {"allow_missing": config.get("allow_missing", 0)}

    @classmethod
    def source_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        return [_folder(pathlib.Path(config.manual_dir)) / "examples.mat"]

    @classmethod
    def large_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        folder = _folder(pathlib.Path(config.manual_dir)) / "images"
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; unpack FLIC.zip again")
        return sorted(folder.iterdir())

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        root = _folder(pathlib.Path(dl_manager.manual_dir))
        people = read(root / "examples.mat")
        train = [person for person, is_train in people if is_train]
        held_out = np.random.default_rng(0).permutation(len(train))[: round(HELD_OUT * len(train))]
        splits = {
            "train": [p for i, p in enumerate(train) if i not in set(held_out.tolist())],
            "validation": [train[i] for i in sorted(held_out.tolist())],
            "test": [person for person, is_train in people if not is_train],
        }
        for name, split in splits.items():
            if not split:
                raise UserError(f"{root / 'examples.mat'} has nobody for {name}; take FLIC's own")
        self.announce(len(people))
        source = photographs.Folder(root / "images")
        allowed = self.builder_config.settings["allow_missing"] if self.builder_config else 0
        photographs.check([person for person, _ in people], source, allowed)
        return {name: self._generate_examples(split, source) for name, split in splits.items()}

    def _generate_examples(self, people, source):
        allowed = self.builder_config.settings["allow_missing"] if self.builder_config else 0
        yield from photographs.records_of(people, source, self.record, allowed)


def _folder(manual_dir: pathlib.Path) -> pathlib.Path:
    for folder in (manual_dir, manual_dir / "FLIC"):
        if (folder / "examples.mat").is_file():
            return folder
    raise UserError(
        f"data.manual_dir={str(manual_dir)!r} lacks examples.mat; unpack FLIC.zip there"
    )


def read(path: pathlib.Path) -> list[tuple[photographs.Person, bool]]:
    """Reads examples.mat: people, and whether they are for training.

    Raises:
      UserError: it is no such file; names the entry.
    """
    try:
        content = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True)
        examples = np.atleast_1d(content["examples"])
        coords = np.stack([np.asarray(e.coords, np.float64)[:2, LABELLED].T for e in examples])
        known = (np.abs(coords) < _LARGEST).all(axis=-1)  # NaN is not
        observers = _sides_are_the_observers(coords, known)
        return [
            (_person(example, coords[i], known[i], observers), bool(example.istrain))
            for i, example in enumerate(examples)
        ]
    # loadmat has no exception of its own: damaged files raise whatever its parser stumbles over.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as FLIC's examples ({type(error).__name__}: "
            f"{' '.join(str(error).split())}); unpack FLIC.zip again"
        ) from None


def _sides_are_the_observers(coords: np.ndarray, known: np.ndarray) -> bool:
    left, right = FLIC.index("left_shoulder"), FLIC.index("right_shoulder")
    both = known[:, left] & known[:, right]
    observers = bool(np.median(coords[both, left, 0] - coords[both, right, 0]) < 0)
    logger.info(
        "FLIC: left and right in the file are the %s; joints come out person-centric",
        "observer's" if observers else "person's",
    )
    return observers


def _person(example, joints, labelled, observers: bool) -> photographs.Person:
    name = example.filepath
    if not isinstance(name, str) or not name:
        raise ValueError(f"filepath is {name!r}")
    height = float(np.ravel(example.imgdims)[0])
    torso = np.asarray(example.torsobox, np.float64).ravel()  # x1, y1, x2, y2
    center = np.array([(torso[0] + torso[2]) / 2 - 1, height / 2 - 0.5])
    size = BOX_SHARE * height
    if not (np.isfinite(center).all() and size > 0):
        raise ValueError(f"{name}: torsobox {torso.tolist()} in a picture {height} px high")
    ends = [FLIC.index("right_shoulder"), FLIC.index("left_hip")]
    length = np.linalg.norm(np.subtract(*joints[ends]))
    if observers:
        joints, labelled = joints[FLIC.flip_order], labelled[FLIC.flip_order]
    return photographs.Person(
        id=name,
        image=name,
        joints_source=np.where(labelled[:, None], joints - 1, 0),  # the file counts from 1
        labelled=labelled,
        visible=labelled,
        center=center,
        size=size,
        reference=float(length) if length > 0 else size / 4,
    )
