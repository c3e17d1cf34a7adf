"""Data sets of drawn people, without a download."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.processes import in_processes
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import geometry
from hourglass_jax.rules import Whole, field

BOX_MARGIN = 1.25
# MPII's rule (SC_BIAS): the head size is this share of the head box's diagonal.
HEAD_SHARE = 0.6


@dataclasses.dataclass(frozen=True)
class DrawnOptions:
    """The seed of the drawings, and how many images each split has."""

    drawing_seed: int = field(Whole(0), default=0)
    num_train: int = field(Whole(1), default=4000)
    num_validation: int = field(Whole(1), default=500)


class DrawnSource(Source):
    """Base class of drawn data sets: MPII's 16 joints, each image a function of (seed, index).

    Attributes:
      draw: function that draws image `index` of the data set `seed`, as `draw(seed, index)`.
      worth_a_process: number of images that a process draws while another one starts.
    """

    labels = MPII
    tolerance = Tolerance(0.5, heads=True)
    draw: Callable[[int, int], Any]
    worth_a_process: ClassVar[int]

    options: DrawnOptions

    def __init__(self, **options):
        self.options = self.Options(**options)

    def annotated(self, index: int, drawing: Any) -> AnnotatedImage:
        """Returns what `draw` drew, with its annotations."""
        raise NotImplementedError

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        indices = self._indices[split]
        draw = functools.partial(self.draw, self.options.drawing_seed)
        drawings = in_processes(draw, indices, worth=self.worth_a_process)
        for index, drawing in zip(indices, drawings, strict=True):
            yield self.annotated(index, drawing)

    def count(self, split: str) -> int:
        return len(self._indices[split])

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "seed": self.options.drawing_seed,
            "train": self.options.num_train,
            "validation": self.options.num_validation,
        }

    @property
    def _indices(self) -> dict[str, range]:
        train, validation = self.options.num_train, self.options.num_validation
        return {"train": range(train), "validation": range(train, train + validation)}


def annotation(id: str, person: Any, **fields) -> Annotation:
    """Returns the annotation of a drawn person; `fields` are those that not all drawings have."""
    center, size = geometry.box_around(person.joints, person.labelled, BOX_MARGIN)
    corners = person.head_box.astype(np.float64)
    return Annotation(
        id=id,
        center=center,
        size=size,
        joints=person.joints,
        labelled=person.labelled,
        visible=person.visible,
        reference=HEAD_SHARE * float(np.linalg.norm(corners[2:] - corners[:2])),
        **fields,
    )
