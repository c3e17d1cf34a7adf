"""Everybody's joints in an image, in one pass of the network (Newell et al., NIPS 2017).

For every joint there is a heatmap, in which each person has a peak, and a map of tags: numbers that
are alike within a person and differ between people. Images are read whole, as for detection.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from hourglass_jax import rules
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.base import Draws, Head, Instance, Metric, Record, Spec, Task
from hourglass_jax.tasks.detection import boxes, precision, records
from hourglass_jax.tasks.grouped_pose import grouping, heatmaps, losses, people, pooling, targets
from hourglass_jax.tasks.grouped_pose.options import Options
from hourglass_jax.tasks.single_pose import drawing
from hourglass_jax.tasks.single_pose.heatmap import DECODERS

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GroupedPose(Task):
    """The task of predicting everybody's joints; see `tasks.base.Task`.

    Attributes:
      options: config section `grouped_pose`.
      skeleton: joints to predict.
      stride: input px per heatmap px of the network.
      input_size: side of the network's input in training, px.
      resolution: longer side of the records, px.
      unused: number of further output channels, which the published network has.
      categories: name of the only category, people.
      category_ids: its id in results.
      decoder: how peaks are found between pixels; see `heatmaps.steps`.

    Raises:
      UserError: the decoder is unknown.
    """

    options: Options
    skeleton: Skeleton
    stride: int = 4
    input_size: int = 512
    resolution: int = 512
    unused: int = 0
    categories: tuple[str, ...] = ("person",)
    category_ids: tuple[int, ...] = (1,)
    decoder: str = "quarter"

    name: ClassVar[str] = "grouped_pose"
    sections: ClassVar[Mapping[str, type]] = {"grouped_pose": Options}
    exports: ClassVar[Sequence[str]] = ("people",)
    record_version: ClassVar[int] = 1
    unit: ClassVar[str] = "images"
    min_score: ClassVar[float] = 0.1

    def __post_init__(self):
        if self.decoder not in DECODERS:
            raise UserError(f"decode={self.decoder!r} must be one of {', '.join(DECODERS)}")

    @classmethod
    def from_config(cls, config, source: Source, stride: int) -> "GroupedPose":
        """Makes the task that a config describes.

        Args:
          config: config of the experiment.
          source: data set to train on.
          stride: input px per heatmap px of the network.

        Raises:
          UserError: a field has an invalid value, or the data set lacks boxes or joints.
        """
        if not source.labels.joints or not source.categories:
            missing = "boxes" if source.labels.joints else "joints"
            raise UserError(
                f"data.dataset={source.name!r} has no {missing}; set another config.task"
            )
        records.check(config)
        if source.mirror_warning and (config.augment.flip or config.eval.flip_test):
            logger.warning(source.mirror_warning)
        return cls(
            config.task_sections(cls.sections)["grouped_pose"],
            source.labels,
            stride,
            config.model.input_size,
            config.data.resolution,
            categories=tuple(source.categories[:1]),
            category_ids=tuple(source.category_ids[:1] or [1]),
            decoder=config.eval.decode,
        )

    @property
    def settings(self) -> dict[str, Any]:
        made = {"options": rules.to_dict(self.options), "skeleton": self.skeleton.to_json()}
        return {**vars(self), **made}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "GroupedPose":
        made = {
            "options": rules.section(
                Options, settings["options"], "task.settings.options.", root="metadata"
            ),
            "skeleton": Skeleton(**settings["skeleton"]),
        }
        for name in ("categories", "category_ids"):
            if name in settings:
                made[name] = tuple(settings[name])
        return cls(**{**settings, **made})

    @property
    def joints(self) -> tuple[str, ...]:
        return self.skeleton.joints

    @property
    def heads(self) -> dict[str, Head]:
        # Tags that start equal would never part: their losses have no gradient there.
        heads = {"heatmaps": Head(self.joints, start=0.0), "tags": Head(self.joints)}
        if self.unused:
            heads["unused"] = Head(tuple(f"unused {i}" for i in range(self.unused)))
        return heads

    @property
    def schema(self) -> dict[str, Spec]:
        return records.schema(self.skeleton.num_joints)

    @property
    def record_settings(self) -> dict[str, Any]:
        return {"resolution": self.resolution}

    @property
    def record_bytes(self) -> float:
        return records.record_bytes(self.resolution)

    def records(self, image: AnnotatedImage) -> Iterator[tuple[int | str, Record]]:
        alike = [dataclasses.replace(annotation, category=0) for annotation in image.annotations]
        record = records.make(
            dataclasses.replace(image, annotations=alike),
            categories=1,
            joints=self.skeleton.num_joints,
            max_objects=None,
            resolution=self.resolution,
        )
        yield image.id, record

    def view(self, record: Record, draws: Draws | None, size: tuple[int, int]) -> Affine:
        return records.view(record, draws, size[1])

    def targets(
        self, record: Record, to_input: Affine, size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        from_source = records.places(record, to_input)
        joints = geometry.apply(from_source, record["joints_source"].astype(np.float64))
        joints, labelled = (joints + 0.5) / self.stride, record["labelled"]
        if geometry.mirrors(to_input):
            order = self.skeleton.flip_order
            joints, labelled = joints[:, order], labelled[:, order]
        corners = boxes.from_sizes(record["boxes_source"].astype(np.float64))
        return targets.encode(
            joints,
            labelled,
            boxes.moved(corners, from_source) / self.stride,
            record["crowd"],
            shape=(size[0] // self.stride, size[1] // self.stride),
            count=self.options.max_people,
            exhaustive=bool(record["exhaustive"]),
        )

    def _maps(
        self, outputs: Float[Array, "batch *stacks h w channels"]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Returns heatmaps [..., joints] and tags [..., tags, joints]; see `merge`."""
        joints = self.skeleton.num_joints
        used = outputs[..., : outputs.shape[-1] - self.unused]
        tags = used[..., joints:]
        return used[..., :joints], tags.reshape(*tags.shape[:-1], -1, joints)

    def drawn(self, targets: Mapping[str, Array]) -> Float[Array, "batch h w joints"]:
        """Returns the heatmaps to learn."""
        joints, (_, height, width) = targets["joints"], targets["background"].shape
        positions = jnp.floor(joints) if self.options.published else joints - 0.5
        mask, sigma = targets["joint_mask"], self.options.sigma
        return heatmaps.draw(positions, mask, sigma, (height, width))

    def losses(self, outputs, targets, totals) -> dict[str, Float[Array, " stacks"]]:
        found, tags = self._maps(outputs)
        expected = self.drawn(targets)
        # Boxes of crowds are coarse: where a labelled joint is, the truth is known all the same.
        counts = targets["background"][..., None] | (expected > 0)
        cells = jnp.floor(targets["joints"]).astype(jnp.int32)
        pull, push = losses.pull_push(losses.tags_of(tags[..., 0, :], cells), targets["joint_mask"])
        weight = self.options.tag_weight
        return {
            "heatmaps": losses.heatmap_loss(found, expected, counts).mean(0),
            "pull": weight * pull.mean(0),
            "push": weight * push.mean(0),
        }

    def plateau(self, targets, totals) -> Float[Array, ""]:
        """Returns the loss where heatmaps are empty and all tags are equal."""
        joints = 2 * self.skeleton.num_joints + self.unused
        nothing = jnp.zeros((*targets["background"].shape, joints))
        terms = self.losses(nothing[:, None], targets, totals)
        return jnp.concatenate(list(terms.values())).sum()

    def merge(self, views) -> Float[Array, "batch h w channels"] | None:
        """Averages heatmaps and joins tags of mirrored views; `finish` pools several scales.

        The tags of the first view come first: [joints], [joints], ..., then unused channels.
        """
        if len({geometry.scale_of(affine) for _, affine in views}) > 1:
            return None
        seen = []
        for outputs, affine in views:
            found, tags = self._maps(outputs)
            if geometry.mirrors(affine):
                order = self.skeleton.flip_order
                found, tags = (jnp.flip(x, axis=2)[..., order] for x in (found, tags))
            seen.append((found, tags.reshape(*tags.shape[:3], -1)))
        found = sum(one for one, _ in seen) / len(seen)
        unused = views[0][0][..., views[0][0].shape[-1] - self.unused :]
        return jnp.concatenate([found, *(tags for _, tags in seen), unused], axis=-1)

    def _peaks(self, found, tags) -> dict[str, Array]:
        count, window = self.options.max_people, self.options.window
        return heatmaps.peaks(found, tags, count=count, window=window, decoder=self.decoder)

    def decode(self, outputs: Float[Array, "batch h w channels"]) -> dict[str, Array]:
        found, tags = self._maps(outputs)
        found = jnp.minimum(found, 1)
        # `finish` fills in missing joints from the whole maps.
        return {**self._peaks(found, tags), "heatmaps": found, "tag_maps": tags}

    def finish(self, views) -> list[Instance]:
        views = [(found, self._from_cells(affine)) for found, affine in views]
        (candidates, to_frame), *others = views
        if others or geometry.mirrors(to_frame):
            maps = [((c["heatmaps"], c["tag_maps"]), affine) for c, affine in views]
            order, side = self.skeleton.flip_order, self.input_size / self.stride
            (found, tags), to_frame = pooling.pool(maps, order, side)
            single = jax.device_get(self._peaks(found[None], tags[None]))
            candidates = {name: array[0] for name, array in single.items()}
            candidates |= {"heatmaps": found, "tag_maps": tags}
        members = grouping.group(
            candidates["values"],
            candidates["tags"],
            grouping.order_of(self.joints),
            limit=self.options.max_people,
            threshold=self.options.threshold,
            variant=self.options.variant,
            published=self.options.published,
        )
        everybody = people.gathered(candidates, members)
        everybody = people.complete(everybody, candidates, self.decoder)
        order = np.argsort(-everybody.scores, kind="stable")[: self.options.max_people]
        return [people.instance(everybody, i, to_frame) for i in order.tolist()]

    def _from_cells(self, to_frame: Affine) -> Affine:
        """Returns the map from px of the heatmaps to the frame that the input is mapped to."""
        shift = (self.stride - 1) / 2
        from_cells = np.array([[self.stride, 0, shift], [0, self.stride, shift]])
        return geometry.compose(to_frame, from_cells)

    def export(self, name: str, outputs: Float[Array, "batch h w channels"]) -> dict[str, Array]:
        quarter = dataclasses.replace(self, decoder="quarter")  # as in the ONNX graph
        found = quarter.decode(outputs)
        joints = geometry.heatmap_to_crop(found["cells"] + found["steps"], self.stride)
        return {"joints": joints, "scores": jnp.maximum(found["values"], 0), "tags": found["tags"]}

    def truth(self, record: Record) -> list[Instance]:
        found = records.truth(record)
        return [one for one in found if one.joint_scores is not None and one.joint_scores.any()]

    def results(
        self, found: Sequence[list[Instance]], truth: Sequence[Record]
    ) -> list[dict[str, Any]]:
        return precision.named_results(found, truth, self.category_ids)

    def metrics(self, source: Source, split: str) -> Sequence[Metric]:
        return [precision.JointPrecision(self.categories, self.skeleton)]

    def draw(self, image, found: Sequence[Instance]) -> UInt8[np.ndarray, "height width 3"]:
        return drawing.draw_people(image, found, self.skeleton, drawing.SURE)

    def draw_targets(self, image, targets) -> UInt8[np.ndarray, "newheight width 3"]:
        batch = {name: jnp.asarray(array)[None] for name, array in targets.items()}
        expected = np.asarray(self.drawn(batch)[0])
        joints = targets["joints"] * self.stride - 0.5
        masks = targets["joint_mask"].astype(np.float32)
        everybody = [
            Instance(1.0, joints=place, joint_scores=mask)
            for place, mask in zip(joints, masks, strict=True)
            if mask.any()
        ]
        return people.draw_targets(image, everybody, expected, self.skeleton)
