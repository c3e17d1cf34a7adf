"""The pipeline's ops are pose/'s formulas, and do to a picture what they do to its joints."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from hourglass_jax.data import augment, jpeg
from hourglass_jax.data.records import Limits
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose import heatmap

CROP = augment.Crop(64, sigma=1.0, flip_order=tuple(LSP.flip_order.tolist()))
NONE = augment.Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
ALL = augment.Augmentation(0.25, 40.0, 0.7, 0.1, 0.5, 0.3)


def make_record(joints=None, labelled=None, image=None):
    rng = np.random.default_rng(0)
    joints = rng.uniform(10, 70, (14, 2)) if joints is None else joints
    image = np.full((90, 80, 3), 128, np.uint8) if image is None else image
    return {
        "image": jpeg.encode(image),
        "joints_record": np.asarray(joints, np.float32),
        "labelled": np.ones(14, bool) if labelled is None else labelled,
        "visible": np.ones(14, bool),
        "center_record": np.array([40.5, 44.0], np.float32),
        "size_record": np.float32(70.0),
        "reference": np.float32(10.0),
        "record_to_source": np.array([[1, 0, 0], [0, 1, 0]], np.float32),
        "id": b"someone",
    }


def training_example(record, draws, crop, augmentation):
    """One record's example, as a part of one."""
    part = {name: tf.convert_to_tensor(value)[None] for name, value in record.items()}
    made = augment.training_examples(part, draws[None], crop, augmentation)
    return {name: value[0] for name, value in made.items()}


def draws_of(*seed):
    return tf.random.stateless_uniform([augment.DRAWS], seed, dtype=tf.float64)


def blob(center):
    """A picture with one smooth bright spot, whose centre can be measured."""
    y, x = np.mgrid[:90, :80]
    spot = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / 18)
    return np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=-1)


def measured(image):
    weights = image.astype(np.float64).sum(-1)
    weights[weights < 60] = 0
    y, x = np.mgrid[: len(image), : len(image)]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("flip", [False, True])
def test_crop_map_is_that_of_geometry(flip):
    record = make_record()
    options = {"scale": 1.2, "rotation": 0.4, "translate": (0.05, -0.02), "flip": flip}
    expected = geometry.crop_map(record["center_record"].astype(float), 70.0, 64, **options)
    part = {name: np.asarray(value)[None] for name, value in record.items()}
    actual = augment._crop_map(part, 64, **options)
    np.testing.assert_allclose(actual[0], expected, rtol=0, atol=1e-9)
    points = np.random.default_rng(1).uniform(0, 80, (5, 2))
    np.testing.assert_allclose(
        augment.apply(actual, points[None])[0], geometry.apply(expected, points), atol=1e-9
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_picture_moves_as_its_joints_do(seed):
    """A bright spot lies where the joint drawn on it lies, to a tenth of a pixel."""
    spot = np.array([41.3, 46.8])
    joints = np.tile(spot, (14, 1))
    calm = augment.Augmentation(0.25, 40.0, 0.7, 0.1, 0.5, 0.0)
    record = make_record(joints, image=blob(spot))
    example = training_example(record, draws_of(seed, 3), CROP, calm)
    position, _ = heatmap.decode(example["heatmaps"].numpy(), "refined")
    joints_crop = geometry.heatmap_to_crop(np.asarray(position), 4)
    np.testing.assert_allclose(measured(example["image"].numpy()), joints_crop[0], atol=0.1)


def test_heatmaps_are_those_of_pose():
    rng = np.random.default_rng(2)
    labelled = rng.random(14) < 0.8
    joints_crop = rng.uniform(-8, 72, (14, 2)).astype(np.float32)
    for zero_target in (False, True):
        crop = augment.Crop(64, 1.75, CROP.flip_order, zero_target)
        maps, weights = augment.render_heatmaps(joints_crop[None], labelled[None], crop)
        expected, expected_weights = heatmap.encode(
            geometry.crop_to_heatmap(joints_crop, 4), labelled, 16, 1.75, zero_target=zero_target
        )
        np.testing.assert_allclose(maps[0], expected, atol=1e-6)
        np.testing.assert_array_equal(weights[0], expected_weights)
    assert expected_weights.mean() > 0 and not labelled.all()


def test_a_flip_exchanges_left_and_right():
    flip = augment.Augmentation(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    labelled = np.ones(14, bool)
    labelled[LSP.index("left_wrist")] = False
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    record = make_record(image=image, labelled=labelled)
    plain = training_example(record, draws_of(0, 0), CROP, NONE)
    mirrored = training_example(record, draws_of(0, 0), CROP, flip)
    expected = np.asarray(heatmap.flip_heatmaps(plain["heatmaps"].numpy(), LSP.flip_order))
    np.testing.assert_allclose(mirrored["heatmaps"], expected, atol=1e-5)
    np.testing.assert_array_equal(mirrored["weights"], plain["weights"].numpy()[LSP.flip_order])
    assert plain["weights"].numpy()[LSP.index("left_wrist")] == 0
    difference = mirrored["image"].numpy().astype(int) - plain["image"].numpy()[:, ::-1]
    assert abs(difference).max() <= 1


def test_without_augmentation_training_and_evaluation_see_the_same():
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    record = make_record(image=image)
    training = training_example(record, draws_of(5, 6), CROP, NONE)
    part = {name: np.asarray(value)[None] for name, value in record.items()}
    evaluation = augment.evaluation_examples(part, CROP)
    np.testing.assert_array_equal(training["image"], evaluation["image"][0])


def test_examples_are_functions_of_record_and_seed_inside_tf_data_too():
    record = make_record(image=np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8))
    first = training_example(record, draws_of(1, 2), CROP, ALL)
    again = training_example(record, draws_of(1, 2), CROP, ALL)
    other = training_example(record, draws_of(1, 3), CROP, ALL)
    stream = tf.data.Dataset.from_tensors(record).map(
        lambda r: training_example(r, draws_of(1, 2), CROP, ALL)
    )
    streamed = next(stream.as_numpy_iterator())
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
        np.testing.assert_allclose(streamed[key], first[key], atol=1e-6)
    assert (first["image"].numpy() != other["image"].numpy()).any()


def test_augmentation_stays_in_its_limits_and_uses_them():
    record = make_record(np.tile([40.5, 44.0], (14, 1)))
    record["joints_record"][1] += (10, 0)
    scales, angles, shifts, mirrored, gains = [], [], [], [], []
    for i in range(400):
        draws = draws_of(7, i).numpy()
        example = training_example(record, draws, CROP, ALL)
        position, _ = heatmap.decode(example["heatmaps"].numpy(), "refined")
        joints = geometry.heatmap_to_crop(np.asarray(position, float), 4)
        flip = draws[5] < 0.5
        a, b = joints[[0, 1]] if not flip else joints[[5, 4]]
        step = (b - a) * 70 / 64 / 10
        scales.append(np.linalg.norm(step))
        angles.append(np.degrees(np.arctan2(step[1], -step[0] if flip else step[0])))
        shifts.append((a - 31.5) / 64)
        mirrored.append(flip)
        gains.append(example["image"].numpy()[20:40, 20:40].mean((0, 1)) / 128)
    scales, angles, shifts, gains = map(np.array, (scales, angles, shifts, gains))
    assert 0.74 < scales.min() < 0.77 and 1.23 < scales.max() < 1.26
    assert 35 < abs(angles).max() < 41
    assert 0.23 < (abs(angles) < 0.5).mean() < 0.40  # 0.3 are not rotated
    assert 0.09 < abs(shifts).max() < 0.105
    assert 0.42 < np.mean(mirrored) < 0.58
    assert 0.69 < gains.min() < 0.73 and 1.27 < gains.max() < 1.31


def test_records_hold_what_the_largest_augmentation_shows():
    """No corner of a crop at the limits lies beyond what a record keeps around a person."""
    limits = Limits()
    reach = 100 * limits.surroundings / 2
    furthest = 0
    for rotation in np.radians([0, 30, 45, 90, 180]):
        for translate in ((0.1, 0.1), (-0.1, 0.1)):
            to_crop = geometry.crop_map(
                np.array([450.0, 450.0]),
                100.0,
                64,
                scale=limits.min_scale,
                rotation=rotation,
                translate=translate,
            )
            corners = np.array([[0, 0], [63, 0], [0, 63], [63, 63]], float)
            seen = geometry.apply(geometry.invert(to_crop), corners)
            furthest = max(furthest, abs(seen - 450).max())
    assert reach - 5 < furthest <= reach


def test_a_crop_shows_what_the_whole_picture_gives():
    """Only a window of the picture is decoded, and nothing of the crop may miss."""
    noise = np.random.default_rng(0).integers(0, 256, (250, 300, 3)).astype(np.uint8)
    content = jpeg.encode(noise)
    whole = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), 1), cv2.COLOR_BGR2RGB)
    record = {
        **make_record(),
        "image": content,
        "center_record": np.array([140, 120], np.float32),
    }
    for seed in range(20):
        draws = np.random.default_rng(seed).uniform(size=augment.DRAWS)
        draws[6:] = 0.5  # colours as they are
        part = {name: tf.convert_to_tensor(value)[None] for name, value in record.items()}
        affine = _affine_of(part, draws)
        expected = cv2.warpAffine(whole, affine, (64, 64), flags=cv2.INTER_LINEAR)
        found = training_example(record, draws, CROP, ALL)["image"].numpy()
        # The corner of the window is subtracted in floating point.
        assert abs(found.astype(int) - expected).max() <= 1


def _affine_of(part, draws):
    spread = 2 * draws - 1
    rotated = draws[2] < ALL.rotation_probability
    return augment._crop_map(
        part,
        64,
        scale=[1 + spread[0] * ALL.scale],
        rotation=[np.radians(spread[1] * ALL.rotation) * rotated],
        translate=[spread[3:5] * ALL.translate],
        flip=[draws[5] < ALL.flip],
    )[0].numpy()
