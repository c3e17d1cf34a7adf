"""From records to what the network sees, a few at a time: (records, draws) -> examples.

One affine warp a picture, sampled once, whatever the augmentation; heatmaps are rendered here.
The formulas are those of pose/geometry.py and pose/heatmap.py, and tests hold the two together.
What is small is TensorFlow's, for all records at once; pictures are OpenCV's, which is several
times as quick at them.
"""

import dataclasses
import math

import cv2
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from hourglass_jax.data import jpeg


@dataclasses.dataclass(frozen=True)
class Crop:
    """What a crop and its heatmaps look like.

    Attributes:
      input_size: side of the crop, px.
      stride: px of the crop to a px of the heatmap.
      sigma: of the Gaussians, px of the heatmap.
      zero_target: train unlabelled joints to empty maps.
      flip_order: for each joint the one that takes its place in a mirrored picture.
    """

    input_size: int
    sigma: float
    flip_order: tuple[int, ...]
    zero_target: bool = False
    stride: int = 4


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Limits of the augmentation.

    Attributes:
      scale: a person's scale is uniform in 1 -+ scale.
      rotation: largest angle either way, degrees.
      rotation_probability: share of the pictures that are rotated.
      translate: largest shift either way, as a share of the crop's side.
      flip: probability of a mirrored picture.
      colour: each channel's gain is uniform in 1 -+ colour.
    """

    scale: float
    rotation: float
    rotation_probability: float
    translate: float
    flip: float
    colour: float

    @classmethod
    def from_config(cls, config: ConfigDict) -> "Augmentation":
        return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})


# Random numbers that an example takes, uniform in 0 to 1.
DRAWS = 9
# Bytes: TensorFlow takes an array that begins at a multiple as it is, and copies any other.
_ALIGNMENT = 64


def training_examples(
    records: dict, draws: tf.Tensor, crop: Crop, augmentation: Augmentation
) -> dict:
    """Returns {"image" uint8 [B, H, W, 3], "heatmaps" [B, h, w, K], "weights" [B, K]}, augmented.

    Args:
      records: of B people, as records.py describes them, `image` still a JPEG.
      draws: float64 [B, DRAWS]; the same records and draws give the same examples.
      crop: the crop and heatmaps to make.
      augmentation: its limits.
    """
    spread = 2 * draws - 1
    angle = spread[:, 1] * math.radians(augmentation.rotation)
    flip = draws[:, 5] < augmentation.flip
    affine = _crop_map(
        records,
        crop.input_size,
        scale=1 + spread[:, 0] * augmentation.scale,
        rotation=tf.where(draws[:, 2] < augmentation.rotation_probability, angle, 0),
        translate=spread[:, 3:5] * augmentation.translate,
        flip=flip,
    )
    gain = 1 + spread[:, 6:9] * augmentation.colour
    order = tf.where(flip[:, None], crop.flip_order, range(len(crop.flip_order)))
    joints_crop = apply(affine, tf.cast(records["joints_record"], tf.float64))
    heatmaps, weights = render_heatmaps(
        tf.gather(tf.cast(joints_crop, tf.float32), order, batch_dims=1),
        tf.gather(records["labelled"], order, batch_dims=1),
        crop,
    )
    images = _warp(records["image"], affine, crop.input_size, gain)
    return {"image": images, "heatmaps": heatmaps, "weights": weights}


def evaluation_examples(records: dict, crop: Crop) -> dict:
    """Returns the records' crops as they are, with the maps back to photographs and the truth."""
    affine = _crop_map(records, crop.input_size)
    kept = ("joints_record", "labelled", "visible", "reference", "record_to_source", "id")
    return {
        "image": _warp(records["image"], affine, crop.input_size),
        "record_to_crop": affine,
        **{key: records[key] for key in kept},
    }


def render_heatmaps(
    joints_crop: tf.Tensor, labelled: tf.Tensor, crop: Crop
) -> tuple[tf.Tensor, tf.Tensor]:
    """pose.heatmap.encode of joints [B, K, 2] in px of the crop."""
    side = crop.input_size // crop.stride
    joints = (joints_crop + 0.5) / crop.stride - 0.5
    inside = labelled & tf.reduce_all((joints >= -0.5) & (joints < side - 0.5), axis=-1)
    joints = tf.where(inside[..., None], joints, 0)
    offsets = tf.range(side, dtype=tf.float32)[:, None, None] - joints[:, None]
    waves = tf.exp(-(offsets**2) / (2 * crop.sigma**2))
    columns = waves[..., 0] * tf.cast(inside, tf.float32)[:, None]
    heatmaps = columns[:, None] * waves[:, :, None, :, 1]
    weights = tf.ones_like(inside) if crop.zero_target else inside
    return heatmaps, tf.cast(weights, tf.float32)


def apply(affine: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """pose.geometry.apply of maps [B, 2, 3] to points [B, N, 2]."""
    return tf.matmul(points, affine[:, :, :2], transpose_b=True) + affine[:, None, :, 2]


def _crop_map(records, crop_size, *, scale=1.0, rotation=0.0, translate=(0.0, 0.0), flip=False):
    """pose.geometry.crop_map from records to crops, float64 [B, 2, 3]."""
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


def _warp(
    jpegs: tf.Tensor, affine: tf.Tensor, crop_size: int, gain: tf.Tensor | None = None
) -> tf.Tensor:
    """Samples the pictures bilinearly, black beyond their borders, then scales the channels."""
    # Bytes [B, L] of one array, which Python sees where they are; it would copy strings. L is one
    # more than the longest, as it may not be zero.
    lengths = tf.strings.length(jpegs)
    content = tf.io.decode_raw(jpegs, tf.uint8, fixed_length=tf.reduce_max(lengths) + 1)
    values = [content, lengths, affine] + ([] if gain is None else [gain])

    def sample(*values):
        return _sample(crop_size, *values)

    images = tf.numpy_function(sample, values, tf.uint8, stateful=False)
    return tf.ensure_shape(images, [None, crop_size, crop_size, 3])


def _sample(side, contents, lengths, affines, gains=None):
    # OpenCV lets go of Python's lock in each of these calls, so that threads do not wait for each
    # other, and takes it again to allocate what is not given to it. It warps four channels in half
    # the time that it takes for three.
    images = _aligned((len(contents), side, side, 3))
    four, three = np.empty((side, side, 4), np.uint8), np.empty((side, side, 3), np.uint8)
    if gains is not None:
        gains = gains[:, None] * np.eye(3)
    maps, lengths = affines.tolist(), lengths.tolist()
    windows = _windows(affines, side)
    memory = jpeg.memory_for(windows)
    for i, window in enumerate(windows):
        picture, (left, top) = jpeg.decode(contents[i, : lengths[i]].data, *window, memory)
        (a, b, c), (d, e, f) = maps[i]  # from the whole picture, which begins at -left, -top
        affine = np.array([[a, b, c + a * left + b * top], [d, e, f + d * left + e * top]])
        cv2.warpAffine(picture, affine, (side, side), four, cv2.INTER_LINEAR)
        if gains is None:
            cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, images[i])
        else:
            cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, three)
            cv2.transform(three, gains[i], images[i])
    return images


def _aligned(shape):
    """Returns uint8 [shape], not yet written, that TensorFlow takes without a copy."""
    memory = np.empty(math.prod(shape) + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return memory[first : first + math.prod(shape)].reshape(shape)


def _windows(affines, side):
    """Returns what crops show: left, top, right, bottom, px of the pictures, [B][4]."""
    corners = np.array([[0, 1, 0, 1], [0, 0, 1, 1]]) * (side - 1.0)
    corners = np.linalg.inv(affines[:, :, :2]) @ (corners - affines[:, :, 2:])
    # A pixel to blend with on each side, and one for rounding.
    return np.concatenate([corners.min(axis=2) - 1, corners.max(axis=2) + 3], axis=1).tolist()
