"""Boxes of objects in whole images, and people's joints with them; see `options.Options`.

Boxes are found by keypoints: corners in pairs, as in CornerNet, or centres, as in CenterNet. Images
are read whole, in their proportions.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from hourglass_jax import rules
from hourglass_jax.data.base import NO_JOINTS, AnnotatedImage, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.base import Draws, Head, Instance, Metric, Record, Spec, Task
from hourglass_jax.tasks.detection import boxes, drawing, flip, pooling, precision, records, targets
from hourglass_jax.tasks.detection.centres import Centres
from hourglass_jax.tasks.detection.corners import Corners
from hourglass_jax.tasks.detection.options import CORNERS, JOINTS, Options


@dataclasses.dataclass(frozen=True)
class Detection(Task):
    """The task of predicting boxes; see `tasks.base.Task`.

    Attributes:
      options: config section `detection`.
      categories: names of the categories.
      category_ids: ids of the categories in results.
      skeleton: joints to predict; without joints for boxes alone.
      stride: input px per cell of the outputs; 511 / 128 for CornerNet's input.
      resolution: longer side of the records, px.
      max_instances: largest number of boxes in an image, as COCO's evaluation counts.
      training_size: side of training's inputs, px; 0 if it is not known.
    """

    options: Options
    categories: tuple[str, ...]
    category_ids: tuple[int, ...]
    skeleton: Skeleton = NO_JOINTS
    stride: float = 4.0
    resolution: int = 512
    max_instances: int = 100
    training_size: int = 0

    name: ClassVar[str] = "detection"
    sections: ClassVar[Mapping[str, type]] = {"detection": Options}
    exports: ClassVar[Sequence[str]] = ("boxes",)
    record_version: ClassVar[int] = 1
    unit: ClassVar[str] = "images"
    min_score: ClassVar[float] = 0.3

    @classmethod
    def from_config(cls, config, source: Source, stride: int) -> "Detection":
        """Makes the task that a config describes.

        Args:
          config: config of the experiment.
          source: data set to train on.
          stride: input px per cell of the network's outputs.

        Raises:
          UserError: a field has an invalid value, the data set has no boxes or joints, or boxes
            would be rotated.
        """
        options = config.task_sections(cls.sections)["detection"]
        if not source.categories:
            raise UserError(f"data.dataset={source.name!r} has no boxes; set another config.task")
        if options.kind == JOINTS and not source.labels.joints:
            raise UserError(
                f"data.dataset={source.name!r} has no joints; set another config.detection.kind"
            )
        for name in ("rotation", "any_angle"):
            if value := getattr(config.augment, name):
                raise UserError(f"augment.{name}={value} would rotate boxes; set augment.{name}=0")
        records.check(config)
        side = config.model.input_size
        return cls(
            options,
            tuple(source.categories),
            tuple(source.category_ids or range(1, len(source.categories) + 1)),
            source.labels if options.kind == JOINTS else NO_JOINTS,
            side / -(-side // stride),
            config.data.resolution,
            training_size=config.model.training_size or side,
        )

    @property
    def settings(self) -> dict[str, Any]:
        made = {"options": rules.to_dict(self.options), "skeleton": self.skeleton.to_json()}
        return {**vars(self), **made}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Detection":
        made = {
            "options": rules.section(
                Options, settings["options"], "task.settings.options.", root="metadata"
            ),
            "categories": tuple(settings["categories"]),
            "category_ids": tuple(settings["category_ids"]),
            "skeleton": Skeleton(**settings["skeleton"]),
        }
        return cls(**{**settings, **made})

    @property
    def joints(self) -> tuple[str, ...]:
        return self.skeleton.joints

    @property
    def _keypoints(self) -> Corners | Centres:
        published = self.options.published
        if self.options.kind == CORNERS:
            return Corners(self.categories, published, self.options.tag_weight)
        return Centres(self.categories, self.skeleton.joints, published, self.options.reach)

    @property
    def heads(self) -> dict[str, Head]:
        return self._keypoints.heads

    @property
    def schema(self) -> dict[str, Spec]:
        return records.schema(self.skeleton.num_joints)

    @property
    def record_settings(self) -> dict[str, Any]:
        return {"resolution": self.resolution, "max_objects": self.options.max_objects}

    @property
    def record_bytes(self) -> float:
        return records.record_bytes(self.resolution)

    def records(self, image: AnnotatedImage) -> Iterator[tuple[int | str, Record]]:
        yield (
            image.id,
            records.make(
                image,
                categories=len(self.categories),
                joints=self.skeleton.num_joints,
                max_objects=self.options.max_objects,
                resolution=self.resolution,
            ),
        )

    def view(self, record: Record, draws: Draws | None, size: tuple[int, int]) -> Affine:
        return records.view(record, draws, size[1])

    def targets(
        self, record: Record, to_input: Affine, size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        from_source = records.places(record, to_input)
        corners = boxes.from_sizes(record["boxes_source"].astype(np.float64))
        joints, labelled = None, None
        if self.skeleton.joints:
            joints = geometry.apply(from_source, record["joints_source"].astype(np.float64))
            joints, labelled = (joints + 0.5) / self.stride, record["labelled"]
            if geometry.mirrors(to_input):
                order = self.skeleton.flip_order
                joints, labelled = joints[:, order], labelled[:, order]
        height, width = size
        return targets.encode(
            boxes.moved(corners, from_source) / self.stride,
            record["categories"],
            record["crowd"],
            shape=(round(height / self.stride), round(width / self.stride)),
            count=self.options.max_objects,
            min_iou=self.options.min_iou,
            exhaustive=bool(record["exhaustive"]),
            joints=joints,
            labelled=labelled,
        )

    def _maps(self, outputs: Float[Array, "*batch h w channels"]) -> dict[str, Array]:
        """Splits outputs into those of each head."""
        maps, first = {}, 0
        for name, head in self.heads.items():
            maps[name] = outputs[..., first : first + len(head.channels)]
            first += len(head.channels)
        return maps

    def totals(self, targets: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
        return self._keypoints.totals(targets)

    def losses(self, outputs, targets, totals) -> dict[str, Float[Array, " stacks"]]:
        return self._keypoints.losses(self._maps(outputs), targets, totals)

    def plateau(self, targets, totals) -> Float[Array, ""]:
        """Returns the loss of a stack whose outputs are the heads' starts, or 0 without one."""
        starts = [head.start or 0.0 for head in self.heads.values() for _ in head.channels]
        shape = (*targets["background"].shape, len(starts))
        constant = jnp.broadcast_to(jnp.array(starts).reshape(1, 1, 1, -1), shape)
        terms = self.losses(constant[:, None], targets, totals)
        return jnp.concatenate(list(terms.values())).sum()

    def merge(self, views) -> Float[Array, "batch h w channels"] | None:
        """Merges mirrored centres; corners, and views of several scales, are pooled later."""
        scales = {geometry.scale_of(affine) for _, affine in views}
        if self.options.kind == CORNERS or len(scales) > 1:
            return None
        merged = flip.merge(
            [(self._maps(outputs), geometry.mirrors(affine)) for outputs, affine in views],
            self.skeleton.flip_order,
            published=self.options.published,
        )
        return jnp.concatenate(list(merged.values()), axis=-1)

    def decode(self, outputs: Float[Array, "batch h w channels"]) -> dict[str, Array]:
        return self._keypoints.decode(self._maps(outputs), self.options.top_k)

    def finish(self, views) -> list[Instance]:
        return pooling.pool(
            views,
            stride=self.stride,
            flip_order=self.skeleton.flip_order,
            limit=self.max_instances,
            method=self.options.suppression,
            side=self.training_size,
            published=self.options.published,
        )

    def export(self, name: str, outputs: Float[Array, "batch h w channels"]) -> dict[str, Array]:
        found = self.decode(outputs)
        low, high = found["boxes"][..., :2] * self.stride, found["boxes"][..., 2:] * self.stride
        exported = {
            "boxes": jnp.concatenate([low, high - low], axis=-1),
            "scores": jnp.maximum(found["scores"], 0),
            "categories": found["categories"],
        }
        if self.skeleton.joints:
            exported["joints"] = found["joints"] * self.stride - 0.5
            exported["joint_scores"] = found["joint_scores"]
        return exported

    def truth(self, record: Record) -> list[Instance]:
        return records.truth(record)

    def results(
        self, found: Sequence[list[Instance]], truth: Sequence[Record]
    ) -> list[dict[str, Any]]:
        return precision.named_results(found, truth, self.category_ids)

    def metrics(self, source: Source, split: str) -> Sequence[Metric]:
        boxes = precision.BoxPrecision(self.categories)
        if not self.skeleton.joints:
            return [boxes]
        return [boxes, precision.JointPrecision(self.categories, self.skeleton)]

    def draw(self, image, found: Sequence[Instance]) -> UInt8[np.ndarray, "height width 3"]:
        return drawing.draw_boxes(image, found, self.categories, self.skeleton)

    def draw_targets(self, image, targets) -> UInt8[np.ndarray, "newheight width 3"]:
        batch = {name: jnp.asarray(array)[None] for name, array in targets.items()}
        maps = jnp.concatenate(list(self._keypoints.heatmaps(batch).values()), axis=-1)
        return drawing.draw_targets(
            image, targets, np.asarray(maps[0]), self.categories, self.skeleton, self.stride
        )
