"""Prediction of poses from images and boxes with a trained network."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import cv2
import jax
import numpy as np
from jaxtyping import Array, UInt8

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.image import crop, geometry, io
from hourglass_jax.image.geometry import Affine
from hourglass_jax.inference import finder as finders
from hourglass_jax.inference import options, several
from hourglass_jax.inference.boxes import BOX_MARGIN, check_boxes, from_corners, square_around
from hourglass_jax.inference.finder import Finder
from hourglass_jax.inference.found import Poses
from hourglass_jax.inference.portable import Portable, check_process
from hourglass_jax.inference.similarity import agreement, distinct
from hourglass_jax.nn import forward
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Instance, Task


class PoseEstimator(Portable):
    """Predicts the joints of the people in an image, each in a box that is given or found.

    `estimator(image, boxes=None)` returns `Poses`. Batches are padded to one of two sizes, so that
    the network is compiled at most twice. Threads may share an estimator, and it can be pickled.

    Attributes:
      task: task of the network.
      images_at_once: number of images that are predicted faster together than one by one: several
        if people are found in them.
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
        finder: Finder | None = None,
        compare_stacks: bool = False,
    ):
        """Makes an estimator from a network and its variables.

        Args:
          model: the network, with the normalisation of its training.
          variables: {"params", "batch_stats"}.
          task: task that predicts joints of one object per input.
          input_size: side of the network's input, px.
          flip_test: average over the image and its mirror image.
          scales: magnifications of the object to average over.
          box_margin: side of the input as a multiple of the side of the object's box.
          decode: decoding of heatmaps, "quarter" or "refined"; None uses the task's.
          num_stacks: number of stacks to run, where fewer are faster; None runs all.
          batch_size: people per batch.
          finder: finds people where no boxes are given; None takes an image for one person.
          compare_stacks: say in `Poses.agreement` how alike the stacks' poses are.

        Raises:
          UserError: an option has an invalid value.
        """
        choice = {"num_stacks": num_stacks, "batch_size": batch_size}
        model, task = options.checked(model, task, scales=scales, decode=decode, **choice)
        self.task = task
        self._side, self._scales, self._batch_size = input_size, tuple(scales), batch_size
        self._margin, self._finder = box_margin, finder
        self._compare_stacks = compare_stacks
        self.images_at_once = batch_size if finder else 1
        self._variables = jax.device_put(variables)
        size = (input_size, input_size)
        view_outputs = views.flip_test if flip_test else views.plain

        def stacks_of(variables, inputs):
            outputs = forward(model, variables, inputs)
            return outputs if compare_stacks else outputs[:, -1:]

        compiling = sharding.compiler_options(jax.devices()[0])

        @functools.partial(jax.jit, compiler_options=compiling)
        def predict(variables, crops: UInt8[Array, "scales batch side side 3"]):
            network = functools.partial(stacks_of, variables)
            outputs = []
            for i, scale in enumerate(self._scales):
                inputs = model.normalisation(crops[i])
                outputs += view_outputs(network, inputs, scale=geometry.scaling(scale, size))
            merged = views.merge(task, outputs)
            maps, view = merged[0][0][:, -1], merged[0][1]
            if geometry.scale_of(view) != 1:  # a single view: its maps are of another scale
                maps = task.merge([(maps, view)])
            return views.decode(task, merged), maps

        self._predict = predict
        self._views = [
            affine
            for scale in self._scales
            for affine in views.maps_of(size, flip_test, geometry.scaling(scale, size))
        ]

    @classmethod
    def from_checkpoint(
        cls,
        path: str | pathlib.Path,
        *,
        finder: Finder | str | pathlib.Path | None = finders.AUTO,
        **options,
    ) -> "PoseEstimator":
        """Makes an estimator from a checkpoint.

        Flip test, scales, box margin and decoding default to the checkpoint's settings.

        Args:
          path: a workdir (for its best step), the folder of one step, or the name of a network that
            comes with the package, such as "people-pose".
          finder: finds people where no boxes are given: a finder, or its checkpoint; None or "none"
            takes an image for one person; "auto" is "people-small" if the network's joints are a
            person's, and "none" otherwise.
          **options: `flip_test`, `scales`, `box_margin`, `decode`, `num_stacks` and `batch_size` of
            `PoseEstimator`. None stands for the default.

        Raises:
          UserError: the checkpoint does not exist or cannot be read, or an option has an invalid
            value.
        """
        from hourglass_jax.checkpoint import trained  # imports Orbax, which is only needed here

        loaded = trained.load(path)
        if isinstance(finder, (str, pathlib.Path)):
            name = str(finder)
            name = finders.suitable(loaded.task.joints) if name == finders.AUTO else name
            finder = None if name == finders.NONE else Finder.from_checkpoint(name)
        given = {name: value for name, value in options.items() if value is not None}
        return cls(
            loaded.model,
            loaded.variables,
            loaded.task,
            input_size=loaded.input_size,
            finder=finder,
            **{**dataclasses.asdict(loaded.inference), **given},
        )

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the predicted joints, if the task has one."""
        return self.task.skeleton  # pyright: ignore[reportAttributeAccessIssue]

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, image: list | tuple, boxes: Any = ..., *, box_format: str = ..., heatmaps: bool = ...
    ) -> list[Poses]: ...
    @overload
    def __call__(
        self, image: Iterator, boxes: Any = ..., *, box_format: str = ..., heatmaps: bool = ...
    ) -> Iterator[Poses]: ...
    @overload
    def __call__(
        self, image: Any, boxes: Any = ..., *, box_format: str = ..., heatmaps: bool = ...
    ) -> Poses: ...

    def __call__(self, image, boxes=None, *, box_format: str = "xywh", heatmaps: bool = False):
        """Predicts the poses of the people in an image, or in several.

        Args:
          image: a path, an address that begins with https://, an open file such as io.BytesIO, a
            Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4] of any library, of uint8 or of
            floats in [0, 1]. A list of these, or an array [N, H, W, 3], gives a list of poses; an
            iterator gives an iterator, which reads images only when their poses are asked for.
          boxes: one or several boxes around people, px of the image; None leaves it to the finder.
            Without a finder, the image is taken for one person. For several images, the boxes of
            each one.
          box_format: "xywh" for (x, y, width, height), "xyxy" for opposite corners.
          heatmaps: return the heatmaps as well.

        Returns:
          `Poses`. Those of one image hold the image; those of several do not.

        Raises:
          UserError: an image cannot be read, a box is invalid, or it shows nothing of the image.
        """
        corners = from_corners(box_format)

        def predict(images, given):
            return self.predict(images, [corners(boxes) for boxes in given], heatmaps=heatmaps)

        if several.are_several(image):
            poses = several.each(predict, image, boxes, self._batch_size)
            return poses if isinstance(image, Iterator) else list(poses)
        pixels = io.as_rgb(image)
        (poses,) = predict([pixels], [boxes])
        return dataclasses.replace(poses, image=pixels)

    def predict(
        self,
        images: Sequence[UInt8[np.ndarray, "height width 3"]],
        boxes: Sequence[Any] | None = None,
        *,
        heatmaps: bool = False,
    ) -> list[Poses]:
        """Predicts the poses of the people in several images, in batches of people.

        Args:
          images: images of any sizes.
          boxes: boxes of each image, as for one image, or None.
          heatmaps: return the heatmaps as well.

        Raises:
          UserError: a box is invalid, or shows nothing of its image.
        """
        check_process()
        given = [None] * len(images) if boxes is None else list(boxes)
        unknown = [i for i, several in enumerate(given) if several is None and self._finder]
        found = self._finder([images[i] for i in unknown]) if self._finder else []
        least = self._finder.min_score if self._finder else 0.0
        each = dict(zip(unknown, found, strict=True))
        boxes = [
            each[i].boxes if i in each else check_boxes(several, images[i].shape, self._margin)
            for i, several in enumerate(given)
        ]
        people = [
            (image, box) for image, several in zip(images, boxes, strict=True) for box in several
        ]
        everybody = self.estimate(people, heatmaps=heatmaps)
        ends = np.cumsum([len(several) for several in boxes]).tolist()
        poses = [everybody[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
        for i in unknown:
            some = distinct(dataclasses.replace(poses[i], box_scores=each[i].scores))
            poses[i] = some[np.flatnonzero(np.array(some.person_scores) >= least)]
        return poses

    def estimate(
        self,
        people: Sequence[tuple[UInt8[np.ndarray, "height width 3"], np.ndarray]],
        *,
        heatmaps: bool = False,
    ) -> Poses:
        """Predicts one pose for each (image, box), such as for the frames of a video."""
        poses: list[list[Instance]] = []  # of each stack, person by person
        maps = []
        for start in range(0, len(people), self._batch_size):
            batch = people[start : start + self._batch_size]
            cut = [self._crops(image, np.asarray(box, float)) for image, box in batch]
            size = 1 if len(people) == 1 else self._batch_size
            crops = np.zeros((len(self._scales), size, self._side, self._side, 3), np.uint8)
            for i, (scaled, _) in enumerate(cut):
                crops[:, i] = scaled
            candidates, outputs = jax.device_get(self._predict(self._variables, crops))
            for i, (_, to_image) in enumerate(cut):
                row = jax.tree.map(lambda x, i=i: x[i], candidates)
                poses.append(self._pose_of_each_stack(row, to_image))
            maps += list(outputs[: len(batch)]) if heatmaps else []
        count = len(self.task.joints)
        boxes = np.array([box for _, box in people], float).reshape(-1, 4)

        def after(stack: int) -> Poses:
            joints = [stacks[stack].joints for stacks in poses]
            scores = [stacks[stack].joint_scores for stacks in poses]
            return Poses(
                joints=np.array(joints).reshape(-1, count, 2),
                scores=np.array(scores, np.float32).reshape(-1, count),
                names=tuple(self.task.joints),
                boxes=boxes,
            )

        num_stacks = len(poses[0]) if poses else 1
        last = after(num_stacks - 1)
        return dataclasses.replace(
            last,
            heatmaps=np.array(maps or np.zeros((0, 0, 0, count)), np.float32) if heatmaps else None,
            margin=self._margin,
            skeleton=getattr(self.task, "skeleton", None),
            agreement=agreement([after(i) for i in range(num_stacks - 1)], last)
            if self._compare_stacks
            else None,
        )

    def _pose_of_each_stack(self, candidates: Any, to_image: Affine) -> list[Instance]:
        """Returns the best pose of one person after each stack."""
        num_stacks = jax.tree.leaves(candidates)[0].shape[0]
        rows = [jax.tree.map(lambda x, i=i: x[i], candidates) for i in range(num_stacks)]
        each = [views.finish(self.task, row, self._views, to_image) for row in rows]
        return [max(instances, key=lambda instance: instance.score) for instances in each]

    def _crops(self, image, box) -> tuple[list[np.ndarray], Affine]:
        """Returns a person's crop at every scale, and the map from that at scale 1 to the image."""
        center, size = square_around(box, self._margin)
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
