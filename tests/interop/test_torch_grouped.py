"""Published networks with tags load and give the outputs that they gave in PyTorch."""

import importlib
import importlib.util

import conftest
import jax
import numpy as np
import pytest

from hourglass_jax.checkpoint import trained
from hourglass_jax.errors import UserError
from hourglass_jax.interop.torch_weights import convert, from_state_dict

HEADS = {
    "pose_ae": {"heatmaps": 3, "tags": 3, "unused": 6},
    "mmpose_ae": {"heatmaps": 3, "tags": 3},
}


@pytest.fixture(scope="module")
def torch_side():
    return importlib.import_module("torch_side")


def assert_close(found, expected):
    """To 2e-5 of the largest value of each stack."""
    assert found.shape == expected.shape
    for stack in range(expected.shape[1]):
        largest = np.abs(expected[:, stack]).max()
        assert expected[:, stack].std() > 0.01 * largest
        np.testing.assert_allclose(found[:, stack], expected[:, stack], rtol=0, atol=2e-5 * largest)


@pytest.mark.parametrize("name", HEADS)
def test_outputs_and_shapes_agree(torch_side, name):
    network = torch_side.make(name)
    images = np.random.default_rng(0).random((2, 32, 48, 3), np.float32)
    expected = torch_side.heatmaps(network, images)
    tensors = torch_side.state_dict(network)
    if name == "pose_ae":
        tensors = {f"model.module.{key}": value for key, value in tensors.items()}
    model, variables, normalisation = from_state_dict(tensors)
    assert_close(np.asarray(jax.jit(model.apply)(variables, images)), expected)
    assert model.heads == HEADS[name] and model.batch_norm == (name == "mmpose_ae")
    fields = (model.num_stacks, model.order, model.features, model.growth, model.stem_features)
    assert fields == (2, 2, 6, 3, 4)
    assert bool(variables["batch_stats"]) == model.batch_norm
    assert normalisation.mean == ((0.485, 0.456, 0.406) if model.batch_norm else (0, 0, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("pose_ae_2", 31), ("mmpose_ae_2", 32)])
def test_published_networks(name, seed):
    folder = conftest.SHARED / "parity"
    if not (folder / f"{name}.npz").is_file():
        pytest.skip(f"no results of the published programs in {folder}")
    spec = importlib.util.spec_from_file_location("weights", folder / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    tensors = weights.state_dict(weights.load_manifest(name), seed)
    model, variables, _ = from_state_dict(tensors)
    found = jax.jit(model.apply)(variables, weights.image(seed, size=(128, 192)))
    assert_close(np.asarray(found), np.load(folder / f"{name}.npz")["outputs"])


def test_tensors_of_another_network_are_refused(torch_side):
    tensors = torch_side.state_dict(torch_side.make("pose_ae"))
    for change, message in (
        ({"features.0.3.conv.bias": np.zeros(6)}, "'features.0.3.conv.bias' has no place in this"),
        ({"outs.0.conv.bias": np.zeros(13)}, "13 outputs are not 4 times as many as joints"),
        ({"merge_preds.0.conv.conv.bias": np.zeros(7)}, r"has shape \(7,\)"),
    ):
        with pytest.raises(UserError, match=message):
            from_state_dict({**tensors, **change})
    with pytest.raises(UserError, match=r"lacks tensor 'features\.1\.2\.conv\.bias'"):
        from_state_dict({k: v for k, v in tensors.items() if k != "features.1.2.conv.bias"})


@pytest.mark.parametrize("name", HEADS)
def test_a_converted_network_is_a_checkpoint(torch_side, tmp_path, name):
    import torch

    network = torch_side.make(name)
    path = tmp_path / "network.pth.tar"
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
    with pytest.raises(UserError, match="3 joints, and not COCO's 17; name them"):
        convert(path, tmp_path / "other")
    description = convert(path, tmp_path / "run", ["nose", "left_eye", "right_eye"])
    assert "3 heatmaps, 3 tags" in description
    loaded = trained.load(tmp_path / "run")
    assert loaded.task.name == "grouped_pose" and loaded.input_size == 512
    assert loaded.task.joints == ("nose", "left_eye", "right_eye")
    assert loaded.task.options.published
    assert loaded.task.options.variant == ("newell" if name == "pose_ae" else "higher_hrnet")
    assert {n: len(head.channels) for n, head in loaded.task.heads.items()} == HEADS[name]
    images = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    found = jax.jit(loaded.model.apply)(loaded.variables, images)
    assert_close(np.asarray(found), torch_side.heatmaps(network, images))
