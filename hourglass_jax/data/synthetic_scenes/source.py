"""The built-in data set of drawn scenes with several people."""

import dataclasses

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.drawn_source import DrawnOptions, DrawnSource, annotation
from hourglass_jax.data.synthetic_scenes.scene import Scene, draw_scene
from hourglass_jax.rules import Whole, field


class SyntheticScenesSource(DrawnSource):
    """Drawn scenes of up to eight people: boxes and MPII's 16 joints of everybody.

    Each scene is a function of (seed, index) alone. Masks show who is in front of whom.
    """

    name = "synthetic_scenes"
    categories = ("person",)
    draw = staticmethod(draw_scene)
    worth_a_process = 25

    @dataclasses.dataclass(frozen=True)
    class Options(DrawnOptions):
        """The seed of the drawings, and how many scenes each split has."""

        num_train: int = field(Whole(1), default=3000)
        num_validation: int = field(Whole(1), default=300)

    def annotated(self, index: int, drawing: Scene) -> AnnotatedImage:
        name = str(index)  # COCO's results have whole numbers as ids of images
        people = [
            annotation(f"{name}/{number}", person, box=person.box, mask=drawing.owner == number)
            for number, person in enumerate(drawing.people, start=1)
        ]
        height, width = drawing.image.shape[:2]
        return AnnotatedImage(
            name,
            f"synthetic_scenes/{index:06d}",
            lambda: drawing.image,
            people,
            (width, height),
        )
