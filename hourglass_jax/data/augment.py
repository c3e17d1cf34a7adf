"""From a record to what the network sees, as stateless TensorFlow ops: (record, seed) -> example.

One affine warp a picture, sampled once, whatever the augmentation; heatmaps are rendered here.
The formulas are those of pose/geometry.py and pose/heatmap.py, and tests hold the two together.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict


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


def training_example(record: dict, seed: tf.Tensor, crop: Crop, augmentation: Augmentation) -> dict:
    """Returns {"image" uint8 [H, W, 3], "heatmaps" [h, w, K], "weights" [K]}, augmented.

    Args:
      record: as records.py describes it, `image` still a JPEG.
      seed: int [2]; the same record and seed give the same example.
    """
    draws = tf.random.stateless_uniform([9], seed, dtype=tf.float64)
    spread = 2 * draws - 1
    angle = spread[1] * math.radians(augmentation.rotation)
    angle = tf.where(draws[2] < augmentation.rotation_probability, angle, 0)
    flip = draws[5] < augmentation.flip
    affine = _crop_map(
        record,
        crop.input_size,
        scale=1 + spread[0] * augmentation.scale,
        rotation=angle,
        translate=spread[3:5] * augmentation.translate,
        flip=flip,
    )
    gain = tf.cast(1 + spread[6:9] * augmentation.colour, tf.float32)
    image = _warp(record["image"], affine, crop.input_size)
    image = tf.cast(tf.round(tf.clip_by_value(image * gain, 0, 255)), tf.uint8)

    joints_crop = tf.cast(apply(affine, tf.cast(record["joints_record"], tf.float64)), tf.float32)
    order = tf.where(flip, crop.flip_order, range(len(crop.flip_order)))
    joints_crop, labelled = tf.gather(joints_crop, order), tf.gather(record["labelled"], order)
    heatmaps, weights = render_heatmaps(joints_crop, labelled, crop)
    return {"image": image, "heatmaps": heatmaps, "weights": weights}


def evaluation_example(record: dict, crop: Crop) -> dict:
    """Returns the record's crop as it is, with the map back to the photograph and the truth."""
    affine = _crop_map(record, crop.input_size)
    image = _warp(record["image"], affine, crop.input_size)
    kept = ("joints_record", "labelled", "visible", "reference", "record_to_source", "id")
    return {
        "image": tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8),
        "record_to_crop": affine,
        **{key: record[key] for key in kept},
    }


def render_heatmaps(
    joints_crop: tf.Tensor, labelled: tf.Tensor, crop: Crop
) -> tuple[tf.Tensor, tf.Tensor]:
    """pose.heatmap.encode of joints [K, 2] in px of the crop."""
    side = crop.input_size // crop.stride
    joints = (joints_crop + 0.5) / crop.stride - 0.5
    inside = labelled & tf.reduce_all((joints >= -0.5) & (joints < side - 0.5), axis=-1)
    pixels = tf.range(side, dtype=tf.float32)[:, None, None]
    offsets = pixels - tf.where(inside[:, None], joints, 0)
    waves = tf.exp(-(offsets**2) / (2 * crop.sigma**2)) * tf.cast(inside, tf.float32)[:, None]
    heatmaps = waves[None, :, :, 0] * waves[:, None, :, 1]
    weights = tf.ones_like(inside) if crop.zero_target else inside
    return heatmaps, tf.cast(weights, tf.float32)


def apply(affine: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """pose.geometry.apply of one map [2, 3] to points [N, 2]."""
    return points @ tf.transpose(affine[:, :2]) + affine[None, :, 2]


def _crop_map(record, crop_size, *, scale=1.0, rotation=0.0, translate=(0.0, 0.0), flip=False):
    """pose.geometry.crop_map from the record to the crop, float64 [2, 3]."""
    center = tf.cast(record["center_record"], tf.float64)
    zoom = tf.convert_to_tensor(scale, tf.float64) * crop_size
    zoom /= tf.cast(record["size_record"], tf.float64)
    rotation = tf.convert_to_tensor(rotation, tf.float64)
    cos, sin = zoom * tf.cos(rotation), zoom * tf.sin(rotation)
    linear = tf.reshape(tf.stack([cos, -sin, sin, cos]), [2, 2])
    middle = (crop_size - 1) / 2 + tf.convert_to_tensor(translate, tf.float64) * crop_size
    affine = tf.concat([linear, (middle - tf.linalg.matvec(linear, center))[:, None]], axis=1)
    mirror = tf.constant([[-1, -1, -1], [1, 1, 1]], tf.float64)
    mirrored = affine * mirror + np.array([[0, 0, crop_size - 1], [0, 0, 0]])
    return tf.where(flip, mirrored, affine)


def _warp(jpeg: tf.Tensor, affine: tf.Tensor, crop_size: int) -> tf.Tensor:
    """Decodes and samples the picture bilinearly under `affine`, black beyond its border."""
    image = tf.cast(tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)
    inverse = tf.linalg.inv(affine[:, :2])
    back = tf.concat([inverse, -inverse @ affine[:, 2:]], axis=1)
    transform = tf.concat([tf.reshape(back, [1, 6]), tf.zeros([1, 2], tf.float64)], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.cast(transform, tf.float32),
        output_shape=[crop_size, crop_size],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )[0]
