"""Detection of objects in images with a trained network."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import crop, geometry, io
from hourglass_jax.image.geometry import Affine
from hourglass_jax.nn import forward
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Instance, Task


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


class Detector:
    """Predicts the boxes of all objects in an image: `detector(image)` returns `Detections`.

    Images are scaled to the network's input as in training, in their proportions, between black
    bars. The network is compiled once per scale.

    Attributes:
      task: task of the network.
    """

    def __init__(
        self,
        model: Any,
        variables: dict[str, Any],
        task: Task,
        *,
        input_size: int = 512,
        flip_test: bool = True,
        scales: Sequence[float] = (1.0,),
    ):
        """Makes a detector from a network and its variables.

        Args:
          model: the network, with the normalisation of its training.
          variables: {"params", "batch_stats"}.
          task: task that predicts boxes.
          input_size: side of the network's input at scale 1, px.
          flip_test: predict from the mirror image as well.
          scales: sizes of the input, relative to `input_size`; boxes of all are pooled.

        Raises:
          UserError: an option has an invalid value, or the network predicts no boxes.
        """
        if not getattr(task, "categories", ()):
            raise UserError(f"a network for the task {task.name!r} does not predict boxes")
        if not scales or not all(0 < s < math.inf for s in scales):
            raise UserError(f"scales={scales!r} must be numbers above 0, such as (0.75, 1.0, 1.25)")
        self.task = task
        self._flip_test = flip_test
        self._sides = [model.valid_size(*[round(s * input_size)] * 2)[0] for s in scales]
        self._variables = jax.device_put(variables)
        view_outputs = views.flip_test if flip_test else views.plain

        def last(variables, inputs):
            return forward(model, variables, inputs)[:, -1:]

        options = sharding.compiler_options(jax.devices()[0])

        @functools.partial(jax.jit, compiler_options=options)
        def predict(variables, images: UInt8[Array, "1 side side 3"]):
            inputs = model.normalisation(images)
            seen = view_outputs(functools.partial(last, variables), inputs)
            return views.decode(task, views.merge(task, seen))

        self._predict = predict

    @classmethod
    def from_checkpoint(cls, path: str | pathlib.Path, **options) -> "Detector":
        """Makes a detector from a checkpoint.

        Args:
          path: a workdir (for its best step), the folder of one step, or the name of a network that
            comes with the package.
          **options: `flip_test` and `scales` of `Detector`; None stands for the checkpoint's.

        Raises:
          UserError: the checkpoint cannot be read, or an option has an invalid value.
        """
        from hourglass_jax.checkpoint import trained  # imports Orbax, which is only needed here

        loaded = trained.load(path)
        given = {name: value for name, value in options.items() if value is not None}
        defaults = {
            "flip_test": loaded.inference.flip_test,
            "scales": loaded.inference.scales,
            "input_size": loaded.input_size,
        }
        return cls(loaded.model, loaded.variables, loaded.task, **{**defaults, **given})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories."""
        return self.task.categories  # pyright: ignore[reportAttributeAccessIssue]  # see __init__

    def __call__(
        self, image: "str | pathlib.Path | Image.Image | np.ndarray", *, min_score: float = 0.0
    ) -> Detections:
        """Predicts the boxes of all objects in an image.

        Args:
          image: a file, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4].
          min_score: lowest score of a box.

        Raises:
          UserError: the image cannot be read.
        """
        pixels = io.as_rgb(image)
        height, width = pixels.shape[:2]
        seen = [view for side in self._sides for view in self._views(pixels, side)]
        found = [one for one in self.task.finish(seen) if one.score >= min_score]
        boxes = np.array([one.box for one in found], float).reshape(-1, 4)
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        low, high = (np.clip(corner, 0, (width, height)) for corner in (low, high))
        joints = joint_scores = None
        if self.task.joints:
            count = len(self.task.joints)
            joints = np.array([one.joints for one in found], float).reshape(-1, count, 2)
            joint_scores = np.array([one.joint_scores for one in found], float).reshape(-1, count)
        return Detections(
            boxes=np.concatenate([low, high - low], axis=1),
            scores=np.array([one.score for one in found], float),
            categories=np.array([one.category for one in found], int),
            names=self.names,
            joints=joints,
            joint_scores=joint_scores,
        )

    def _views(
        self, pixels: UInt8[np.ndarray, "height width 3"], side: int
    ) -> list[tuple[Any, Affine]]:
        """Returns the candidates of each view at one scale, with its map to the image."""
        height, width = pixels.shape[:2]
        middle, long = np.array([width - 1, height - 1]) / 2, max(width, height)
        small, to_image = crop.cut_out(pixels, middle, long, surroundings=1.0, resolution=side)
        to_input = geometry.crop_map(middle, long, side)
        from_small = geometry.compose(to_input, to_image)
        square = cv2.warpAffine(small, from_small, (side, side), flags=cv2.INTER_LINEAR)
        candidates = jax.device_get(self._predict(self._variables, square[None]))
        maps = views.maps_of((side, side), self._flip_test)
        if len(candidates) == 1:  # views were merged
            maps = maps[:1]
        return [
            (
                jax.tree.map(lambda x: x[0, 0], found),
                geometry.invert(geometry.compose(view, to_input)),
            )
            for found, view in zip(candidates, maps, strict=True)
        ]
