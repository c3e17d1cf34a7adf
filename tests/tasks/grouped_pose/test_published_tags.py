"""Associative embedding's operations against the results of its published programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published_results import load

from hourglass_jax.data.skeleton import COCO
from hourglass_jax.image import geometry
from hourglass_jax.tasks import views
from hourglass_jax.tasks.grouped_pose import grouping, heatmaps, losses, people
from hourglass_jax.tasks.grouped_pose.options import HIGHER, NEWELL, Options
from hourglass_jax.tasks.grouped_pose.task import GroupedPose

CASES = ("apart", "overlap", "close_tags", "late", "border", "crowd", "crowd_late", "plateau",
         "quirk_equal_tags", "nobody")  # fmt: skip
CROWDS = ("crowd", "crowd_late")


def test_losses_and_the_gradient_of_tags():
    """Cells are int() of the coordinates, so that one just outside the image is a cell within."""
    arrays = load("ae_loss")
    predictions = jnp.asarray(arrays["predictions"])
    side = predictions.shape[2]
    cells = np.trunc(arrays["people"][..., :2]).astype(np.int32)
    inside = ((cells >= 0) & (cells < side)).all(-1)
    rows = np.arange(30)[None] < arrays["num_people"][:, None]
    present = (arrays["people"][..., 2] > 0) & inside & rows[..., None]
    cells = jnp.asarray(np.where(present[..., None], cells, 0))

    @jax.jit
    def pull_push(predictions):
        tags = losses.tags_of(predictions[..., 17:34], cells)
        return losses.pull_push(tags, jnp.asarray(present))

    pull, push = pull_push(predictions)
    np.testing.assert_allclose(pull, arrays["pull"], rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(push, arrays["push"], rtol=2e-6, atol=1e-7)
    assert np.allclose(push[3], 0.5) and not push[1].any() and not pull[2].any()
    counts = jnp.asarray(arrays["mask"] > 0)[..., None]
    detection = losses.heatmap_loss(predictions[..., :17], jnp.asarray(arrays["targets"]), counts)
    np.testing.assert_allclose(detection, arrays["detection"], rtol=2e-6)
    total = (detection + 1e-3 * push + 1e-3 * pull).mean()
    np.testing.assert_allclose(total, arrays["total"], rtol=1e-6)
    gradient = jax.grad(lambda x: sum(term.sum() for term in pull_push(x)))(predictions)
    expected = arrays["tag_gradient"]
    np.testing.assert_allclose(
        gradient[..., 17:34], expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


def test_targets():
    arrays = load("ae_targets")
    joints = arrays["people_heatmap"]
    cells = np.trunc(joints[..., :2])  # int(), as published
    present = (joints[..., 2] > 0) & ((cells >= 0) & (cells < 128)).all(-1)
    drawn = heatmaps.draw(
        jnp.asarray(np.where(present[..., None], cells, 0), jnp.float32),
        jnp.asarray(present),
        2.0,
        (128, 128),
    )
    np.testing.assert_allclose(drawn, arrays["heatmaps"], atol=3e-7)


def members_of(arrays, case, variant=NEWELL):
    found, tags = (arrays[f"{case}.{name}"] for name in ("heatmaps", "tags"))
    tags, window = np.moveaxis(tags, -1, 2), 5 if variant == HIGHER else 3
    peaks = heatmaps.peaks(found[None], tags[None], count=30, window=window)
    candidates = {name: np.asarray(x[0]) for name, x in peaks.items()}
    members = grouping.group(
        candidates["values"],
        candidates["tags"],
        grouping.order_of(COCO.joints),
        variant=variant,
        published=True,
    )
    return {**candidates, "heatmaps": found, "tag_maps": tags}, members


@pytest.mark.parametrize("case", CASES)
def test_grouping_and_filling(case):
    arrays = load("ae_group")
    candidates, members = members_of(arrays, case)
    expected = arrays[f"{case}.grouped"]
    there = expected[..., 2] > 0
    everybody = people.gathered(candidates, members)
    np.testing.assert_array_equal(everybody.found, there)
    cells = candidates["cells"][np.arange(17)[None].repeat(len(members), 0), members]
    np.testing.assert_array_equal(cells[there], expected[there][:, :2])
    np.testing.assert_array_equal(everybody.values[there], expected[there][:, 2])
    np.testing.assert_array_equal(everybody.tags[there], expected[there][:, 3:])
    adjusted = arrays[f"{case}.adjusted"]
    np.testing.assert_array_equal(everybody.joints[there] + 0.5, adjusted[there][:, :2])
    np.testing.assert_allclose(everybody.scores, arrays[f"{case}.scores"], rtol=1e-6)
    full = people.complete(everybody, candidates)
    refined = arrays[f"{case}.refined"]
    np.testing.assert_array_equal(full.values, refined[..., 2])
    known = full.values > 0
    np.testing.assert_array_equal(full.joints[known] + 0.5, refined[known][:, :2])


@pytest.mark.parametrize("case", [case for case in CASES if case not in CROWDS])
def test_grouping_as_in_higherhrnet(case):
    arrays = load("ae_group")
    candidates, members = members_of(arrays, case, HIGHER)
    everybody = people.complete(people.gathered(candidates, members), candidates)
    expected = arrays[f"{case}.higher"]
    known = expected[..., 2] > 0
    np.testing.assert_array_equal(everybody.values, expected[..., 2])
    np.testing.assert_array_equal(everybody.joints[known] + 0.5, expected[known][:, :2])
    np.testing.assert_allclose(everybody.scores, arrays[f"{case}.higher_scores"], rtol=1e-6)


def test_people_who_share_a_tag_are_several_unless_it_is_done_as_published():
    arrays = load("ae_group")
    candidates, members = members_of(arrays, "quirk_equal_tags")
    order = grouping.order_of(COCO.joints)
    apart = grouping.group(candidates["values"], candidates["tags"], order)
    assert len(members) == 1 and len(apart) == 3


@pytest.mark.parametrize("name", ["single", "multi"])
def test_a_whole_image(name):
    """From the network's outputs to px of the photograph; ours are 0.5 less."""
    arrays = load("ae_image")
    task = GroupedPose(Options(published=True), COCO)
    width, height = arrays["size"].tolist()
    middle, seen = (np.array([width, height]) - 1) / 2, []
    for side in (512,) if name == "single" else (1024, 512, 256):
        to_input = geometry.crop_map(middle, max(width, height), side)
        maps = views.maps_of((side, side), flip=True)
        outputs = [
            (jnp.asarray(arrays[f"outputs.{side}.{view}"])[None, None], affine)
            for view, affine in zip(("plain", "mirrored"), maps, strict=True)
        ]
        merged = views.merge(task, outputs)
        (candidates,) = views.decode(task, merged)
        found = jax.tree.map(lambda x: np.asarray(x[0, 0]), candidates)
        seen.append((found, geometry.invert(to_input)))
    found = task.finish(seen)
    order = np.argsort(-arrays[f"{name}.scores"], kind="stable")
    np.testing.assert_allclose([p.score for p in found], arrays[f"{name}.scores"][order], rtol=2e-6)
    for person, expected in zip(found, arrays[f"{name}.refined"][order], strict=True):
        known = person.joint_scores > 0
        np.testing.assert_allclose(person.joint_scores, expected[:, 2], rtol=0, atol=2e-6)
        np.testing.assert_allclose(person.joints[known] + 0.5, expected[known, :2], atol=1e-3)
