"""Makes examples of serialized records, in functions for tf.data.

TensorFlow parses the records; the rest is one call into `examples`.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hourglass_jax.data import examples
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.records import Records
from hourglass_jax.tasks.base import Record, Spec


def training_function(
    records: Records, size: tuple[int, int], augmentation: Augmentation
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """Returns f(serialized [B], draws [B, DRAWS]) = {"image" [B, H, W, 3], targets [B, ...]}."""
    specs = target_specs(records, size)

    def make(serialized, draws):
        fields = parse(records, serialized)

        def batch(draws, *values):
            jpegs, rows = unpack(records, values)
            made = examples.training(records.task, specs, size, augmentation, jpegs, rows, draws)
            return tuple(made.values())

        dtypes = [tf.uint8, *(dtype for _, dtype in specs.values())]
        made = tf.numpy_function(batch, [draws, *fields], dtypes, stateful=False)
        shapes = {"image": (*size, 3), **{name: shape for name, (shape, _) in specs.items()}}
        return {
            name: tf.ensure_shape(array, [serialized.shape[0], *shape])
            for (name, shape), array in zip(shapes.items(), made, strict=True)
        }

    return make


def evaluation_function(
    records: Records, size: tuple[int, int]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns f(serialized [B]) = {"image", "record_to_input", and the records' fields}.

    Fields with any number of rows come as bytes, one string per record.
    """
    ragged = [name for name, spec in records.schema.items() if None in spec.shape]

    def make(serialized):
        fields = parse(records, serialized)

        def batch(*values):
            jpegs, rows = unpack(records, values)
            image, to_input = examples.evaluation(records.task, size, jpegs, rows)
            packed = [
                np.array([record[name].tobytes() for record in rows], object) for name in ragged
            ]
            return (image, to_input, *packed)

        dtypes = [tf.uint8, tf.float64, *([tf.string] * len(ragged))]
        image, to_input, *packed = tf.numpy_function(batch, fields, dtypes, stateful=False)
        count = serialized.shape[0]
        kept = _named(records, fields)
        return {
            "image": tf.ensure_shape(image, [count, *size, 3]),
            "record_to_input": tf.ensure_shape(to_input, [count, 2, 3]),
            "id": kept["id"],
            **{name: kept[name] for name in records.schema if name not in ragged},
            **{n: tf.ensure_shape(p, [count]) for n, p in zip(ragged, packed, strict=True)},
        }

    return make


def target_specs(records: Records, size: tuple[int, int]) -> examples.Specs:
    """Returns shape and dtype of each of the task's targets, taken from the first record."""
    files = sorted(str(path) for path in records.info.splits[records.source.train].filepaths)
    (serialized,) = tf.data.TFRecordDataset(files).take(1).as_numpy_iterator()
    fields = parse(records, tf.constant([serialized]))
    _, (record,) = unpack(records, [field.numpy() for field in fields])
    return examples.specs_of(records.task, record, size)


def parse(records: Records, serialized: tf.Tensor) -> list[tf.Tensor]:
    """Returns the fields of [B] records as plain tensors; `unpack` and `_named` read the list.

    The list holds the JPEGs' bytes, padded [B, L], their lengths [B], the ids [B], and the values
    [B, ...] of each field of the schema. A field with any number of rows takes two places: the
    values of all records joined, and where those of each record begin [B + 1].
    """
    features: dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature] = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "id": tf.io.FixedLenFeature([], tf.string),
    }
    for name, spec in records.schema.items():
        dtype = _stored(spec)
        ragged = None in spec.shape
        features[name] = (
            tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            if ragged
            else tf.io.FixedLenFeature(spec.shape, dtype)
        )
    # The bytes of an Example are those of a SequenceExample without sequences, whose parser uses
    # one thread; parse_example spreads a few images over many threads and waits for them.
    parsed, _, _ = tf.io.parse_sequence_example(serialized, features)
    # One array of bytes, which Python reads without a copy, unlike strings. Its length is one more
    # than the longest JPEG's, as it may not be zero.
    lengths = tf.strings.length(parsed["image"])
    content = tf.io.decode_raw(parsed["image"], tf.uint8, fixed_length=tf.reduce_max(lengths) + 1)
    fields = [content, lengths, parsed["id"]]
    for name, spec in records.schema.items():
        value = parsed[name]
        if None in spec.shape:
            fields += [tf.cast(value.values, spec.dtype), value.row_splits]
        else:
            fields.append(tf.cast(value, spec.dtype))
    return fields


def _stored(spec: Spec) -> tf.DType:
    """Returns the type with which an Example stores a field."""
    return tf.float32 if np.issubdtype(spec.dtype, np.floating) else tf.int64


def _named(records: Records, fields: list) -> dict:
    """Returns the fields of `parse` by name; ragged ones as values and row splits."""
    content, lengths, ids, *rest = fields
    named, rest = {"image": (content, lengths), "id": ids}, iter(rest)
    for name, spec in records.schema.items():
        named[name] = (next(rest), next(rest)) if None in spec.shape else next(rest)
    return named


def unpack(records: Records, fields) -> tuple[list[memoryview], list[Record]]:
    """Returns the JPEGs, and the records without their images."""
    named = _named(records, fields)
    content, lengths = named.pop("image")
    jpegs = [content[i, :length].data for i, length in enumerate(lengths.tolist())]
    rows = []
    for i in range(len(jpegs)):
        record: Record = {"id": named["id"][i].decode()}
        for name, spec in records.schema.items():
            if None in spec.shape:
                values, begins = named[name]
                part = values.reshape(-1, *spec.shape[1:])
                width = max(math.prod(part.shape[1:]), 1)
                record[name] = part[begins[i] // width : begins[i + 1] // width]
            else:
                record[name] = named[name][i]
        rows.append(record)
    return jpegs, rows
