"""The task between its ends: from annotations to records, targets, outputs, and back to boxes."""

import drawn_boxes
import jax
import jax.numpy as jnp
import numpy as np
import perfect
import pytest
from conftest import shrink
from drawn_boxes import CATEGORIES, CORNERS, DrawnBoxes

from hourglass_jax import config_files, tasks
from hourglass_jax.config import Config
from hourglass_jax.data.augment import DRAWS, Augmentation
from hourglass_jax.data.base import NO_JOINTS, AnnotatedImage, Annotation
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.tasks import views
from hourglass_jax.tasks.detection import boxes, records
from hourglass_jax.tasks.detection.options import CENTRES, JOINTS, KINDS, Options
from hourglass_jax.tasks.detection.task import Detection

SIZE = (64, 64)
AUGMENTATION = Augmentation(0.4, 0, 0, 0.3, 0.5, 0)


def make_task(kind=CENTRES, **fields):
    skeleton = CORNERS if kind == JOINTS else NO_JOINTS
    options = Options(kind=kind, max_objects=8, top_k=10)
    return Detection(options, CATEGORIES, (3, 7), skeleton, resolution=80, **fields)


def make_image(seed=0, count=3, **fields):
    pixels, annotations = drawn_boxes.draw(np.random.default_rng(seed), f"{seed}", count)
    return AnnotatedImage(f"{seed}", f"image {seed}", lambda: pixels, annotations, **fields)


def make_record(task, seed=0, count=3):
    ((_, record),) = task.records(make_image(seed, count))
    return record


@pytest.mark.parametrize("kind", KINDS)
def test_settings_rebuild_the_task(kind):
    config = make_config(kind=kind)
    made = Detection.from_config(config, DrawnBoxes(), 4)
    assert tasks.from_settings("detection", made.settings) == made
    assert made.options.kind == kind and made.category_ids == (3, 7)


def test_a_record_is_the_whole_image():
    task = make_task(JOINTS)
    image, record = make_image(), make_record(task, 0)
    assert record["id"] == "0" and record["image"].shape == (60, 80, 3)  # from 96 x 72 px
    np.testing.assert_array_equal(records.size_of(record), [80, 60])
    np.testing.assert_array_equal(record["boxes_source"], [a.box for a in image.annotations])
    np.testing.assert_array_equal(record["categories"], [a.category for a in image.annotations])
    assert record["joints_source"].shape == (3, 4, 2) and np.isnan(record["areas"]).all()
    assert set(record) == {"image", "id", "record_to_source", *task.schema}
    for name, spec in task.schema.items():
        assert record[name].dtype == spec.dtype, name
    nothing = make_record(task, 0, count=0)
    assert nothing["boxes_source"].shape == (0, 4) and nothing["labelled"].shape == (0, 4)


def inputs_of(task, record, draws):
    """Targets, and the map from the source to the input."""
    to_input = task.view(record, draws, SIZE)
    return task.targets(record, to_input, SIZE), records.places(record, to_input)


def finish(task, outputs, maps, to_source):
    """Instances of one image from the outputs of its views."""

    @jax.jit
    def decoded(outputs):
        seen = [(x[:, None], affine) for x, affine in zip(outputs, maps, strict=True)]
        return views.decode(task, views.merge(task, seen))

    candidates = jax.device_get(decoded(outputs))
    rows = [jax.tree.map(lambda x: x[0, 0], found) for found in candidates]
    return views.finish(task, rows, maps, to_source)


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_perfect_outputs_give_the_annotations(kind, flip_test):
    """Through targets and outputs of the image and its mirror image, to 0.02 px."""
    task = make_task(kind)
    record = make_record(task, 2)
    to_input = task.view(record, None, SIZE)
    maps = views.maps_of(SIZE, flip_test)
    outputs = []
    for affine in maps:
        targets = task.targets(record, geometry.compose(affine, to_input), SIZE)
        outputs.append(perfect.outputs(task, {n: x[None] for n, x in targets.items()}))
    to_source = geometry.invert(records.places(record, to_input))
    found = [one for one in finish(task, outputs, maps, to_source) if one.score > 0.5]
    truth = task.truth(record)
    assert len(found) == len(truth) == 3
    for one in truth:
        (same,) = [f for f in found if np.abs(f.box - one.box).max() < 0.02]
        assert same.category == one.category
        if kind == JOINTS:
            known = one.joint_scores > 0
            # Offsets, wrong by 0.8 px, count an eighth as much as peaks.
            np.testing.assert_allclose(same.joints[known], one.joints[known], atol=0.15)


@pytest.mark.parametrize("seed", range(4))
def test_augmented_targets_lie_where_the_image_shows_them(seed):
    task = make_task(JOINTS)
    record = make_record(task, seed)
    draws = AUGMENTATION.draw(np.random.default_rng(seed).uniform(size=DRAWS))
    targets, from_source = inputs_of(task, record, draws)
    expected = boxes.moved(boxes.from_sizes(record["boxes_source"].astype(float)), from_source)
    expected = boxes.clipped(expected, 64, 64) / 4
    expected = expected[(expected[:, 2:] > expected[:, :2]).all(1)]
    np.testing.assert_allclose(targets["boxes"][targets["mask"]], expected, atol=1e-4)
    # A joint at the left of a box is at its left in a mirror image, too: they change names.
    joints = targets["joints"][..., 0]
    both = targets["joint_mask"][:, 0] & targets["joint_mask"][:, 1]
    assert (joints[both, 0] < joints[both, 1]).all()
    side = np.sqrt(abs(np.linalg.det(from_source[:, :2])))
    assert 64 / 96 / 1.4 - 1e-6 <= side <= 64 / 96 / 0.6 + 1e-6


def test_views_show_the_middle_of_the_image_to_within_the_translation():
    task, record = make_task(), make_record(make_task())
    size = records.size_of(record)
    for seed in range(50):
        draws = AUGMENTATION.draw(np.random.default_rng(seed).uniform(size=DRAWS))
        from_input = geometry.invert(task.view(record, draws, SIZE))
        (middle,) = geometry.apply(from_input, np.array([[31.5, 31.5]]))
        assert (np.abs(middle - (size - 1) / 2) <= 0.3 * size + 1e-6).all()
    from_input = geometry.invert(task.view(record, None, SIZE))
    corners = geometry.apply(from_input, np.array([[-0.5, -0.5], [63.5, 63.5]]))
    np.testing.assert_allclose(corners, [[-0.5, -10.5], [79.5, 69.5]], atol=1e-4)


def test_an_input_of_511_px_has_128_cells():
    config = make_config(model__input_size=511, data__resolution=640)
    task = Detection.from_config(config, DrawnBoxes(), 4)
    assert task.stride == 511 / 128
    record = make_record(task)
    targets = task.targets(record, task.view(record, None, (511, 511)), (511, 511))
    assert targets["background"].shape == (128, 128)


@pytest.mark.parametrize(
    ("scale", "published", "averaged"),
    [(2, False, True), (2, True, True), (1, False, True), (1, True, False)],
)
def test_corners_of_several_views_are_averaged_by_votes(scale, published, averaged):
    """Of two scales, or of one and its mirror image, which the published program does not."""
    options = Options(kind="corners", published=published)
    task = Detection(options, CATEGORIES, (3, 7))
    candidates = {
        "boxes": np.array([[2.0, 2, 8, 8]]),
        "scores": np.array([0.8]),
        "corner_scores": np.array([[0.8, 0.8]]),
        "categories": np.array([1]),
        "valid": np.array([True]),
    }
    # The other view's box is a tenth of a cell larger at each side. Its IoU of 0.937 takes 0.827 of
    # the score, and so it counts 0.4 * 0.827^10 beside 0.8.
    corners = scale * np.array([[1.9, 1.9, 8.1, 8.1]])
    weak = {"scores": np.array([0.4]), "corner_scores": np.array([[0.4, 0.4]])}
    moved = {**candidates, **weak, "boxes": corners}
    shift = (1 / scale - 1) / 2  # corners map to corners
    to_frame = np.array([[1 / scale, 0, shift], [0, 1 / scale, shift]])
    (best, *others) = task.finish([(candidates, np.eye(2, 3)), (moved, to_frame)])
    assert best.score == 0.8 and best.category == 1
    outside = 0.4 * 0.0698 * averaged  # px
    expected = np.array([8, 8, 24, 24]) + outside * np.array([-1, -1, 2, 2])
    np.testing.assert_allclose(best.box, expected, atol=1e-3)
    assert all(other.score < 0.1 for other in others)


@pytest.mark.parametrize(("side", "published"), [(60, False), (0, False), (60, True)])
def test_each_scale_gives_the_boxes_of_sizes_seen_in_training(side, published):
    """Longer sides of 20 to 50 px where training has 60; less at the largest, more at the least."""
    task = Detection(Options(published=published), CATEGORIES, (3, 7), training_size=side)
    sizes = np.array([[3, 2], [6, 10], [9, 30], [8, 40]], float)  # px at scale 1; 4 px a cell

    def seen(scale):
        corners = np.arange(4)[:, None] * [50.0, 0]
        found = {
            "boxes": np.concatenate([corners, corners + sizes], axis=1) * scale / 4,
            "scores": np.full(4, 0.5 + scale / 10),
            "categories": np.zeros(4, int),
        }
        shift = (1 / scale - 1) / 2
        return found, np.array([[1 / scale, 0, shift], [0, 1 / scale, shift]])

    found = task.finish([seen(1), seen(2), seen(3)])
    scores = {round(one.box[3]): one.score for one in found if one.score > 0.5}
    # Without limits, the best is the largest scale's.
    best = {2: 0.8, 10: 0.8, 30: 0.8, 40: 0.8}
    limited = {2: 0.8, 10: 0.8, 30: 0.6, 40: 0.6}
    assert scores == pytest.approx(limited if side and not published else best)


def test_exported_boxes_are_px_of_the_input():
    task = make_task(JOINTS)
    record = make_record(task, 3)
    targets, from_source = inputs_of(task, record, None)
    outputs = perfect.outputs(task, {n: x[None] for n, x in targets.items()})
    found = task.export("boxes", outputs)
    assert set(found) == {"boxes", "scores", "categories", "joints", "joint_scores"}
    rows = np.asarray(found["scores"][0]) > 0.5
    expected = boxes.moved(boxes.from_sizes(record["boxes_source"].astype(float)), from_source)
    ours = boxes.from_sizes(np.asarray(found["boxes"][0])[rows])
    np.testing.assert_allclose(np.sort(ours, axis=0), np.sort(expected, axis=0), atol=1e-3)


def test_drawings_show_boxes_and_targets():
    task = make_task(JOINTS)
    record = make_record(task, 3)
    image = record["image"]
    drawn = task.draw(image, task.truth(record))
    assert drawn.shape == image.shape and (drawn != image).any() and drawn is not image
    targets, _ = inputs_of(task, record, None)
    assert task.draw_targets(np.zeros((*SIZE, 3), np.uint8), targets).shape == (512, 256, 3)


def annotated(**fields):
    given = {"id": "1/2", "center": np.zeros(2), "size": 1.0, "box": (5.0, 5.0, 10.0, 10.0)}
    return AnnotatedImage("1", "a.jpg", make_image().read, [Annotation(**{**given, **fields})])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"box": None}, "1/2 has no box"),
        ({"box": (96.0, 5.0, 10.0, 10.0)}, r"1/2 has the box \[96.0, .*outside .* 96 x 72 px"),
        ({"box": (5.0, -20.0, 10.0, 10.0)}, "outside its image"),
        ({"box": (5.0, 5.0, float("nan"), 10.0)}, "outside its image"),
        ({"category": 2}, "1/2 has the category 2, and the data set has 2 categories"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        list(make_task().records(annotated(**fields)))


def test_too_many_boxes_are_named():
    with pytest.raises(UserError, match=r"image 0 has 9 boxes, .*max_objects=8; increase"):
        list(make_task().records(make_image(count=9)))


def make_config(**fields):
    config = shrink(config_files.load("default"))
    config.task, config.data.dataset = "detection", "drawn_boxes"
    config.augment.rotation = 0.0
    config.detection = {"kind": fields.pop("kind", CENTRES)}
    for name, value in fields.items():
        section, _, field = name.partition("__")
        config[section][field] = value
    return Config.from_dict(config)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"augment__rotation": 30.0}, r"augment.rotation=30.0 would rotate boxes; set"),
        ({"augment__any_angle": 0.1}, r"augment.any_angle=0.1 would rotate boxes; set"),
        ({"augment__half_body": 0.1}, r"augment.half_body=0.1 is for crops of one person"),
        ({"augment__scale": 1.0}, r"augment.scale=1.0 must be at most 0.9"),
        ({"model__input_size": 128}, r"input_size=128 is more than the 64 px .*resolution=128"),
        ({"kind": "middles"}, r"config.detection.kind='middles' must be one of corners, centres"),
        ({"detection__min_iou": 1.0}, r"config.detection.min_iou=1.0 must be a number between 0"),
        ({"detection__min_iou": "ours"}, r"min_iou='ours' must be .* or 'published'"),
    ],
)
def test_impossible_fields_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        Detection.from_config(make_config(**fields), DrawnBoxes(), 4)


def test_data_sets_without_boxes_or_joints_are_refused(monkeypatch):
    monkeypatch.setattr(DrawnBoxes, "labels", NO_JOINTS)
    with pytest.raises(UserError, match="'drawn_boxes' has no joints"):
        Detection.from_config(make_config(kind=JOINTS), DrawnBoxes(), 4)
    monkeypatch.setattr(DrawnBoxes, "categories", ())
    with pytest.raises(UserError, match="'drawn_boxes' has no boxes"):
        Detection.from_config(make_config(), DrawnBoxes(), 4)


def test_heads_have_the_published_order():
    names = {kind: list(make_task(kind).heads) for kind in KINDS}
    corner = ("heat", "tag", "offset")
    assert names["corners"] == [f"tl_{x}" for x in corner] + [f"br_{x}" for x in corner]
    assert names["centres"] == ["hm", "wh", "reg"]
    assert names["centres_and_joints"] == ["hm", "wh", "reg", "hps", "hm_hp", "hp_offset"]
    heads = make_task("corners").heads
    assert heads["tl_heat"] == (CATEGORIES, -2.19, "top_left")
    assert heads["br_offset"] == (("x", "y"), None, "bottom_right")
    assert jnp.isclose(jax.nn.sigmoid(heads["tl_heat"].start), 0.1, atol=1e-3)
