"""Data sets: annotated images, and the sources that read them from files.

A source knows files and no mathematics; tasks decide what is learned from the images. Each source
is a folder `data/<name>/` with a `source.py`, and a line in `data/__init__.py`.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from hourglass_jax.data.skeleton import Skeleton

if TYPE_CHECKING:
    from hourglass_jax.tasks.base import Instance, Metric


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """One labelled person or object; px of the image, 0-based.

    Attributes:
      id: name of the annotation in predictions.
      center: x, y of the middle of its square box.
      size: side of its square box.
      box: x, y, width and height as annotated, from the image's corner, if there are any.
      category: index into the source's categories.
      joints: x, y; of any value where not labelled. None where the source has no joints.
      labelled: whether each joint has coordinates.
      visible: whether each joint is labelled and not occluded.
      crowd: whether this is a group of people or objects that is marked as one.
      mask: True on its pixels, where the source has masks.
      area: number of its pixels, where the source gives it.
      reference: length that PCK's threshold is a share of.
      track: number that it keeps through a video, where the source has one.
      key: determines the place of its record among the others; `id` does where it is None.
    """

    id: str
    center: Float[np.ndarray, "2"]
    size: float
    box: tuple[float, float, float, float] | None = None
    category: int = 0
    joints: Float[np.ndarray, "joints 2"] | None = None
    labelled: Bool[np.ndarray, " joints"] | None = None
    visible: Bool[np.ndarray, " joints"] | None = None
    crowd: bool = False
    mask: Bool[np.ndarray, "height width"] | None = None
    area: float | None = None
    reference: float = 1.0
    track: int | None = None
    key: int | str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An image and everything that is labelled in it.

    Attributes:
      id: name of the image in predictions.
      name: path of the image, for messages.
      read: function that decodes it to RGB. Raises UserError or OSError where it is missing,
        damaged, or of another size than annotated.
      annotations: people or objects in it.
      size: width and height, where the source knows them without opening the image.
      exhaustive: False where there may be people or objects without an annotation.
      upright: whether `read` turns it as EXIF says.
      container: path of the file that holds it, where it is no file itself: a video, an archive.
    """

    id: str
    name: str
    read: Callable[[], UInt8[np.ndarray, "height width 3"]]
    annotations: Sequence[Annotation]
    size: tuple[int, int] | None = None
    exhaustive: bool = True
    upright: bool = False
    container: str = ""

    @property
    def file(self) -> str:
        """Path of the file that the image is read from."""
        return self.container or self.name


NO_JOINTS = Skeleton("none", (), (), ())


class Tolerance(NamedTuple):
    """How close a joint must be to count as found: `share` of each annotation's `reference`.

    `heads` says that the reference is MPII's head size, so that the measure is PCKh.
    """

    share: float
    heads: bool = False


class Source:
    """Base class of data sets.

    A subclass takes the config fields that only this data set has as keyword arguments. `Options`
    declares them, as a frozen dataclass whose fields are made by `rules.field`.

    Attributes:
      name: name of the data set in configs.
      version: number that increases with each change of what `images` yields.
      Options: config fields of `data` beside those that every data set has.
      labels: skeleton of the annotations; one without joints if they have none.
      categories: names of the categories, where annotations have boxes as annotated.
      category_ids: ids of the categories in files; 1, 2, ... if empty.
      tolerance: tolerance of PCK, for poses.
      train: the split to train on, or one of those in `shares`.
      shares: splits that make up a training batch, with their shares; `train` alone if empty.
      held_out: splits that are a part of the published training data.
      select: the split that chooses the best checkpoint.
      report: the split whose figures are reported.
      submit: the split whose truth is not public, if there is one.
      allow_missing: number of annotations of a split that may lack a readable image.
      box_margin: side of the square box in sides of the object; prediction uses the same.
      mirror_warning: why a mirror image may have wrong labels; "" where it cannot.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Options: ClassVar[type]
    labels: Skeleton = NO_JOINTS
    categories: Sequence[str] = ()
    category_ids: Sequence[int] = ()
    tolerance: Tolerance = Tolerance(0.2)
    train: str = "train"
    shares: Mapping[str, float] = {}
    held_out: Sequence[str] = ()
    select: str = "validation"
    report: str = "validation"
    submit: ClassVar[str | None] = None
    allow_missing: int = 0
    box_margin: float = 1.25
    mirror_warning: str = ""

    @property
    def splits(self) -> Sequence[str]:
        """The splits that `images` can be asked for."""
        return list(dict.fromkeys([self.train, self.select, self.report]))

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        """Yields a split's images, each once; `read` raises for those that cannot be read."""
        raise NotImplementedError

    def count(self, split: str) -> int:
        """Returns the number of annotations that `images` yields, without opening an image.

        Raises:
          UserError: the annotations cannot be read, or too many images are missing.
        """
        raise NotImplementedError

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options that `images` depends on, as JSON: a part of the records' fingerprint."""
        return {}

    @property
    def source_files(self) -> Sequence[pathlib.Path]:
        """Files that the records are made of, small enough to be read at every start.

        Raises:
          UserError: one is missing.
        """
        return []

    @property
    def large_files(self) -> Sequence[pathlib.Path]:
        """Further files, which are compared by name and size alone."""
        return []

    @property
    def evaluation_files(self) -> Sequence[pathlib.Path]:
        """Files that evaluation depends on, and training does not."""
        return []

    def release(self) -> None:
        """Frees the annotations; what is asked for afterwards is read again."""
        for kind in type(self).__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, functools.cached_property):
                    vars(self).pop(name, None)

    def parts(self, split: str) -> Mapping[str, "Source"]:
        """Returns the data sets of a split that are measured one by one, if it has several.

        The ids of their annotations begin with the name here and a slash.
        """
        return {}

    def metrics(self, split: str) -> Sequence["Metric"]:
        """Returns the data set's own evaluation of a split, if it has one, headline first."""
        return []

    def write_submission(
        self, found: Mapping[str, "Instance"], folder: pathlib.Path
    ) -> pathlib.Path:
        """Writes predictions for `submit` as the data set's evaluation server takes them.

        Args:
          found: instances by annotation id; px of the image.
          folder: folder to write to.
        """
        raise NotImplementedError
