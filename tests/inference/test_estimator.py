"""Images in, poses out: the estimator's geometry, and how it reads a checkpoint."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax import PoseEstimator, StackedHourglass
from hourglass_jax.checkpoint import store, trained
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.nn import Normalisation
from hourglass_jax.tasks.single_pose import views
from hourglass_jax.tasks.single_pose.task import SinglePose

SKELETON = Skeleton(
    name="three",
    joints=("left_hand", "right_hand", "head"),
    pairs=(("left_hand", "right_hand"),),
    limbs=(("head", "left_hand"), ("head", "right_hand")),
)
TASK = SinglePose(SKELETON)


@pytest.fixture(scope="module")
def network():
    """A network of two stacks that says something of every picture, though nothing sensible."""
    model = StackedHourglass(num_stacks=2, num_joints=3, features=8, order=1, stem_features=4)
    variables = model.lazy_init(jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), "float32"))
    rng = np.random.default_rng(0)
    for stack in ("stack0", "stack1"):
        kernel = variables["params"][stack]["heatmaps"]["kernel"]
        variables["params"][stack]["heatmaps"]["kernel"] = rng.normal(size=kernel.shape) * 0.1
    return model, variables


@pytest.fixture(scope="module")
def estimator(network):
    return PoseEstimator(*network, TASK, input_size=32, batch_size=4)


@pytest.fixture
def picture():
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return cv2.resize(noise, (80, 96), interpolation=cv2.INTER_CUBIC)


BOXES = np.array(
    [[10.0, 8, 40, 64], [30, 20, 40, 30], [-20, -10, 60, 60], [5, 5, 3, 3], [0, 9, 80, 80]]
)


def test_the_number_of_boxes_does_not_matter(estimator, picture):
    together = estimator(picture, BOXES)
    assert together.joints.shape == (5, 3, 2) and together.scores.shape == (5, 3)
    assert together.names == SKELETON.joints
    for i, box in enumerate(BOXES):
        alone = estimator(picture, box)
        np.testing.assert_allclose(alone.joints[0], together.joints[i], atol=1e-3)
        np.testing.assert_allclose(alone.scores[0], together.scores[i], atol=1e-5)
    assert estimator(picture, []).joints.shape == (0, 3, 2)


class Dot:
    """In place of a network: every heatmap is the picture's brightness."""

    num_stacks, num_joints, stride = 1, 3, 4
    normalisation = Normalisation()

    def clone(self, **unused):
        return self

    def apply(self, variables, pictures, train):
        batch, height, width, _ = pictures.shape
        bright = pictures.mean(-1).reshape(batch, height // 4, 4, width // 4, 4).mean((2, 4))
        return jnp.repeat(bright[:, None, ..., None], 3, axis=-1)


@pytest.mark.parametrize("scales", [(1.0,), (0.8,), (1.25,), (0.8, 1.0, 1.25)], ids=str)
@pytest.mark.parametrize("box", [[200, 100, 96, 128], [170, 90, 200, 150]], ids=str)
def test_a_joint_is_found_where_it_is(scales, box):
    """A blob at a known place of the picture, off the middle of the box."""
    place = np.array([231.0, 187.0])
    y, x = np.mgrid[:400, :500]
    blob = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 5.0**2))
    picture = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, -1)
    options = {"input_size": 128, "scales": scales, "decode": "refined"}
    found = PoseEstimator(Dot(), {}, TASK, **options)(picture, box)
    # A heatmap's pixel is up to 10 px of the picture.
    np.testing.assert_allclose(found.joints[0], np.tile(place, (3, 1)), atol=1.5)


def test_no_box_is_the_picture(estimator, picture):
    whole = estimator(picture)
    # The crop for a box is 1.25 times as large: 96 px here.
    expected = estimator(picture, [(80 - 76.8) / 2, (96 - 76.8) / 2, 76.8, 76.8])
    np.testing.assert_allclose(whole.joints, expected.joints, atol=1e-3)


def test_poses_move_with_what_is_in_the_picture(estimator, picture):
    poses = estimator(picture, BOXES[0])
    moved = np.zeros((150, 140, 3), np.uint8)
    moved[40:136, 25:105] = picture
    found = estimator(moved, BOXES[0] + [25, 40, 0, 0])
    np.testing.assert_allclose(found.joints, poses.joints + np.array([25, 40]), atol=1e-3)


def test_a_mirror_image_has_the_mirrored_pose(estimator, picture):
    x, y, width, height = BOXES[1]
    poses = estimator(picture, BOXES[1])
    found = estimator(picture[:, ::-1].copy(), [80 - x - width, y, width, height])
    mirrored = (poses.joints * [-1, 1] + [79, 0])[:, [1, 0, 2]]
    np.testing.assert_allclose(found.joints, mirrored, atol=1e-3)
    # OpenCV samples at 32nds of a pixel.
    np.testing.assert_allclose(found.scores, poses.scores[:, [1, 0, 2]], atol=1e-3)


def test_earlier_stacks(network, estimator, picture):
    model, variables = network
    first = PoseEstimator(model, variables, TASK, input_size=32, num_stacks=1, flip_test=False)
    poses = first(picture, BOXES[0], heatmaps=True)
    both = PoseEstimator(model, variables, TASK, input_size=32, flip_test=False)
    assert (poses.heatmaps != both(picture, BOXES[0], heatmaps=True).heatmaps).any()
    alone = {
        kind: {name: v for name, v in tree.items() if name != "stack1"}
        for kind, tree in variables.items()
    }
    short = PoseEstimator(model.clone(num_stacks=1), alone, TASK, input_size=32, flip_test=False)
    np.testing.assert_allclose(poses.joints, short(picture, BOXES[0]).joints, atol=1e-4)


def test_scales_are_brought_back_to_one(network, picture):
    # A peak 6 px right of the middle of 16, in a crop that shows people twice as large.
    heatmaps = np.zeros((1, 16, 16, 1), np.float32)
    heatmaps[0, 7:9, 13:15] = 1
    larger = geometry.scaling(2.0, (64, 64))
    found = np.asarray(views.merge([(heatmaps, larger)], np.arange(1)))[0, ..., 0]
    y, x = np.mgrid[:16, :16]
    assert (found * x).sum() / found.sum() == pytest.approx(7.5 + 6 / 2)
    assert (found * y).sum() / found.sum() == pytest.approx(7.5)
    estimator = PoseEstimator(*network, TASK, input_size=32, scales=(0.8, 1, 1.25))
    assert estimator(picture, BOXES).joints.shape == (5, 3, 2)


def test_a_network_without_a_number_of_stacks():
    class Single(Dot):
        def __getattribute__(self, name):
            if name == "num_stacks":
                raise AttributeError(name)
            return super().__getattribute__(name)

    PoseEstimator(Single(), {}, TASK, input_size=32)
    PoseEstimator(Single(), {}, TASK, input_size=32, num_stacks=1)
    with pytest.raises(UserError, match="num_stacks=2: this network has 1"):
        PoseEstimator(Single(), {}, TASK, input_size=32, num_stacks=2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_stacks": 3}, "num_stacks=3: this network has 2"),
        ({"num_stacks": 0}, "num_stacks=0"),
        ({"decode": "best"}, "decode='best'"),
        ({"scales": (0,)}, "scales"),
        ({"scales": (80, 100)}, r"scales=\(80, 100\) must be numbers from 0.1 to 10"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
    ids=str,
)
def test_impossible_options(network, options, says):
    with pytest.raises(UserError, match=says):
        PoseEstimator(*network, TASK, **options)


def test_a_network_is_read_as_its_checkpoint_says(finished, picture):
    """Decoding, flip test, scales and the margin around boxes, unless an option says otherwise."""
    found = trained.load(finished[0])
    box = BOXES[0]

    def made(**options):
        """By hand, with the checkpoint's network alone."""
        parts = (found.model, found.variables, SinglePose(found.task.skeleton))
        return PoseEstimator(*parts, input_size=64, **options)(picture, box)

    as_trained = {"decode": "refined", "flip_test": True, "box_margin": 1.25}
    read = PoseEstimator.from_checkpoint(finished[0])
    assert read.task.decoder == "refined"
    np.testing.assert_array_equal(read(picture, box).joints, made(**as_trained).joints)
    for change in (
        {"decode": "quarter"},
        {"flip_test": False},
        {"box_margin": 1.5},
        {"scales": (0.8, 1.0)},
    ):
        other = PoseEstimator.from_checkpoint(finished[0], **change)(picture, box)
        np.testing.assert_array_equal(other.joints, made(**{**as_trained, **change}).joints)
        assert (other.joints != read(picture, box).joints).any(), change


def test_metadata_that_say_otherwise_are_followed(finished, picture, monkeypatch):
    read = store.read_metadata

    def otherwise(folder):
        metadata = read(folder)
        metadata["inference"] = {"flip_test": False, "scales": [0.9, 1.1], "box_margin": 1.5}
        metadata["task"]["settings"]["decoder"] = "quarter"
        return metadata

    options = {"flip_test": False, "scales": (0.9, 1.1), "box_margin": 1.5, "decode": "quarter"}
    options["finder"] = None
    expected = PoseEstimator.from_checkpoint(finished[0], **options)(picture, BOXES[0])
    monkeypatch.setattr(trained, "read_metadata", otherwise)
    found = PoseEstimator.from_checkpoint(finished[0], finder=None)(picture, BOXES[0])
    np.testing.assert_array_equal(found.joints, expected.joints)


NONE = [[1, 2, 3], [0, 0, 0, 5], [0, 0, np.nan, 5], "person", [[1, 2, 3, 4, 0.9, 0]] * 2]


@pytest.mark.parametrize("box", NONE, ids=str)
def test_boxes_that_are_none(estimator, picture, box):
    with pytest.raises(UserError, match="box"):
        estimator(picture, box)
