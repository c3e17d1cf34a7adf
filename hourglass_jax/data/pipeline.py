"""The streams that feed training and evaluation, as tf.data reads them from the records.

Training order and augmentation are functions of (seed, epoch, index in the epoch), and the epoch's
order does not depend on the number of processes. A run that resumes at step i therefore starts its
stream at record i * batch_size, and sees the same batches as an uninterrupted one. Where several
splits make up a batch, each goes through its own epochs, and which one a row comes from is a
function of the row's number alone; see `shares`.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hourglass_jax.data import augment, images, parsing, record_files, shares
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.records import Records
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import paths
from hourglass_jax.tasks.base import Record

_PART = 16  # largest number of records that one call makes into examples
# Records read ahead, per core and at most: cores use them while the next epoch's shuffle buffer is
# filled, instead of waiting for it. 256 records of MPII are 13 MB.
_AHEAD, _FARTHEST = 256, 4096


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of each global batch that this process makes."""

    batch_size: int
    process: int = 0
    processes: int = 1

    @property
    def local(self) -> int:
        return self.batch_size // self.processes


def training_batches(
    records: Records,
    size: tuple[int, int],
    augmentation: Augmentation,
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
      records: prepared records.
      size: height and width of the network's input.
      augmentation: limits of the augmentation.
      rows: this process's share of a batch.
      seed: seed of order and augmentation.
      shuffle_buffer: serialized records held in memory to draw the next one from.
      first_step: number of batches to skip.

    Yields:
      {"image": uint8 [B, H, W, 3], and the task's targets [B, ...]}.
    """
    training_count(records)
    first = first_step * rows.batch_size
    make = parsing.training_function(records, size, augmentation)

    def batch_of(indices, serialized):
        # Indices continue over epochs, so that a record is augmented differently each time.
        draws = [
            tf.random.stateless_uniform([augment.DRAWS], (seed, index), dtype=tf.float64)
            for index in tf.unstack(indices)
        ]
        return make(serialized, tf.stack(draws))

    splits = training_shares(records)
    ends = shares.limits(list(splits.values()))
    parts = []
    for (split, share), skipped in zip(splits.items(), shares.counts(first, ends), strict=True):
        buffer = max(round(share * shuffle_buffer), 1)
        parts.append(_epochs(records, split, int(skipped), seed=seed, shuffle_buffer=buffer))
    stream = _mixed(parts, ends, first) if len(parts) > 1 else parts[0]
    return _read(_batches(stream.enumerate(first), batch_of, rows), records, list(splits))


def _epochs(
    records: Records, split: str, first: int, *, seed: int, shuffle_buffer: int
) -> tf.data.Dataset:
    """Returns a split's serialized records from `first` on, epoch after epoch without end."""
    files = sorted(str(path) for path in records.info.splits[split].filepaths)
    count = records.count(split)

    def epoch_of(epoch):
        order = tf.random.stateless_uniform([3], (seed, epoch), maxval=2**31 - 1, dtype=tf.int64)
        shards = tf.data.Dataset.from_tensor_slices(files)
        # The stubs ask for whole numbers, but within a stream seeds can only be tensors.
        shards = shards.shuffle(len(files), seed=order[0])  # pyright: ignore[reportArgumentType]
        serialized = tf.data.TFRecordDataset(shards)
        return serialized.shuffle(shuffle_buffer, seed=order[1])  # pyright: ignore[reportArgumentType]

    epochs = tf.data.Dataset.range(first // count, np.iinfo(np.int64).max)
    return epochs.flat_map(epoch_of).skip(first % count)


def _mixed(parts: list[tf.data.Dataset], ends: np.ndarray, first: int) -> tf.data.Dataset:
    """Returns the records of several streams in the order of a batch's rows, from `first` on."""
    rows = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    part = rows.map(lambda row: tf.searchsorted(ends, [shares.place(row)], "right", tf.int64)[0])
    return tf.data.Dataset.choose_from_datasets(parts, part, stop_on_empty_dataset=False)


def target_shapes(records: Records, size: tuple[int, int]) -> dict[str, tuple[tuple, Any]]:
    """Returns shape, without the batch axis, and dtype of each array of a training batch."""
    training_count(records)
    _check_files(records, records.source.train)
    with _naming_damage(records, records.source.train):
        specs = parsing.target_specs(records, size)
    return {"image": ((*size, 3), np.dtype(np.uint8)), **specs}


def training_shares(records: Records) -> dict[str, float]:
    """Returns the splits that make up a training batch, with their shares."""
    return dict(records.source.shares) or {records.source.train: 1.0}


def training_count(records: Records) -> int:
    """Returns the number of records to train on; raises UserError if there are none."""
    counts = [records.count(split) for split in training_shares(records)]
    count = sum(counts) if all(counts) else 0
    if not count:
        raise UserError(
            "there are no records to train on; data.detections is for --mode=evaluate alone"
        )
    return count


def evaluation_batches(
    records: Records, split: str, size: tuple[int, int], rows: Rows
) -> Iterator[dict[str, Any]]:
    """Yields every record of a split exactly once; "real" is False in padding rows.

    Every process yields the same number of batches, so that none waits forever for another.

    Yields:
      {"image": uint8 [B, H, W, 3], "record_to_input": float64 [B, 2, 3], "real": bool [B],
      "records": a list of B records without their images}.
    """
    for batch in _read(_evaluation_stream(records, split, size, rows), records, [split]):
        fields = {name: batch[name] for name in (*records.schema, "id")}
        yield {
            **{name: batch[name] for name in ("image", "record_to_input", "real")},
            "records": [_record(records, fields, i) for i in range(len(batch["real"]))],
        }


def _record(records: Records, fields: dict[str, np.ndarray], row: int) -> Record:
    record: Record = {"id": fields["id"][row].decode()}
    for name, spec in records.schema.items():
        value = fields[name][row]
        if None in spec.shape:  # any number of rows, as bytes
            value = np.frombuffer(value, spec.dtype).reshape(-1, *spec.shape[1:])
        record[name] = value
    return record


@functools.lru_cache(maxsize=8)  # building it takes as long as 50 records
def _evaluation_stream(records, split, size, rows):
    info = records.info.splits[split]
    batches = -(-info.num_examples // rows.batch_size)
    make = parsing.evaluation_function(records, size)

    def batch_of(indices, serialized):
        return {**make(serialized), "real": indices < info.num_examples}

    stream = tf.data.TFRecordDataset(sorted(str(path) for path in info.filepaths))
    # Padded with records from the beginning, whose rows are not counted.
    stream = stream.repeat().take(batches * rows.batch_size).enumerate()
    return _batches(stream, batch_of, rows)


def _batches(stream: tf.data.Dataset, batch_of: Callable, rows: Rows) -> tf.data.Dataset:
    """Makes this process's batches from a stream of (index, record).

    Each call makes at most `_PART` records, a part of a batch, and one call runs on each core. A
    call per record would take as long as the work in it.
    """

    def is_local(index, serialized):
        return index % rows.batch_size // rows.local == rows.process

    if rows.processes > 1:
        # The stubs do not know that a pair is passed as two arguments.
        stream = stream.filter(is_local)  # pyright: ignore[reportArgumentType]
    part = max(n for n in range(1, _PART + 1) if rows.local % n == 0)
    cores = images.cores()
    ahead = min(_AHEAD * cores, _FARTHEST)
    stream = stream.batch(part, drop_remainder=True).prefetch(ahead // part)
    stream = stream.map(batch_of, num_parallel_calls=cores)
    if part < rows.local:
        stream = stream.batch(rows.local // part, drop_remainder=True).map(_joined)
    return stream.prefetch(2)


def _joined(parts: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tf.reshape(part, [-1, *part.shape[2:]]) for name, part in parts.items()}


def _read(
    stream: tf.data.Dataset, records: Records, splits: Sequence[str]
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the stream's batches; raises UserError if records are damaged or cut short."""
    for split in splits:
        _check_files(records, split)

    def batches():
        with _naming_damage(records, " and ".join(splits)):
            yield from stream.with_options(_options()).as_numpy_iterator()

    return batches()  # pyright: ignore[reportReturnType]  # the stubs know no dicts


def _check_files(records: Records, split: str) -> None:
    """Raises UserError if a file of records is missing or has another size than when written."""
    info = records.info.splits[split]
    missing = [path for path in info.filepaths if not paths.path(path).is_file()]
    if missing:
        raise UserError(f"the records {missing[0]} are missing; {_advice(records)}")
    # A file that ends between two records reads without an error. TFDS notes the records' bytes,
    # to which the format adds 16 each.
    expected = info.num_bytes + 16 * info.num_examples
    size = sum(paths.path(path).stat().st_size for path in info.filepaths)
    if size != expected:
        raise UserError(
            f"the records of {split!r} have {size} bytes, not {expected}; {_advice(records)}"
        )


@contextlib.contextmanager
def _naming_damage(records: Records, split: str) -> Iterator[None]:
    """Turns TensorFlow's errors about damaged records into UserError, about disks into RunError.

    Other errors in Python, such as those of a task, pass with their traceback.
    """
    failure = tf.errors.OpError  # local names: at exit, modules may be cleared before this runs
    damage = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)
    try:
        yield
    except failure as error:
        # TensorFlow's message holds the traceback of the error that Python raised.
        raised = re.search(r"ValueError: (.*)", error.message)
        if raised is None and "Traceback" in error.message:
            raise
        # TensorFlow adds the names of operations, which say nothing to the user.
        message = raised[1] if raised else re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message)
        message = " ".join(message.split())[:300]
        if raised is None and not isinstance(error, damage):
            raise RunError(f"the records of {split!r} cannot be read ({message})") from None
        raise UserError(
            f"the records of {split!r} are damaged ({message}); {_advice(records)}"
        ) from None


def _advice(records: Records) -> str:
    return record_files.advice(paths.path(records.data_path))


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # every stage sets its parallelism itself
    return options
