"""Fine-tuning: what is taken from a trained network, what stays, and how fast the rest moves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import small_synthetic
from flax.traverse_util import flatten_dict

from hourglass_jax import StackedHourglass
from hourglass_jax.checkpoint import trained
from hourglass_jax.data.skeleton import LSP, MPII
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Head
from hourglass_jax.tasks.single_pose.task import SinglePose
from hourglass_jax.training import finetune, train

small = functools.partial(StackedHourglass, features=8, order=1, stem_features=4)


@functools.cache
def make(seed, **fields):
    picture = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = small(**fields).lazy_init(jax.random.key(seed), picture)
    # Heatmaps are zero at first: give them something to be told apart by.
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: np.asarray(x) + rng.normal(size=x.shape), variables)


def warm_start(new, skeleton, old, source_skeleton, source_model=None):
    source_model = source_model or small()
    heads, source_heads = SinglePose(skeleton).heads, SinglePose(source_skeleton).heads
    return finetune.warm_start(new, heads, old, source_heads, small(), source_model, "runs/a")


def test_the_same_network_is_loaded_whole():
    new, old = make(0, num_stacks=2), make(1, num_stacks=2)
    found, table = warm_start(new, MPII, old, MPII)
    jax.tree.map(np.testing.assert_array_equal, found, old)
    assert "new" not in table and "16 of 16 loaded" in table


def test_joints_of_the_same_name_keep_their_weights():
    new, old = make(0, num_stacks=2, num_joints=14), make(1, num_stacks=2)
    found, table = warm_start(new, LSP, old, MPII)
    kernel, source, fresh = (
        tree["params"]["stack0"]["heatmaps"]["kernel"] for tree in (found, old, new)
    )
    bias, merge = (found["params"]["stack0"][name] for name in ("heatmaps", "merge_heatmaps"))
    for i, joint in enumerate(LSP.joints):
        if joint in MPII.joints:
            j = MPII.index(joint)
            np.testing.assert_array_equal(kernel[..., i], source[..., j])
            assert bias["bias"][i] == old["params"]["stack0"]["heatmaps"]["bias"][j]
            theirs = old["params"]["stack0"]["merge_heatmaps"]["kernel"]
            np.testing.assert_array_equal(merge["kernel"][:, :, i], theirs[:, :, j])
        else:
            np.testing.assert_array_equal(kernel[..., i], fresh[..., i])
            assert joint in table
    np.testing.assert_array_equal(
        found["batch_stats"]["stem"]["bn"]["mean"], old["batch_stats"]["stem"]["bn"]["mean"]
    )
    # A network of one stack has no merge after it: what is missing stays new.
    found, table = warm_start(new, LSP, make(1, num_stacks=1), MPII)
    np.testing.assert_array_equal(
        found["params"]["stack1"]["conv"]["kernel"], new["params"]["stack1"]["conv"]["kernel"]
    )
    assert any(line.startswith("stack1 ") and "new" in line for line in table.splitlines())


def test_names_of_joints_may_be_written_in_another_way():
    names = ("Left wrist", "rightWrist", "l-wrist", "HEAD_TOP")
    new, old = make(0, num_stacks=1, num_joints=4), make(1, num_stacks=1)
    heads, source_heads = {"heatmaps": Head(names)}, SinglePose(MPII).heads
    found, table = finetune.warm_start(new, heads, old, source_heads, small(), small(), "runs/a")
    biases = [tree["params"]["stack0"]["heatmaps"]["bias"] for tree in (found, old, new)]
    indices = [MPII.index(joint) for joint in ("left_wrist", "right_wrist", "head_top")]
    np.testing.assert_array_equal(biases[0][[0, 1, 3]], biases[1][indices])
    assert biases[0][2] == biases[2][2] and "3 of 4 loaded by name; new: l-wrist" in table


def test_of_other_widths_no_joint_is_said_to_keep_its_weights():
    new, old = make(0, features=10, num_stacks=2), make(1, num_stacks=2)
    found, table = warm_start(new, LSP, old, MPII)
    assert "loaded by name" not in table
    # Nor do biases come alone.
    for part in ("kernel", "bias"):
        heatmaps = (tree["params"]["stack0"]["heatmaps"][part] for tree in (found, new))
        np.testing.assert_array_equal(*heatmaps)


def test_channels_are_matched_by_their_head_as_well():
    """A channel of another head is another one, though it has the same name."""
    new, old = make(0, num_stacks=1, num_joints=2), make(1, num_stacks=1, num_joints=3)
    heads = {"heatmaps": Head(("head",)), "tags": Head(("head",))}
    theirs = {"heatmaps": Head(("neck", "tail")), "tags": Head(("head",))}
    found, table = finetune.warm_start(new, heads, old, theirs, small(), small(), "runs/a")
    found, fresh, source = (
        tree["params"]["stack0"]["heatmaps"]["kernel"] for tree in (found, new, old)
    )
    np.testing.assert_array_equal(found[..., 0], fresh[..., 0])
    np.testing.assert_array_equal(found[..., 1], source[..., 2])
    assert "1 of 2 loaded by name; new: head" in table


def test_nothing_in_common_is_an_error():
    other = {"features": 10, "stem_features": 6, "num_stacks": 1}
    says = r"config\.init_from=runs/a: nothing in it .*; it has .*model\.features=10, .*_features=6"
    with pytest.raises(UserError, match=says):
        warm_start(make(0, num_stacks=1), MPII, make(1, **other), MPII, small(**other))


def test_a_part_of_which_something_has_another_shape_is_named(caplog):
    with caplog.at_level("WARNING"):
        warm_start(make(0, num_stacks=2), MPII, make(1, num_stacks=1), MPII, small(num_stacks=1))
        assert not caplog.text
        other = {"stem": "bearpaw", "features": 10}
        warm_start(
            make(0, num_stacks=1), MPII, make(1, num_stacks=1, **other), MPII, small(**other)
        )
    assert (
        "runs/a has model.features=10, model.stem=bearpaw, so that only parts of stem"
        in caplog.text
    )


def test_what_is_frozen_stays_and_the_rest_moves_at_its_rate():
    params = {"stem": {"conv": jnp.ones(3), "bn": jnp.ones(3)}, "stack0": {"conv": jnp.ones(2)}}
    optimizer = finetune.with_rates(
        optax.adam(0.1), ("stem/bn",), ("stem/*=0.5", "stack*/conv=2"), params
    )
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    plain = optax.adam(0.1)
    expected, _ = plain.update(params, plain.init(params), params)
    factors = {"stem": {"conv": 0.5, "bn": 0.0}, "stack0": {"conv": 2.0}}
    jax.tree.map(
        lambda u, e, f: np.testing.assert_allclose(u, f * e, rtol=1e-6), updates, expected, factors
    )
    assert finetune.with_rates(plain, (), (), params) is plain


@pytest.mark.parametrize(
    ("freeze", "multipliers", "says"),
    [
        (("stemm/*",), (), "'stemm/\\*' matches no parameter"),
        ((), ("stem/*",), "must be pattern=factor"),
        ((), ("stem/*=-1",), "must be pattern=factor"),
        ((), ("stem/*=fast",), "must be pattern=factor"),
    ],
)
def test_rules_that_are_none(freeze, multipliers, says):
    params = {"stem": {"conv": jnp.ones(3)}}
    with pytest.raises(UserError, match=says):
        finetune.with_rates(optax.adam(0.1), freeze, multipliers, params)


@pytest.mark.slow
def test_a_run_begins_with_another(finished, records, tmp_path):
    config = small_synthetic(records)
    config.update({"init_from": str(finished[0]), "freeze": ("stem/*",), "num_steps": 2})
    config.model.num_stacks = 2
    train.train_and_evaluate(config, tmp_path / "run")
    before, after = (trained.load(path).variables for path in (finished[0], tmp_path / "run"))
    before, after = (flatten_dict(tree["params"]) for tree in (before, after))
    for path, value in before.items():
        same = np.array_equal(value, after[path])
        assert same == (path[0] == "stem" or path[-2:] in _STILL), path
    with pytest.raises(UserError, match=r"config\.init_from=.*gone does not exist"):
        config.init_from = str(tmp_path / "gone")
        train.train_and_evaluate(config, tmp_path / "another")


# Biases before a BatchNorm have no gradient.
_STILL = {(name, "bias") for name in ("conv", "conv1", "conv2")}
