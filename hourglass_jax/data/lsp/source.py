"""Leeds Sports Pose and its extended training set, as published, and other folders like them."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from hourglass_jax.data import orientation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.formats import matlab
from hourglass_jax.data.lsp import near_duplicates
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.rules import SWITCH, Path, Texts, field

OFFICIAL_TRAIN = 1000
OFFICIAL = 2000
BOX_MARGIN = 1.25
HELD_OUT = 0.1


class LspSource(Source):
    """2,000 sports images of one person each (Johnson and Everingham, BMVC 2010), 1-1000 for
    training and 1001-2000 for test, and up to 10,000 more for training (CVPR 2011).

    A seeded tenth of the training images is held out as `validation`, so that nothing is chosen on
    the test images. Near-duplicates are held out together, and validation keeps one of them;
    near-duplicates of a test image are not trained on, whichever folder they are in.
    The person's box is the square around all labelled joints times 1.25.
    """

    name = "lsp"
    labels = LSP
    tolerance = Tolerance(0.2)
    report = "test"
    held_out = ("validation",)

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Where the files are, and whether to train on the extended set, or on which folders.

        Folders in `beside` are split together with these, and not trained on: nobody who is held
        out has a near-duplicate among the people of a data set that has the other folders.
        """

        manual_dir: str = field(Path(), default="")
        extended: bool = field(SWITCH, default=True)
        folders: tuple[str, ...] = field(Texts(), default=())
        beside: tuple[str, ...] = field(Texts(), default=())

    def __init__(self, **options):
        self.options = self.Options(**options)
        self._root = pathlib.Path(self.options.manual_dir)
        published = ("lsp", "lspet") if self.options.extended else ("lsp",)
        self._trained = self.options.folders or published
        self._split_together = self._trained
        if self.options.beside:
            # In one order for all data sets that share them; each holds out its own people. Of
            # near-duplicates the first one alone is held out, so that if another data set trains
            # on its own, no near-duplicate is among them.
            self._split_together = tuple(sorted({*self._trained, *self.options.beside}))

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        for key, image in enumerate(self._splits[split]):
            annotations = [dataclasses.replace(a, key=key) for a in image.annotations]
            yield dataclasses.replace(image, annotations=annotations)

    def count(self, split: str) -> int:
        """Returns how many annotations a split has; finding near-duplicates opens the images."""
        return len(self._splits[split])

    @property
    def settings(self) -> Mapping[str, Any]:
        if self.options.beside:
            return {"folders": self._trained, "beside": self.options.beside}
        if self.options.folders:
            return {"folders": self.options.folders}
        return {"extended": self.options.extended}

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        files: list[pathlib.Path] = []
        for folder in dict.fromkeys(("lsp", *self._split_together)):
            mat = self._root / folder / "joints.mat"
            images = sorted((self._root / folder / "images").glob("*.jpg"))
            if not mat.is_file() or not images:
                raise UserError(
                    f"config.data.manual_dir={self.options.manual_dir!r} lacks "
                    f"{folder}/joints.mat or {folder}/images/*.jpg; unpack the data set there, or "
                    f"for lspet set config.data.extended=False"
                )
            files += [mat, *images]
        return files

    @functools.cached_property
    def _splits(self) -> dict[str, list[AnnotatedImage]]:
        official = _read(self._root / "lsp")
        if len(official) != OFFICIAL:
            raise UserError(
                f"{self._root / 'lsp/joints.mat'}: joints must have the shape (3, 14, {OFFICIAL}); "
                f"take the file from lsp_dataset.zip"
            )
        test = official[OFFICIAL_TRAIN:]
        train = [
            image
            for name in self._split_together
            for image in (official[:OFFICIAL_TRAIN] if name == "lsp" else _read(self._root / name))
        ]
        orientation.check_stored([image.name for image in test + train], str(self._root))
        own = {pathlib.PurePath(name).name for name in self._trained}
        seen, held_out = (
            [image for image in split if image.id.partition("/")[0] in own]
            for split in _split([*test, *train], len(test))
        )
        return {"train": seen, "validation": held_out, "test": test}


def _split(
    images: Sequence[AnnotatedImage], tested: int
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """Splits images after the first `tested`, which are for test, into training and validation."""

    first = _groups(tuple(_Person.of(image) for image in images))
    drawn = np.random.default_rng(0).permutation(range(tested, len(images)))
    held_out = {first[i] for i in drawn[: round(len(drawn) * HELD_OUT)]}
    free = [i for i in range(tested, len(images)) if first[i] >= tested]
    return (
        [images[i] for i in free if first[i] not in held_out],
        [images[i] for i in free if first[i] in held_out and first[i] == i],
    )


class _Person(NamedTuple):
    """What near-duplicates are found by: an image, as it was at a time in ns, and a box."""

    path: str
    time: int
    center: tuple[float, float]
    size: float

    @classmethod
    def of(cls, image: AnnotatedImage) -> "_Person":
        (person,) = image.annotations
        time = os.stat(image.name).st_mtime_ns if os.path.exists(image.name) else 0
        return cls(image.name, time, tuple(person.center.tolist()), person.size)


@functools.lru_cache(maxsize=1)  # parts of a mixture that are split together ask one by one
def _groups(people: tuple[_Person, ...]) -> list[int]:
    """Returns the index of the first near-duplicate of each person; opens every image."""

    def thumbnails(person: _Person) -> Float[np.ndarray, "2 pixels"]:
        image = _read_jpeg(pathlib.Path(person.path))
        return near_duplicates.thumbnails(image, np.array(person.center), person.size)

    return near_duplicates.groups(map(thumbnails, people))


def _read(folder: pathlib.Path) -> list[AnnotatedImage]:
    """Reads a folder in either layout.

    In LSP's, joints are [3, 14, people] and the third row is 1 where occluded; all are labelled. In
    that of the extended set, they are [14, 3, people] and the third row is 1 where labelled; the
    file does not say which joints are occluded, so labelled ones count as visible. People with
    fewer than two labelled joints have no box and are left out.
    """
    joints = _load_joints(folder / "joints.mat")
    if joints.shape[:2] == (3, 14):
        joints = joints.transpose(2, 1, 0)
        labelled = np.ones(joints.shape[:2], bool)
        return _images(folder, "im{:04d}.jpg", joints, labelled, visible=joints[..., 2] == 0)
    if joints.shape[:2] == (14, 3):
        joints = joints.transpose(2, 0, 1)
        labelled = joints[..., 2] == 1
        joints = np.where(labelled[..., None], joints, 0)  # other coordinates mean nothing
        return _images(folder, "im{:05d}.jpg", joints, labelled, visible=labelled)
    raise UserError(
        f"{folder / 'joints.mat'}: joints has the shape {joints.shape}, neither (3, 14, people) as "
        f"in lsp_dataset.zip nor (14, 3, people) as in lspet_dataset.zip; unpack the data set again"
    )


def _images(
    folder: pathlib.Path,
    pattern: str,
    joints: Float[np.ndarray, "people 14 3"],
    labelled: Bool[np.ndarray, "people 14"],
    visible: Bool[np.ndarray, "people 14"],
) -> list[AnnotatedImage]:
    if not np.isfinite(joints).all():
        raise UserError(
            f"{folder / 'joints.mat'}: coordinates of a labelled joint are not numbers; unpack the "
            f"data set again"
        )
    # The files count pixels from 1.
    return [
        _image(
            folder / "images" / pattern.format(i + 1),
            joints[i, :, :2] - 1.0,
            labelled[i],
            visible[i],
        )
        for i in range(len(joints))
        if labelled[i].sum() >= 2
    ]


def _image(
    path: pathlib.Path,
    joints: Float[np.ndarray, "14 2"],
    labelled: Bool[np.ndarray, "14"],
    visible: Bool[np.ndarray, "14"],
) -> AnnotatedImage:
    center, size = geometry.box_around(joints, labelled, BOX_MARGIN)
    # Where an end of the torso is not labelled, the reference is half the person: such people occur
    # in the extended set alone, and do not enter the official figures.
    right_hip, left_shoulder = LSP.index("right_hip"), LSP.index("left_shoulder")
    torso = labelled[[right_hip, left_shoulder]].all()
    length = np.linalg.norm(joints[left_shoulder] - joints[right_hip])
    annotation = Annotation(
        id=f"{path.parent.parent.name}/{path.name}",
        center=center,
        size=size,
        joints=joints,
        labelled=labelled,
        visible=visible,
        reference=float(length) if torso and length > 0 else size / BOX_MARGIN / 2,
    )
    read = functools.partial(_read_jpeg, path)
    return AnnotatedImage(annotation.id, str(path), read, [annotation])


def _load_joints(path: pathlib.Path) -> Float[np.ndarray, "_ _ _"]:
    try:
        joints = np.asarray(matlab.load(path, "joints", squeeze=False), np.float64)
    except (OSError, ValueError, TypeError) as error:  # TypeError: of another class than numbers
        raise UserError(
            f"{path} cannot be read as a MATLAB file with `joints` ({error}); unpack the data set "
            f"again"
        ) from None
    if joints.ndim != 3 or joints.size == 0:
        raise UserError(
            f"{path}: joints has the shape {joints.shape}, not that of people's joints; unpack the "
            f"data set again"
        )
    return joints


def _read_jpeg(path: pathlib.Path) -> UInt8[np.ndarray, "height width 3"]:
    """Reads a JPEG as RGB, the pixels as stored (annotations ignore EXIF rotation).

    Raises:
      UserError: the file is missing, is not a JPEG, or is cut short.
    """
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"the image {path} is missing; unpack the data set again") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"the image {path} cannot be read as a JPEG ({error}); replace it, or unpack the "
            f"data set again"
        ) from None
