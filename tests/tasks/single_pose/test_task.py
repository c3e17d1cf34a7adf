"""The task of one person's pose: its settings, records, views, targets and what it finds."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_config, shrink

from hourglass_jax import tasks
from hourglass_jax.config import Config
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source, Tolerance
from hourglass_jax.data.skeleton import LSP, MPII
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.tasks import views
from hourglass_jax.tasks.base import Draws, Instance
from hourglass_jax.tasks.single_pose import drawing, heatmap
from hourglass_jax.tasks.single_pose.limits import Limits
from hourglass_jax.tasks.single_pose.task import SinglePose

pytestmark = pytest.mark.core

SIZE = (64, 64)


class Poses(Source):
    name = "poses"
    labels = LSP


def rows_of(count, labelled_share=0.8):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield {
            "joints_record": rng.uniform(5, 90, (14, 2)).astype(np.float32),
            "labelled": rng.random(14) < labelled_share,
            "center_record": rng.uniform(40, 55, 2).astype(np.float32),
            "size_record": np.float32(rng.uniform(50, 90)),
            "record_to_source": np.array([[2, 0, 7], [0, 2, -3]], np.float32),
        }


def small_config(**fields):
    config = shrink(load_config("lsp"))
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return Config.from_dict(config)


def test_settings_go_through_json():
    task = SinglePose(LSP, 1.75, True, "refined", 8, Limits(0.5, 0.2, 128))
    settings = json.loads(json.dumps(task.settings))
    assert SinglePose.from_settings(settings) == task
    assert tasks.from_settings("single_pose", settings) == task
    assert SinglePose.from_settings(SinglePose(MPII).settings) == SinglePose(MPII)
    assert settings["skeleton"]["joints"] == list(LSP.joints)
    assert settings["limits"]["resolution"] == 128


def test_the_config_says_what_is_trained():
    config = small_config(heatmap__sigma=2.0, heatmap__zero_target=True, data__resolution=96)
    task = SinglePose.from_config(config, Poses(), 8)
    assert task == SinglePose(LSP, 2.0, True, "refined", 8, Limits(resolution=96))
    assert task.joints == LSP.joints and task.record_settings["resolution"] == 96
    (head,) = task.heads.values()
    assert (head.channels, head.start, head.features) == (LSP.joints, 0.0, "")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eval__decode": "half"}, "decode='half' must be one of quarter, refined"),
        ({"augment__scale": 0.35}, r"augment.scale=0.35 shows people at 0.65.*at most 0.30"),
        ({"augment__aspect": 0.2}, r"augment.aspect=0.2 is for whole images"),
        ({"eval__scales": (0.5, 1.0)}, r"eval.scales=\(0.5, 1.0\) is for whole images"),
        ({"augment__translate": 0.15}, r"augment.translate=0.15 is more than the 0.1 that"),
        ({"model__input_size": 128}, r"input_size=128 is more than the 64 px.*data.resolution=128"),
        ({"heatmap__sigma": 0.0}, r"config.heatmap.sigma=0.0 must be a number above 0"),
    ],
)
def test_impossible_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        SinglePose.from_config(small_config(**fields), Poses(), 4)


def test_the_largest_augmentation_that_records_have_room_for_is_accepted():
    SinglePose.from_config(small_config(augment__scale=0.3, augment__translate=0.1), Poses(), 4)


def test_a_data_set_without_joints_is_refused(monkeypatch):
    monkeypatch.delattr(Poses, "labels")
    with pytest.raises(UserError, match=r"data.dataset='poses' has no joints"):
        SinglePose.from_config(small_config(), Poses(), 4)


def test_unknown_tasks_are_named():
    with pytest.raises(UserError, match=r"task='singel_pose'; it must be one of .*single_pose"):
        tasks.task_class("singel_pose")


def test_every_annotation_becomes_a_record():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    people = [
        Annotation(
            f"a/{i}", np.array([90.0, 100 + 80 * i]), 80.0 + i, joints=rng.uniform(0, 200, (14, 2)),
            labelled=np.arange(14) != i, visible=np.arange(14) > 5, reference=10.0 + i, key=key,
        )
        for i, key in enumerate((7, None))
    ]  # fmt: skip
    task = SinglePose(LSP, limits=Limits(resolution=40))
    found = list(task.records(AnnotatedImage("a", "a", lambda: pixels, people)))
    assert [key for key, _ in found] == [7, "a/1"]
    for (_, record), person in zip(found, people, strict=True):
        assert set(record) == {"image", "id", "record_to_source", *task.schema}
        for name, spec in task.schema.items():
            assert record[name].shape == spec.shape and record[name].dtype == spec.dtype
        assert record["id"] == person.id and record["reference"] == person.reference
        to_source = record["record_to_source"].astype(float)
        shown = person.labelled
        joints = geometry.apply(to_source, record["joints_record"].astype(float))
        np.testing.assert_allclose(joints[shown], person.joints[shown], atol=1e-3)
        assert (record["joints_record"][~shown] == 0).all()
        np.testing.assert_array_equal(record["labelled"], shown)
        np.testing.assert_array_equal(record["visible"], shown & person.visible)
        center = geometry.apply(to_source, record["center_record"][None].astype(float))
        np.testing.assert_allclose(center, person.center[None], atol=1e-3)
        assert record["size_record"] == pytest.approx(40, rel=0.02)
        assert record["image"].dtype == np.uint8
        (truth,) = task.truth(record)
        np.testing.assert_allclose(truth.joints, joints, atol=1e-3)
        np.testing.assert_array_equal(truth.joint_scores, shown)


@pytest.mark.parametrize(
    ("center", "size"),
    [((1e7, 0.0), 10.0), ((0.0, np.nan), 10.0), ((0.0, 0.0), 0.0), ((0.0, 0.0), np.inf)],
)
def test_boxes_that_no_image_holds_are_named(center, size):
    person = Annotation(
        "a/1", np.array(center), size, joints=np.zeros((14, 2)), labelled=np.ones(14, bool),
        visible=np.ones(14, bool),
    )  # fmt: skip
    image = AnnotatedImage("a", "a", lambda: np.zeros((8, 8, 3), np.uint8), [person])
    with pytest.raises(UserError, match=r"a/1: no image can hold a box of"):
        list(SinglePose(LSP).records(image))


@pytest.mark.parametrize("flip", [False, True])
def test_the_view_is_the_crop_of_the_box(flip):
    draws = Draws(1.2, 0.4, (0.05, -0.02), flip, np.zeros(9))
    for record in rows_of(3):
        center, side = record["center_record"].astype(float), float(record["size_record"])
        options = {"scale": 1.2, "rotation": 0.4, "translate": (0.05, -0.02), "flip": flip}
        expected = geometry.crop_map(center, side, 64, **options)
        np.testing.assert_array_equal(SinglePose(LSP).view(record, draws, SIZE), expected)
        expected = geometry.crop_map(center, side, 64)
        np.testing.assert_array_equal(SinglePose(LSP).view(record, None, SIZE), expected)


@pytest.mark.parametrize("zero_target", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_targets_are_heatmaps_of_the_joints_in_the_input(flip, zero_target):
    task = SinglePose(LSP, 1.75, zero_target)
    weights = []
    for record in rows_of(4):
        to_input = task.view(record, Draws(1.3, 0.3, (0.1, 0.0), flip, np.zeros(9)), SIZE)
        joints = geometry.apply(to_input, record["joints_record"])
        labelled = record["labelled"]
        if flip:
            joints, labelled = joints[LSP.flip_order], labelled[LSP.flip_order]
        expected = heatmap.encode(
            geometry.crop_to_heatmap(joints, 4), labelled, 16, 1.75, zero_target=zero_target
        )
        targets = task.targets(record, to_input, SIZE)
        assert list(targets) == ["heatmaps", "weights"]
        for found, array in zip(targets.values(), expected, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, array)
        weights.append(targets["weights"])
    assert np.min(weights) == zero_target and np.max(weights) == 1


def test_nothing_is_divided_by_counts():
    targets = {"heatmaps": jnp.ones((2, 4, 4, 14)), "weights": jnp.ones((2, 14))}
    task = SinglePose(LSP)
    assert task.totals(targets) == {}
    losses = task.losses(jnp.zeros((2, 3, 4, 4, 14)), targets, {})
    assert list(losses) == ["heatmaps"] and losses["heatmaps"].shape == (3,)
    np.testing.assert_allclose(losses["heatmaps"], np.full(3, task.plateau(targets, {})))


@pytest.mark.parametrize("decoder", heatmap.DECODERS)
def test_what_is_trained_is_found_again(decoder):
    task = SinglePose(LSP, decoder=decoder)
    record = next(rows_of(1, labelled_share=1))
    record["joints_record"] = (
        record["center_record"] + (record["joints_record"] - 47) * 0.3
    ).astype(np.float32)
    to_input = task.view(record, None, SIZE)
    maps = jnp.asarray(task.targets(record, to_input, SIZE)["heatmaps"])
    candidates = jax.tree.map(lambda x: np.asarray(x)[0], task.decode(maps[None]))
    to_source = geometry.compose(
        record["record_to_source"].astype(float), geometry.invert(to_input)
    )
    (person,) = views.finish(task, [candidates], [np.eye(2, 3)], to_source)
    (truth,) = task.truth(record)
    px = 4 * geometry.scale_of(to_source)  # of the heatmap, in the source
    tolerance = px * (0.01 if decoder == "refined" else 0.51)
    np.testing.assert_allclose(person.joints, truth.joints, atol=tolerance)
    assert person.score == pytest.approx(person.joint_scores.mean()) and person.score > 0.7
    exported = task.export("joints", maps[None])
    quarter, scores = heatmap.decode(maps[None])
    np.testing.assert_array_equal(exported["joints"], geometry.heatmap_to_crop(quarter, 4))
    np.testing.assert_array_equal(exported["scores"], scores)


def test_arrays_of_what_was_found():
    rng = np.random.default_rng(0)
    found = [
        [Instance(0.5, joints=rng.random((14, 2)), joint_scores=rng.random(14).astype("f4"))]
        for _ in range(3)
    ]
    arrays = SinglePose(LSP).arrays(found)
    assert arrays["joints"].shape == (3, 14, 2) and arrays["joints"].dtype == np.float32
    np.testing.assert_array_equal(arrays["scores"][2], found[2][0].joint_scores)


def test_the_data_sets_own_metrics_come_first():
    class Measured(Poses):
        tolerance = Tolerance(0.5)

        def metrics(self, split):
            return ["its own"]

    task = SinglePose(LSP)
    first, second = task.metrics(Measured(), "validation")
    assert (first, second.headline) == ("its own", "PCK@0.5")
    (only,) = task.metrics(Poses(), "validation")
    assert only.headline == "PCK@0.2"


def test_where_nobody_is_labelled_nothing_is_plotted():
    task, truth = SinglePose(LSP), list(rows_of(3, labelled_share=0))
    for record in truth:
        record |= {"id": "a", "visible": record["labelled"], "reference": np.float32(10)}
    found = [[task.truth(record) for record in truth]]
    (metric,) = task.metrics(Poses(), "validation")
    assert metric.plots(found, truth) == {} and np.isnan(metric.errors(found, truth)).all()
    for record in truth:
        record["labelled"] = np.ones(14, bool)
    assert len(metric.plots([[task.truth(record) for record in truth]], truth)) == 2


def test_joints_are_drawn_where_the_network_is_sure():
    image = np.zeros((80, 80, 3), np.uint8)
    joints = np.random.default_rng(0).uniform(10, 70, (14, 2))
    scores = np.where(np.arange(14) == LSP.index("neck"), 0.5, drawing.SURE / 2)
    task = SinglePose(LSP)
    drawn = task.draw(image, [Instance(0.1, joints=joints, joint_scores=scores)])
    expected = drawing.draw_skeleton(image, joints, np.arange(14) == LSP.index("neck"), LSP)
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.any() and not image.any()
    np.testing.assert_array_equal(task.draw(image, []), image)


def test_settings_are_the_fields():
    assert set(SinglePose(LSP).settings) == {f.name for f in dataclasses.fields(SinglePose)}
