"""A packaged network is the one that was evaluated, in half the bytes, and trains on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hourglass_jax import StackedHourglass
from hourglass_jax.checkpoint import store
from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.checkpoint.metadata import Inference, describe
from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.interop import package
from hourglass_jax.nn import Normalisation
from hourglass_jax.tasks.single_pose.task import SinglePose

MODEL = {"num_stacks": 1, "features": 8, "order": 1, "stem_features": 4}


@pytest.fixture
def run(tmp_path):
    """A workdir whose averaged variables differ from the others, and these averages."""
    model = StackedHourglass(num_joints=14, **MODEL)
    variables = model.lazy_init(jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), "float32"))
    averages = jax.tree.map(lambda x: x + 0.25, variables)
    # A variance beyond what half precision can hold, as deep layers have them.
    averages["batch_stats"]["stem"]["bn"]["var"] += 1e6
    config = {
        "data": {"dataset": "lsp", "manual_dir": "/somewhere", "data_dir": "/elsewhere"},
        "init_from": "/before",
        "ema_decay": 0.9,
    }
    metadata = describe(
        config=config,
        task=SinglePose(LSP),
        network={
            "name": "stacked_hourglass",
            "options": MODEL,
            "input_size": 32,
            "dtype": "float32",
        },
        normalisation=Normalisation((0.1, 0.1, 0.1)),
        inference=Inference(flip_test=False, scales=(0.9, 1.1), box_margin=1.5),
        records="abc",
        averaged=True,
    )
    state = TrainState(step=jnp.int32(7), opt_state={"mu": variables}, ema=averages, **variables)
    with Checkpoints(tmp_path / "run", None) as checkpoints:
        checkpoints.save(state, metadata, None)
    return tmp_path / "run", averages


def test_averages_are_kept_in_half_precision_and_folders_are_not(run, tmp_path, capsys):
    workdir, averages = run
    output = tmp_path / "packaged"
    assert package.main([f"--checkpoint={workdir}", f"--output={output}"]) == 0
    assert f"{output}: 0." in capsys.readouterr().out
    trained = checkpoint.load(output)
    for (path, kept), whole in zip(
        jax.tree.leaves_with_path(trained.variables), jax.tree.leaves(averages), strict=True
    ):
        assert kept.dtype == np.float32
        np.testing.assert_allclose(kept, whole, rtol=1e-3, err_msg=jax.tree_util.keystr(path))
    np.testing.assert_array_equal(
        trained.variables["batch_stats"]["stem"]["bn"]["var"],
        averages["batch_stats"]["stem"]["bn"]["var"],
    )
    metadata = store.read_metadata(output)
    assert metadata["step"] == 7 and metadata["evaluated"] == "params"
    assert metadata["config"]["data"] == {"dataset": "lsp", "manual_dir": "", "data_dir": ""}
    assert metadata["config"]["init_from"] == ""
    assert trained.model.normalisation.mean == (0.1, 0.1, 0.1)
    assert trained.task == SinglePose(LSP)
    assert trained.inference == Inference(False, (0.9, 1.1), 1.5)
    for path in output.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()


def test_what_cannot_be_packaged_is_refused(run, tmp_path):
    workdir, _ = run
    with pytest.raises(UserError, match="run exists; choose another folder"):
        package.package(workdir, workdir)
    with pytest.raises(UserError, match="does not exist"):
        package.package(tmp_path / "gone", tmp_path / "output")
    assert not (tmp_path / "output").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/output cannot be written"):
        package.package(workdir, tmp_path / "file/output")
    with pytest.raises(UserError, match="beyond what half precision can hold"):
        package._half(np.array([1e6], np.float32))
