"""Damage to files: each flipped bit, cut, lost or added file is found, or changes nothing."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damages import damages
from test_metadata import described

from hourglass_jax import nn
from hourglass_jax.checkpoint import integrity, store, trained
from hourglass_jax.checkpoint.integrity import DamagedError
from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import digests

COUNTS = [10, pytest.param(700, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def network():
    model, _ = trained.model_and_task(described())
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(x.dtype), nn.variable_shapes(model)
    )


def save(workdir, variables, *figures, **fields):
    """Saves a checkpoint for each figure, steps 1, 2, and so on."""
    with Checkpoints(workdir, "x", keep=9) as checkpoints:
        for step, figure in enumerate(figures, start=1):
            state = TrainState(step=jnp.int32(step), opt_state=(), **variables)
            checkpoints.save(state, described(averaged=False, **fields), figure)
    return workdir


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    return save(tmp_path_factory.mktemp("saved"), network, 0.5)


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved / "checkpoints/1", tmp_path / "copy")


@pytest.mark.parametrize("which", ["saved", "lsp-small"])
@pytest.mark.parametrize("count", COUNTS)
def test_flips_and_cuts_are_found_by_digests(saved, tmp_path, which, count):
    source = saved / "checkpoints/1" if which == "saved" else trained.MODELS / which
    folder = shutil.copytree(source, tmp_path / "copy")
    assert integrity.check_digests(folder)
    for what in damages(folder, count):
        with pytest.raises(UserError, match=r"the file .* is (not|missing)|does not know|not JSON"):
            integrity.check_digests(folder)
            pytest.fail(what)
    assert integrity.check_digests(folder)


def test_a_flipped_weight_is_found_by_who_loads_it(tmp_path):
    folder = shutil.copytree(trained.MODELS / "lsp-small", tmp_path / "copy")
    largest = max(folder.rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[714500] ^= 1 << 6
    largest.write_bytes(content)
    with pytest.raises(UserError, match=f"the checkpoint {folder} cannot be read.*{largest.name}"):
        trained.load(folder)


@pytest.mark.parametrize(
    "lost",
    ["metadata", "state", "state/d", "state/_METADATA", "_CHECKPOINT_METADATA", digests.NAME],
)
def test_what_is_lost_is_named(copy, lost):
    path = copy / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DamagedError, match=rf"{lost}.*missing|No such file.*metadata"):
        trained.load(copy)


def test_a_file_in_place_of_the_folder_of_checkpoints_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(UserError, match="checkpoints must be a folder; move the file away"):
        Checkpoints(tmp_path, "x")


def test_digests_that_are_cut_in_a_line_are_named(copy):
    path = copy / digests.NAME
    content = path.read_bytes()
    for end in (30, 66, 70, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(DamagedError, match="the file SHA256SUMS is not as it was written"):
            trained.load(copy)


def test_what_was_added_is_named_unless_a_file_manager_did_it(copy):
    (copy / ".DS_Store").touch()
    (copy / "state/._d").touch()
    assert trained.load(copy).input_size == 32
    (copy / "state/more").touch()
    with pytest.raises(DamagedError, match="does not know the file state/more"):
        trained.load(copy)


def test_checkpoints_of_earlier_versions_have_no_digests(copy, caplog):
    path = copy / "metadata/metadata"
    path.write_text(json.dumps({**json.loads(path.read_text()), "digests": None}))
    (copy / digests.NAME).unlink()
    with pytest.raises(DamagedError, match="SHA256SUMS is missing"):
        trained.load(copy)
    metadata = json.loads(path.read_text())
    del metadata["digests"]
    path.write_text(json.dumps(metadata))
    with caplog.at_level("INFO"):
        trained.load(copy)
    assert f"{copy} has no digests" in caplog.text


@pytest.mark.parametrize("part", ["metrics/metrics", "_CHECKPOINT_METADATA"])
def test_a_damaged_figure_does_not_choose_the_best(network, tmp_path, part):
    workdir = save(tmp_path / "run", network, 0.5, 0.4, 0.3)
    path = workdir / "checkpoints/3" / part
    content = path.read_text()
    path.write_text(content.replace("0.3", "0.9") if "0.3" in content else content.upper())
    with pytest.raises(DamagedError, match=f"checkpoints/3 cannot be read.*{part}"):
        Checkpoints(workdir, "x", read_only=True)
    with Checkpoints(workdir, "x") as checkpoints:
        assert (checkpoints.best, checkpoints.latest) == (1, 2)
    assert (workdir / "damaged-3").is_dir()


@pytest.mark.parametrize(
    ("value", "says"),
    [(np.nan, "values of params/stem/conv/bias are not finite"), (None, "it lacks")],
)
def test_weights_that_are_not_finite_or_not_there_are_refused(network, tmp_path, value, says):
    params = jax.tree.map(np.asarray, network["params"])
    if value is None:
        del params["stem"]["conv"]["bias"]
    else:
        params["stem"]["conv"]["bias"] = np.full_like(params["stem"]["conv"]["bias"], value)
    workdir = save(tmp_path / "run", {**network, "params": params}, 0.5)
    with pytest.raises(DamagedError, match=says):
        trained.load(workdir)


def test_the_state_of_an_optimizer_may_hold_anything(network, tmp_path):
    state = TrainState(step=jnp.int32(1), opt_state={"a": jnp.full(3, jnp.nan)}, **network)
    with Checkpoints(tmp_path, "x") as checkpoints:
        checkpoints.save(state, described(), 0.5)
        checkpoints.close()
        like = jax.eval_shape(lambda: state)
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)
        assert np.isnan(checkpoints.restore(1, like).opt_state["a"]).all()


def test_a_run_takes_the_checkpoint_before_one_without_digests(network, tmp_path):
    """That is what a folder looks like to which a copy has not come completely."""
    workdir = save(tmp_path / "run", network, 0.5, 0.4)
    (workdir / "checkpoints/2" / digests.NAME).unlink()
    with Checkpoints(workdir, "x") as checkpoints:
        assert checkpoints.latest == 1
    with pytest.raises(DamagedError):
        store.read_metadata(workdir / "damaged-2")


def test_arrays_of_another_shape_are_refused_before_they_are_made(copy):
    metadata = json.loads((copy / "metadata/metadata").read_text())
    metadata["network"]["options"].update(features=4096)
    (copy / "metadata/metadata").write_text(json.dumps(metadata))
    digests.write(copy)
    with pytest.raises(DamagedError, match=r"by its metadata it holds .*e\+09 bytes"):
        trained.load(copy)
    metadata["network"]["options"].update(features=10, num_stacks=1)
    (copy / "metadata/metadata").write_text(json.dumps(metadata))
    digests.write(copy)
    with pytest.raises(DamagedError, match="shape"):
        trained.load(copy)


def test_a_figure_added_later_is_checked_as_well(network, tmp_path):
    save(tmp_path, network, None)
    with Checkpoints(tmp_path, "x") as checkpoints:
        checkpoints.add_figure(1, 0.5)
    folder = tmp_path / "checkpoints/1"
    assert trained.load(folder).input_size == 32
    (folder / "metrics/metrics").write_text('{"x": 0.6}')
    with pytest.raises(DamagedError, match="metrics: the file metrics is not as it was written"):
        trained.load(folder)
    with pytest.raises(DamagedError, match="is not as it was written"):
        Checkpoints(tmp_path, "x", read_only=True)
