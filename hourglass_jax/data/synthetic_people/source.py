"""The built-in data set of drawn people."""

from hourglass_jax.data.base import AnnotatedImage
from hourglass_jax.data.drawn_source import DrawnOptions, DrawnSource, annotation
from hourglass_jax.data.synthetic_people.drawing import Person, draw_person


class SyntheticPeopleSource(DrawnSource):
    """Drawn people with MPII's 16 joints, each a function of (seed, index) alone."""

    name = "synthetic_people"
    Options = DrawnOptions
    draw = staticmethod(draw_person)
    worth_a_process = 50

    def annotated(self, index: int, drawing: Person) -> AnnotatedImage:
        name = f"synthetic/{index:06d}"
        height, width = drawing.image.shape[:2]
        return AnnotatedImage(
            name,
            name,
            lambda: drawing.image,
            [annotation(name, drawing, key=index)],
            (width, height),
        )
