"""Published files become checkpoints of ours, and a file that holds a program runs nothing."""

import io
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy
from conftest import ROOT, small_synthetic
from damages import damages
from test_torch_weights import BEARPAW_MEAN, bearpaw, fill

from hourglass_jax import PoseEstimator
from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.errors import UserError
from hourglass_jax.interop import torch_file
from hourglass_jax.interop.torch_weights import convert, from_state_dict
from hourglass_jax.training import train


class Evil:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def save_safetensors(tensors, path):
    safetensors.numpy.save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)


def test_what_every_trainer_saves_beside_the_network(tmp_path):
    import torch

    tensors = fill(bearpaw(stacks=1, joints=3, features=16, order=1, stem=4))
    saved = {f"module.{name}": torch.from_numpy(value) for name, value in tensors.items()}
    whole = {
        "epoch": 30,
        "arch": "hg",
        "state_dict": saved,
        "best_acc": np.float64(0.87),
        "score": np.array([0.1])[0],
        "optimizer": {"state": {}, "param_groups": [{"lr": 2.5e-4, "betas": (0.9, 0.999)}]},
    }
    for i, options in enumerate(({}, {"_use_new_zipfile_serialization": False})):
        path = tmp_path / f"hg{i}.pth.tar"
        torch.save(whole, path, **options)
        found = torch_file.read(path)
        assert found.keys() == saved.keys()
        _, variables, _ = from_state_dict(found)
        _, expected, _ = from_state_dict(tensors)
        jax.tree.map(np.testing.assert_array_equal, variables, expected)
    half = {name: value.to(torch.bfloat16) for name, value in saved.items()}
    torch.save(half, tmp_path / "half.pth")
    assert {x.dtype for x in torch_file.read(tmp_path / "half.pth").values()} == {np.dtype("f4")}


@pytest.mark.parametrize("kind", ["pickle", "torch", "legacy"])
def test_a_pickle_executes_nothing(kind, tmp_path):
    import torch

    path, touched = tmp_path / "hg.pth", tmp_path / "touched"
    content = {"state_dict": {"conv1.weight": torch.zeros(2)}, "arch": Evil(touched)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Evil(touched)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(UserError, match=r"hg\.pth cannot be read as tensors alone"):
        torch_file.read(path)
    assert not touched.exists()
    pickle.loads(pickle.dumps(Evil(touched)))
    assert touched.exists()  # and it would have


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_is_no_checkpoint(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(UserError, match=f"{name} is not a file"):
        torch_file.read(path)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match=name):
        torch_file.read(path)


def zipped(name, content, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; download it again"),
        (bytes(2000), "begins with zeros.*download it again"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "is a web page.*in a browser"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1",
            "is a pointer of Git LFS.*lfs pull",
        ),
        (b"404: Not Found", "is a text that begins with '404: Not Found'"),
        (b'{"weight_map": {}}', "is JSON, such as the index"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        (b"\x1f\x8b\x08" + bytes(100), "is an archive; unpack it"),
        (b"hg.pth".ljust(257, b"\0") + b"ustar" + bytes(300), "is an archive; unpack it"),
        (zipped("hg/hg8.pth", "x"), "is a zip archive with hg/hg8.pth; unpack it"),
        (zipped("hg/data.pkl", bytes(2**22), zipfile.ZIP_DEFLATED), "is compressed"),
        (zipped("hg/data.pkl", "x" * 999)[:500], "is cut short or damaged"),
    ],
)
def test_what_it_is_instead_and_what_to_do(tmp_path, content, says):
    for name in ("hg8.pth", "hg8.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} {says}") as caught:
            torch_file.read(tmp_path / name)
        assert len(str(caught.value)) < 400


def test_the_name_does_not_decide_what_it_is(tmp_path):
    save_safetensors({"a": np.ones(3, np.float32)}, tmp_path / "a.pth")
    assert torch_file.read(tmp_path / "a.pth")["a"].tolist() == [1, 1, 1]


def test_tensors_that_claim_more_than_is_there(tmp_path):
    import torch

    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"a": torch.zeros(1).expand(10**6, 10**6)}}, path)
    with pytest.raises(UserError, match="the tensor 'a' is larger than the file"):
        torch_file.read(path)
    torch.save({"a": torch.eye(3).to_sparse()}, path)
    with pytest.raises(UserError, match=r"the tensor 'a' is no array|cannot be read as tensors"):
        torch_file.read(path)
    itself = {"b": torch.ones(1)}
    itself["model"] = itself
    torch.save(itself, path)
    assert torch_file.read(path)["b"] == 1


@pytest.mark.parametrize("count", [10, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["a.pth", "a.safetensors"])
def test_damage_ends_in_one_sentence_or_gives_tensors(tmp_path, kind, count):
    import torch

    (tmp_path / "files").mkdir()
    path, tensors = tmp_path / "files" / kind, {"a": np.arange(6, dtype=np.float32)}
    if kind == "a.pth":
        torch.save({"state_dict": {k: torch.from_numpy(v) for k, v in tensors.items()}}, path)
    else:
        save_safetensors(tensors, path)
    for what in damages(tmp_path / "files", count):
        try:
            assert all(isinstance(x, np.ndarray) for x in torch_file.read(path).values()), what
        except UserError as error:
            assert len(str(error)) < 500, what


def test_other_content(tmp_path):
    import torch

    path = tmp_path / "a.pth"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(UserError, match="holds a list, not a state_dict"):
        torch_file.read(path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Evil(tmp_path / "touched")))
    with pytest.raises(UserError, match="pip install torch"):
        torch_file.read(path)
    assert not (tmp_path / "touched").exists()


def test_joints_get_names(tmp_path):
    path = tmp_path / "five.safetensors"
    save_safetensors(fill(bearpaw(stacks=1, joints=5, features=16, order=1, stem=4)), path)
    with pytest.raises(UserError, match=r"has 5 joints, and not MPII's 16; name them .*--joints="):
        convert(path, tmp_path / "a")
    with pytest.raises(UserError, match="names 2 joints, and the network has 5"):
        convert(path, tmp_path / "a", ["nose", "tail"])
    names = ["nose", "left_ear", "right_ear", "left_eye", "right_eye"]
    assert "num_stacks=1, " in convert(path, tmp_path / "a", names)
    trained = checkpoint.load(tmp_path / "a")
    assert trained.task.skeleton.pairs == (("left_ear", "right_ear"), ("left_eye", "right_eye"))
    assert trained.model.normalisation.mean == BEARPAW_MEAN
    with pytest.raises(UserError, match="holds a checkpoint already"):
        convert(path, tmp_path / "a", names)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published network of 16 joints: the workdir it became, and its tensors."""
    folder = tmp_path_factory.mktemp("published")
    tensors = fill(bearpaw(stacks=2, joints=16, features=8, order=1, stem=4))
    tensors |= {name: np.abs(x) for name, x in tensors.items() if name.endswith("running_var")}
    save_safetensors(tensors, folder / "hg.safetensors")
    workdir = folder / "hg"
    subprocess.run(
        [
            *(sys.executable, "-m", "hourglass_jax.interop.torch_weights"),
            *(folder / "hg.safetensors", f"--output={workdir}"),
        ],
        check=True, cwd=ROOT, env={**os.environ, "XLA_FLAGS": ""},
    )  # fmt: skip
    return workdir, tensors


def test_a_converted_network_predicts(published):
    workdir, tensors = published
    model, variables, normalisation = from_state_dict(tensors)
    trained = checkpoint.load(workdir)
    assert trained.model.clone(dtype=None, starts=model.starts) == model
    assert trained.model.normalisation == normalisation
    jax.tree.map(np.testing.assert_array_equal, trained.variables, variables)
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    poses = PoseEstimator.from_checkpoint(workdir, finder=None)(picture)
    assert poses.joints.shape == (1, 16, 2) and np.isfinite(poses.joints).all()


def test_a_converted_network_is_evaluated(published, records):
    workdir, _ = published
    config = small_synthetic(records)
    # Its stacks and stem are its own, whatever the config says.
    result = train.evaluate_only(config, workdir)
    assert result["persons"] == 11 and "PCKh@0.5/stack2" in result["metrics"]
    assert checkpoint.load(workdir).model.stem == "bearpaw" != config.model.stem
    with pytest.raises(UserError, match=r"published network.*--config\.init_from="):
        train.train_and_evaluate(config, workdir)


@pytest.mark.slow
def test_a_converted_network_is_fine_tuned(published, records, tmp_path):
    workdir, _ = published
    config = small_synthetic(records)
    config.init_from, config.num_steps = str(workdir), 2
    train.train_and_evaluate(config, tmp_path / "run")
    # What is taken from a picture came along, and stays for whoever goes on from here.
    assert checkpoint.load(tmp_path / "run").model.normalisation.mean == BEARPAW_MEAN
    config.num_steps = 3
    train.train_and_evaluate(config, tmp_path / "run")
