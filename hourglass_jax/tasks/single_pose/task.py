"""One person's pose from a crop around the person: a heatmap for each joint (Newell et al. 2016).

Every annotation becomes a record: the joints, and the part of the image that any allowed
augmentation can show. Training therefore never decodes a whole image.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float, UInt8

from hourglass_jax import rules
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import crop, geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.base import Draws, Head, Instance, Metric, Record, Spec, Task
from hourglass_jax.tasks.single_pose import drawing, half_body, heatmap, losses, parts
from hourglass_jax.tasks.single_pose import views as heatmap_views
from hourglass_jax.tasks.single_pose.limits import Limits
from hourglass_jax.tasks.single_pose.measure import JointsFound
from hourglass_jax.tasks.single_pose.options import Heatmap, Settings

logger = logging.getLogger(__name__)

_LARGEST_BOX = 1e6  # px; larger than any image, but damaged annotation files have such boxes


@dataclasses.dataclass(frozen=True)
class SinglePose(Task):
    """The task of predicting one person's joints; see `tasks.base.Task`.

    Attributes:
      skeleton: joints to predict.
      sigma: see `Heatmap`.
      zero_target: see `Heatmap`.
      zero_outside: see `Heatmap`.
      decoder: decoding of heatmaps, "quarter" or "refined"; see `heatmap.decode`.
      stride: input px per heatmap px of the network.
      limits: limits of the augmentation, and resolution of the records.
    """

    skeleton: Skeleton
    sigma: float = 1.0
    zero_target: bool = False
    decoder: str = "quarter"
    stride: int = 4
    limits: Limits = dataclasses.field(default_factory=Limits)
    zero_outside: bool = False

    name: ClassVar[str] = "single_pose"
    sections: ClassVar[Mapping[str, type]] = {"heatmap": Heatmap}
    exports: ClassVar[Sequence[str]] = ("joints",)
    record_version: ClassVar[int] = 1

    def __post_init__(self):
        if self.decoder not in heatmap.DECODERS:
            raise UserError(f"decode={self.decoder!r} must be one of {', '.join(heatmap.DECODERS)}")

    @classmethod
    def from_config(cls, config, source: Source, stride: int) -> "SinglePose":
        """Makes the task that a config describes.

        Args:
          config: config of the experiment.
          source: data set to train on.
          stride: input px per heatmap px of the network.

        Raises:
          UserError: a field has an invalid value, the data set has no joints, or the augmentation
            exceeds the limits of the records.
        """
        if not source.labels.joints:
            raise UserError(f"data.dataset={source.name!r} has no joints; set another config.task")
        options = config.task_sections(cls.sections)["heatmap"]
        limits = Limits(resolution=config.data.resolution)
        limits.check(config.augment, config.model.input_size)
        if tuple(config.eval.scales) != (1,):
            raise UserError(
                f"config.eval.scales={config.eval.scales} is for whole images, and the crop of a "
                f"person has one size; set config.eval.scales=(1.0,)"
            )
        decoder = config.eval.decode
        if decoder not in heatmap.DECODERS:
            known = ", ".join(heatmap.DECODERS)
            raise UserError(f"config.eval.decode={decoder!r} must be one of {known}")
        if source.mirror_warning and (config.augment.flip or config.eval.flip_test):
            logger.warning(source.mirror_warning)
        return cls(
            source.labels,
            options.sigma,
            options.zero_target,
            decoder,
            stride,
            limits,
            options.zero_outside,
        )

    @property
    def joints(self) -> tuple[str, ...]:
        return self.skeleton.joints

    @property
    def settings(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "skeleton": self.skeleton.to_json()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "SinglePose":
        checked = rules.section(Settings, settings, "task.settings.", root="metadata")
        skeleton = Skeleton(**vars(checked.skeleton))
        if not skeleton.joints:
            raise UserError("metadata.task.settings.skeleton.joints names no joint")
        return cls(**{**vars(checked), "skeleton": skeleton})

    @property
    def heads(self) -> dict[str, Head]:
        return {"heatmaps": Head(self.skeleton.joints, start=0.0)}

    @property
    def schema(self) -> dict[str, Spec]:
        joints = self.skeleton.num_joints
        return {
            "joints_record": Spec((joints, 2), np.float32),
            "labelled": Spec((joints,), np.bool_),
            "visible": Spec((joints,), np.bool_),
            "center_record": Spec((2,), np.float32),
            "size_record": Spec((), np.float32),
            "reference": Spec((), np.float32),
        }

    @property
    def record_settings(self) -> dict[str, Any]:
        return dataclasses.asdict(self.limits)

    @property
    def record_bytes(self) -> float:
        return self.limits.record_bytes

    def records(self, image: AnnotatedImage) -> Iterator[tuple[int | str, Record]]:
        pixels = image.read()
        for a in image.annotations:
            if a.joints is not None and not a.crowd:  # data sets of boxes have others, too
                yield a.id if a.key is None else a.key, self._record(pixels, a)

    def _record(self, pixels: UInt8[np.ndarray, "height width 3"], person: Annotation) -> Record:
        joints, labelled, visible = person.joints, person.labelled, person.visible
        # `from_config` accepts only sources whose annotations have joints.
        assert joints is not None and labelled is not None and visible is not None
        center, size = np.asarray(person.center), person.size
        if not 0 < size < _LARGEST_BOX or not (np.abs(center) < _LARGEST_BOX).all():
            raise UserError(
                f"{person.id}: no image can hold a box of {size} px around {center.tolist()}; "
                f"correct the annotation, or leave it out"
            )
        small, record_to_source = crop.cut_out(
            pixels,
            center,
            size,
            surroundings=self.limits.surroundings,
            resolution=self.limits.resolution,
        )
        source_to_record = geometry.invert(record_to_source)
        joints_record = geometry.apply(source_to_record, np.asarray(joints, np.float64))
        center_record = geometry.apply(source_to_record, np.asarray(center, np.float64)[None])[0]
        return {
            "image": small,
            "id": person.id,
            "record_to_source": record_to_source.astype(np.float32),
            "joints_record": np.where(labelled[:, None], joints_record, 0).astype("f4"),
            "labelled": labelled,
            "visible": visible & labelled,
            "center_record": center_record.astype(np.float32),
            "size_record": np.float32(size / np.diag(record_to_source).mean()),
            "reference": np.float32(person.reference),
        }

    def view(self, record: Record, draws: Draws | None, size: tuple[int, int]) -> Affine:
        center, side = record["center_record"].astype(np.float64), float(record["size_record"])
        if draws is None:
            return geometry.crop_map(center, side, size[1])
        if draws.half is not None:
            joints = record["joints_record"][record["labelled"]]
            center, side = half_body.box(joints, center, side, draws.half)
        return geometry.crop_map(
            center,
            side,
            size[1],
            scale=draws.scale,
            rotation=draws.rotation,
            translate=draws.translate,
            flip=draws.flip,
        )

    def targets(
        self, record: Record, to_input: Affine, size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        side, joints = size[1] // self.stride, self.skeleton.num_joints
        out = {
            "heatmaps": np.empty((side, side, joints), np.float32),
            "weights": np.empty(joints, np.float32),
        }
        batch = {name: array[None] for name, array in out.items()}
        self.write_targets([record], to_input[None], size, batch)
        return out

    def write_targets(
        self,
        records: Sequence[Record],
        to_input: Float[np.ndarray, "batch 2 3"],
        size: tuple[int, int],
        out: Mapping[str, np.ndarray],
    ) -> None:
        """Writes the targets of several records into arrays [batch, ...]."""
        joints = np.stack([record["joints_record"] for record in records])
        joints = geometry.apply(to_input, joints)
        labelled = np.stack([record["labelled"] for record in records])
        mirrored = np.linalg.det(to_input[..., :2]) < 0
        joints[mirrored] = joints[mirrored][:, self.skeleton.flip_order]
        labelled[mirrored] = labelled[mirrored][:, self.skeleton.flip_order]
        _, out["weights"][:] = heatmap.encode(
            geometry.crop_to_heatmap(joints, self.stride),
            labelled,
            size[1] // self.stride,
            self.sigma,
            zero_target=self.zero_target,
            zero_outside=self.zero_outside,
            out=out["heatmaps"],
        )

    def totals(self, targets: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
        return {}  # the loss has a constant denominator

    def losses(self, outputs, targets, totals) -> dict[str, Float[Array, " stacks"]]:
        loss = losses.heatmap_loss(outputs, targets["heatmaps"], targets["weights"])
        return {"heatmaps": loss}

    def plateau(self, targets, totals) -> Float[Array, ""]:
        return losses.plateau(targets["heatmaps"], targets["weights"])

    def merge(self, views) -> Float[Array, "batch h w joints"]:
        return heatmap_views.merge(views, self.skeleton.flip_order)

    def decode(self, outputs: Float[Array, "batch h w joints"]) -> dict[str, Array]:
        joints_heatmap, scores = heatmap.decode(outputs, self.decoder)
        return {"joints_heatmap": joints_heatmap, "scores": scores}

    def finish(self, views) -> list[Instance]:
        ((candidates, to_frame),) = views
        joints_heatmap = candidates["joints_heatmap"].astype(np.float64)
        joints_input = geometry.heatmap_to_crop(joints_heatmap, self.stride)
        scores = candidates["scores"]
        return [
            Instance(
                score=float(scores.mean()),
                joints=geometry.apply(to_frame, joints_input),
                joint_scores=scores,
            )
        ]

    def export(self, name: str, outputs: Float[Array, "batch h w joints"]) -> dict[str, Array]:
        joints_heatmap, scores = heatmap.decode(outputs)  # "quarter", as in the ONNX graph
        joints = geometry.heatmap_to_crop(joints_heatmap, self.stride)
        return {"joints": joints, "scores": scores}

    def truth(self, record: Record) -> list[Instance]:
        joints = geometry.apply(record["record_to_source"].astype(float), record["joints_record"])
        labelled = record["labelled"].astype(np.float32)
        return [Instance(score=1.0, joints=joints, joint_scores=labelled)]

    def arrays(self, found: Sequence[list[Instance]]) -> dict[str, np.ndarray]:
        return {
            "joints": np.array([person.joints for (person,) in found], np.float32),
            "scores": np.array([person.joint_scores for (person,) in found]),
        }

    def metrics(self, source: Source, split: str) -> Sequence[Metric]:
        several = source.parts(split)
        if several:
            return [parts.PartsFound(several, self.skeleton)]
        return [*source.metrics(split), JointsFound(self.skeleton, source.tolerance)]

    def draw(self, image, found: Sequence[Instance]) -> UInt8[np.ndarray, "height width 3"]:
        return drawing.draw_people(image, found, self.skeleton)

    def draw_targets(self, image, targets) -> UInt8[np.ndarray, "newheight width 3"]:
        return drawing.draw_targets(image, targets["heatmaps"], self.skeleton, self.stride)
