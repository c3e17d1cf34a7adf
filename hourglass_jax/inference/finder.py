"""Finding of people in images, for networks that predict a pose in each box."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from hourglass_jax.errors import UserError
from hourglass_jax.inference.detector import Detector
from hourglass_jax.inference.found import Detections

# The finder that comes with the package.
PEOPLE = "people-small"
# The name that stands for no finder: an image shows one person.
NONE = "none"
# The name that stands for the result of `suitable`.
AUTO = "auto"
_PERSON = "person"


def suitable(joints: Sequence[str]) -> str:
    """Returns the finder for a network of these joints: PEOPLE for a person's joints, or NONE.

    They count as a person's if wrists and ankles are among them. Those of monkeys may be, too.
    """
    names = " ".join(joints).lower()
    return PEOPLE if "wrist" in names and "ankle" in names else NONE


def category_of_people(names: Sequence[str]) -> int:
    """Returns the index of the category of people: "person", or the only one.

    Raises:
      UserError: there are several categories, and none is "person".
    """
    if len(names) > 1 and _PERSON not in names:
        listed = ", ".join(names[:5])
        raise UserError(f"the finder's network does not find people, but {listed}")
    return names.index(_PERSON) if _PERSON in names else 0


class Finder:
    """Finds the people in images: `finder(images)` returns `Detections` of each image."""

    def __init__(self, detector: Detector, *, max_people: int | None = None):
        """Makes a finder of people from a detector.

        Args:
          detector: detector with a category "person", or with only one category.
          max_people: largest number of people in an image, the best ones; None for any number.

        Raises:
          UserError: no category is "person", or `max_people` has an invalid value.
        """
        self._category = category_of_people(detector.names)
        if max_people is not None and max_people < 1:
            raise UserError(f"max_people={max_people} must be at least 1")
        self._detector, self._max_people = detector, max_people

    @classmethod
    def from_checkpoint(
        cls, path: str | pathlib.Path, *, max_people: int | None = None, **options
    ) -> "Finder":
        """Makes a finder from a detector's checkpoint.

        Args:
          path: see `Detector.from_checkpoint`.
          max_people: see `Finder`.
          **options: options of `Detector.from_checkpoint`. The lowest score of a box defaults to
            that of boxes that are worth drawing.

        Raises:
          UserError: the checkpoint cannot be read, or an option has an invalid value.
        """
        from hourglass_jax.checkpoint import trained  # imports Orbax, which is only needed here

        task = trained.task_of(path, "finder")
        if not getattr(task, "categories", ()):
            raise UserError(f"finder={path}: the task {task.name!r} does not find people")
        if options.get("min_score") is None:
            options["min_score"] = task.min_score
        return cls(Detector.from_checkpoint(path, **options), max_people=max_people)

    def __call__(self, images: Sequence[UInt8[np.ndarray, "height width 3"]]) -> list[Detections]:
        """Returns the people in each image, by decreasing score."""
        everything = self._detector.predict(images)
        return [
            found[np.flatnonzero(found.categories == self._category)[: self._max_people]]
            for found in everything
        ]
