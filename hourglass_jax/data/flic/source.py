"""FLIC: upper bodies in Hollywood films."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.data import images, orientation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.formats import matlab, values
from hourglass_jax.data.skeleton import FLIC
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Path, Whole, field

logger = logging.getLogger(__name__)

# Those of the file's 29 joints that are labelled, from 0, in the order of the skeleton: left
# shoulder, elbow, wrist, right ones, hips, eyes and nose.
LABELLED = [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]
# The hourglass's box: 440 px of a frame 480 px high, in its middle row.
BOX_SHARE = 440 / 480
HELD_OUT = 0.1
_LARGEST = 1e6  # px, beyond any image


class FlicSource(Source):
    """5,003 film frames, 3,987 for training and 1,016 for test (Sapp and Taskar, CVPR 2013).

    Of the training frames a seeded tenth is held out as `validation`. Joints are person-centric, as
    in the published file. If the left shoulder lies left of the right one in most frames, the file
    is observer-centric: left and right are then exchanged, which is correct for people who face the
    camera, as nearly all of them do. The reference length is from right shoulder to left hip as the
    file names them, as the hourglass's authors measure it; PCK@0.2 is reported for elbows and
    wrists.
    """

    name = "flic"
    labels = FLIC
    tolerance = Tolerance(0.2)
    report = "test"
    held_out = ("validation",)

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Where the files are, and how many annotations may lack an image."""

        manual_dir: str = field(Path(), default="")
        allow_missing: int = field(Whole(0), default=0)

    def __init__(self, **options):
        self.options = self.Options(**options)
        self.allow_missing = self.options.allow_missing

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        return iter(self._splits[split])

    def count(self, split: str) -> int:
        return len(self._splits[split])

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"allow_missing": self.allow_missing}

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        return [self._folder / "examples.mat"]

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        folder = self._folder / "images"
        if not folder.is_dir():
            raise UserError(f"the folder {folder} is missing; unpack FLIC.zip again")
        return sorted(folder.iterdir())

    @property
    def _folder(self) -> pathlib.Path:
        root = pathlib.Path(self.options.manual_dir)
        for folder in (root, root / "FLIC"):
            if (folder / "examples.mat").is_file():
                return folder
        raise UserError(
            f"config.data.manual_dir={self.options.manual_dir!r} lacks examples.mat; unpack "
            f"FLIC.zip there"
        )

    @functools.cached_property
    def _splits(self) -> dict[str, list[AnnotatedImage]]:
        path = self._folder / "examples.mat"
        frames = _settled(path, read(path))
        train = [frame for frame, is_train in frames if is_train]
        drawn = np.random.default_rng(0).permutation(len(train))[: round(HELD_OUT * len(train))]
        held_out = set(drawn.tolist())
        splits = {
            "train": [frame for i, frame in enumerate(train) if i not in held_out],
            "validation": [train[i] for i in sorted(held_out)],
            "test": [frame for frame, is_train in frames if not is_train],
        }
        for name, split in splits.items():
            if not split:
                raise UserError(f"{path} has no examples for {name}; take FLIC's official file")
        images.check_ids(a for frame, _ in frames for a in frame.annotations)
        for split in splits.values():
            images.check_files(split, self.allow_missing)
        return {name: sorted(split, key=lambda f: f.name) for name, split in splits.items()}


class Frame(NamedTuple):
    """A film frame of one person, whether it is for training, and its width and height."""

    image: AnnotatedImage
    train: bool
    size: tuple[int | None, int | None]


def _settled(path: pathlib.Path, frames: Sequence[Frame]) -> list[tuple[AnnotatedImage, bool]]:
    settled = orientation.settle(
        [frame.image for frame in frames],
        where=str(path),
        prefer_upright=False,  # MATLAB reads pixels as they are stored
        sizes={frame.image.id: frame.size for frame in frames},
    )
    return [(image, frame.train) for image, frame in zip(settled, frames, strict=True)]


def read(path: pathlib.Path) -> list[Frame]:
    """Reads examples.mat.

    Raises:
      UserError: the file is not in FLIC's format; the entry is named.
    """
    try:
        examples = np.atleast_1d(matlab.load(path, "examples"))
        coords = np.stack([np.asarray(e.coords, np.float64)[:2, LABELLED].T for e in examples])
        known = np.abs(coords).max(axis=-1) < _LARGEST  # NaN is not
        observers = _sides_are_the_observers(coords, known)
        frames = []
        for example, joints, labelled in zip(examples, coords, known, strict=True):
            annotation = _annotation(example, joints, labelled, observers)
            file = path.parent / "images" / annotation.id
            image = images.image_file(file, [annotation], id=annotation.id)
            height, width = (values.side(n) for n in np.ravel(example.imgdims)[:2])
            frames.append(Frame(image, bool(example.istrain), (width, height)))
        return frames
    # The fields may be of any class, and fail in whatever is done with them.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as FLIC's examples ({type(error).__name__}: "
            f"{' '.join(str(error).split())}); unpack FLIC.zip again"
        ) from None


def _sides_are_the_observers(
    coords: Float[np.ndarray, "frames 11 2"], known: Bool[np.ndarray, "frames 11"]
) -> bool:
    left, right = FLIC.index("left_shoulder"), FLIC.index("right_shoulder")
    both = known[:, left] & known[:, right]
    observers = bool(np.median(coords[both, left, 0] - coords[both, right, 0]) < 0)
    logger.info(
        "FLIC: left and right in the file are the %s; joints become person-centric",
        "observer's" if observers else "person's",
    )
    return observers


def _annotation(
    example: Any,
    joints: Float[np.ndarray, "11 2"],
    labelled: Bool[np.ndarray, "11"],
    observers: bool,
) -> Annotation:
    name = example.filepath
    if not isinstance(name, str) or not name or pathlib.PurePath(name).name != name:
        raise ValueError(f"filepath is {name!r}")
    height = float(np.ravel(example.imgdims)[0])
    torso = np.asarray(example.torsobox, np.float64).ravel()  # x1, y1, x2, y2
    center = np.array([(torso[0] + torso[2]) / 2 - 1, height / 2 - 0.5])
    size = BOX_SHARE * height
    if not (np.isfinite(center).all() and size > 0):
        raise ValueError(f"{name}: torsobox {torso.tolist()} in an image {height} px high")
    ends = [FLIC.index("right_shoulder"), FLIC.index("left_hip")]
    length = np.linalg.norm(np.subtract(*joints[ends]))
    if observers:
        joints, labelled = joints[FLIC.flip_order], labelled[FLIC.flip_order]
    return Annotation(
        id=name,
        center=center,
        size=size,
        joints=np.where(labelled[:, None], joints - 1, 0),  # the file counts from 1
        labelled=labelled,
        visible=labelled,
        reference=float(length) if length > 0 else size / 4,
    )
