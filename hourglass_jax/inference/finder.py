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
# Lowest score of a person unless another is asked for. About four out of five are right at it.
MIN_SCORE = 0.4
# Lowest score of a box for which a pose is computed, as a share of the lowest score of a person.
# Lower ones take time, and few of them become people.
BOX_SHARE = 0.6


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
    """Finds the people in images: `finder(images)` returns `Detections` of each image.

    Attributes:
      min_score: lowest score of a person, once the pose is known; see `Poses.person_scores`.
    """

    def __init__(
        self, detector: Detector, *, max_people: int | None = None, min_score: float = 0.0
    ):
        """Makes a finder of people from a detector.

        Args:
          detector: detector with a category "person", or with only one category.
          max_people: largest number of people in an image, the best ones; None for any number.
          min_score: lowest score of a person.

        Raises:
          UserError: no category is "person", or `max_people` has an invalid value.
        """
        self._category = category_of_people(detector.names)
        if max_people is not None and max_people < 1:
            raise UserError(f"max_people={max_people} must be at least 1")
        self._detector, self._max_people = detector, max_people
        self.min_score = min_score

    @classmethod
    def from_checkpoint(
        cls,
        path: str | pathlib.Path,
        *,
        max_people: int | None = None,
        min_score: float | None = None,
        **options,
    ) -> "Finder":
        """Makes a finder from a detector's checkpoint.

        Args:
          path: see `Detector.from_checkpoint`.
          max_people: see `Finder`.
          min_score: lowest score of a person; None stands for `MIN_SCORE`. Boxes are kept from
            `BOX_SHARE` of it on, since a sure pose can raise the score.
          **options: other options of `Detector.from_checkpoint`.

        Raises:
          UserError: the checkpoint cannot be read, or an option has an invalid value.
        """
        from hourglass_jax.checkpoint import trained  # imports Orbax, which is only needed here

        task = trained.task_of(path, "finder")
        if not getattr(task, "categories", ()):
            raise UserError(f"finder={path}: the task {task.name!r} does not find people")
        least = MIN_SCORE if min_score is None else min_score
        if not 0 <= least <= 1:
            raise UserError(f"min_score={least} must be a number from 0 to 1")
        detector = Detector.from_checkpoint(path, min_score=BOX_SHARE * least, **options)
        return cls(detector, max_people=max_people, min_score=least)

    def __call__(self, images: Sequence[UInt8[np.ndarray, "height width 3"]]) -> list[Detections]:
        """Returns the people in each image, by decreasing score."""
        everything = self._detector.predict(images)
        return [
            found[np.flatnonzero(found.categories == self._category)[: self._max_people]]
            for found in everything
        ]
