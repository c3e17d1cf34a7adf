"""The built-in data set of drawn people, without a download."""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.data.synthetic_people.drawing import Person, draw_person
from hourglass_jax.image import geometry
from hourglass_jax.rules import Whole, field
from hourglass_jax.runtime import helpers

BOX_MARGIN = 1.25
# MPII's rule (SC_BIAS): the head size is this share of the head box's diagonal.
HEAD_SHARE = 0.6
# Number of people that a process draws while another one starts.
WORTH_A_PROCESS = 50


class SyntheticPeopleSource(Source):
    """Drawn people with MPII's 16 joints, each a function of (seed, index) alone."""

    name = "synthetic_people"
    labels = MPII
    tolerance = Tolerance(0.5, heads=True)

    @dataclasses.dataclass(frozen=True)
    class Options:
        """The seed of the drawings, and how many people each split has."""

        drawing_seed: int = field(Whole(0), default=0)
        num_train: int = field(Whole(1), default=4000)
        num_validation: int = field(Whole(1), default=500)

    def __init__(self, **options):
        self.options = self.Options(**options)

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        indices = self._indices[split]
        people = _draw(self.options.drawing_seed, indices)
        for index, person in zip(indices, people, strict=True):
            yield _annotated(index, person)

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


def _annotated(index: int, person: Person) -> AnnotatedImage:
    center, size = geometry.box_around(person.joints, person.labelled, BOX_MARGIN)
    corners = person.head_box.astype(np.float64)
    name = f"synthetic/{index:06d}"
    annotation = Annotation(
        id=name,
        center=center,
        size=size,
        joints=person.joints,
        labelled=person.labelled,
        visible=person.visible,
        reference=HEAD_SHARE * float(np.linalg.norm(corners[2:] - corners[:2])),
        key=index,
    )
    height, width = person.image.shape[:2]
    return AnnotatedImage(name, name, lambda: person.image, [annotation], (width, height))


def _draw(seed: int, indices: range) -> Iterator[Person]:
    draw = functools.partial(draw_person, seed)
    workers = min(os.cpu_count() or 1, len(indices) // WORTH_A_PROCESS)
    if workers < 2:
        yield from map(draw, indices)
        return
    # Spawned processes: the threads of TensorFlow and JAX do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=helpers.end_with_parent
    ) as pool:
        with helpers.starting():
            people = pool.map(draw, indices, chunksize=16)
        yield from people
