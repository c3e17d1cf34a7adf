"""Published detectors load and give the outputs they gave in PyTorch, and nothing else loads."""

import importlib
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SHARED
from flax.traverse_util import flatten_dict

from hourglass_jax import Hourglass104, tasks
from hourglass_jax.checkpoint import trained
from hourglass_jax.data.coco.categories import CATEGORIES, CATEGORY_IDS
from hourglass_jax.errors import UserError
from hourglass_jax.interop import torch_detection
from hourglass_jax.interop.torch_weights import convert, from_state_dict

PARITY = SHARED / "parity"
RGB_MEAN, RGB_STD = (
    (0.47026115, 0.44719302, 0.40789654),
    (0.27809835, 0.27408164, 0.28863828),
)
CORNERS = ("tl_heat", "tl_tag", "tl_offset", "br_heat", "br_tag", "br_offset")
CENTRES = ("hm", "wh", "reg", "hps", "hm_hp", "hp_offset")


@pytest.fixture(scope="module")
def torch_side():
    return importlib.import_module("torch_side")


@pytest.fixture(scope="module")
def networks(torch_side):
    return {name: torch_side.make(name) for name in ("cornernet", "squeeze", "centernet")}


@pytest.fixture
def tensors(torch_side, networks):
    """Names and arrays of the small CenterNet."""
    return torch_side.state_dict(networks["centernet"])


# Published name of our head, in the order of the published network's outputs.
PLACES = {
    "cornernet": ("tl_heat", "br_heat", "tl_tag", "br_tag", "tl_offset", "br_offset"),
    "squeeze": ("tl_heat", "br_heat", "tl_tag", "br_tag", "tl_offset", "br_offset"),
    "centernet": ("hm", "wh", "hps", "reg", "hm_hp", "hp_offset"),
}
# num_stacks, stem_features, corner_features, stride, squeeze
SHAPES = {
    "cornernet": (2, 5, 4, 4, False),
    "squeeze": (2, 5, 4, 8, True),
    "centernet": (1, 5, 128, 4, False),
}


@pytest.mark.parametrize("name", PLACES)
def test_outputs_and_shapes_agree(torch_side, networks, name):
    """For RGB, of which the published networks see BGR; sides are not equal, and one is odd."""
    images = np.random.default_rng(0).random((2, 63, 96, 3), np.float32)
    expected = torch_side.heatmaps(networks[name], images[..., ::-1].copy())
    model, variables, normalisation = from_state_dict(torch_side.state_dict(networks[name]))
    found = np.asarray(jax.jit(model.apply)(variables, images))
    sizes = [model.heads[head] for head in PLACES[name]]
    expected = dict(zip(PLACES[name], np.split(expected, np.cumsum(sizes)[:-1], -1), strict=True))
    assert tuple(model.heads) == (CENTRES if name == "centernet" else CORNERS)
    assert found.shape[-1] == sum(sizes)
    found = np.split(found, np.cumsum(list(model.heads.values()))[:-1], axis=-1)
    for head, one in zip(model.heads, found, strict=True):
        assert one.shape == expected[head].shape
        largest = np.abs(expected[head]).max()
        assert expected[head].std() > 0.01 * largest
        np.testing.assert_allclose(one, expected[head], rtol=0, atol=2e-5 * largest)
    fields = ("num_stacks", "stem_features", "corner_features", "stride", "squeeze")
    assert tuple(getattr(model, field) for field in fields) == SHAPES[name]
    assert (model.widths, model.blocks) == ((6, 8, 10), (1, 2, 1))
    kernel = variables["params"]["stem"]["conv"]["conv"]["kernel"]
    assert kernel.dtype == np.float32 and kernel.flags.c_contiguous
    assert model.normalisation == normalisation
    assert (normalisation.mean, normalisation.std) == (RGB_MEAN, RGB_STD)


@pytest.mark.slow
def test_a_training_step_agrees(torch_side, networks):
    """Gradients and new statistics in float64; what PyTorch gives is float32 at the end."""
    rng = np.random.default_rng(1)
    images, targets = rng.random((2, 32, 16, 3)), rng.random((2, 8, 4, 12))
    order = np.argsort([PLACES["cornernet"].index(head) for head in CORNERS])
    parts = np.split(targets, [3, 4, 6, 9, 10], axis=-1)  # in our order
    published = np.concatenate([parts[i] for i in order], axis=-1)
    network = networks["cornernet"]
    _, expected, _ = from_state_dict(torch_side.step(network, images[..., ::-1].copy(), published))
    model, variables, _ = from_state_dict(torch_side.state_dict(network))
    model = model.clone(dtype=jnp.float64)

    def loss(params, batch_stats):
        outputs, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        return ((outputs - targets[:, None]) ** 2).mean((0, 2, 3, 4)).sum(), updated

    with jax.enable_x64(True):
        wide = jax.tree.map(np.float64, variables)
        gradients, updated = jax.jit(jax.grad(loss, has_aux=True))(
            wide["params"], wide["batch_stats"]
        )
    found = flatten_dict({"params": gradients, **updated}, sep="/")
    for name, value in flatten_dict(expected, sep="/").items():
        assert found[name].dtype == np.float64
        bound = 1e-6 * np.abs(value).max() + 1e-12
        np.testing.assert_allclose(found[name], value, rtol=0, atol=bound, err_msg=name)


def test_prefixes_are_stripped_and_counters_may_lack(tensors):
    """As in CornerNet's file, of a PyTorch that did not count batches."""
    _, expected, _ = from_state_dict(tensors)
    few = {f"module.{k}": v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    _, found, _ = from_state_dict(few)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("att.0.weight", np.zeros(1), "has no place in this network, which .* has num_stacks=1"),
        ("kps.0.low2.low2.0.bn1.running_var", None, "lacks tensor"),
        ("kps.0.low2.up1.0.conv2.weight", np.zeros((8, 8, 1, 1)), "has shape .* imply"),
        ("wh.0.1.bias", np.full(2, np.nan), "not finite"),
        ("tl_tags.0.1.bias", np.zeros(1), "lacks tensor 'tl_cnvs"),
    ],
)
def test_names_the_tensor_that_does_not_fit(tensors, name, value, complaint):
    tensors = {**tensors, name: value}
    if value is None:
        del tensors[name]
    with pytest.raises(UserError, match=complaint) as error:
        from_state_dict(tensors)
    assert name[:2] in str(error.value) and "\n" not in str(error.value)


def test_hourglasses_without_heads_are_refused(tensors):
    """Such as ExtremeNet's, whose heads are others."""
    backbone = {k: v for k, v in tensors.items() if k.startswith(("pre", "kps", "cnvs", "inter"))}
    with pytest.raises(UserError, match="none of the heads tl_heats"):
        from_state_dict({**backbone, "t_heats.0.1.bias": np.zeros(80)})


@pytest.mark.skipif("detection" not in tasks.TASKS, reason="there is no task for detectors")
@pytest.mark.parametrize(
    ("name", "names", "side", "stride"),
    [
        ("cornernet", ["car", "cat", "dog"], 511, 511 / 128),
        ("squeeze", ["car", "cat", "dog"], 511, 511 / 64),
        ("centernet", None, 512, 4.0),
    ],
)
def test_a_published_detector_becomes_a_checkpoint(
    torch_side, networks, tmp_path, name, names, side, stride
):
    """In the old format of PyTorch 0.4, as CornerNet's, or beside other things, as CenterNet's."""
    state_dict, path = networks[name].state_dict(), tmp_path / "published.pkl"
    if name == "centernet":
        torch_side.torch.save({"epoch": 140, "state_dict": state_dict}, path)
    else:
        state_dict = {f"module.{key}": value for key, value in state_dict.items()}
        torch_side.torch.save(state_dict, path, _use_new_zipfile_serialization=False)
    description = convert(path, tmp_path / "workdir", names)
    assert "3 tl_heat" in description or "34 hps" in description
    found = trained.load(tmp_path / "workdir")
    model, variables, _ = from_state_dict(torch_side.state_dict(networks[name]))
    jax.tree.map(np.testing.assert_array_equal, found.variables, variables)
    assert (found.input_size, found.task.stride) == (side, stride)
    assert found.task.categories == tuple(names or ["person"])
    heads = {head: len(value.channels) for head, value in found.task.heads.items()}
    assert list(heads.items()) == list(model.heads.items())
    assert found.model.normalisation == model.normalisation
    # Before training its heads start at constants, of which a trained network knows nothing.
    assert found.model.clone(starts=(), dtype=None) == model


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "has 3 categories, and not COCO's 80; name them .*--categories=car,cat"),
        (["car"], "--categories names 1 categories, and the network has 3"),
    ],
)
def test_categories_get_names(names, message):
    model = Hourglass104(heads={"hm": 3, "wh": 2, "reg": 2})
    with pytest.raises(UserError, match=message):
        torch_detection.task(model, names)


def test_coco_has_80_categories():
    assert len(set(CATEGORIES)) == len(CATEGORY_IDS) == 80
    places = dict(zip(CATEGORIES, CATEGORY_IDS, strict=True))
    published = {"person": 1, "stop sign": 13, "backpack": 27, "tv": 72, "toothbrush": 90}
    assert {name: places[name] for name in published} == published


@pytest.mark.slow
@pytest.mark.skipif(
    not PARITY.is_dir(), reason="the outputs of the published networks (shared/parity) are not here"
)
@pytest.mark.parametrize(
    ("name", "seed", "size"),
    [
        ("cornernet_104", 11, 127),
        ("cornernet_squeeze", 12, (127, 255)),
        ("centernet_ctdet", 13, 128),
        ("centernet_pose", 14, (128, 256)),
    ],
)
def test_outputs_are_those_of_the_published_network(name, seed, size):
    spec = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    model, variables, _ = from_state_dict(weights.state_dict(weights.load_manifest(name), seed))
    images = weights.image(seed, size=size)[..., ::-1]
    found = np.asarray(jax.jit(model.apply)(variables, images))
    with np.load(PARITY / f"{name}.npz") as expected:
        parts = np.split(found, np.cumsum(list(model.heads.values()))[:-1], axis=-1)
        for head, part in zip(model.heads, parts, strict=True):
            largest = np.abs(expected[head]).max()
            np.testing.assert_allclose(part, expected[head], rtol=0, atol=2e-5 * largest)
