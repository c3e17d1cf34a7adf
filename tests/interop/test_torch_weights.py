"""Published networks load, give the outputs they gave in PyTorch, and nothing else loads."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from published import bearpaw, fill, princeton

from hourglass_jax.errors import UserError
from hourglass_jax.interop.torch_weights import from_state_dict

PARITY = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "parity"
needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason="the outputs of the published networks (shared/parity) are not here"
)

BEARPAW_MEAN = (0.4404, 0.4440, 0.4327)


@pytest.fixture
def tiny_princeton():
    return fill(princeton(stacks=2, joints=3, features=16, order=1, stem=4))


@pytest.fixture
def tiny_bearpaw():
    return fill(bearpaw(stacks=2, joints=3, features=16, order=1, stem=4))


@needs_parity
@pytest.mark.parametrize(
    ("name", "seed", "stem", "mean"),
    [("princeton_2", 1, "paper", (0.0, 0.0, 0.0)), ("bearpaw_1", 2, "bearpaw", BEARPAW_MEAN)],
)
def test_outputs_are_those_of_the_published_network(name, seed, stem, mean):
    spec = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    state_dict = weights.state_dict(weights.load_manifest(name), seed)
    expected = np.load(PARITY / f"{name}.npz")["heatmaps"]

    model, variables, normalisation = from_state_dict(state_dict)
    heatmaps = jax.jit(model.apply)(variables, weights.image(seed))

    assert heatmaps.shape == expected.shape
    for stack in range(expected.shape[1]):
        largest = np.abs(expected[:, stack]).max()
        np.testing.assert_allclose(
            heatmaps[:, stack], expected[:, stack], rtol=0, atol=2e-5 * largest
        )
    assert (model.stem, model.order, normalisation.mean) == (stem, 4, mean)


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (princeton(1, 5, 32, 3), (1, 5, 32, 3, 1, "paper", 64)),
        (princeton(3, 2, 12, 1, stem=6), (3, 2, 12, 1, 1, "paper", 6)),
        (bearpaw(1, 5, 16, 1, stem=4, blocks=3), (1, 5, 16, 1, 3, "bearpaw", 4)),
        (bearpaw(2, 4, 32, 3, stem=8), (2, 4, 32, 3, 1, "bearpaw", 8)),
        (bearpaw(1, 2, 8, 1, stem=4), (1, 2, 8, 1, 1, "bearpaw", 4)),  # layer3 narrows
    ],
)
def test_reads_every_dimension_from_names_and_shapes(tensors, expected):
    model, variables, _ = from_state_dict(fill(tensors))
    assert expected == (
        model.num_stacks,
        model.num_joints,
        model.features,
        model.order,
        model.num_residuals,
        model.stem,
        model.stem_features,
    )
    side = 4 * 2**model.order
    wanted = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, side, side, 3), np.float32))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), variables) == jax.tree.map(
        lambda x: (x.shape, x.dtype), wanted
    )


def test_every_princeton_tensor_goes_to_one_place():
    state_dict = fill(princeton(stacks=2, joints=3, features=16, order=2, stem=4))
    dead = ("hgs.", "features.", "pre.3.")  # where widths agree
    for name in [n for n in state_dict if "skip_layer" in n and n.startswith(dead)]:
        state_dict[name] = None
    check_places(
        state_dict,
        {
            "params/stem/conv/kernel": "pre.0.conv.weight",
            "batch_stats/stem/bn/var": "pre.0.bn.running_var",
            "params/stem/residual2/conv2/kernel": "pre.3.conv2.conv.weight",
            "params/stem/residual3/skip/bias": "pre.4.skip_layer.conv.bias",
            "params/stack1/hourglass/up/residual0/bn1/scale": "hgs.1.0.up1.bn1.weight",
            "params/stack0/hourglass/low2/low1/residual0/bn2/bias": "hgs.0.0.low2.low1.bn2.bias",
            "params/stack0/hourglass/low2/low2/residual0/conv1/kernel": (
                "hgs.0.0.low2.low2.conv1.conv.weight"
            ),
            "params/stack1/hourglass/low3/residual0/conv3/bias": "hgs.1.0.low3.conv3.conv.bias",
            "batch_stats/stack1/out/residual0/bn3/mean": "features.1.0.bn3.running_mean",
            "params/stack0/conv/kernel": "features.0.1.conv.weight",
            "params/stack0/bn/scale": "features.0.1.bn.weight",
            "params/stack1/heatmaps/kernel": "outs.1.conv.weight",
            "params/stack0/merge_features/kernel": "merge_features.0.conv.conv.weight",
            "params/stack0/merge_heatmaps/kernel": "merge_preds.0.conv.conv.weight",
        },
    )


def test_every_bearpaw_tensor_goes_to_one_place():
    check_places(
        fill(bearpaw(stacks=2, joints=3, features=16, order=2, stem=4, blocks=2)),
        {
            "params/stem/conv/kernel": "conv1.weight",
            "batch_stats/stem/bn/mean": "bn1.running_mean",
            "params/stem/residual1/skip/kernel": "layer1.0.downsample.0.weight",
            "params/stem/residual3/conv2/kernel": "layer3.0.conv2.weight",
            "params/stack1/hourglass/up/residual1/conv2/kernel": "hg.1.hg.1.0.1.conv2.weight",
            "params/stack0/hourglass/low1/residual0/bn1/bias": "hg.0.hg.1.1.0.bn1.bias",
            "params/stack0/hourglass/low3/residual1/bn1/scale": "hg.0.hg.1.2.1.bn1.weight",
            "params/stack1/hourglass/low2/low3/residual0/conv1/bias": "hg.1.hg.0.2.0.conv1.bias",
            "params/stack1/hourglass/low2/low2/residual1/conv3/kernel": (
                "hg.1.hg.0.3.1.conv3.weight"
            ),
            "batch_stats/stack1/out/residual1/bn2/var": "res.1.1.bn2.running_var",
            "params/stack0/conv/bias": "fc.0.0.bias",
            "params/stack0/bn/bias": "fc.0.1.bias",
            "params/stack1/heatmaps/kernel": "score.1.weight",
            "params/stack0/merge_features/kernel": "fc_.0.weight",
            "params/stack0/merge_heatmaps/kernel": "score_.0.weight",
        },
    )


def check_places(state_dict, places):
    """`places`: a sample of all names, ours to theirs. Unused tensors are None."""
    _, variables, _ = from_state_dict(state_dict)
    found = flatten_dict(variables, sep="/")
    for ours, theirs in places.items():
        expected = state_dict[theirs]
        if expected.ndim == 4:  # [out, in, height, width] to [height, width, in, out]
            expected = np.moveaxis(expected, (2, 3, 1, 0), (0, 1, 2, 3))
        np.testing.assert_array_equal(found[ours], expected, err_msg=ours)
        assert not np.shares_memory(found[ours], state_dict[theirs])
    # Random tensors never have the same numbers.
    used = sorted(np.sort(x, axis=None).tolist() for x in found.values())
    assert used == sorted(
        np.sort(x, axis=None).tolist()
        for name, x in state_dict.items()
        if x is not None and not name.endswith("num_batches_tracked")
    )


@pytest.mark.parametrize("prefix", ["model.module.", "module.", "model."])
def test_prefixes_are_stripped(tiny_princeton, tiny_bearpaw, prefix):
    for state_dict, kernel in (
        (tiny_princeton, "pre.0.conv.weight"),
        (tiny_bearpaw, "conv1.weight"),
    ):
        prefixed = {prefix + name: value for name, value in state_dict.items()}
        _, variables, _ = from_state_dict(prefixed)
        found = variables["params"]["stem"]["conv"]["kernel"]
        np.testing.assert_array_equal(found, state_dict[kernel].transpose(2, 3, 1, 0))


def test_tensors_are_stored_as_float32_and_counters_are_optional(tiny_bearpaw):
    without = {
        name: value.astype(np.float16)
        for name, value in tiny_bearpaw.items()
        if not name.endswith("num_batches_tracked")
    }
    _, variables, _ = from_state_dict(without)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype("float32")}


@pytest.mark.parametrize(
    "name",
    [
        "pre.0.conv.bias",
        "pre.4.skip_layer.conv.weight",
        "hgs.1.0.low2.conv2.conv.weight",
        "features.0.1.bn.running_mean",
        "features.0.1.conv.bias",
        "outs.0.conv.bias",
        "merge_preds.0.conv.conv.weight",
    ],
)
def test_names_the_princeton_tensor_that_is_missing(tiny_princeton, name):
    del tiny_princeton[name]
    check_complaint(tiny_princeton, "lacks", name)


@pytest.mark.parametrize("name", ["conv1.bias", "hg.0.hg.0.2.0.bn3.running_var", "fc_.0.weight"])
def test_names_the_bearpaw_tensor_that_is_missing(tiny_bearpaw, name):
    del tiny_bearpaw[name]
    check_complaint({f"module.{k}": v for k, v in tiny_bearpaw.items()}, "lacks", f"module.{name}")


@pytest.mark.parametrize(
    "name",
    [
        "extra.weight",
        "hgs.0.0.up1.bn4.weight",
        "outs.1.conv.num_batches_tracked",  # counts for a BatchNorm alone
        "merge_preds.1.conv.conv.weight",  # the last stack has none
    ],
)
def test_names_the_tensor_that_is_unexpected(tiny_princeton, name):
    tiny_princeton[name] = np.zeros(3, np.float32)
    check_complaint(tiny_princeton, "no place", name)


def test_names_what_is_unexpected_before_what_is_missing(tiny_princeton):
    renamed = {name.replace("features.", "featurez."): x for name, x in tiny_princeton.items()}
    renamed["features.0.1.conv.bias"] = tiny_princeton["features.0.1.conv.bias"]
    with pytest.raises(UserError, match="'featurez") as error:
        from_state_dict(renamed)
    assert "\n" not in str(error.value)


def test_a_skip_where_widths_agree_is_unexpected_in_bearpaw(tiny_bearpaw):
    tiny_bearpaw["layer3.0.downsample.0.weight"] = np.zeros((16, 16, 1, 1), np.float32)
    check_complaint(tiny_bearpaw, "no place", "layer3.0.downsample.0.weight")


def test_a_name_without_the_others_prefix_is_missing(tiny_bearpaw):
    mixed = {f"module.{name}": value for name, value in tiny_bearpaw.items()}
    mixed["score.0.bias"] = mixed.pop("module.score.0.bias")
    check_complaint(mixed, "lacks", "module.score.0.bias")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pre.0.conv.weight", (4, 3, 5, 5)),
        ("hgs.0.0.low3.conv1.conv.weight", (16, 8, 1, 1)),  # in and out exchanged
        ("hgs.0.0.low1.bn1.running_var", (8,)),
        ("outs.1.conv.weight", (3, 16)),
        ("merge_preds.0.conv.conv.weight", (16, 4, 1, 1)),
        ("outs.0.conv.bias", ()),
        ("features.0.1.conv.bias", (0,)),
    ],
)
def test_names_the_tensor_of_another_shape(tiny_princeton, name, shape):
    tiny_princeton[name] = np.zeros(shape, np.float32)
    check_complaint(tiny_princeton, "has shape", name)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "empty"),
        (["layer1.0.conv1.weight", "fc.weight"], "layer1.0.conv1.weight"),
        (["backbone.hourglass_modules.0.up1.0.conv1.conv.weight"], "backbone.hourglass_modules"),
        (["state_dict", "epoch"], "state_dict"),
    ],
)
def test_refuses_another_network(names, says):
    with pytest.raises(UserError, match="neither") as error:
        from_state_dict({name: np.zeros((1, 1, 1, 1), np.float32) for name in names})
    assert says in str(error.value)


def check_complaint(state_dict, complaint, name):
    with pytest.raises(UserError, match=complaint) as error:
        from_state_dict(state_dict)
    assert repr(name) in str(error.value)
