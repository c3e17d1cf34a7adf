"""The task between its ends: from annotations to records, targets, outputs, and back to people."""

import dataclasses

import drawn_boxes
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import shrink
from drawn_boxes import CORNERS, DrawnBoxes

from hourglass_jax import config_files, tasks
from hourglass_jax.config import Config
from hourglass_jax.data.augment import DRAWS, Augmentation
from hourglass_jax.data.base import AnnotatedImage, Source
from hourglass_jax.data.skeleton import COCO, MPII, Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.tasks import views
from hourglass_jax.tasks.detection import precision, records
from hourglass_jax.tasks.detection.precision import JointPrecision
from hourglass_jax.tasks.grouped_pose import grouping
from hourglass_jax.tasks.grouped_pose.options import Options
from hourglass_jax.tasks.grouped_pose.task import GroupedPose

SIZE = (64, 64)
OPTIONS = Options(sigma=1.0, max_people=5, tag_weight=0.01)


def make_task(decoder="quarter", **options):
    options = dataclasses.replace(OPTIONS, **options)
    return GroupedPose(options, CORNERS, input_size=64, resolution=80, decoder=decoder)


def make_record(task, seed=0, count=3, **fields):
    """Rectangles have joints, and discs do not."""
    pixels, annotations = drawn_boxes.draw(np.random.default_rng(seed), f"{seed}", count)
    for name, values in fields.items():
        pairs = zip(annotations, values, strict=True)
        annotations = [dataclasses.replace(a, **{name: value}) for a, value in pairs]
    image = AnnotatedImage(f"{seed}", f"image {seed}", lambda: pixels, annotations)
    ((_, record),) = task.records(image)
    return record


def make_config(**fields):
    config = shrink(config_files.load("default"))
    config.task, config.data.dataset = "grouped_pose", "drawn_boxes"
    config.grouped_pose = {"sigma": 1.0}
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return Config.from_dict(config)


def batch_of(targets):
    return {name: jnp.asarray(array)[None] for name, array in targets.items()}


def perfect(task, targets):
    """Outputs for an image's targets; the tag of a pixel is that of the nearest person."""
    height, width = targets["background"].shape
    heatmaps = np.asarray(task.drawn(batch_of(targets))[0])
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x, y], axis=-1)[:, :, None, None]
    away = np.linalg.norm(pixels + 0.5 - targets["joints"], axis=-1)  # [h, w, people, joints]
    tags = 3.0 * np.where(targets["joint_mask"], away, np.inf).argmin(2)
    return np.concatenate([heatmaps, tags], axis=-1)[None].astype(np.float32)


def finish(task, outputs, maps, to_source):
    @jax.jit
    def decoded(outputs):
        seen = [(x[:, None], affine) for x, affine in zip(outputs, maps, strict=True)]
        return views.decode(task, views.merge(task, seen))

    rows = [jax.tree.map(lambda x: x[0, 0], found) for found in jax.device_get(decoded(outputs))]
    return views.finish(task, rows, maps, to_source)


def assert_found(found, truth, atol):
    assert len(found) >= len(truth) > 0
    for one in truth:
        known = one.joint_scores > 0
        away = [np.abs(f.joints - one.joints)[known].max() for f in found if f.score > 0.3]
        assert min(away) < atol


def test_settings_rebuild_the_task():
    made = GroupedPose.from_config(make_config(), DrawnBoxes(), 4)
    assert tasks.from_settings("grouped_pose", made.settings) == made
    assert made.categories == ("rectangle",) and made.category_ids == (3,)
    assert made.heads["heatmaps"].start == 0 and made.heads["tags"].start is None


class Unlabelled(Source):
    name = "unlabelled"


def test_data_without_joints_or_boxes_is_refused():
    for source, missing in ((Unlabelled(), "joints"), (DrawnBoxes(), "boxes")):
        if missing == "boxes":
            source.categories = ()
        with pytest.raises(UserError, match=f"has no {missing}; set another config.task"):
            GroupedPose.from_config(make_config(), source, 4)
    with pytest.raises(UserError, match=r"augment\.scale=0\.95 must be at most 0\.9"):
        GroupedPose.from_config(make_config(augment__scale=0.95), DrawnBoxes(), 4)
    with pytest.raises(UserError, match="decode='best' must be one of quarter, refined"):
        GroupedPose.from_config(make_config(eval__decode="best"), DrawnBoxes(), 4)


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize(
    ("decoder", "published", "away"),
    [("quarter", False, 1.6), ("quarter", True, 4.6), ("refined", False, 0.1)],
)
def test_perfect_outputs_give_the_annotations(flip_test, decoder, published, away):
    """A quarter of a cell is 1.5 px of the image; Gaussians of whole cells are half a cell off."""
    task = make_task(decoder, published=published)
    record = make_record(task, 7, count=4)
    to_input = task.view(record, None, SIZE)
    maps = views.maps_of(SIZE, flip_test)
    outputs = [
        perfect(task, task.targets(record, geometry.compose(affine, to_input), SIZE))
        for affine in maps
    ]
    to_source = geometry.invert(records.places(record, to_input))
    found = finish(task, outputs, maps, to_source)
    assert_found(found, task.truth(record), atol=away)
    assert (np.diff([one.score for one in found]) <= 0).all()
    for one in found:
        inside = one.joints[one.joint_scores > 0]
        low, high = one.box[:2], one.box[:2] + one.box[2:]
        np.testing.assert_allclose([low, high], [inside.min(0) - 0.5, inside.max(0) + 0.5])


def test_several_scales_are_pooled():
    """The larger input alone resolves what the small one's tags tell apart."""
    task = make_task()
    record, seen = make_record(task, 4, count=4), []
    for side in (128, 64, 32):
        view = records.view(record, None, side)
        maps = views.maps_of((side, side), flip=True)
        for affine in maps:
            to_input = geometry.compose(affine, view)
            outputs = perfect(task, task.targets(record, to_input, (side, side)))
            decoded = jax.tree.map(lambda x: np.asarray(x[0]), task.decode(jnp.asarray(outputs)))
            seen.append((decoded, geometry.invert(records.places(record, to_input))))
    assert_found(task.finish(seen), task.truth(record), atol=1.6)
    assert task.merge([(jnp.zeros((1, 4, 4, 8)), s * np.eye(2, 3)) for s in (1.0, 2.0)]) is None


@pytest.mark.parametrize("seed", range(4))
def test_augmented_targets_lie_where_the_image_shows_them(seed):
    task = make_task()
    record = make_record(task, seed)
    augmentation = Augmentation(0.3, 30, 1, 0.2, 0.5, 0)
    draws = augmentation.draw(np.random.default_rng(seed).uniform(size=DRAWS))
    to_input = task.view(record, draws, SIZE)
    targets = task.targets(record, to_input, SIZE)
    joints = geometry.apply(records.places(record, to_input), record["joints_source"].astype(float))
    joints, labelled = (joints + 0.5) / 4, record["labelled"]
    if draws.flip:
        joints, labelled = joints[:, [1, 0, 3, 2]], labelled[:, [1, 0, 3, 2]]
    there = labelled & ((joints >= 0) & (joints < 16)).all(-1)
    rows = there.any(1)
    assert targets["joint_mask"].sum() == there.sum()
    np.testing.assert_array_equal(targets["joint_mask"][: rows.sum()], there[rows])
    found = targets["joints"][: rows.sum()][there[rows]]
    np.testing.assert_allclose(found, joints[there], atol=1e-4)
    turn = np.arctan2(to_input[1, 0], to_input[1, 1])
    np.testing.assert_allclose(abs(turn), abs(draws.rotation), atol=1e-9)


def test_the_largest_people_are_kept():
    task = make_task(max_people=1)
    record = make_record(task, 4, count=4)
    assert record["labelled"].any(1).sum() > 1
    targets = task.targets(record, task.view(record, None, SIZE), SIZE)
    areas = record["boxes_source"][:, 2:].prod(-1) * record["labelled"].any(1)
    kept = targets["joints"][0] * 4 - 0.5
    from_source = records.places(record, task.view(record, None, SIZE))
    expected = record["joints_source"][areas.argmax()].astype(float)
    np.testing.assert_allclose(kept, geometry.apply(from_source, expected), atol=1e-3)


def test_crowds_and_people_without_joints_do_not_count():
    task = make_task()
    record = make_record(task, 3, count=4, crowd=[True, False, False, False])
    kinds = record["labelled"].any(1)
    assert kinds[1:].any() and not kinds[1:].all()
    to_input = task.view(record, None, SIZE)
    targets = task.targets(record, to_input, SIZE)
    expected = np.ones((16, 16), bool)
    for i, (x, y, width, height) in enumerate(record["boxes_source"].astype(float)):
        if i == 0 or not kinds[i]:
            corners = np.array([[x, y], [x + width, y + height]]) - 0.5
            low, high = (geometry.apply(records.places(record, to_input), corners) + 0.5) / 4
            (x1, y1), (x2, y2) = np.floor(low).astype(int), np.ceil(high).astype(int)
            expected[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(targets["background"], expected)
    outputs = jnp.asarray(perfect(task, targets))[:, None]
    batch, losses = batch_of(targets), jax.jit(task.losses)
    assert losses(outputs, batch, {})["heatmaps"][0] == 0
    drawn = np.asarray(task.drawn(batch))[0]
    ignored = ~expected[..., None] & (drawn == 0)
    assert ignored.any() and (~expected[..., None] & (drawn > 0)).any()
    for mask, counts in ((ignored, False), (~ignored, True)):
        wrong = outputs + jnp.pad(jnp.asarray(mask), ((0, 0), (0, 0), (0, 4)))[None, None]
        assert bool(losses(wrong, batch, {})["heatmaps"][0] > 0) == counts


def test_the_plateau_is_the_loss_of_empty_heatmaps_and_equal_tags():
    task = make_task()
    records_ = [make_record(task, seed, count=3) for seed in range(3)]
    each = [task.targets(r, task.view(r, None, SIZE), SIZE) for r in records_]
    batch = {name: jnp.asarray(np.stack([t[name] for t in each])) for name in each[0]}
    several = batch["joint_mask"].any(-1).sum(-1) > 1
    drawn = np.asarray(task.drawn(batch))
    expected = (drawn**2).mean() + 0.01 * 0.5 * np.mean(several)
    np.testing.assert_allclose(jax.jit(task.plateau)(batch, {}), expected, rtol=1e-5)


def test_the_order_of_joints_is_from_the_head_down():
    coco = [COCO.joints[i] for i in grouping.order_of(COCO.joints)]
    expected = ["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder"]
    expected += ["right_shoulder", "left_hip", "right_hip", "left_elbow", "right_elbow"]
    assert coco[:11] == expected and coco[-1] == "right_ankle"
    first = [MPII.joints[i] for i in grouping.order_of(MPII.joints)][:3]
    assert first == ["head_top", "upper_neck", "thorax"]
    assert grouping.order_of(("tail", "left_paw", "nose")) == [2, 0, 1]


def test_errors_of_images():
    """1 - OKS of the one who is found, of two predicted and two annotated."""
    skeleton = Skeleton("one", ("nose",), (), ())
    record = {
        "id": "7",
        "size_source": np.array([100, 100]),
        "boxes_source": np.array([[0, 0, 40, 50], [50, 50, 40, 50]], np.float32),
        "categories": np.zeros(2, int),
        "crowd": np.zeros(2, bool),
        "areas": np.array([1000.0, 2000.0]),
        "joints_source": np.array([[[20, 20]], [[70, 70]]], np.float32),
        "labelled": np.ones((2, 1), bool),
    }
    people = [
        tasks.base.Instance(score, np.array([x, x, 9, 9.0]), 0, np.array([[x, 20.0]]), np.ones(1))
        for score, x in ((0.8, 20.4), (0.5, 90.0), (0.05, 3.0))  # the last is not sure
    ]
    nobody = {**record, "id": "8", **{k: record[k][:0] for k in ("boxes_source", "categories")}}
    nobody |= {k: record[k][:0] for k in ("crowd", "areas", "joints_source", "labelled")}
    metric = JointPrecision(("person",), skeleton)
    errors = metric.errors([[people, []]], [record, nobody])
    oks = np.exp(-(0.4**2) / (2 * 1000 * (2 * precision.SIGMAS["nose"]) ** 2))
    np.testing.assert_allclose(errors, [1 - 2 * oks / 4, np.nan], rtol=1e-5)
