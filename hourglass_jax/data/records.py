"""The one person record that every data set is turned into, and the builder base that stores it.

A record holds one person: a JPEG of the surroundings that any allowed augmentation can show, the
joints in it, and the map back to the photograph. Training never decodes a whole photograph.
"""

import dataclasses
import inspect
import io
import json
import logging
import math
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from hourglass_jax.data import fingerprint, jpeg
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import crop as cutout
from hourglass_jax.image import geometry

# JAX owns the accelerators; TensorFlow only feeds it.
for kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], kind)


logger = logging.getLogger(__name__)

# Of the square that a record may show: 0.42 bytes a pixel, and borders cut off two thirds.
_BYTES_PER_PIXEL = 0.14
_LARGEST_BOX = 1e6  # px; beyond any picture, and damaged files say such things


@dataclasses.dataclass(frozen=True)
class Limits:
    """The augmentation that records leave room for, and the resolution that they keep.

    Attributes:
      min_scale: the smallest scale of a person in the crop, 1 being the box as it is.
      translate: the largest shift, as a share of the crop's side. Rotation may take any angle.
      resolution: px that the side of a person's box has at most; larger people are reduced.
    """

    min_scale: float = 0.7
    translate: float = 0.1
    resolution: int = 256

    @property
    def surroundings(self) -> float:
        """The side of the square kept around a person, in sides of the person's box."""
        return math.sqrt(2) * (1 + 2 * self.translate) / self.min_scale

    def check(self, augment: ConfigDict, input_size: int) -> None:
        """Raises UserError where a config asks for more than the records hold."""
        if 1 - augment.scale < self.min_scale:
            raise UserError(
                f"augment.scale={augment.scale} shows people at {1 - augment.scale:.2f} of their "
                f"size, and records have room for {self.min_scale}; take at most "
                f"{1 - self.min_scale:.2f}"
            )
        if augment.translate > self.translate:
            raise UserError(
                f"augment.translate={augment.translate} is more than the {self.translate} that "
                f"records have room for"
            )
        if input_size > self.resolution:
            raise UserError(
                f"model.input_size={input_size} is more than the {self.resolution} px that records "
                f"keep of a person; set data.resolution={input_size} to build larger ones"
            )


@dataclasses.dataclass
class PoseConfig(tfds.core.BuilderConfig):
    """What a builder makes records of. `name` is the fingerprint of everything that they depend on.

    Records lie in a folder of that name, so that changed sources never train on stale records.
    """

    limits: Limits = Limits()
    settings: dict = dataclasses.field(default_factory=dict)
    # Where source files lie, which is no part of the fingerprint.
    paths: dict = dataclasses.field(default_factory=dict)
    # The fingerprint of what is trained on: `name` without what only evaluation needs.
    training: str = ""


class PoseBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders: one record schema, and what the training loop asks of a data set.

    Attributes:
      SKELETON: of the joints.
      MEASURE: of the table per joint: "PCKh@0.5", or "PCK@" any share of `reference`.
      METRIC: what the best checkpoint is chosen by: `MEASURE`, or one of `figures`.
      TRAIN: the split to train on.
      SELECT: the split that chooses the best checkpoint.
      REPORT: the split that the final figure is for.
      SUBMIT: the split whose joints are not public, if there is one.
    """

    VERSION = tfds.core.Version("1.0.0")
    SKELETON: Skeleton
    MEASURE: str
    METRIC: str
    TRAIN = "train"
    SELECT = "validation"
    REPORT = "validation"
    SUBMIT: str | None = None

    @classmethod
    def source_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        """Returns the files that records are made of, checked to be there."""
        return []

    @classmethod
    def evaluation_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        """Returns files that say what to evaluate, and on which training does not depend."""
        return []

    @classmethod
    def large_files(cls, config: ConfigDict) -> list[pathlib.Path]:
        """Returns source files that are too large to read at every start.

        They are told apart by name and size alone.
        """
        return []

    @classmethod
    def settings(cls, config: ConfigDict) -> dict:
        """Returns what of a config's `data` changes the records of this data set."""
        return {}

    @classmethod
    def paths(cls, config: ConfigDict) -> dict[str, str]:
        """Returns where a config's `data` says that source files lie, beside `manual_dir`."""
        return {}

    @classmethod
    def from_config(cls, config: ConfigDict) -> "PoseBuilder":
        """Returns the builder for a config's `data`; its records may have to be prepared yet."""
        limits = Limits(resolution=config.resolution)
        settings = cls.settings(config)
        files = cls.source_files(config)
        identity = [cls.name, str(cls.VERSION), dataclasses.asdict(limits), settings]
        code = fingerprint.code_of(pathlib.Path(inspect.getfile(cls)).parent)
        training = fingerprint.digest(
            json.dumps(identity, sort_keys=True), [*code, *files], cls.large_files(config)
        )
        evaluated = cls.evaluation_files(config)
        name = fingerprint.digest(training, evaluated) if evaluated else training
        paths = cls.paths(config)
        pose_config = PoseConfig(
            name=name, limits=limits, settings=settings, paths=paths, training=training
        )
        return cls(config=pose_config, data_dir=config.data_dir or None)

    def figures(
        self,
        ids: np.ndarray,
        joints: Float[np.ndarray, "people joints 2"],
        scores: Float[np.ndarray, "people joints"],
    ) -> dict[str, float]:
        """Returns figures of the data set's own evaluation by name, as fractions.

        Args:
          ids: name the people.
          joints: predicted, px of the photographs.
          scores: of the joints.
        """
        return {}

    def write_submission(
        self,
        joints: Mapping[str, Float[np.ndarray, "joints 2"]],
        manual_dir: pathlib.Path,
        folder: pathlib.Path,
    ) -> pathlib.Path:
        """Writes predictions for `SUBMIT` as the data set's evaluation server takes them.

        Args:
          joints: by the person's id; px of the photograph.
          manual_dir: of the source files.
          folder: to write to.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        joints = self.SKELETON.num_joints
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "joints_record": tfds.features.Tensor(shape=(joints, 2), dtype=np.float32),
            "labelled": tfds.features.Tensor(shape=(joints,), dtype=np.bool_),
            "visible": tfds.features.Tensor(shape=(joints,), dtype=np.bool_),
            "center_record": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            "size_record": np.float32,
            "reference": np.float32,
            "record_to_source": tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
            "id": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def announce(self, people: int) -> None:
        """Says what records of so many people take on the disk, before the work begins.

        Raises:
          UserError: there is not that much room.
        """
        limits = self.builder_config.limits if self.builder_config else Limits()
        wanted = people * _BYTES_PER_PIXEL * (limits.resolution * limits.surroundings) ** 2
        folder = pathlib.Path(self.data_path).parent
        free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
        logger.info(
            "making records of %d people, about %.1f GB, in %s", people, wanted / 1e9, folder
        )
        if free < 2 * wanted:  # shuffling takes as much again
            raise UserError(
                f"making records of {people} people takes {2 * wanted / 1e9:.1f} GB, and {folder} "
                f"has {free / 1e9:.1f} GB left; set config.data.data_dir to a folder with more room"
            )

    def record(
        self,
        *,
        image: UInt8[np.ndarray, "height width 3"],
        joints_source: Float[np.ndarray, "joints 2"],
        labelled: Bool[np.ndarray, " joints"],
        visible: Bool[np.ndarray, " joints"],
        center: Float[np.ndarray, "2"],
        size: float,
        reference: float,
        id: str,
    ) -> dict:
        """Makes a person's record from a photograph.

        Args:
          image: RGB.
          joints_source: x, y in px of the photograph, 0-based; of any value where not labelled.
          labelled: whether a joint has coordinates.
          visible: labelled and not occluded.
          center: of the person's box, px of the photograph.
          size: side of the person's box, px of the photograph.
          reference: the length that PCK's threshold is a share of, px of the photograph.
          id: names the person in predictions.
        """
        limits = self.builder_config.limits if self.builder_config else Limits()
        if not 0 < size < _LARGEST_BOX or not (np.abs(center) < _LARGEST_BOX).all():
            raise UserError(
                f"{id}: a box of {size} px around {np.asarray(center).tolist()} is none that a "
                f"picture can hold; correct the annotations, or leave the person out"
            )
        small, record_to_source = cutout.cut_out(
            image,
            np.asarray(center),
            size,
            surroundings=limits.surroundings,
            resolution=limits.resolution,
        )
        source_to_record = geometry.invert(record_to_source)
        joints_record = geometry.apply(source_to_record, np.asarray(joints_source, np.float64))
        center_record = geometry.apply(source_to_record, np.asarray(center, np.float64)[None])[0]
        return {
            "image": io.BytesIO(jpeg.encode(small)),
            "joints_record": np.where(labelled[:, None], joints_record, 0).astype(np.float32),
            "labelled": labelled,
            "visible": visible & labelled,
            "center_record": center_record.astype(np.float32),
            "size_record": np.float32(size / np.diag(record_to_source).mean()),
            "reference": np.float32(reference),
            "record_to_source": record_to_source.astype(np.float32),
            "id": id,
        }
