"""Entries of predictions.json (COCO's results format), and rows of predictions.csv.

Of poses in boxes, the table has a row per joint. Of detected objects it has a row per object.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hourglass_jax.errors import UserError
from hourglass_jax.inference import tracking
from hourglass_jax.tasks.base import Instance, Task

# People or objects as in predictions.json, without the name of their image.
Entries = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Format:
    """How the results of a task are written.

    Attributes:
      joints: names of the joints.
      categories: names of the categories that are detected; empty for poses in boxes.
      category_ids: ids of the categories.
      tracked: whether those in videos are numbered; see `tracking`.
      smooth: whether their joints are smoothed, too.
    """

    joints: tuple[str, ...]
    categories: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = (1,)
    tracked: bool = False
    smooth: bool = False

    @classmethod
    def of(cls, task: Task, *, tracked: bool = False, smooth: bool = False) -> "Format":
        """Returns the format of a task's results."""
        categories = tuple(getattr(task, "categories", ()))
        ids = tuple(getattr(task, "category_ids", (1,)))
        return cls(tuple(task.joints), categories, ids, tracked, smooth)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Format":
        """Returns the format that `to_json` describes."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in saved.items()
            if name in cls.__dataclass_fields__
        }
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Returns the joints, and the fields that are not the default."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def following(self) -> Callable[[int | None, Entries], Entries]:
        """Returns a function of (frame, entries) for the frames of one file, in their order.

        It numbers the entries of a video, and leaves those of an image as they are.
        """
        tracker = tracking.Tracker(self.joints, smooth=self.smooth)
        return lambda frame, found: found if frame is None or not self.tracked else tracker(found)

    def entry(self, found: Instance) -> dict[str, Any]:
        """Returns a person or object as an entry of predictions.json.

        Raises:
          UserError: a number is not finite.
        """
        entry: dict[str, Any] = {"category_id": self.category_ids[found.category]}
        if self.categories:
            entry["category"] = self.categories[found.category]
        numbers = [np.ravel(found.score)]
        if found.box is not None:
            entry["bbox"] = np.round(found.box, 2).tolist()
            numbers.append(np.ravel(found.box))
        if found.joints is not None and found.joint_scores is not None:
            table = np.concatenate([found.joints, found.joint_scores[:, None]], axis=1).ravel()
            entry["keypoints"] = np.round(table, 4).tolist()
            numbers.append(table)
        if not np.isfinite(np.concatenate(numbers)).all():
            raise UserError("the network's output is not finite; its checkpoint is damaged")
        entry["score"] = round(found.score, 4)
        if found.agreement is not None:
            entry["agreement"] = round(found.agreement, 4)
        return entry

    def instance(self, entry: Mapping[str, Any]) -> Instance:
        """Returns the person or object of an entry."""
        joints = joint_scores = None
        if "keypoints" in entry:
            table = np.reshape(entry["keypoints"], (-1, 3))
            joints, joint_scores = table[:, :2], table[:, 2]
        box = np.array(entry["bbox"], float) if "bbox" in entry else None
        category = self.category_ids.index(entry["category_id"])
        number = entry.get("track_id")
        return Instance(entry["score"], box, category, joints, joint_scores, number)

    @property
    def columns(self) -> list[str]:
        """Heads of the columns of predictions.csv."""
        if not self.categories:
            return ["image", "person", "joint", "x", "y", "score"]
        joints = [f"{joint}/{value}" for joint in self.joints for value in ("x", "y", "score")]
        return ["image", "object", "category", "score", "x", "y", "width", "height", *joints]

    def rows(self, name: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[list]:
        """Yields the rows of one image in predictions.csv."""
        name = as_utf8(name)
        for i, entry in enumerate(entries):
            number = entry.get("track_id", i)
            joints = [
                [f"{x:.2f}", f"{y:.2f}", f"{score:.4f}"]
                for x, y, score in np.reshape(entry.get("keypoints", ()), (-1, 3)).tolist()
            ]
            if self.categories:
                box = [f"{value:.2f}" for value in entry["bbox"]]
                row = [name, number, entry["category"], f"{entry['score']:.4f}", *box]
                yield [*row, *(value for joint in joints for value in joint)]
            else:
                for joint, values in zip(self.joints, joints, strict=True):
                    yield [name, number, joint, *values]


def as_utf8(name: str) -> str:
    """Returns a file's name as JSON escapes it: readers of tables refuse what is not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
