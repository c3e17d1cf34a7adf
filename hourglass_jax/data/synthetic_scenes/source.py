"""The built-in data set of drawn scenes with several people, without a download."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.processes import in_processes
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.data.synthetic_people.source import BOX_MARGIN, HEAD_SHARE
from hourglass_jax.data.synthetic_scenes.scene import Scene, ScenePerson, draw_scene
from hourglass_jax.image import geometry
from hourglass_jax.rules import Whole, field

# Number of scenes that a process draws while another one starts.
_WORTH_A_PROCESS = 25


class SyntheticScenesSource(Source):
    """Drawn scenes of up to eight people: boxes and MPII's 16 joints of everybody.

    Each scene is a function of (seed, index) alone. Masks show who is in front of whom.
    """

    name = "synthetic_scenes"
    labels = MPII
    categories = ("person",)
    tolerance = Tolerance(0.5, heads=True)

    @dataclasses.dataclass(frozen=True)
    class Options:
        """The seed of the drawings, and how many scenes each split has."""

        drawing_seed: int = field(Whole(0), default=0)
        num_train: int = field(Whole(1), default=3000)
        num_validation: int = field(Whole(1), default=300)

    def __init__(self, **options):
        self.options = self.Options(**options)

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        indices = self._indices[split]
        draw = functools.partial(draw_scene, self.options.drawing_seed)
        scenes = in_processes(draw, indices, worth=_WORTH_A_PROCESS)
        for index, scene in zip(indices, scenes, strict=True):
            yield _annotated(index, scene)

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


def _annotated(index: int, scene: Scene) -> AnnotatedImage:
    name = str(index)  # COCO's results have whole numbers as ids of images
    people = [
        _annotation(f"{name}/{number}", person, scene.owner == number)
        for number, person in enumerate(scene.people, start=1)
    ]
    height, width = scene.image.shape[:2]
    return AnnotatedImage(
        name, f"synthetic_scenes/{index:06d}", lambda: scene.image, people, (width, height)
    )


def _annotation(id: str, person: ScenePerson, mask: np.ndarray) -> Annotation:
    center, size = geometry.box_around(person.joints, person.labelled, BOX_MARGIN)
    corners = person.head_box.astype(np.float64)
    return Annotation(
        id=id,
        center=center,
        size=size,
        box=person.box,
        joints=person.joints,
        labelled=person.labelled,
        visible=person.visible,
        mask=mask,
        reference=HEAD_SHARE * float(np.linalg.norm(corners[2:] - corners[:2])),
    )
