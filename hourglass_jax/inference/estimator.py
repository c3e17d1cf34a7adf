"""A trained network behind one call: images and boxes in, poses out."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import crop, geometry, io
from hourglass_jax.image.geometry import Affine
from hourglass_jax.nn import forward
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Instance, Task

# Of a person's crop, in sides of the box around the person: what the networks are trained with.
BOX_MARGIN = 1.25


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """The poses of an image's people, in its pixels.

    Attributes:
      joints: [P, K, 2], x and y, 0-based, a pixel's index being its centre.
      scores: [P, K], the heatmaps' peaks: about 1 where the network is sure, 0 where it sees none.
      names: of the joints.
      boxes: [P, 4], x, y, width and height: where people were looked for.
      heatmaps: [P, h, w, K] of the crops, where they were asked for.
    """

    joints: Float[np.ndarray, "people joints 2"]
    scores: Float[np.ndarray, "people joints"]
    names: tuple[str, ...]
    boxes: Float[np.ndarray, "people 4"]
    heatmaps: Float[np.ndarray, "people h w joints"] | None = None


class PoseEstimator:
    """Finds the joints of the people in an image, each given by a box.

    `estimator(image, boxes=None)` returns `Poses`. Every batch is padded to one of two sizes, so
    that the network is compiled at most twice.

    Attributes:
      task: that its network was trained for.
    """

    def __init__(
        self,
        model: Any,
        variables: dict[str, Any],
        task: Task,
        *,
        input_size: int = 256,
        flip_test: bool = True,
        scales: Sequence[float] = (1.0,),
        box_margin: float = BOX_MARGIN,
        decode: str | None = None,
        num_stacks: int | None = None,
        batch_size: int = 8,
    ):
        """Makes an estimator of a network's variables.

        Args:
          model: the network; its normalisation is that it was trained with.
          variables: {"params", "batch_stats"}.
          task: of one object in each input, whose instances have joints.
          input_size: the side of the inputs that it was trained on, px.
          flip_test: average over the image and its mirror image.
          scales: of the object in the input, to average over.
          box_margin: side of the input in sides of the object's box.
          decode: how joints are read off, "quarter" or "refined"; None: as the task does.
          num_stacks: take the prediction after so many stacks, which is faster; None: after all.
          batch_size: people at a time.

        Raises:
          UserError: an option has an impossible value.
        """
        stacks = model.num_stacks if num_stacks is None else num_stacks
        if not 1 <= stacks <= model.num_stacks:
            raise UserError(
                f"num_stacks={num_stacks}: this network has {model.num_stacks}; take 1 to "
                f"{model.num_stacks}"
            )
        if not scales or not all(0 < s < math.inf for s in scales):
            raise UserError(f"scales={scales!r} must be numbers above 0, such as (0.8, 1.0, 1.2)")
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        if not task.joints:
            raise UserError(f"a network for the task {task.name!r} does not find joints")
        if decode is not None:
            if "decoder" not in task.settings:
                raise UserError(f"decode={decode!r}: the task {task.name!r} has one way alone")
            task = task.from_settings({**task.settings, "decoder": decode})
        self.task = task
        self._side, self._scales, self._batch_size = input_size, tuple(scales), batch_size
        self._margin = box_margin
        self._variables = jax.device_put(variables)
        model = model.clone(num_stacks=stacks)
        size = (input_size, input_size)
        look = views.flip_test if flip_test else views.plain

        def last(variables, inputs):
            return forward(model, variables, inputs)[:, -1:]

        options = sharding.compiler_options(jax.devices()[0])

        @functools.partial(jax.jit, compiler_options=options)
        def predict(variables, crops: UInt8[Array, "scales batch side side 3"]):
            predicted = functools.partial(last, variables)
            seen = [
                view
                for i, scale in enumerate(self._scales)
                for view in look(
                    predicted, model.normalisation(crops[i]), scale=geometry.scaling(scale, size)
                )
            ]
            merged = views.merge(task, seen)
            return views.decode(task, merged), merged[0][0][:, 0]

        self._predict = predict
        self._views = [
            affine
            for scale in self._scales
            for affine in views.maps_of(size, flip_test, geometry.scaling(scale, size))
        ]

    @classmethod
    def from_checkpoint(cls, path: str | pathlib.Path, **options) -> "PoseEstimator":
        """Makes an estimator of a checkpoint alone.

        The flip test, the scales, the margin around boxes and the way joints are read off are the
        checkpoint's, unless options say otherwise.

        Args:
          path: a workdir (its best step), one step's folder, or the name of a network that comes
            with the package, as "lsp-small".
          **options: those of `PoseEstimator`: `flip_test`, `scales`, `box_margin`, `decode`,
            `num_stacks`, `batch_size`. None stands for the checkpoint's.

        Raises:
          UserError: there is no checkpoint, it cannot be read, or an option is impossible.
        """
        from hourglass_jax.checkpoint import trained  # brings Orbax, which a model in hand does not

        found = trained.load(path)
        given = {name: value for name, value in options.items() if value is not None}
        return cls(
            found.model,
            found.variables,
            found.task,
            input_size=found.input_size,
            **{**dataclasses.asdict(found.inference), **given},
        )

    @property
    def skeleton(self) -> Skeleton:
        """The joints that it finds, where its task has a skeleton."""
        return self.task.skeleton  # type: ignore[attr-defined]

    def __call__(
        self,
        image: "str | pathlib.Path | Image.Image | np.ndarray",
        boxes: Float[np.ndarray, "people 4"] | Sequence | None = None,
        *,
        heatmaps: bool = False,
    ) -> Poses:
        """Finds the poses of an image's people.

        Args:
          image: a file, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4].
          boxes: one (x, y, width, height) or several around people, px of the image; None: the
            image shows one person, whole.
          heatmaps: return these as well.

        Raises:
          UserError: the image cannot be read, or a box is not one.
        """
        pixels = io.as_rgb(image)
        boxes = self.check_boxes(boxes, pixels.shape)
        return self.estimate([(pixels, box) for box in boxes], heatmaps=heatmaps)

    def check_boxes(self, boxes, shape: tuple[int, ...]) -> Float[np.ndarray, "people 4"]:
        """Returns boxes as an array; for None one whose crop is the image. Raises UserError."""
        return check_boxes(boxes, shape, self._margin)

    def square_around(self, box) -> tuple[Float[np.ndarray, "2"], float]:
        """Returns center and size of what the network sees for a box."""
        return square_around(box, self._margin)

    def estimate(
        self,
        people: Sequence[tuple[UInt8[np.ndarray, "height width 3"], np.ndarray]],
        *,
        heatmaps: bool = False,
    ) -> Poses:
        """Finds one pose for each (image, box); images may differ, as the frames of a video."""
        found: list[Instance] = []
        maps = []
        for start in range(0, len(people), self._batch_size):
            some = people[start : start + self._batch_size]
            cut = [self._crops(image, np.asarray(box, float)) for image, box in some]
            size = 1 if len(people) == 1 else self._batch_size
            crops = np.zeros((len(self._scales), size, self._side, self._side, 3), np.uint8)
            for i, (scaled, _) in enumerate(cut):
                crops[:, i] = scaled
            candidates, outputs = jax.device_get(self._predict(self._variables, crops))
            for i, (_, to_image) in enumerate(cut):
                row = jax.tree.map(lambda x, i=i: x[i, 0], candidates)
                instances = views.finish(self.task, row, self._views, to_image)
                found.append(max(instances, key=lambda instance: instance.score))
            maps += list(outputs[: len(some)]) if heatmaps else []
        count = len(self.task.joints)
        joints = [instance.joints for instance in found]
        scores = [instance.joint_scores for instance in found]
        return Poses(
            joints=np.array(joints).reshape(-1, count, 2),
            scores=np.array(scores, np.float32).reshape(-1, count),
            names=tuple(self.task.joints),
            boxes=np.array([box for _, box in people], float).reshape(-1, 4),
            heatmaps=np.array(maps) if heatmaps else None,
        )

    def _crops(self, image, box) -> tuple[list[np.ndarray], Affine]:
        """A person's crop at every scale, and the map from that of scale 1 to the image."""
        center, size = self.square_around(box)
        scaled = []
        for scale in self._scales:
            small, to_image = crop.cut_out(
                image, center, size / scale, surroundings=1.1, resolution=self._side
            )
            to_crop = geometry.crop_map(center, size, self._side, scale=scale)
            from_small = geometry.compose(to_crop, to_image)
            shape = (self._side, self._side)
            scaled.append(cv2.warpAffine(small, from_small, shape, flags=cv2.INTER_LINEAR))
        return scaled, geometry.invert(geometry.crop_map(center, size, self._side))


def square_around(
    box: Float[np.ndarray, "4"], margin: float = BOX_MARGIN
) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns center and size of the crop for a box, `margin` times as large."""
    # A box from 10, 10 px wide, covers the pixels 10 to 19, whose middle is at 14.5.
    return box[:2] + (box[2:] - 1) / 2, max(float(box[2:].max()) * margin, 2.0)


def check_boxes(
    boxes, shape: tuple[int, ...], margin: float = BOX_MARGIN
) -> Float[np.ndarray, "people 4"]:
    """Returns boxes as an array, for None one whose crop is the image; raises UserError."""
    height, width = shape[:2]
    if boxes is None:  # the crop shows the image and no more: a person seldom reaches its borders
        sides = np.array([width, height])
        return np.concatenate([sides * (1 - 1 / margin) / 2, sides / margin])[None]
    try:
        found = np.atleast_2d(np.asarray(boxes, float)) if np.size(boxes) else np.zeros((0, 4))
    except (TypeError, ValueError):
        found = None
    if found is None or found.ndim != 2 or found.shape[1] != 4:
        raise UserError(f"each box must be (x, y, width, height), and not {boxes!r}")
    for box in found:
        if not np.isfinite(box).all() or box[2:].min() <= 0 or np.abs(box).max() > 1e6:
            raise UserError(
                f"{box.tolist()} is not a box; it must be x, y, width, height in px, the last two "
                f"above 0"
            )
    return found
