"""Views and targets of one person's pose in TensorFlow, for all records at once.

For the commit that moves the house alone, so that it keeps every bit; NumPy takes its place next.
"""

import math

import tensorflow as tf

from hourglass_jax.data import augment


def training_function(records, size, augmentation, parse, named):
    """Returns what `examples.training_function` does."""
    task, side = records.task, size[1]
    flip_order = tuple(task.skeleton.flip_order.tolist())

    def make(serialized, draws):
        fields = named(records, parse(records, serialized))
        content, lengths = fields["image"]
        spread = 2 * draws - 1
        angle = spread[:, 1] * math.radians(augmentation.rotation)
        flip = draws[:, 5] < augmentation.flip
        affine = _crop_map(
            fields,
            side,
            scale=1 + spread[:, 0] * augmentation.scale,
            rotation=tf.where(draws[:, 2] < augmentation.rotation_probability, angle, 0),
            translate=spread[:, 3:5] * augmentation.translate,
            flip=flip,
        )
        gain = 1 + spread[:, 6:9] * augmentation.colour
        order = tf.where(flip[:, None], flip_order, range(len(flip_order)))
        points = tf.cast(fields["joints_record"], tf.float64)
        points = tf.matmul(points, affine[:, :, :2], transpose_b=True) + affine[:, None, :, 2]
        heatmaps, weights = _render(
            tf.gather(tf.cast(points, tf.float32), order, batch_dims=1),
            tf.gather(fields["labelled"], order, batch_dims=1),
            side // task.stride,
            task,
        )

        def sample(content, lengths, affine, gain):
            jpegs = [content[i, :n].data for i, n in enumerate(lengths.tolist())]
            return augment.sample(jpegs, affine, size, gain)

        images = tf.numpy_function(
            sample, [content, lengths, affine, gain], tf.uint8, stateful=False
        )
        images = tf.ensure_shape(images, [None, *size, 3])
        return {"image": images, "heatmaps": heatmaps, "weights": weights}

    return make


def _render(joints_crop, labelled, side, task):
    joints = (joints_crop + 0.5) / task.stride - 0.5
    inside = labelled & tf.reduce_all((joints >= -0.5) & (joints < side - 0.5), axis=-1)
    joints = tf.where(inside[..., None], joints, 0)
    offsets = tf.range(side, dtype=tf.float32)[:, None, None] - joints[:, None]
    waves = tf.exp(-(offsets**2) / (2 * task.sigma**2))
    columns = waves[..., 0] * tf.cast(inside, tf.float32)[:, None]
    heatmaps = columns[:, None] * waves[:, :, None, :, 1]
    weights = tf.ones_like(inside) if task.zero_target else inside
    return heatmaps, tf.cast(weights, tf.float32)


def _crop_map(records, crop_size, *, scale, rotation, translate, flip):
    center = tf.cast(records["center_record"], tf.float64)
    zoom = tf.convert_to_tensor(scale, tf.float64) * crop_size
    zoom /= tf.cast(records["size_record"], tf.float64)
    rotation = tf.convert_to_tensor(rotation, tf.float64)
    cos, sin = zoom * tf.cos(rotation), zoom * tf.sin(rotation)
    linear = tf.reshape(tf.stack([cos, -sin, sin, cos], axis=-1), [-1, 2, 2])
    middle = (crop_size - 1) / 2 + tf.convert_to_tensor(translate, tf.float64) * crop_size
    offset = middle - tf.linalg.matvec(linear, center)
    affine = tf.concat([linear, offset[..., None]], axis=-1)
    mirrored = affine * [[-1.0], [1.0]] + [[0, 0, crop_size - 1.0], [0, 0, 0]]
    return tf.where(tf.reshape(flip, [-1, 1, 1]), mirrored, affine)
