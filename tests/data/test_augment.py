"""What augmentation does to an image it does to the joints, and it keeps its limits."""

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import tensorflow as tf

from hourglass_jax.data import augment, jpeg
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose import heatmap
from hourglass_jax.tasks.single_pose.limits import Limits
from hourglass_jax.tasks.single_pose.task import SinglePose

SIZE = (64, 64)
TASK = SinglePose(LSP)
NONE = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
ALL = Augmentation(0.25, 40.0, 0.7, 0.1, 0.5, 0.3)


def make_record(joints=None, labelled=None, image=None):
    rng = np.random.default_rng(0)
    joints = rng.uniform(10, 70, (14, 2)) if joints is None else joints
    image = np.full((90, 80, 3), 128, np.uint8) if image is None else image
    return {
        "image": jpeg.encode(image),
        "joints_record": np.asarray(joints, np.float32),
        "labelled": np.ones(14, bool) if labelled is None else labelled,
        "center_record": np.array([40.5, 44.0], np.float32),
        "size_record": np.float32(70.0),
    }


def noise():
    return np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)


def uniform(*seed):
    return np.random.default_rng(seed).uniform(size=augment.DRAWS)


def training_example(record, numbers, augmentation):
    to_input = TASK.view(record, augmentation.draw(numbers), SIZE)
    colours = augmentation.colours(numbers[None])
    (image,) = augment.sample([record["image"]], to_input[None], SIZE, colours)
    return {"image": image, **TASK.targets(record, to_input, SIZE)}


def joints_of(example):
    """Joints as the heatmaps have them, px of the input."""
    position, _ = heatmap.decode(example["heatmaps"], "refined")
    return geometry.heatmap_to_crop(np.asarray(position, float), TASK.stride)


def blob(center):
    """An image with one smooth bright spot, whose centre can be measured."""
    y, x = np.mgrid[:90, :80]
    spot = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / 18)
    return np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=-1)


def measured(image):
    weights = image.astype(np.float64).sum(-1)
    weights[weights < 60] = 0
    y, x = np.mgrid[: len(image), : len(image)]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize("seed", range(6))
def test_the_image_moves_as_its_joints_do(seed):
    """A bright spot lies where the joint drawn on it lies, to a tenth of a pixel."""
    spot = np.array([41.3, 46.8])
    record = make_record(np.tile(spot, (14, 1)), image=blob(spot))
    calm = Augmentation(0.25, 40.0, 0.7, 0.1, 0.5, 0.0)
    example = training_example(record, uniform(seed, 3), calm)
    np.testing.assert_allclose(measured(example["image"]), joints_of(example)[0], atol=0.1)


def test_a_flip_exchanges_left_and_right():
    labelled = np.ones(14, bool)
    labelled[LSP.index("left_wrist")] = False
    record = make_record(image=noise(), labelled=labelled)
    plain = training_example(record, uniform(0), NONE)
    mirrored = training_example(record, uniform(0), Augmentation(0.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    expected = np.asarray(heatmap.flip_heatmaps(plain["heatmaps"], LSP.flip_order))
    np.testing.assert_allclose(mirrored["heatmaps"], expected, atol=1e-5)
    np.testing.assert_array_equal(mirrored["weights"], plain["weights"][LSP.flip_order])
    assert plain["weights"][LSP.index("left_wrist")] == 0
    difference = mirrored["image"].astype(int) - plain["image"][:, ::-1]
    assert abs(difference).max() <= 1


def test_augmentation_stays_in_its_limits_and_uses_them():
    record = make_record(np.tile([40.5, 44.0], (14, 1)))
    record["joints_record"][1] += (10, 0)
    numbers = [uniform(7, i) for i in range(400)]
    examples = [training_example(record, each, ALL) for each in numbers]
    joints_input = joints_of({"heatmaps": np.stack([one["heatmaps"] for one in examples])})
    mirrored = [each[5] < 0.5 for each in numbers]
    gains = [one["image"][20:40, 20:40].mean((0, 1)) / 128 for one in examples]
    scales, angles, shifts = [], [], []
    for joints, flip in zip(joints_input, mirrored, strict=True):
        a, b = joints[[0, 1]] if not flip else joints[[5, 4]]
        step = (b - a) * 70 / 64 / 10
        scales.append(np.linalg.norm(step))
        angles.append(np.degrees(np.arctan2(step[1], -step[0] if flip else step[0])))
        shifts.append((a - 31.5) / 64)
    scales, angles, shifts, gains = map(np.array, (scales, angles, shifts, gains))
    assert 0.74 < scales.min() < 0.77 and 1.23 < scales.max() < 1.26
    assert 35 < abs(angles).max() < 41
    assert 0.23 < (abs(angles) < 0.5).mean() < 0.40  # 0.3 are not rotated
    assert 0.09 < abs(shifts).max() < 0.105
    assert 0.42 < np.mean(mirrored) < 0.58
    assert 0.69 < gains.min() < 0.73 and 1.27 < gains.max() < 1.31


def test_draws_are_functions_of_their_numbers():
    numbers = uniform(4)
    numbers[2] = 0.0
    drawn = ALL.draw(numbers)
    spread = 2 * numbers - 1
    assert drawn.scale == pytest.approx(1 + 0.25 * spread[0])
    assert drawn.rotation == pytest.approx(np.radians(40 * spread[1]))
    assert drawn.translate == pytest.approx(0.1 * spread[3:5])
    assert drawn.flip is bool(numbers[5] < 0.5) and drawn.uniform is numbers
    np.testing.assert_allclose(ALL.gains(numbers[None]), 1 + 0.3 * spread[None, 6:9])
    numbers[2] = 0.99
    assert ALL.draw(numbers).rotation == 0
    still = NONE.draw(numbers)
    assert still[:4] == (1.0, 0.0, (0.0, 0.0), False) and still.aspect == 1
    assert (NONE.gains(numbers[None]) == 1).all()
    wide = dataclasses.replace(NONE, aspect=0.5)
    for number, aspect in ((0.0, 1 / 1.5), (0.5, 1.0), (1.0, 1.5)):
        numbers[augment._ASPECT] = number
        assert wide.draw(numbers).aspect == pytest.approx(aspect)


def test_further_augmentation_changes_nothing_while_it_is_off():
    """Whatever its numbers, the view is that of before."""
    numbers = uniform(4)
    others = numbers.copy()
    others[augment._ANGLE :] = 0.0
    assert ALL.draw(numbers)[:4] == ALL.draw(others)[:4]
    assert ALL.draw(others).half is None and augment._ANGLE == 18
    on = dataclasses.replace(ALL, any_angle=0.3, half_body=0.3)
    others[augment._ANGLE :] = 0.3
    assert on.draw(others)[:4] == ALL.draw(numbers)[:4] and on.draw(others).half is None


def test_some_images_are_rotated_by_any_angle():
    turned = dataclasses.replace(ALL, any_angle=0.4)
    drawn = [
        (turned.draw(n).rotation, ALL.draw(n).rotation) for n in (uniform(5, i) for i in range(300))
    ]
    angles = np.degrees([one for one, other in drawn if one != other])
    assert 90 < len(angles) < 150 and 170 < abs(angles).max() < 180


def test_half_of_a_body_is_drawn_for_some():
    halves = dataclasses.replace(ALL, half_body=0.4)
    drawn = [halves.draw(uniform(6, i)).half for i in range(300)]
    numbers = [half for half in drawn if half is not None]
    assert 90 < len(numbers) < 150 and min(numbers) < 0.1 and max(numbers) > 0.9


def test_occluders_cover_a_part_of_some_images_with_one_colour():
    numbers = np.stack([uniform(7, i) for i in range(200)])
    covering = dataclasses.replace(NONE, occluder=0.5)
    images = np.zeros((200, 40, 60, 3), np.uint8)
    covering.occlude(images, numbers)
    covered = images.any(-1)
    hit = covered.any((1, 2))
    np.testing.assert_array_equal(hit, numbers[:, augment._OCCLUDER] < 0.5)
    shares = covered.mean((1, 2))[hit]
    assert shares.min() > 0.002 and 0.08 < shares.max() <= 0.45**2 + 0.02
    for image, mask in zip(images[hit], covered[hit], strict=True):
        assert len(np.unique(image[mask], axis=0)) == 1
    none = np.ones((200, 8, 8, 3), np.uint8)
    NONE.occlude(none, numbers)
    assert (none == 1).all()


def test_the_first_numbers_do_not_depend_on_how_many_are_drawn():
    few, more = (
        tf.random.stateless_uniform([count], (3, 7), dtype=tf.float64).numpy()
        for count in (augment._ANGLE, augment.DRAWS)
    )
    np.testing.assert_array_equal(few, more[: len(few)])


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


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_a_sample_shows_what_the_whole_image_gives(size):
    """Only a window of the image is decoded, and nothing of the sample may miss."""
    pixels = np.random.default_rng(0).integers(0, 256, (250, 300, 3)).astype(np.uint8)
    content = jpeg.encode(pixels)
    whole = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), 1), cv2.COLOR_BGR2RGB)
    record = {**make_record(), "center_record": np.array([140, 120], np.float32)}
    affines = np.array([TASK.view(record, ALL.draw(uniform(seed)), size) for seed in range(20)])
    found = augment.sample([content] * 20, affines, size)
    for image, affine in zip(found, affines, strict=True):
        expected = cv2.warpAffine(whole, affine, size[::-1], flags=cv2.INTER_LINEAR)
        # The corner of the window is subtracted in floating point.
        assert abs(image.astype(int) - expected).max() <= 1
    ones = augment.sample(
        [content] * 20, affines, size, NONE.colours(np.zeros((20, augment.DRAWS)))
    )
    np.testing.assert_array_equal(ones, found)


def test_beyond_the_image_it_is_black():
    content = jpeg.encode(np.full((20, 20, 3), 255, np.uint8))
    far = np.array([[[1.0, 0, 500], [0, 1, 500]]])
    assert not augment.sample([content], far, SIZE).any()
    shifted = np.array([[[1.0, 0, 30], [0, 1, 30]]])
    (image,) = augment.sample([content], shifted, SIZE)
    assert (image[30:50, 30:50] > 250).all() and not image[:29].any() and not image[52:].any()


@pytest.mark.parametrize(("shape", "dtype"), [((3, 5), np.uint8), ((7, 2, 2), np.float32)])
def test_tensorflow_takes_arrays_without_a_copy(shape, dtype):
    for _ in range(8):
        array = augment.aligned(shape, dtype)
        assert array.shape == shape and array.dtype == dtype and array.flags.c_contiguous
        assert array.ctypes.data % 64 == 0


def jittered(pixels, factors, order, shift):
    """The published steps one after another, on floats in [0, 1]."""
    image = pixels / 255
    grey = (image @ [0.299, 0.587, 0.114])[..., None]
    added = (0, grey.mean(), grey)
    for kind in order:
        image = factors[kind] * image + (1 - factors[kind]) * added[kind]
    return np.clip(255 * (image + shift), 0, 255)


@pytest.mark.parametrize("order", range(6))
def test_brightness_contrast_saturation_and_light(order):
    uniform = np.random.default_rng(order).uniform(size=(1, augment.DRAWS))
    uniform[0, 12] = (order + 0.5) / 6
    colours = Augmentation(0, 0, 0, 0, 0, 0.0, jitter=0.4, lighting=0.1).colours(uniform)
    image = np.random.default_rng(0).integers(60, 180, (64, 64, 3), dtype=np.uint8)
    still = np.eye(2, 3)[None]
    content = [memoryview(jpeg.encode(image))]
    (plain,) = augment.sample(content, still, SIZE)
    (found,) = augment.sample(content, still, SIZE, colours)

    factors = 1 + 0.4 * (2 * uniform[0, 9:12] - 1)
    ranks = list(itertools.permutations(range(3)))[order]
    expected = jittered(plain, factors, np.argsort(ranks), colours.maps[0, :, 3] / 255)
    np.testing.assert_allclose(found, expected, atol=1)  # OpenCV rounds the factors


def test_the_light_is_normal_along_the_principal_directions():
    uniform = np.random.default_rng(0).uniform(size=(20_000, augment.DRAWS))
    shift = Augmentation(0, 0, 0, 0, 0, 0.0, lighting=0.1).colours(uniform).maps[..., 3] / 25.5
    variances, directions = np.linalg.eigh(np.cov(shift.T))
    np.testing.assert_allclose(np.sqrt(variances), [0.00341571, 0.01817699, 0.2141788], rtol=0.02)
    # The brightest direction is nearly grey: red -0.561, green -0.583, blue -0.588.
    expected = np.array([0.56089297, 0.5832747, 0.58752847])
    np.testing.assert_allclose(np.abs(directions[:, 2]), expected, atol=0.01)
