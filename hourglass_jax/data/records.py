"""Records on disk: one TFDS builder for every data set and every task.

A record is what a task keeps of an annotated image, with the image as a JPEG of which any window
can be decoded alone. Records lie in a folder named by a fingerprint of everything that they are
made of, so that changed sources never train on stale records.
"""

import io
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import file_utils

from hourglass_jax.data import fingerprint, images, jpeg, record_files
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Record, Spec, Task

# JAX owns the accelerators; TensorFlow only feeds it.
for kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], kind)

logger = logging.getLogger(__name__)

# Fields of every record beside a task's own; `image` is a JPEG.
COMMON = {"record_to_source": Spec((2, 3), np.float32)}
_STALE = 6 * 3600  # s without a write after which an unfinished folder is abandoned


class Records(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The records that a task makes of a source.

    Attributes:
      source: data set of the images.
      task: task that makes records of them.
      training_fingerprint: fingerprint of the training data, without what only evaluation
        depends on.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, source: Source, task: Task, data_dir: str = ""):
        """Describes records, which `prepare` makes.

        Args:
          source: data set of the images.
          task: task that makes records of them.
          data_dir: folder for records; "" stands for TFDS's default.

        Raises:
          UserError: a file of the source is missing, or existing records are damaged.
          ValueError: records cannot hold a field of the task's schema.
        """
        for name, spec in task.schema.items():
            _check(name, spec)
        self.source, self.task = source, task
        # TFDS reads it from the instance, although it is declared for the class.
        self.name = f"{source.name}_{task.name}"  # pyright: ignore[reportAttributeAccessIssue]
        identity = {
            "source": [source.name, source.version, source.settings],
            "task": [task.name, task.record_version, task.record_settings],
            "schema": {n: [s.shape, np.dtype(s.dtype).name] for n, s in task.schema.items()},
        }
        self.training_fingerprint = name = fingerprint.digest(
            json.dumps(identity, sort_keys=True, default=list),
            source.source_files,
            source.large_files,
        )
        if source.evaluation_files:
            name = fingerprint.digest(name, source.evaluation_files)
        _, folder = file_utils.get_data_dir_and_dataset_dir(
            data_dir or None, self.name, name, self.VERSION
        )
        record_files.check(pathlib.Path(folder), str(self.VERSION))  # TFDS would trust it
        super().__init__(config=tfds.core.BuilderConfig(name=name), data_dir=data_dir or None)

    @property
    def schema(self) -> dict[str, Spec]:
        """Shapes and types of a record's fields, beside `image` and `id`."""
        return {**COMMON, **self.task.schema}

    def count(self, split: str) -> int:
        """Returns the number of a split's prepared records; 0 if there is no such split."""
        splits = self.info.splits
        return splits[split].num_examples if split in splits else 0

    def prepare(self) -> None:
        """Makes the records unless they exist.

        Raises:
          UserError: the source's files cannot be used, or the disk is full.
        """
        _remove_unfinished(pathlib.Path(self.data_path).parents[1])
        try:
            self.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    compute_stats=tfds.download.ComputeStatsMode.SKIP, try_download_gcs=False
                ),
                file_format="tfrecord",
            )
            if not self.info.splits:  # another process made them since the builder looked
                record_files.check(pathlib.Path(self.data_path), str(self.VERSION))
                self.info.read_from_directory(self.data_path)
            record_files.keep_digests(pathlib.Path(self.data_path))
        except (OSError, RuntimeError, tf.errors.OpError) as error:
            # TensorFlow writes the files, and TFDS wraps its errors.
            disk = error
            while disk is not None and not isinstance(disk, (OSError, tf.errors.OpError)):
                disk = disk.__cause__
            if disk is None:
                raise
            raise UserError(
                f"records cannot be written to {self.data_path}: "
                f"{getattr(disk, 'strerror', None) or getattr(disk, 'message', disk)}; set "
                f"config.data.data_dir to another folder"
            ) from None

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, tfds.features.FeatureConnector] = {
            name: tfds.features.Tensor(shape=spec.shape, dtype=spec.dtype)
            for name, spec in self.schema.items()
        }
        features["image"] = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        features["id"] = tfds.features.Text()
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        counts = {split: self.source.count(split) for split in self.source.splits}
        self._announce(sum(counts.values()))
        return {
            split: self._generate_examples(split)
            for split, count in counts.items()
            if count or split in (self.source.train, self.source.report)
        }

    def _generate_examples(self, split: str) -> Iterator[tuple[int | str, dict]]:
        found = self.source.images(split)
        yield from images.read_all(found, self._records_of, self.source.allow_missing)

    def _records_of(self, image: AnnotatedImage) -> list[tuple[int | str, Record]]:
        return [
            (key, {**record, "image": io.BytesIO(jpeg.encode(record["image"]))})
            for key, record in self.task.records(image)
        ]

    def _announce(self, count: int) -> None:
        """Logs how much space records take, before the work begins.

        Raises:
          UserError: the disk has too little.
        """
        size = count * self.task.record_bytes / 1e9
        folder = pathlib.Path(self.data_path).parent
        logger.info("making records of %d annotations, about %.1f GB, in %s", count, size, folder)
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(existing).free / 1e9
        if free < 2 * size:  # shuffling takes the same again
            raise UserError(
                f"making records of {count} annotations takes {2 * size:.1f} GB, and {folder} has "
                f"{free:.1f} GB left; set config.data.data_dir to a folder with more room"
            )


def _check(name: str, spec: Spec) -> None:
    """Raises ValueError for a field that would be read with other values than were written."""
    stored = (np.int64, np.float32)
    if not any(np.can_cast(spec.dtype, kind) for kind in stored) or None in spec.shape[1:]:
        raise ValueError(
            f"records cannot hold {name}, {spec}; its dtype must be bool, an integer that fits "
            f"int64, or a float of at most 32 bits, and only its first side may have any length"
        )


def _remove_unfinished(folder: pathlib.Path) -> None:
    """Removes unfinished records that killed runs left behind."""
    for left in folder.glob("*/incomplete.*"):
        try:
            newest = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
        except OSError:  # its owner has just finished it
            continue
        if time.time() - newest > _STALE:
            shutil.rmtree(left, ignore_errors=True)
