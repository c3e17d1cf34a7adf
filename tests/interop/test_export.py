"""Exported networks give the network's outputs, in a process that knows nothing of this package."""

import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import onnx
import pytest

from hourglass_jax import StackedHourglass
from hourglass_jax.checkpoint.metadata import Inference
from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.interop import export
from hourglass_jax.nn import Normalisation
from hourglass_jax.tasks.single_pose.task import SinglePose

SIDE = 48  # heatmaps of 12 px: no power of two
# What somebody else would write: JAX or ONNX Runtime, a file, pictures.
ALONE = """
import sys
import numpy as np
folder = sys.argv[1]
pictures = np.load(f"{folder}/pictures.npy")
for path in sys.argv[2:]:
    for batch in (pictures[:1], pictures):
        if path.endswith(".onnx"):
            import onnxruntime
            found = onnxruntime.InferenceSession(path).run(None, {"images": batch})
        else:
            from jax import export
            found = export.deserialize(bytearray(open(path, "rb").read())).call(batch)
        np.savez(f"{path}.{len(batch)}.npz", *map(np.asarray, found))
assert not any(name.startswith("hourglass_jax") for name in sys.modules)
"""


def trained(stem, num_residuals=1):
    model = StackedHourglass(
        num_stacks=2, num_joints=14, features=12, order=2, stem_features=4, stem=stem,
        num_residuals=num_residuals, normalisation=Normalisation((0.4404, 0.4440, 0.4327)),
    )  # fmt: skip
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, SIDE, SIDE, 3), np.float32))
    rng = np.random.default_rng(1)
    # Variances and scales above 0; every bias and mean is something.
    variables = jax.tree.map(lambda s: rng.uniform(0.1, 0.6, s.shape).astype(np.float32), shapes)
    kernels = jax.tree_util.tree_map_with_path(
        lambda path, x: rng.normal(size=x.shape).astype(np.float32) / np.sqrt(x[..., 0].size)
        if path[-1].key == "kernel" else x,
        variables,
    )  # fmt: skip
    where = pathlib.Path("somewhere")
    return Trained(model, kernels, SinglePose(LSP), SIDE, Inference(), where)


def test_files_give_the_outputs_of_the_network_at_any_batch(tmp_path):
    network = trained("paper")
    pictures = np.random.default_rng(2).random((5, SIDE, SIDE, 3), np.float32)
    np.save(tmp_path / "pictures.npy", pictures)
    paths = []
    for suffix in export.FORMATS:
        for outputs in export.OUTPUTS:
            paths.append(tmp_path / f"{outputs}{suffix}")
            assert export.export(network, outputs, paths[-1]) < 1e-4
    subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path, *paths],
        check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    mean = np.array(network.model.normalisation.mean, np.float32).reshape(1, 1, 1, 3)
    maps = jax.jit(network.model.apply)(network.variables, pictures - mean)
    joints, scores = jax.jit(export.network(network, "joints"))(pictures)
    assert np.ptp(joints) > SIDE / 4  # all over the picture
    expected = {"maps": [maps], "joints": [joints, scores]}
    for path in paths:
        for batch in (1, 5):
            found = np.load(f"{path}.{batch}.npz")
            for array, values in zip(found.values(), expected[path.stem], strict=True):
                np.testing.assert_allclose(array, values[:batch], rtol=0, atol=1e-4)


def test_onnx_has_every_kind_of_network(tmp_path):
    path = tmp_path / "a.onnx"
    assert export.export(trained("bearpaw", num_residuals=2), "maps", path) < 1e-4


def test_onnx_file_tells_what_its_joints_are(tmp_path):
    path = tmp_path / "a.onnx"
    export.write_onnx(trained("paper"), "joints", path)
    model = onnx.load(path)
    assert {p.key: p.value for p in model.metadata_props}["joints"].split(",") == list(LSP.joints)
    assert [o.name for o in model.graph.output] == ["joints", "scores"]


def test_a_file_that_gives_something_else_is_an_error(tmp_path, monkeypatch):
    network = trained("paper")
    path = tmp_path / "a.stablehlo"
    monkeypatch.setitem(
        export.FORMATS, ".stablehlo", (export.write_stablehlo, lambda *a: [np.zeros(())])
    )
    with pytest.raises(RunError, match="gives other maps"):
        export.export(network, "maps", path)
    with pytest.raises(UserError, match=r"must end in one of \.stablehlo, \.onnx"):
        export.export(network, "maps", tmp_path / "a.tflite")


def test_the_command(finished, tmp_path, capsys):
    path = tmp_path / "new" / "pose.stablehlo"
    export.main([f"--checkpoint={finished[0]}", f"--output={path}", "--outputs=joints"])
    assert path.stat().st_size > 1000
    with pytest.raises(UserError, match=r"--checkpoint=.* does not exist"):
        export.main([f"--checkpoint={tmp_path}/gone", f"--output={path}"])
    with pytest.raises(UserError, match="--outputs=heatmaps: this network gives maps or joints"):
        export.main([f"--checkpoint={finished[0]}", f"--output={path}", "--outputs=heatmaps"])
    with pytest.raises(UserError, match="must end in one of"):
        export.main([f"--checkpoint={finished[0]}", f"--output={tmp_path}/pose"])


def test_onnx_files_of_other_networks_and_tasks_are_refused(tmp_path):
    trained = Trained(object(), {}, SinglePose(LSP), 64, Inference(), tmp_path)
    with pytest.raises(UserError, match="there is no ONNX graph of the network object"):
        export.write_onnx(trained, "maps", tmp_path / "x.onnx")
    trained = Trained(StackedHourglass(), {}, SimpleNamespace(name="x"), 64, Inference(), tmp_path)
    with pytest.raises(UserError, match="'x' can only return maps"):
        export.write_onnx(trained, "joints", tmp_path / "x.onnx")
