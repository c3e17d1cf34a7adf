"""Records on disk: one TFDS builder for every data set and every task.

A record is what a task keeps of an annotated image, with the image as a JPEG of which any window
can be decoded alone. Records lie in a folder named by a fingerprint of everything that they are
made of, so that changed sources never train on stale records.
"""

import contextlib
import hashlib
import io
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import file_utils

from hourglass_jax.data import fingerprint, images, jpeg, record_files
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import disk, lock, paths
from hourglass_jax.tasks.base import Record, Spec, Task

# JAX owns the accelerators; TensorFlow only feeds it.
for kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], kind)

logger = logging.getLogger(__name__)

# Fields of every record beside a task's own; `image` is a JPEG.
COMMON = {"record_to_source": Spec((2, 3), np.float32)}
# Files of labels; further files of a source are images.
_LABELS = (".json", ".csv", ".mat", ".txt", ".yaml", ".h5", ".npz")
_HELD = "held.txt"  # beside the records: the digest of what they hold
_STALE = 6 * 3600  # s without a write after which an unfinished folder is abandoned


class _Made(NamedTuple):
    """A record, its key, and a digest of the labels of its image."""

    key: int | str
    record: Record
    labels: bytes


class Records(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The records that a task makes of a source.

    Attributes:
      source: data set of the images.
      task: task that makes records of them.
      training_fingerprint: fingerprint of the training data and of the rules by which records are
        made, without what only evaluation depends on.
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
        if data_dir:
            paths.path(data_dir, "config.data.data_dir")
            disk.check_utf8(data_dir, f"config.data.data_dir={data_dir}")
        for name, spec in task.schema.items():
            _check(name, spec)
        self.source, self.task = source, task
        # TFDS reads it from the instance, although it is declared for the class.
        self.name = f"{source.name}_{task.name}"  # pyright: ignore[reportAttributeAccessIssue]
        files = source.source_files
        labels = [path for path in files if path.suffix.lower() in _LABELS]
        self._images = fingerprint.digest(
            "", [path for path in files if path not in set(labels)], source.large_files
        )
        about = json.dumps([source.name, source.settings, self._images], default=list)
        self._files = fingerprint.digest(about, labels)
        rules = {
            "source": source.version,
            "task": [task.name, task.record_version, task.record_settings],
            "schema": {n: [s.shape, np.dtype(s.dtype).name] for n, s in task.schema.items()},
        }
        rules = json.dumps([rules, self._files], sort_keys=True, default=list)
        self.training_fingerprint = name = fingerprint.digest(rules)
        if source.evaluation_files:
            name = fingerprint.digest(name, source.evaluation_files)
        self._held: dict[str, Any] = {}  # digests of the labels of each split
        _, folder = file_utils.get_data_dir_and_dataset_dir(
            data_dir or None, self.name, name, self.VERSION
        )
        record_files.check(paths.path(folder), str(self.VERSION))  # TFDS would trust it
        super().__init__(config=tfds.core.BuilderConfig(name=name), data_dir=data_dir or None)

    @property
    def data(self) -> str:
        """Identity of the training data, for `fingerprint.same_data`: its files, and what is held.

        What records hold is known once they are made, and not where they are for evaluation alone.
        """
        path = paths.path(self.data_path) / _HELD
        held = not self.source.evaluation_files and path.is_file()
        return f"{self._files}/{path.read_text(encoding='utf-8') if held else ''}"

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

        Another process that makes the same records is waited for.

        Raises:
          UserError: the source's files cannot be used, or the folder cannot be written to.
          RunError: the disk is full or has failed.
        """
        folder = paths.path(self.data_path).parent
        _remove_unfinished(folder.parent)
        try:
            if paths.path(self.data_path).exists():
                self._prepare()
                return
            with lock.claim(folder, "config.data.data_dir", wait=True):
                for left in folder.glob("incomplete.*"):  # of a process that was killed
                    paths.rmtree(left)
                self._prepare()
        except (OSError, RuntimeError, tf.errors.OpError) as error:
            # TensorFlow writes the files, and TFDS wraps its errors.
            cause = error
            while cause is not None and not isinstance(cause, (OSError, tf.errors.OpError)):
                cause = cause.__cause__
            if cause is None:
                raise
            reason = getattr(cause, "strerror", None) or getattr(cause, "message", cause)
            mistake = isinstance(cause, OSError) and cause.errno not in disk.FAILED
            raise (UserError if mistake else RunError)(
                f"records cannot be written to {self.data_path}: {reason}; set "
                f"config.data.data_dir to another folder"
            ) from None

    def _prepare(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # nothing is "downloaded"
            self.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    compute_stats=tfds.download.ComputeStatsMode.SKIP, try_download_gcs=False
                ),
                file_format="tfrecord",
            )
        self._keep_digest()
        if not self.info.splits:  # another process made them since the builder looked
            record_files.check(paths.path(self.data_path), str(self.VERSION))
            self.info.read_from_directory(self.data_path)
        record_files.keep_digests(paths.path(self.data_path))

    def _keep_digest(self) -> None:
        """Writes the digest of what was made, if anything was, and frees the source's memory."""
        if self._held:
            held = "".join(self._held[split].hexdigest() for split in sorted(self._held))
            path = paths.path(self.data_path) / _HELD
            path.write_text(fingerprint.digest(self._images + held), encoding="utf-8")
            self._held = {}
        self.source.release()

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
        held = self._held[split] = hashlib.blake2b(split.encode(), digest_size=8)
        for made in images.read_all(found, self._records_of, self.source.allow_missing):
            held.update(made.labels)
            yield made.key, made.record

    def _records_of(self, image: AnnotatedImage) -> list["_Made"]:
        labels = fingerprint.of_labels(image.id, image.upright, image.annotations)
        return [
            _Made(key, {**record, "image": io.BytesIO(jpeg.encode(record["image"]))}, labels)
            for key, record in self.task.records(image)
        ]

    def _announce(self, count: int) -> None:
        """Logs how much space records take, before the work begins.

        Raises:
          UserError: the disk has too little.
        """
        size = count * self.task.record_bytes / 1e9
        folder = paths.path(self.data_path).parent
        logger.info("making records of %d annotations, about %.1f GB, in %s", count, size, folder)
        if paths.is_remote(folder):
            return
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
            newest = max(each.st_mtime for each in paths.statuses(left))
        except OSError:  # its owner has just finished it
            continue
        if time.time() - newest > _STALE:
            paths.rmtree(left)
