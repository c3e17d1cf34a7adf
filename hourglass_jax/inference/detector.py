"""Detection of objects in images with a trained network."""

import functools
import itertools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Array, UInt8
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import crop, geometry, io
from hourglass_jax.image.geometry import Affine
from hourglass_jax.inference import windows
from hourglass_jax.inference.found import Detections
from hourglass_jax.inference.portable import Portable, check_process
from hourglass_jax.nn import forward
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Task
from hourglass_jax.tasks.detection.boxes import areas, clipped, from_sizes, to_sizes


class Detector(Portable):
    """Predicts the boxes of all objects in an image: `detector(image)` returns `Detections`.

    Images are scaled to the network's input as in training, in their proportions, between black
    bars. Very long images, such as panoramas, are also looked at in parts; see `windows`. Batches
    are padded to one of two sizes: the network is compiled at most twice per scale.

    Attributes:
      task: task of the network.
      images_at_once: images per batch.
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
        min_score: float = 0.0,
        batch_size: int = 8,
    ):
        """Makes a detector from a network and its variables.

        Args:
          model: the network, with the normalisation of its training.
          variables: {"params", "batch_stats"}.
          task: task that predicts boxes.
          input_size: side of the network's input at scale 1, px.
          flip_test: predict from the mirror image as well.
          scales: sizes of the input, relative to `input_size`; boxes of all are pooled.
          min_score: lowest score of a box.
          batch_size: images per batch.

        Raises:
          UserError: an option has an invalid value, or the network predicts no boxes.
        """
        if not getattr(task, "categories", ()):
            raise UserError(f"a network for the task {task.name!r} does not predict boxes")
        if not scales or not all(0 < s < math.inf for s in scales):
            raise UserError(f"scales={scales!r} must be numbers above 0, such as (0.75, 1.0, 1.25)")
        if not 0 <= min_score <= 1:
            raise UserError(f"min_score={min_score} must be a number from 0 to 1")
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        self.task = task
        self._min_score, self.images_at_once = min_score, batch_size
        self._flip_test = flip_test
        self._sides = views.sides_of(model, input_size, scales)
        self._variables = jax.device_put(variables)
        view_outputs = views.flip_test if flip_test else views.plain

        def last(variables, inputs):
            return forward(model, variables, inputs)[:, -1:]

        options = sharding.compiler_options(jax.devices()[0])

        @functools.partial(jax.jit, compiler_options=options)
        def predict(variables, images: UInt8[Array, "batch side side 3"]):
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
          **options: `flip_test`, `scales`, `min_score` and `batch_size` of `Detector`. None stands
            for the default, which is the checkpoint's for the former two.

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
          min_score: lowest score of a box, if that is above the detector's.

        Raises:
          UserError: the image cannot be read.
        """
        pixels = io.as_rgb(image)
        return self._finish(pixels, self._seen([pixels])[0], max(min_score, self._min_score))

    def predict(
        self,
        images: Sequence[UInt8[np.ndarray, "height width 3"]],
        boxes: Sequence[Any] | None = None,
        *,
        heatmaps: bool = False,
    ) -> list[Detections]:
        """Predicts the boxes of all objects in several images of any sizes, in batches.

        Raises:
          UserError: boxes are given, or heatmaps requested, as of a network for poses.
        """
        if heatmaps or any(several is not None for several in boxes or ()):
            raise UserError("a detector finds boxes itself, and returns no heatmaps")
        found = []
        for start in range(0, len(images), self.images_at_once):
            batch = images[start : start + self.images_at_once]
            size = 1 if len(images) == 1 else self.images_at_once
            found += [
                self._finish(pixels, seen, self._min_score)
                for pixels, seen in zip(batch, self._seen(batch, size), strict=True)
            ]
        return found

    def _finish(
        self,
        pixels: UInt8[np.ndarray, "height width 3"],
        seen: list[tuple[Any, Affine]],
        min_score: float,
    ) -> Detections:
        """Returns what the candidates of all views of an image are, cut at the image's borders."""
        height, width = pixels.shape[:2]
        found = [one for one in self.task.finish(seen) if one.score >= min_score]
        corners = from_sizes(np.array([one.box for one in found], float).reshape(-1, 4))
        corners = clipped(corners, width, height)
        shows = areas(corners) > 0  # others lie in the bars around the image
        corners, found = corners[shows], list(itertools.compress(found, shows))
        joints = joint_scores = None
        if self.task.joints:
            count = len(self.task.joints)
            joints = np.array([one.joints for one in found], float).reshape(-1, count, 2)
            joint_scores = np.array([one.joint_scores for one in found], float).reshape(-1, count)
        return Detections(
            boxes=to_sizes(corners),
            scores=np.array([one.score for one in found], float),
            categories=np.array([one.category for one in found], int),
            names=self.names,
            joints=joints,
            joint_scores=joint_scores,
        )

    def _seen(
        self, images: Sequence[UInt8[np.ndarray, "height width 3"]], size: int = 1
    ) -> list[list[tuple[Any, Affine]]]:
        """Returns the candidates of each image's views, with the maps from them to the image.

        Args:
          images: images of any sizes.
          size: number of images of the network's input.
        """
        check_process()
        parts = [
            (i, window)
            for i, pixels in enumerate(images)
            for window in windows.of_image(*pixels.shape[1::-1])
        ]
        seen = [[] for _ in images]
        for side in self._sides:
            for start in range(0, len(parts), size):
                some = parts[start : start + size]
                inputs = np.zeros((size, side, side, 3), np.uint8)
                to_input = []
                for row, (i, window) in enumerate(some):
                    inputs[row], affine = _fitted(images[i], window, side)
                    to_input.append(affine)
                for (i, window), found in zip(some, self._views(inputs, to_input), strict=True):
                    seen[i] += [self._whole(view, window) for view in found]
        return seen

    def _views(
        self, inputs: UInt8[np.ndarray, "batch side side 3"], to_input: Sequence[Affine]
    ) -> list[list[tuple[Any, Affine]]]:
        """Returns the candidates of each input's views, with the maps from them to the image."""
        candidates = jax.device_get(self._predict(self._variables, inputs))
        maps = views.maps_of(inputs.shape[1:3], self._flip_test)
        if len(candidates) == 1:  # views were merged
            maps = maps[:1]
        return [
            [
                (
                    jax.tree.map(lambda x, row=row: x[row, 0], found),
                    geometry.invert(geometry.compose(view, affine)),
                )
                for found, view in zip(candidates, maps, strict=True)
            ]
            for row, affine in enumerate(to_input)
        ]

    def _whole(self, view: tuple[Any, Affine], window: windows.Window) -> tuple[Any, Affine]:
        """Returns a view's candidates without boxes that the window cuts off."""
        found, to_image = view
        if "boxes" not in found or (window.first and window.last):
            return view
        stride = self.task.stride  # pyright: ignore[reportAttributeAccessIssue]  # it has boxes
        cut = window.cut(found, to_image, stride)
        return {**found, "scores": np.where(cut, 0, found["scores"])}, to_image


def _fitted(
    pixels: UInt8[np.ndarray, "height width 3"], window: windows.Window, side: int
) -> tuple[UInt8[np.ndarray, "side side 3"], Affine]:
    """Returns a window of an image as a square of `side` px, and the map to it."""
    small, to_image = crop.cut_out(
        pixels, window.middle, window.side, surroundings=1.0, resolution=side
    )
    to_input = geometry.crop_map(window.middle, window.side, side)
    from_small = geometry.compose(to_input, to_image)
    return cv2.warpAffine(small, from_small, (side, side), flags=cv2.INTER_LINEAR), to_input
