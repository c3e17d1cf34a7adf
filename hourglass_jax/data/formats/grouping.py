"""Which labelled points and rectangles of an image belong to the same person or object.

Tools without skeletons label points and rectangles one by one. They belong together where the
tool says so (a group); else a point belongs to the smallest rectangle that it lies in.
"""

import collections
import dataclasses
from collections.abc import Sequence

from hourglass_jax.data.formats.keypoint_file import Box
from hourglass_jax.data.formats.problems import Problems

# Category of points without a rectangle.
UNNAMED = "object"


@dataclasses.dataclass(frozen=True)
class Point:
    """A labelled point: the joint, its place in px, and its group, if it has any."""

    name: str
    x: float
    y: float
    visible: bool = True
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Rectangle:
    """A labelled rectangle: its category, x, y, width and height, and its group."""

    category: str
    box: Box
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Object:
    """A person or object: the category, its box, if it has one, and its points by name."""

    category: str
    box: Box | None
    points: dict[str, Point]

    def keypoints(self, joints: Sequence[str]) -> list[list[float]]:
        """Returns x, y and visibility (0, 1 or 2) of each joint; nothing if none is labelled."""
        if not self.points:
            return []
        found = [self.points.get(joint) for joint in joints]
        return [[p.x, p.y, 1 + p.visible] if p else [0, 0, 0] for p in found]


def grouped(
    rectangles: Sequence[Rectangle], points: Sequence[Point], problems: Problems, where: str
) -> list[Object]:
    """Returns the objects of an image.

    Points of no group that lie in no rectangle are one object, or belong to the only rectangle.

    Args:
      rectangles: rectangles of the image.
      points: points of the image.
      problems: takes note of points that are labelled twice of an object.
      where: what messages call the image.
    """
    members: dict[str | int | None, dict[str, Point]] = collections.defaultdict(dict)
    groups = {rectangle.group: i for i, rectangle in enumerate(rectangles) if rectangle.group}
    for point in points:
        own = groups.get(point.group, point.group) if point.group else _around(point, rectangles)
        if members[own].setdefault(point.name, point) is not point:
            problems.add(
                f"left out: {point.name!r} is labelled twice of the same object; group the points "
                f"of each, or draw a rectangle around it",
                where,
            )
    found = [
        Object(rectangle.category, rectangle.box, members.pop(i, {}))
        for i, rectangle in enumerate(rectangles)
    ]
    categories = {rectangle.category for rectangle in rectangles}
    name = categories.pop() if len(categories) == 1 else UNNAMED
    return [*found, *(Object(name, None, members[group]) for group in members)]


def _around(point: Point, rectangles: Sequence[Rectangle]) -> int | None:
    """Returns the place of the smallest rectangle around a point, or of the only one."""
    if len(rectangles) == 1:
        return 0
    inside = []
    for i, (x, y, width, height) in enumerate(rectangle.box for rectangle in rectangles):
        if x <= point.x <= x + width and y <= point.y <= y + height:
            inside.append((width * height, i))
    return min(inside)[1] if inside else None
