"""The streams that feed training and evaluation, as tf.data reads them from the records.

Training order and augmentation are functions of (seed, epoch, index in the epoch), and the epoch's
order does not depend on the number of processes. A run that goes on at step i therefore starts
its stream at record i * batch_size, and sees what an uninterrupted one would have seen.
"""

import dataclasses
import functools
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from hourglass_jax.data import augment, records
from hourglass_jax.data import images as photographs
from hourglass_jax.errors import RunError, UserError

_PART = 16  # records that are made into examples in one call, at most
# Records read ahead, for each core and at most: what cores use up while the next epoch's shuffle
# buffer is filled, which would have all of them wait. 256 of MPII's are 13 MB.
_AHEAD, _FARTHEST = 256, 4096


@dataclasses.dataclass(frozen=True)
class Rows:
    """Which rows of each global batch this process makes."""

    batch_size: int
    process: int = 0
    processes: int = 1

    @property
    def local(self) -> int:
        return self.batch_size // self.processes


def prepare(builder: records.PoseBuilder, manual_dir: str) -> None:
    """Makes the builder's records unless they are there already."""
    _sweep(pathlib.Path(builder.data_path).parents[1])
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=manual_dir,
                compute_stats=tfds.download.ComputeStatsMode.SKIP,
                try_download_gcs=False,
            ),
            file_format="tfrecord",
        )
        if not builder.info.splits:  # another process made them since the builder looked
            builder.info.read_from_directory(builder.data_path)
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        # TensorFlow writes the files, and TFDS wraps what it says of the disk.
        disk = error
        while disk is not None and not isinstance(disk, (OSError, tf.errors.OpError)):
            disk = disk.__cause__
        if disk is None:
            raise
        raise UserError(
            f"records cannot be written to {builder.data_path}: "
            f"{getattr(disk, 'strerror', None) or getattr(disk, 'message', disk)}; set "
            f"config.data.data_dir to another folder"
        ) from None


def _sweep(folder: pathlib.Path) -> None:
    """Removes halves of records that killed runs left; one that is at work writes within hours."""
    for left in folder.glob("*/incomplete.*"):
        try:
            newest = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
        except OSError:  # its owner has just finished it
            continue
        if time.time() - newest > 6 * 3600:
            shutil.rmtree(left, ignore_errors=True)


def training_batches(
    builder: records.PoseBuilder,
    crop: augment.Crop,
    augmentation: augment.Augmentation,
    rows: Rows,
    *,
    seed: int,
    shuffle_buffer: int,
    first_step: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's rows of every global batch from `first_step` on, without end.

    Epochs follow each other without a gap, so that no record is dropped: a batch may hold the end
    of one and the beginning of the next.

    Args:
      builder: of prepared records.
      crop: the crop and heatmaps to make.
      augmentation: its limits.
      rows: this process's share of a batch.
      seed: of order and augmentation.
      shuffle_buffer: serialized records held in memory to draw the next one from.
      first_step: batches to pass over.
    """
    if builder.TRAIN not in builder.info.splits:
        raise UserError(
            "these records hold nobody to train on: data.detections is for --mode=evaluate"
        )
    split = builder.info.splits[builder.TRAIN]
    count, first = split.num_examples, first_step * rows.batch_size
    files = sorted(split.filepaths)

    def epoch_of(epoch):
        order = tf.random.stateless_uniform([3], [seed, epoch], maxval=2**31 - 1, dtype=tf.int64)
        shards = tf.data.Dataset.from_tensor_slices([str(path) for path in files])
        shards = shards.shuffle(len(files), seed=order[0])
        return tf.data.TFRecordDataset(shards).shuffle(shuffle_buffer, seed=order[1])

    def examples(indices, serialized):
        # Indices count on over epochs, so that each showing of a person is augmented anew.
        draws = [
            tf.random.stateless_uniform([augment.DRAWS], [seed, index], dtype=tf.float64)
            for index in tf.unstack(indices)
        ]
        people = _parse(builder, serialized)
        return augment.training_examples(people, tf.stack(draws), crop, augmentation)

    epochs = tf.data.Dataset.range(first // count, np.iinfo(np.int64).max)
    stream = epochs.flat_map(epoch_of).skip(first % count).enumerate(first)
    return _read(_batches(stream, examples, rows), builder, builder.TRAIN)


def evaluation_batches(
    builder: records.PoseBuilder, split: str, crop: augment.Crop, rows: Rows
) -> Iterator[dict[str, np.ndarray]]:
    """Yields every person of a split exactly once; "real" is False in the rows that fill up.

    Every process yields the same number of batches, so that none waits for another for ever.
    """
    return _read(_evaluation_stream(builder, split, crop, rows), builder, split)


@functools.lru_cache(maxsize=4)  # building it takes as long as 50 people
def _evaluation_stream(builder, split, crop, rows):
    info = builder.info.splits[split]
    batches = -(-info.num_examples // rows.batch_size)

    def examples(indices, serialized):
        real = indices < info.num_examples
        return {**augment.evaluation_examples(_parse(builder, serialized), crop), "real": real}

    stream = tf.data.TFRecordDataset(sorted(str(path) for path in info.filepaths))
    # Filled up with people from the beginning, whose rows are then not counted.
    stream = stream.repeat().take(batches * rows.batch_size).enumerate()
    return _batches(stream, examples, rows)


def _parse(builder: records.PoseBuilder, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the records in [B] strings, `image` still a JPEG."""
    features = builder.info.features
    # An Example is a SequenceExample without sequences, byte by byte. Parsing these leaves other
    # threads alone; parse_example wakes them for each few pictures and waits for them.
    parsed, _, _ = tf.io.parse_sequence_example(serialized, features.tf_example_spec)
    types = features.get_serialized_info()
    return {name: tf.cast(value, types[name].tf_dtype) for name, value in parsed.items()}


def _batches(stream: tf.data.Dataset, examples: Callable, rows: Rows) -> tf.data.Dataset:
    """Makes this process's batches of the stream's (index, record).

    A part is made in one call, at most `_PART` records, and as many calls run at once as there are
    cores: calls for single records would take as long as the work in them.
    """

    def is_ours(index, serialized):
        return index % rows.batch_size // rows.local == rows.process

    if rows.processes > 1:
        stream = stream.filter(is_ours)
    part = max(n for n in range(1, _PART + 1) if rows.local % n == 0)
    cores = photographs.cores()
    ahead = min(_AHEAD * cores, _FARTHEST)
    stream = stream.batch(part, drop_remainder=True).prefetch(ahead // part)
    stream = stream.map(examples, num_parallel_calls=cores)
    if part < rows.local:
        stream = stream.batch(rows.local // part, drop_remainder=True).map(_joined)
    return stream.prefetch(2)


def _joined(parts: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tf.reshape(part, [-1, *part.shape[2:]]) for name, part in parts.items()}


def _read(
    stream: tf.data.Dataset, builder: records.PoseBuilder, split: str
) -> Iterator[dict[str, np.ndarray]]:
    """Yields what the stream does; raises RunError where records are damaged or cut short."""
    advice = f"delete {builder.data_path}, and the next start makes them anew"
    info = builder.info.splits[split]
    missing = [path for path in info.filepaths if not pathlib.Path(path).is_file()]
    if missing:
        raise RunError(f"the records {missing[0]} are missing; {advice}")
    # A file that ends between two records reads without an error. TFDS notes the records' bytes,
    # to which the format adds 16 each.
    expected = info.num_bytes + 16 * info.num_examples
    size = sum(pathlib.Path(path).stat().st_size for path in info.filepaths)
    if size != expected:
        raise RunError(f"the records of {split!r} have {size} bytes and not {expected}; {advice}")

    failure = tf.errors.OpError  # by a local name: the interpreter may take modules apart first

    def batches():
        try:
            yield from stream.with_options(_options()).as_numpy_iterator()
        except failure as error:
            # TensorFlow tells a traceback around what Python raised.
            ours = re.search(r"ValueError: (.*)", error.message)
            message = ours[1] if ours else " ".join(error.message.split())[:300]
            raise RunError(f"the records of {split!r} are damaged ({message}); {advice}") from None

    return batches()


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # every stage says how much it does at once
    return options
