"""Fine-tuning a detector: to other categories, and from boxes to people with joints."""

import jax
import numpy as np
import pytest

from hourglass_jax import nn
from hourglass_jax.data.base import NO_JOINTS
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.tasks.detection.options import CENTRES, CORNERS, JOINTS, Options
from hourglass_jax.tasks.detection.task import Detection
from hourglass_jax.training.finetune import warm_start

OPTIONS = {"num_stacks": 1, "widths": (4, 4), "blocks": (1, 1), "stem_features": 4}


def make(kind, categories, seed):
    """A task, its network, and variables that are nowhere zero."""
    skeleton = LSP if kind == JOINTS else NO_JOINTS
    ids = tuple(range(1, len(categories) + 1))
    task = Detection(Options(kind=kind), categories, ids, skeleton)
    model = nn.make_network("hourglass104", {**OPTIONS, "corner_features": 4}, task.heads)
    rng = np.random.default_rng(seed)
    variables = jax.tree.map(lambda x: rng.normal(size=x.shape), nn.variable_shapes(model))
    return task, model, variables


def channels(task, variables):
    """The last convolution's kernel and bias of each channel, by (head, channel)."""
    outputs = variables["params"]["stack0"]["outputs"]
    names = [(name, channel) for name, head in task.heads.items() for channel in head.channels]
    rows = np.concatenate([outputs["kernel"][0, 0], outputs["bias"][None]])
    return dict(zip(names, rows.T, strict=True))


@pytest.mark.parametrize(
    ("kinds", "kept", "fresh"),
    [
        (
            (CENTRES, CENTRES),
            {("hm", "cat"), ("wh", "width"), ("wh", "height"), ("reg", "x"), ("reg", "y")},
            {("hm", "bird"), ("hm", "dog")},
        ),
        (
            (CORNERS, CORNERS),
            {("tl_heat", "cat"), ("br_heat", "cat"), ("tl_offset", "x"), ("br_offset", "y")},
            {("tl_heat", "bird"), ("br_heat", "dog")},
        ),
        (
            (CENTRES, JOINTS),
            {("hm", "cat"), ("wh", "width"), ("reg", "y")},
            {("hm", "dog"), ("hps", "neck/x"), ("hm_hp", "neck"), ("hp_offset", "x")},
        ),
    ],
)
def test_categories_of_the_same_name_and_sizes_are_kept(kinds, kept, fresh):
    """From cars and cats to birds, cats and dogs."""
    source_task, source_model, trained = make(kinds[0], ("car", "cat"), 0)
    task, model, new = make(kinds[1], ("bird", "cat", "dog"), 1)
    arguments = (new, task.heads, trained, source_task.heads, model, source_model, "runs/a")
    found, table = warm_start(*arguments)
    theirs, ours, now = channels(source_task, trained), channels(task, new), channels(task, found)
    assert kept | fresh <= now.keys()
    for channel, values in now.items():
        is_kept = channel in theirs
        assert channel not in (fresh if is_kept else kept), channel
        np.testing.assert_array_equal(values, (theirs if is_kept else ours)[channel])
    # All that leads to a head that is kept comes along, and so do BatchNorm's statistics.
    for collection, tree in trained.items():
        for part in set(tree["stack0"]) - {"outputs"}:
            same = found[collection]["stack0"][part], tree["stack0"][part]
            jax.tree.map(np.testing.assert_array_equal, *same)
    assert f"{len(theirs.keys() & now.keys())} of {len(now)} loaded by name" in table
