"""The losses at values that can be computed by hand, and on shares of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax.data.base import NO_JOINTS
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.tasks.detection import losses
from hourglass_jax.tasks.detection.options import CENTRES, CORNERS, JOINTS, KINDS, Options
from hourglass_jax.tasks.detection.task import Detection

pytestmark = pytest.mark.core
SIDE, COUNT, BATCH = 8, 4, 4


def make_task(kind, **options):
    skeleton = COCO if kind == JOINTS else NO_JOINTS
    return Detection(
        Options(kind=kind, max_objects=COUNT, top_k=6, **options), ("a", "b"), (1, 2), skeleton
    )


def make_targets(task, batch=BATCH, seed=0, most=3):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, SIDE - 3, (batch, COUNT, 2))
    corners = np.concatenate([corners, corners + rng.uniform(1, 3, (batch, COUNT, 2))], axis=-1)
    targets = {
        "boxes": corners.astype(np.float32),
        "categories": rng.integers(0, 2, (batch, COUNT), np.int32),
        "radii": rng.integers(0, 3, (batch, COUNT), np.int32),
        "mask": np.arange(COUNT) < rng.integers(0, most + 1, (batch, 1)),
        "background": rng.random((batch, SIDE, SIDE)) < 0.9,
    }
    if task.skeleton.joints:
        joints = rng.uniform(0, SIDE, (batch, COUNT, 17, 2)).astype(np.float32)
        labelled = (rng.random((batch, COUNT, 17)) < 0.6) & targets["mask"][..., None]
        targets |= {"joints": joints, "joint_mask": labelled}
    return {name: jnp.asarray(array) for name, array in targets.items()}


def make_outputs(task, batch=BATCH, stacks=2, seed=1):
    channels = sum(len(head.channels) for head in task.heads.values())
    shape = (batch, stacks, SIDE, SIDE, channels)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def share(tree, part):
    return {name: x[part] for name, x in tree.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_means_over_shares_are_those_of_the_batch(kind):
    """Also if a share has no object at all."""
    task = make_task(kind)
    targets, outputs = make_targets(task), make_outputs(task)
    targets["mask"] = targets["mask"].at[2:].set(False)
    if kind == JOINTS:
        targets["joint_mask"] &= targets["mask"][..., None]

    @jax.jit
    def both(outputs, targets):
        halves = [slice(0, 2), slice(2, 4)]
        totals = [task.totals(share(targets, half)) for half in halves]
        totals = jax.tree.map(lambda a, b: (a + b) / 2, *totals)
        parts = [task.losses(outputs[half], share(targets, half), totals) for half in halves]
        mean = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
        return mean, task.losses(outputs, targets, task.totals(targets))

    mean, whole = both(outputs, targets)
    assert all(term.shape == (2,) for term in whole.values())
    for name, term in whole.items():
        np.testing.assert_allclose(mean[name], term, rtol=1e-5, err_msg=name)
        assert (term > 0).all()


def test_the_focal_loss_by_its_formula():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(2, 3, 4, 5, 2)), rng.random((2, 4, 5, 2))
    y[rng.random(y.shape) < 0.2] = 1
    background = rng.random((2, 4, 5)) < 0.5
    p, target = 1 / (1 + np.exp(-logits)), y[:, None]
    away = (1 - target) ** 4 * p**2 * np.log(1 - p) * background[:, None, ..., None]
    expected = -np.where(target == 1, (1 - p) ** 2 * np.log(p), away).sum((0, 2, 3, 4))
    found = losses.focal(*map(jnp.asarray, (logits, y, background)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("clipped", [False, True])
def test_certain_mistakes_have_a_finite_loss(clipped):
    """Their gradient is that of the logit, but that of the published loss is 0."""
    logits, y = jnp.array([-60.0, 60.0]).reshape(1, 1, 1, 2, 1), jnp.array([1.0, 0.0])
    value, gradient = jax.value_and_grad(
        lambda x: losses.focal(x, y.reshape(1, 1, 2, 1), clipped=clipped).sum()
    )(logits)
    expected = 2 * -np.log(1e-4) if clipped else 120
    assert value == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(gradient.ravel(), [0, 0] if clipped else [-1, 1], atol=1e-6)


def test_pull_and_push_by_hand():
    first = jnp.array([0.0, 0.6, 9.0]).reshape(1, 1, 3)
    second = jnp.array([0.2, 0.4, 9.0]).reshape(1, 1, 3)
    pair, one = jnp.array([[True, True, False]]), jnp.array([[True, False, False]])
    pull, push = losses.pull_push(first, second, pair)
    assert pull[0] == pytest.approx((0.02 + 0.02) / 2, rel=1e-3)  # around 0.1 and 0.5
    assert push[0] == pytest.approx(1 - 0.4, rel=1e-3)
    pull, push = losses.pull_push(first, second, one)
    assert pull[0] == pytest.approx(0.02, rel=1e-3) and push[0] == 0
    _, push = losses.pull_push(first, second, one, published=True)
    assert push[0] == pytest.approx(0.9999, abs=1e-3)


def test_published_pull_and_push_are_sums_over_images():
    ours, published = make_task(CORNERS), make_task(CORNERS, published=True)
    targets, outputs = make_targets(ours, most=1), make_outputs(ours)
    terms, sums = (
        jax.jit(lambda o, t, task=task: task.losses(o, t, task.totals(t)))(outputs, targets)
        for task in (ours, published)
    )
    np.testing.assert_allclose(sums["pull"], BATCH * terms["pull"], rtol=1e-5)
    np.testing.assert_allclose(sums["offset"], terms["offset"], rtol=1e-3)


@pytest.mark.parametrize("kind", [CENTRES, JOINTS])
def test_cells_within_reach_learn_where_the_object_is_from_there(kind):
    """Of one object, at (3.3, 3.9), 3 cells wide and 4 high."""
    near, alone = make_task(kind, reach=1), make_task(kind)
    targets = make_targets(near, batch=1)
    targets |= {"mask": targets["mask"].at[0].set(np.arange(COUNT) == 1)}
    targets |= {"boxes": targets["boxes"].at[0, 1].set(jnp.array([1.8, 1.9, 4.8, 5.9]))}
    if kind == JOINTS:
        labelled = np.zeros((1, COUNT, 17), bool)
        labelled[0, 1, :9] = True
        targets |= {"joint_mask": jnp.asarray(labelled)}
    right = np.zeros((1, 1, SIDE, SIDE, sum(len(head.channels) for head in near.heads.values())))
    wh = sum(len(head.channels) for name, head in near.heads.items() if name == "hm")
    y, x = np.mgrid[:SIDE, :SIDE]
    right[..., wh : wh + 4] = np.stack([3.0 + 0 * x, 4.0 + 0 * x, 3.3 - x, 3.9 - y], axis=-1)
    if kind == JOINTS:
        joints = np.asarray(targets["joints"])[0, 1]  # [17, 2]
        ends = joints - np.stack([x, y], axis=-1)[:, :, None]
        right[0, 0, :, :, wh + 4 : wh + 38] = ends.reshape(SIDE, SIDE, 34)
    names = ["wh", "reg", "hps"][: 3 if kind == JOINTS else 2]

    def terms(task, outputs):
        found = task.losses(jnp.asarray(outputs, jnp.float32), targets, task.totals(targets))
        return np.array([found[name][0] for name in names])

    np.testing.assert_allclose(terms(near, right), 0, atol=1e-6)
    # One cell of nine that is wrong by 0.9, beside the object's and two cells away.
    beside, away = right.copy(), right.copy()
    beside[0, 0, 4, 2] += 0.9
    away[0, 0, 3, 5] += 0.9
    np.testing.assert_allclose(terms(near, beside), np.array([0.01, 0.1, 0.1])[: len(names)], 1e-4)
    np.testing.assert_allclose(terms(near, away), 0, atol=1e-6)
    np.testing.assert_allclose(terms(alone, beside), 0, atol=1e-6)


def test_the_plateau_is_the_loss_of_the_first_outputs():
    task = make_task(CENTRES)
    starts = [head.start or 0.0 for head in task.heads.values() for _ in head.channels]
    outputs = jnp.asarray(np.broadcast_to(np.float32(starts), (BATCH, 1, SIDE, SIDE, 6)))

    @jax.jit
    def both(targets):
        totals = task.totals(targets)
        return task.plateau(targets, totals), task.losses(outputs, targets, totals)

    plateau, terms = both(make_targets(task))
    assert plateau == pytest.approx(float(sum(terms.values())[0]), rel=1e-6)
