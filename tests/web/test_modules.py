"""The page's modules compute what the package computes; networks are run in Python here."""

import base64
import dataclasses
import json

import browsers
import cv2
import jax
import numpy as np
import pytest
import small_networks
from browsers import call

from hourglass_jax import Detector, PoseEstimator
from hourglass_jax.checkpoint.metadata import Inference
from hourglass_jax.image import crop, geometry
from hourglass_jax.inference import windows
from hourglass_jax.inference.finder import Finder
from hourglass_jax.interop import export, web_page
from hourglass_jax.tasks.detection import suppression
from hourglass_jax.tasks.single_pose.task import SinglePose

# An image of {width, height, bytes RGBA in Base64} as the modules take it.
IMAGE = """({ width, height, data }) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const read = (left, top, columns, rows) => {
    const part = new Uint8ClampedArray(rows * columns * 4);
    for (let y = 0; y < rows; y++) {
      const from = ((top + y) * width + left) * 4;
      part.set(bytes.subarray(from, from + columns * 4), y * columns * 4);
    }
    return part;
  };
  return { width, height, read };
}"""


@pytest.fixture(scope="module")
def open_page():
    with browsers.sources() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(open_page):
    return open_page()


@pytest.fixture
def fresh(open_page):
    """A page in which a function can be exposed."""
    page = open_page()
    yield page
    page.close()


def drawn(width, height, seed=0):
    """Returns an image with patches of every size, as photographs have."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for cells in (2, 7, 30, 90):
        patches = rng.uniform(0, 64, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def sent(image):
    height, width = image.shape[:2]
    data = np.dstack([image, np.full((height, width), 255, np.uint8)]).tobytes()
    return {"width": width, "height": height, "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    ("center", "size", "side", "surroundings"),
    [
        ((149.5, 99.5), 300.0, 150, 1.0),  # half as large, where OpenCV rounds in its own way
        ((149.5, 99.5), 300.0, 64, 1.0),
        ((100.0, 60.0), 90.0, 48, 1.1),
        ((3.0, 190.0), 130.7, 96, 1.1),  # partly outside
        ((150.2, 99.9), 31.3, 96, 1.1),  # enlarged
        ((-500.0, 40.0), 60.0, 32, 1.1),  # outside
        ((150.0, 100.0), 2.0, 32, 1.1),
    ],
)
def test_crops_are_those_of_opencv(page, center, size, side, surroundings):
    image, center = drawn(300, 200), np.array(center)
    small, to_image = crop.cut_out(image, center, size, surroundings=surroundings, resolution=side)
    to_crop = geometry.crop_map(center, size, side)
    affine = geometry.compose(to_crop, to_image)
    expected = cv2.warpAffine(small, affine, (side, side), flags=cv2.INTER_LINEAR)
    cut = f"m.square(({IMAGE})(values[0]), ...values.slice(1))"
    found = call(
        page, "pixels", f"(({{ pixels, toImage }}) => [[...pixels], toImage])({cut})",
        sent(image), center.tolist(), size, side, surroundings,
    )  # fmt: skip
    difference = np.abs(np.array(found[0]).reshape(side, side, 3) - expected.astype(int))
    assert difference.max() <= 1 and difference.mean() < 0.01
    back = geometry.invert(to_crop)
    np.testing.assert_allclose(found[1], [back[0, 0], back[1, 1], back[0, 2], back[1, 2]])


def test_parts_of_large_images_are_read_in_strips(page):
    rows, columns = np.mgrid[:1100, :2048]
    image = np.repeat(((rows * 3 + columns * 5) // 7 % 256)[..., None], 3, 2).astype(np.uint8)
    expected = cv2.resize(image, (205, 110), interpolation=cv2.INTER_AREA)
    read = """(left, top, width, height) => {
      heights.push(height);
      return Uint8Array.from({ length: width * height * 4 }, (_, i) => {
        const pixel = i >> 2;
        const [y, x] = [top + Math.floor(pixel / width), left + (pixel % width)];
        return Math.floor((y * 3 + x * 5) / 7) % 256;
      });
    }"""
    cut = "m.cutOut({ width: 2048, height: 1100, read }, [1023.5, 549.5], 2048, 205, 1)"
    program = f"((heights) => {{ const read = {read}; return [[...{cut}.pixels], heights]; }})([])"
    found, heights = call(page, "pixels", program)
    assert heights == [1024, 76]
    assert np.abs(np.array(found).reshape(expected.shape) - expected.astype(int)).max() <= 1


def loaded(kind, **options):
    made = {"detector": small_networks.detector, "pose": small_networks.poses}[kind]()
    settings = dataclasses.replace(Inference(), **options)
    return dataclasses.replace(made, inference=settings)


def find(page, image, networks, options, **changes):
    """Returns what the page's `Estimator` finds, with networks that run here."""
    site, runs = {"detector": None, "pose": None}, {}
    for role, network in networks.items():
        describe = {"pose": web_page.describe_pose, "detector": web_page.describe_detector}[role]
        site[role] = {**describe(network, alone=len(networks) == 1), **changes.get(role, {})}
        runs[role] = jax.jit(export.network(network, export.MAPS))

    def run(role, values, side):
        (maps,) = runs[role](np.array(values, np.float32).reshape(-1, side, side, 3))
        last = np.asarray(maps)[:, -1]
        shape = dict(zip(("height", "width", "channels"), last.shape[1:], strict=True))
        return [{"data": view.ravel().tolist(), **shape} for view in last]

    page.expose_function("run", run)
    run_role = "(role) => [role, (x, side) => run(role, [...x], side)]"
    calls = f"Object.fromEntries(['detector', 'pose'].map({run_role}))"
    estimator = f"new m.Estimator(values[1], {calls})"
    return call(
        page, "estimator", f"{estimator}.find(({IMAGE})(values[0]), values[2])",
        sent(image), json.loads(json.dumps(site)), options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "flip", "scales", "published"),
    [
        ((120, 90), True, (1.0,), False),
        ((120, 90), True, (1.5, 0.5), False),
        ((120, 90), False, (0.5, 1.0), True),
        ((330, 90), False, (0.5, 1.0), False),
    ],
)
def test_boxes_are_those_of_the_detector(fresh, size, flip, scales, published):
    network, image = loaded("detector", flip_test=flip, scales=scales), drawn(*size)
    settings = dataclasses.replace(network.task.options, published=published)
    task = dataclasses.replace(network.task, options=settings, training_size=48)
    network = dataclasses.replace(network, task=task)
    found = find(fresh, image, {"detector": network}, {"minScore": 0.2})
    expected = Detector(
        network.model, network.variables, network.task, input_size=network.input_size,
        flip_test=flip, scales=scales, min_score=0.2,
    )(image)  # fmt: skip
    assert len(expected.boxes) == len(found) > 3
    assert [one["category"] for one in found] == expected.categories.tolist()
    np.testing.assert_allclose([one["box"] for one in found], expected.boxes, atol=0.5)
    np.testing.assert_allclose([one["score"] for one in found], expected.scores, atol=0.01)


@pytest.mark.parametrize(
    ("decoder", "flip", "finder"), [("refined", True, True), ("quarter", False, False)]
)
def test_poses_are_those_of_the_estimator(fresh, decoder, flip, finder):
    network, image = loaded("pose", flip_test=flip, box_margin=1.4), drawn(120, 90, seed=3)
    network = dataclasses.replace(network, task=SinglePose(small_networks.EYES, decoder=decoder))
    networks, given = {"pose": network}, None
    if finder:
        networks = {"detector": loaded("detector"), **networks}
        people = networks["detector"]
        given = Finder(
            Detector(people.model, people.variables, people.task, input_size=64, min_score=0.12),
            min_score=0.2,
        )
    found = find(fresh, image, networks, {"minScore": 0.2})
    expected = PoseEstimator(
        network.model, network.variables, network.task, input_size=64, flip_test=flip,
        box_margin=1.4, finder=given,
    )(image)  # fmt: skip
    assert len(expected.joints) == len(found) > (1 if finder else 0)
    joints = [[[joint["x"], joint["y"]] for joint in one["joints"]] for one in found]
    scores = [[joint["score"] for joint in one["joints"]] for one in found]
    np.testing.assert_allclose(joints, expected.joints, atol=0.5)
    np.testing.assert_allclose(scores, expected.scores, atol=0.01)
    np.testing.assert_allclose([one["box"] for one in found], expected.boxes, atol=0.5)
    if finder:
        boxes = [one["boxScore"] for one in found]
        np.testing.assert_allclose(boxes, expected.box_scores, atol=0.01)


def test_before_a_camera_the_smallest_size_is_enough(fresh):
    network, image = loaded("detector", flip_test=True, scales=(1.0, 0.5)), drawn(120, 90)
    found = find(fresh, image, {"detector": network}, {"minScore": 0.2, "fast": True})
    expected = Detector(
        network.model, network.variables, network.task, input_size=network.input_size,
        flip_test=False, scales=(0.5,), min_score=0.2,
    )(image)  # fmt: skip
    assert len(expected.boxes) == len(found) > 0
    np.testing.assert_allclose([one["box"] for one in found], expected.boxes, atol=0.5)


@pytest.mark.parametrize("method", suppression.METHODS)
def test_overlapping_boxes_lose_score_as_in_python(page, method):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (40, 2))
    corners, scores = np.concatenate([low, low + rng.uniform(20, 60, (40, 2))], 1), rng.random(40)
    categories = rng.integers(0, 2, 40)
    settings = {"method": method, "iou": 0.4, "sigma": 0.6, "minScore": 0.2}
    kept = suppression.suppress(
        corners, scores, categories, method=method, iou=0.4, sigma=0.6, min_score=0.2, limit=25
    )
    boxes = [
        {"corners": box, "score": score, "category": category}
        for box, score, category in zip(
            corners.tolist(), scores.tolist(), categories.tolist(), strict=True
        )
    ]
    found = call(page, "boxes", "m.suppressed(...values)", boxes, settings, 25)
    np.testing.assert_allclose([one["score"] for one in found], kept.scores)
    np.testing.assert_allclose([one["corners"] for one in found], kept.boxes)


@pytest.mark.parametrize("size", [(600, 301), (6000, 500), (500, 6000), (701, 300), (20_000, 30)])
def test_windows_are_those_of_the_package(page, size):
    width, height = size
    parts = "m.windowsOf({ width: values[0], height: values[1] })"
    found = call(page, "windows", f"{parts}.map(({{ middle, side }}) => [...middle, side])", *size)
    expected = [[*window.middle, window.side] for window in windows.of_image(width, height)]
    np.testing.assert_allclose(found, expected)
