"""Leeds Sports Pose and its extended training set, as published."""

import itertools
import pathlib

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from ml_collections import ConfigDict
from PIL import Image

from hourglass_jax.data import records
from hourglass_jax.data.lsp import near_duplicates as alike
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry

OFFICIAL_TRAIN = 1000
OFFICIAL = 2000
BOX_MARGIN = 1.25
HELD_OUT = 0.1


class LspPose(records.PoseBuilder):
    """2,000 sports photographs of one person each (Johnson and Everingham, BMVC 2010), 1-1000 for
    training and 1001-2000 for test, and up to 10,000 more for training (CVPR 2011).

    A seeded tenth of the training people is held out as `validation`, so that nothing is chosen on
    the test pictures. Of people in near-duplicates of one picture either all are held out or none,
    and one of them is enough to validate on; who is alike to a test person is not trained on.
    The person's box is the square around all labelled joints times 1.25.
    """

    SKELETON = LSP
    MEASURE = METRIC = "PCK@0.2"
    REPORT = "test"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Unpack lsp_dataset.zip as <manual_dir>/lsp and, for the extended set, lspet_dataset.zip "
        "as <manual_dir>/lspet; each holds joints.mat and images/."
    )

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        return {"extended": config.get("extended", True)}

    @classmethod
    def source_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        manual_dir, files = pathlib.Path(config.get("manual_dir", "")), []
        for folder in ("lsp", "lspet") if config.get("extended", True) else ("lsp",):
            mat = manual_dir / folder / "joints.mat"
            images = sorted((manual_dir / folder / "images").glob("*.jpg"))
            if not mat.is_file() or not images:
                raise UserError(
                    f"data.manual_dir={str(manual_dir)!r} lacks {folder}/joints.mat or "
                    f"{folder}/images/*.jpg; unpack the data set there, or for lspet set "
                    f"data.extended=False"
                )
            files += [mat, *images]
        return files

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        root = pathlib.Path(dl_manager.manual_dir)
        official = _read_lsp(root / "lsp")
        train, test = official[:OFFICIAL_TRAIN], official[OFFICIAL_TRAIN:]
        extended = self.builder_config.settings["extended"] if self.builder_config else True
        if extended:
            train = train + _read_lspet(root / "lspet")
        self.announce(len(train) + len(test))
        seen, held_out = _split([*test, *train], len(test))
        return {
            "train": self._generate_examples(seen),
            "validation": self._generate_examples(held_out),
            "test": self._generate_examples(test),
        }

    def _generate_examples(self, people):
        right_hip, left_shoulder = LSP.index("right_hip"), LSP.index("left_shoulder")
        for key, (path, joints, labelled, visible) in enumerate(people):
            center, size = geometry.box_around(joints, labelled, BOX_MARGIN)
            # Where an end of the torso is not labelled, half the person stands in for it: such
            # people occur in the extended set alone, and the official figures never see them.
            torso = labelled[[right_hip, left_shoulder]].all()
            length = np.linalg.norm(joints[left_shoulder] - joints[right_hip])
            yield (
                key,
                self.record(
                    image=_read_jpeg(path),
                    joints_source=joints,
                    labelled=labelled,
                    visible=visible,
                    center=center,
                    size=size,
                    reference=length if torso and length > 0 else size / BOX_MARGIN / 2,
                    id=f"{path.parent.parent.name}/{path.name}",
                ),
            )


def _split(people: list[tuple], tested: int) -> tuple[list[tuple], list[tuple]]:
    """Returns whom to train on and whom to hold out, of people of whom the first are tested."""

    def thumbnails(path, joints, labelled, visible):
        return alike.thumbnails(
            _read_jpeg(path), *geometry.box_around(joints, labelled, BOX_MARGIN)
        )

    first = alike.groups(itertools.starmap(thumbnails, people))
    drawn = np.random.default_rng(0).permutation(range(tested, len(people)))
    held_out = {first[i] for i in drawn[: round(len(drawn) * HELD_OUT)]}
    free = [i for i in range(tested, len(people)) if first[i] >= tested]
    return (
        [people[i] for i in free if first[i] not in held_out],
        [people[i] for i in free if first[i] in held_out and first[i] == i],
    )


def _read_lsp(folder: pathlib.Path) -> list[tuple]:
    """People of LSP: joints [3, 14, N], the third row 1 where occluded; all joints are labelled."""
    joints = _load_joints(folder / "joints.mat").transpose(2, 1, 0)
    if joints.shape[1:] != (14, 3) or len(joints) != OFFICIAL:
        raise UserError(
            f"{folder / 'joints.mat'}: joints has the shape {joints.shape[::-1]}, not (3, 14, "
            f"{OFFICIAL}); take the file from lsp_dataset.zip"
        )
    labelled = np.ones((len(joints), 14), bool)
    return _people(folder, "im{:04d}.jpg", joints, labelled, visible=joints[..., 2] == 0)


def _read_lspet(folder: pathlib.Path) -> list[tuple]:
    """People of LSP-extended: joints [14, 3, N], the third row 1 where labelled.

    Nobody said which joints are occluded, so labelled ones count as visible. People with fewer
    than two labelled joints have no box and are left out.
    """
    joints = _load_joints(folder / "joints.mat").transpose(2, 0, 1)
    if joints.shape[1:] != (14, 3):
        raise UserError(
            f"{folder / 'joints.mat'}: joints has the shape {joints.transpose(1, 2, 0).shape}, not "
            f"(14, 3, people); take the file from lspet_dataset.zip"
        )
    labelled = joints[..., 2] == 1
    joints = np.where(labelled[..., None], joints, 0)  # elsewhere coordinates mean nothing
    people = _people(folder, "im{:05d}.jpg", joints, labelled, visible=labelled)
    return [person for person in people if person[2].sum() >= 2]


def _people(folder, pattern, joints, labelled, visible) -> list[tuple]:
    if not np.isfinite(joints).all():
        raise UserError(
            f"{folder / 'joints.mat'}: coordinates of a labelled joint are no numbers; unpack the "
            f"data set again"
        )
    # The files count pixels from 1.
    return [
        (folder / "images" / pattern.format(i + 1), joints[i, :, :2] - 1.0, labelled[i], visible[i])
        for i in range(len(joints))
    ]


def _load_joints(path: pathlib.Path) -> np.ndarray:
    try:
        joints = np.asarray(scipy.io.loadmat(path)["joints"], np.float64)
    # loadmat has no exception of its own: damaged files raise whatever its parser stumbles over.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a MATLAB file with `joints` "
            f"({type(error).__name__}: {error}); unpack the data set again"
        ) from None
    if joints.ndim != 3 or joints.size == 0:
        raise UserError(
            f"{path}: joints has the shape {joints.shape}, not that of people's joints; unpack the "
            f"data set again"
        )
    return joints


def _read_jpeg(path: pathlib.Path) -> UInt8[np.ndarray, "height width 3"]:
    """Reads a JPEG as RGB, the pixels as they are stored (annotations ignore EXIF rotation).

    Raises:
      UserError: the file is missing, is no JPEG or is cut short.
    """
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"the picture {path} is missing; unpack the data set again") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"the picture {path} cannot be read as a JPEG ({error}); replace it, or unpack the "
            f"data set again"
        ) from None
