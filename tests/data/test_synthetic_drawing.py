"""The built-in people: reproducible, in the promised proportions, and honestly annotated."""

import numpy as np
import pytest

from hourglass_jax.data.synthetic_people import drawing
from hourglass_jax.data.synthetic_people.body import (
    LEFT,
    RIGHT,
    articulate,
    sample_build,
    sample_pose,
)
from hourglass_jax.data.synthetic_people.drawing import draw_person, sample_plan
from hourglass_jax.data.synthetic_people.figure import dress
from hourglass_jax.data.synthetic_people.head import measure_skull
from hourglass_jax.data.synthetic_people.outfit import sample_outfit

SEED = 5
MIRRORED = [5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10]
BONES = [(0, 1), (1, 2), (2, 6), (10, 11), (11, 12), (12, 7)]  # those of the right side


@pytest.fixture(scope="module")
def people():
    return [draw_person(SEED, index) for index in range(100)]


@pytest.fixture(scope="module")
def plans():
    return [sample_plan(np.random.default_rng([SEED, index])) for index in range(4000)]


def within_chance(count, trials, share, deviations=4.0):
    return abs(count - trials * share) < deviations * np.sqrt(trials * share * (1 - share))


def test_any_person_can_be_drawn_alone(people):
    for index in (17, 3):
        again = draw_person(SEED, index)
        for field, value in people[index]._asdict().items():
            np.testing.assert_array_equal(getattr(again, field), value)


def test_another_seed_or_index_is_another_picture(people):
    for other in (draw_person(SEED + 1, 3), people[4]):
        same_shape = other.image.shape == people[3].image.shape
        assert not (same_shape and np.array_equal(other.image, people[3].image))
        assert np.abs(other.joints - people[3].joints).max() > 1


def test_types_and_shapes(people):
    for person in people:
        height, width, channels = person.image.shape
        assert 224 <= height <= 288 and 224 <= width <= 288 and channels == 3
        assert person.image.dtype == np.uint8
        assert person.joints.shape == (16, 2) and person.joints.dtype == np.float32
        assert person.labelled.shape == person.visible.shape == (16,)
        assert person.labelled.dtype == person.visible.dtype == bool
        assert person.head_box.shape == (4,) and person.head_box.dtype == np.float32


def test_the_plans_keep_the_promised_proportions(plans):
    shares = {"camera": 0.4, "away": 0.3, "left": 0.15, "right": 0.15}
    for facing, share in shares.items():
        assert within_chance(sum(plan.facing == facing for plan in plans), len(plans), share)
    for field, share in (
        ("lying", 0.1),
        ("has_neighbour", 0.25),
        ("has_occluder", 0.25),
        ("truncated", 1 / 6),
    ):
        assert within_chance(sum(getattr(plan, field) for plan in plans), len(plans), share)


def test_upright_means_within_forty_degrees(plans):
    tilt = np.array([plan.tilt for plan in plans])
    lying = np.array([plan.lying for plan in plans])
    assert np.abs(tilt[~lying]).max() <= 40 and np.abs(tilt[~lying]).max() > 30
    assert np.abs(tilt[lying]).min() > 60 and np.abs(tilt[lying]).max() > 150


def test_the_pictures_keep_the_plans(people, plans):
    for person, plan in zip(people, plans, strict=False):
        assert person.facing == plan.facing
        assert (person.lying, person.has_neighbour) == (plan.lying, plan.has_neighbour)
        upright = person.joints[9, 1] < person.joints[[0, 5], 1].min()
        if person.facing in ("camera", "away") and abs(plan.tilt) < 40:
            assert upright
        if abs(plan.tilt) > 140:
            assert not upright
    kept = sum(
        person.truncated == plan.truncated for person, plan in zip(people, plans, strict=False)
    )
    assert kept >= 0.97 * len(people)


def test_labelled_is_inside_the_picture(people):
    for person in people:
        height, width = person.image.shape[:2]
        x, y = person.joints.T
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        np.testing.assert_array_equal(person.labelled, inside)
        assert person.truncated == (not inside.all())
        assert inside[[7, 8, 9, 12, 13]].all() and inside.sum() >= 11
        assert not (person.visible & ~person.labelled).any()


def test_occluders_hide_joints_but_not_bodies(people):
    hidden = {flag: [] for flag in (False, True)}
    for person in people:
        hidden[person.has_occluder].append((person.labelled & ~person.visible).sum())
    assert min(hidden[True]) >= 1
    assert np.mean(hidden[True]) > np.mean(hidden[False]) + 0.5
    assert np.mean([person.visible.sum() for person in people]) > 10


def test_a_neighbour_overlaps_a_body_a_little_at_most(monkeypatch):
    monkeypatch.setattr(drawing, "OCCLUDER", 0.0)
    shown = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(drawing, "NEIGHBOUR", share)
        shown[share] = np.stack([draw_person(SEED, index).visible for index in range(30)])
    assert not (shown[1.0] & ~shown[0.0]).any()
    hidden = (shown[0.0] & ~shown[1.0]).sum(1)
    assert hidden.sum() > 0 and hidden.max() <= 3


def test_the_near_shoulder_is_seen_and_the_far_one_is_not(people):
    near = {"left": 13, "right": 12}
    sideways = [person for person in people if person.facing in near]
    shown = [person.visible[near[person.facing]] for person in sideways]
    far = [person.visible[25 - near[person.facing]] for person in sideways]
    assert np.mean(shown) > 0.6 and np.mean(far) < 0.2


def test_right_is_the_persons_own(people):
    for facing, sign in (("camera", 1), ("away", -1)):
        for person in people:
            if person.facing == facing and not person.lying:
                across = person.joints[[13, 3], 0] - person.joints[[12, 2], 0]
                assert (sign * across > 0).all()


def test_the_head_box_is_a_seventh_to_a_ninth_of_an_upright_body(people):
    ratios = []
    for person in people:
        x1, y1, x2, y2 = person.head_box
        assert x1 - 1 <= person.joints[9, 0] <= x2 + 1 and y1 - 1 <= person.joints[9, 1] <= y2 + 1
        box = person.joints.max(0) - person.joints.min(0)
        ratios.append(0.6 * np.hypot(x2 - x1, y2 - y1) / box.max())
    assert 1 / 9 < np.median(ratios) < 1 / 7


def test_bodies_are_as_long_on_the_left_as_on_the_right():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        build, pose = sample_build(rng), sample_pose(rng)
        joints = articulate(build, pose).joints
        right, left = (
            np.array([np.linalg.norm(side[a] - side[b]) for a, b in BONES[:2] + BONES[3:5]])
            for side in (joints, joints[MIRRORED])
        )
        np.testing.assert_allclose(right, left)
        np.testing.assert_allclose(
            right, [build.shank, build.thigh, build.forearm, build.upper_arm]
        )


def test_elbows_and_knees_bend_the_right_way():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        pose = sample_pose(rng)
        assert all(0 <= limb.bend <= 150 for limb in pose.arms + pose.legs)
        skeleton = articulate(sample_build(rng), pose)
        for parts, (hip, knee, ankle) in ((RIGHT.parts, RIGHT.leg), (LEFT.parts, LEFT.leg)):
            ahead = skeleton.axes[parts[2]][:, 2]  # of the thigh
            assert (skeleton.joints[ankle] - skeleton.joints[knee]) @ ahead <= 1e-9
            assert (skeleton.joints[knee] - skeleton.joints[hip]) @ ahead == pytest.approx(0)


def test_no_colour_tells_left_from_right():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        build, pose, outfit = sample_build(rng), sample_pose(rng), sample_outfit(rng)
        skeleton = articulate(build, pose)
        mesh = dress(skeleton, build, pose, measure_skull(skeleton, build), outfit)
        for right, left in zip(RIGHT.parts, LEFT.parts, strict=True):
            colours = [mesh.colour[mesh.part == part] for part in (right, left)]
            np.testing.assert_array_equal(*colours)
