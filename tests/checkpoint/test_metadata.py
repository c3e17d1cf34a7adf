"""The metadata of a checkpoint, and the network that is rebuilt from it alone."""

import json

import numpy as np
import pytest

from hourglass_jax.checkpoint import store, trained
from hourglass_jax.checkpoint.metadata import FORMAT, Inference, describe
from hourglass_jax.data.skeleton import FLIC
from hourglass_jax.errors import UserError
from hourglass_jax.nn import Normalisation
from hourglass_jax.tasks.single_pose.task import SinglePose

TASK = SinglePose(FLIC, sigma=1.5, zero_target=True, decoder="refined")
NETWORK = {
    "name": "stacked_hourglass",
    "options": {"num_stacks": 1, "features": 8, "order": 1, "stem_features": 4},
    "input_size": 32,
    "dtype": "bfloat16",
}


def described(**fields):
    return describe(
        **{
            "config": {"freeze": ("stem/*",)},
            "task": TASK,
            "network": NETWORK,
            "normalisation": Normalisation((0.1, 0.2, 0.3)),
            "inference": Inference(flip_test=False, scales=(0.8, 1.0), box_margin=1.5),
            "records": "abc",
            "averaged": True,
            **fields,
        }
    )


@pytest.mark.core
def test_metadata_are_json_as_it_is_read_back():
    metadata = described()
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["format"] == FORMAT and metadata["records"] == "abc"
    assert metadata["config"] == {"freeze": ["stem/*"]}
    assert metadata["heads"] == {"heatmaps": list(FLIC.joints)}
    assert metadata["inference"] == {"flip_test": False, "scales": [0.8, 1.0], "box_margin": 1.5}
    assert (metadata["evaluated"], described(averaged=False)["evaluated"]) == ("ema", "params")


@pytest.mark.core
def test_network_and_task_are_rebuilt_from_them():
    model, task = trained.model_and_task(described())
    assert task == TASK
    assert (model.num_stacks, model.features, model.order, model.num_joints) == (1, 8, 1, 11)
    assert model.dtype == "bfloat16" and model.stem == "paper"  # left out: the paper's
    assert model.normalisation == Normalisation((0.1, 0.2, 0.3))


@pytest.mark.core
@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        ("task", "fly", "task='fly'; it must be one of"),
        ("network", "unet", "unknown network .*'unet'"),
    ],
)
def test_a_network_or_task_that_this_version_lacks(part, name, message):
    metadata = described()
    metadata[part]["name"] = name
    with pytest.raises(UserError, match=message):
        trained.model_and_task(metadata)


def test_a_run_is_read_by_itself(finished):
    workdir, result = finished
    found = trained.load(workdir)
    assert found.where == workdir / result["checkpoint"]
    assert (found.task.decoder, found.task.sigma) == ("refined", 1.25)
    assert found.task.limits.resolution == found.input_size == 64
    assert found.inference == Inference(flip_test=True, scales=(1.0,), box_margin=1.25)
    assert found.model.num_stacks == 1 and found.model.features == 8
    # Its config holds what was left out, so that a default may change one day.
    options = store.read_metadata(found.where)["network"]["options"]
    assert options["num_residuals"] == 1 and options["stem"] == "paper"
    config = json.loads((workdir / "config.json").read_text())
    assert config["data"]["drawing_seed"] == 0
    kernel = found.variables["params"]["stem"]["conv"]["kernel"]
    assert kernel.shape == (7, 7, 3, 4) and kernel.dtype == np.float32
    for path in (found.where, workdir / "checkpoints"):
        assert trained.load(path).where == found.where
    with pytest.raises(UserError, match=r"--model=.*gone does not exist; give a run's workdir"):
        trained.load(workdir / "gone", "--model")
