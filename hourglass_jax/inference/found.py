"""What is found in an image: the poses of people, or boxes of objects."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import PIL.Image
from jaxtyping import Float, Int, UInt8

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.inference import presentation
from hourglass_jax.inference.boxes import BOX_MARGIN
from hourglass_jax.tasks.base import Instance, Task

Rows = slice | Sequence[int] | Int[np.ndarray, " rows"]


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """The poses of P people with K joints, px of the image.

    Notebooks show them drawn into their image, and `print` shows a summary.

    Attributes:
      joints: [P, K, 2], x and y, 0-based, with integers at the centres of pixels.
      scores: [P, K], peaks of the heatmaps: about 1 for confident predictions, 0 for none.
      names: names of the joints.
      boxes: [P, 4], x, y, width and height of the given or found boxes.
      heatmaps: [P, h, w, K], heatmaps of the crops, if requested.
      margin: side of a crop as a multiple of the side of the box.
      box_scores: [P], scores of the boxes if they were found; None if they were given.
      skeleton: joints with their limbs, for drawing; None if only the names are known.
      image: the image, where it was given alone; None where it was one of many.
      agreement: [P], how alike the poses after all stacks are, from 0 to 1, if requested.
    """

    joints: Float[np.ndarray, "people joints 2"]
    scores: Float[np.ndarray, "people joints"]
    names: tuple[str, ...]
    boxes: Float[np.ndarray, "people 4"]
    heatmaps: Float[np.ndarray, "people h w joints"] | None = None
    margin: float = BOX_MARGIN
    box_scores: Float[np.ndarray, " people"] | None = None
    skeleton: Skeleton | None = None
    image: UInt8[np.ndarray, "height width 3"] | None = None
    agreement: Float[np.ndarray, " people"] | None = None

    def __repr__(self) -> str:
        return presentation.summary(self)

    def _repr_png_(self) -> bytes | None:
        return presentation.png(self)

    def draw(self, image: Any = None) -> PIL.Image.Image:
        """Returns the image with the people's skeletons.

        Args:
          image: image to draw into, of any kind that an estimator takes; None stands for the one
            that the poses hold.

        Raises:
          UserError: there is no image, or it cannot be read.
        """
        return presentation.drawing(self, image)

    def to_dict(self) -> dict[str, Any]:
        """Returns {"people": [{"score", "box", "joints": {name: [x, y, score]}}]}."""
        return presentation.as_dict(self)

    def to_dataframe(self) -> Any:
        """Returns a DataFrame of pandas with a row per joint: person, joint, x, y, score."""
        return presentation.as_dataframe(self)

    def to_coco(self, file_name: str = "image") -> dict[str, list[dict[str, Any]]]:
        """Returns a data set in COCO's format: the image by this name, and its people."""
        return presentation.as_coco(self, file_name)

    def save(self, path: str | os.PathLike, file_name: str = "image") -> None:
        """Writes a file: a drawing (.png, .jpg, .webp), `to_coco` (.json), or a table (.csv).

        Args:
          path: path of the file, whose suffix says of what kind it is.
          file_name: name of the image in a .json file.

        Raises:
          UserError: the suffix is another, the file cannot be written, or there is no image to draw
            into.
        """
        presentation.save(self, path, file_name)

    @property
    def person_scores(self) -> list[float]:
        """Score of each person: the mean of the joints' scores if the box was given.

        If it was found, the score is the geometric mean of the box's score and of the mean of the
        better half of the joints' scores. The other half may lie outside the image.
        """
        if self.box_scores is None:
            return self.scores.mean(1).tolist()
        half = np.sort(self.scores, axis=1)[:, self.scores.shape[1] // 2 :].mean(1)
        return np.sqrt(half * self.box_scores).tolist()

    @property
    def instances(self) -> list[Instance]:
        """The people one by one, for drawing and for results."""
        unknown = [None] * len(self.joints)
        agreement = unknown if self.agreement is None else self.agreement.tolist()
        columns = self.person_scores, self.boxes, self.joints, self.scores, agreement
        return [
            Instance(score, box, joints=joints, joint_scores=scores, agreement=alike)
            for score, box, joints, scores, alike in zip(*columns, strict=True)
        ]

    def __getitem__(self, people: Rows) -> "Poses":
        """Returns some of the people."""
        names = ("joints", "scores", "boxes", "heatmaps", "box_scores", "agreement")
        return _some(self, people, *names)


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """The N objects in an image, by decreasing score; px of the image.

    Attributes:
      boxes: [N, 4], x, y, width and height, from the image's corner.
      scores: [N].
      categories: [N], indices into `names`.
      names: names of the network's categories.
      joints: [N, K, 2], x and y, with integers at the centres of pixels; None without joints.
      joint_scores: [N, K]; None without joints.
    """

    boxes: Float[np.ndarray, "objects 4"]
    scores: Float[np.ndarray, " objects"]
    categories: Int[np.ndarray, " objects"]
    names: tuple[str, ...]
    joints: Float[np.ndarray, "objects joints 2"] | None = None
    joint_scores: Float[np.ndarray, "objects joints"] | None = None

    @property
    def instances(self) -> list[Instance]:
        """The objects one by one, for drawing and for results."""
        columns = [self.scores.tolist(), self.boxes, self.categories.tolist()]
        if self.joints is not None and self.joint_scores is not None:
            columns += [self.joints, self.joint_scores]
        return [Instance(*values) for values in zip(*columns, strict=True)]

    def __getitem__(self, objects: Rows) -> "Detections":
        """Returns some of the objects."""
        return _some(self, objects, "boxes", "scores", "categories", "joints", "joint_scores")


def _some(found: Any, rows: Rows, *names: str) -> Any:
    arrays = {name: getattr(found, name) for name in names}
    chosen = {name: array[rows] for name, array in arrays.items() if array is not None}
    return dataclasses.replace(found, **chosen)


class Predictor(Protocol):
    """What the command runs over images and videos: `PoseEstimator` or `Detector`.

    Attributes:
      task: task of the network.
      images_at_once: number of images that are predicted faster together than one by one.
    """

    task: Task
    images_at_once: int

    def predict(
        self,
        images: Sequence[UInt8[np.ndarray, "height width 3"]],
        boxes: Sequence[Sequence | None] | None = None,
        *,
        heatmaps: bool = False,
    ) -> "Sequence[Poses] | Sequence[Detections]":
        """Returns what is found in each image.

        Args:
          images: images of any sizes.
          boxes: boxes (x, y, width, height) around the people in each image, px; None where nobody
            says where people are.
          heatmaps: return the heatmaps of people as well.

        Raises:
          UserError: a box is invalid, or something is requested that the network does not predict.
        """
        ...
