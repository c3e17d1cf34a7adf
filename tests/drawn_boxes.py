"""A small data set of drawn rectangles and discs, with joints at the corners of rectangles."""

import dataclasses

import numpy as np

from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.rules import Whole, field

CATEGORIES = ("rectangle", "disc")
COLOURS = ((220, 60, 60), (60, 120, 230))
CORNERS = Skeleton(
    "corners",
    ("left_top", "right_top", "left_bottom", "right_bottom"),
    (("left_top", "right_top"), ("left_bottom", "right_bottom")),
    (("left_top", "right_top"), ("left_bottom", "right_bottom")),
)


class DrawnBoxes(Source):
    """Rectangles and discs; every fourth image has none."""

    name = "drawn_boxes"
    labels = CORNERS
    categories = CATEGORIES
    category_ids = (3, 7)

    @dataclasses.dataclass(frozen=True)
    class Options:
        num_images: int = field(Whole(1), default=16)

    def __init__(self, *, num_images=16):
        self.num_images = num_images

    @property
    def settings(self):
        return {"num_images": self.num_images}

    def count(self, split):
        return self.num_images if split == "train" else self.num_images // 2

    def images(self, split):
        for i in range(self.count(split)):
            rng = np.random.default_rng([i, split == "train"])
            pixels, annotations = draw(rng, f"{i}", 0 if i % 4 == 3 else 1 + i % 3)
            yield AnnotatedImage(f"{i}", f"{split}/{i}", lambda pixels=pixels: pixels, annotations)


def draw(rng, name, count, width=96, height=72):
    """Returns an image and its annotations, in which later shapes cover earlier ones."""
    pixels = rng.integers(70, 100, (height, width, 3), dtype=np.uint8)
    annotations = []
    for i in range(count):
        sides = rng.integers(14, 36, 2)
        x, y = (rng.integers(0, (width, height) - sides)).tolist()
        box_width, box_height = sides.tolist()
        category = int(rng.integers(2))
        rows, columns = np.mgrid[:height, :width]
        inside = (abs(columns + 0.5 - x - box_width / 2) <= box_width / 2) & (
            abs(rows + 0.5 - y - box_height / 2) <= box_height / 2
        )
        if category:
            across = (columns + 0.5 - x - box_width / 2) / box_width
            down = (rows + 0.5 - y - box_height / 2) / box_height
            inside = across**2 + down**2 <= 0.25
        pixels[inside] = COLOURS[category]
        ends = [(u, v) for v in (y, y + box_height - 1) for u in (x, x + box_width - 1)]
        annotations.append(
            Annotation(
                id=f"{name}/{i}",
                center=np.array([x + box_width / 2 - 0.5, y + box_height / 2 - 0.5]),
                size=float(sides.max()),
                box=(x, y, box_width, box_height),
                category=category,
                joints=np.array(ends, float),
                labelled=np.full(4, category == 0),
                visible=np.full(4, category == 0),
            )
        )
    return pixels, annotations
