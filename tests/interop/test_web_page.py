"""A web page is written with what it needs, and what cannot be one is refused in a sentence."""

import dataclasses
import inspect
import json

import numpy as np
import onnxruntime
import pytest
import small_networks

from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.checkpoint.metadata import Inference
from hourglass_jax.errors import UserError
from hourglass_jax.interop import export, web_page
from hourglass_jax.tasks.detection import pooling, suppression
from hourglass_jax.tasks.detection.options import CORNERS

CATEGORIES = {
    "boxes": small_networks.detector,
    "corners": lambda: small_networks.detector(CORNERS),
    "people": lambda: small_networks.detector(categories=("person",), ids=(1,)),
    "cups": lambda: small_networks.detector(categories=("cup", "fork"), ids=(1, 2)),
    "eyes": small_networks.poses,
    "everybody": small_networks.grouped,
}


@pytest.fixture(autouse=True)
def checkpoints(monkeypatch):
    """Makes names stand for small networks."""
    monkeypatch.setattr(checkpoint, "load", lambda path, flag="": CATEGORIES[str(path)]())


@pytest.fixture
def runtime(tmp_path):
    """A folder in which npm ci was run, with files that hold their names."""
    folder = tmp_path / "npm"
    dist = folder / "node_modules/onnxruntime-web/dist"
    dist.mkdir(parents=True)
    (dist.parent / "package.json").write_text(json.dumps({"version": web_page.VERSION}))
    for name in (*web_page.RUNTIME, "ort.js"):
        (dist / name).write_text(name)
    return folder


def write(folder, name, runtime, *flags):
    flags = [f"--checkpoint={name}", f"--output={folder}/", f"--runtime={runtime}", *flags]
    export.main(flags)
    return json.loads((folder / "site.json").read_text())


def test_a_page_has_its_sources_runtime_networks_and_settings(tmp_path, runtime):
    folder = tmp_path / "site"
    site = write(folder, "eyes", runtime, "--finder=boxes")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    sources = {path.name for path in web_page.SOURCES.iterdir()}
    runtimes = {f"runtime/{name}" for name in web_page.RUNTIME}
    assert files == sources | runtimes | {"site.json", "pose.onnx", "detector.onnx"}
    assert {"index.html", "page.js", "worker.js"} < sources
    assert site["names"] == ["boxes", "eyes"]
    pose, detector = site["pose"], site["detector"]
    assert pose["joints"] == ["left_eye", "right_eye"] and pose["flipOrder"] == [1, 0]
    assert pose["colours"] == ["#409cff", "#ff8c1a"] and pose["margin"] == 1.25
    assert (pose["sides"], pose["stride"], pose["decoder"]) == ([64], 4, "quarter")
    assert detector["heads"] == {"hm": 0, "wh": 2, "reg": 4} and detector["only"] == 1
    assert detector["ids"] == [3, 7] and detector["minScore"] == 0.4
    assert detector["sides"] == [64] and detector["longerSides"] is None
    defaults = inspect.signature(suppression.suppress).parameters
    named = {"method": "method", "iou": "iou", "sigma": "sigma", "minScore": "min_score"}
    assert detector["suppression"] == {key: defaults[name].default for key, name in named.items()}


def test_a_page_shows_every_box_or_one_person(tmp_path, runtime):
    site = write(tmp_path / "boxes", "cups", runtime)
    assert site["pose"] is None and site["detector"]["only"] is None
    assert not (tmp_path / "boxes/pose.onnx").exists()
    site = write(tmp_path / "eyes", "eyes", runtime)  # eyes alone are not known to be a person's
    assert site["detector"] is None and site["pose"]["joints"]
    site = write(tmp_path / "people", "eyes", runtime, "--finder=people")
    assert site["detector"]["only"] == 0


def test_kernels_are_stored_in_half_precision(tmp_path, runtime):
    folder = tmp_path / "site"
    network = small_networks.poses()
    write(folder, "eyes", runtime)
    export.write_onnx(network, export.MAPS, tmp_path / "full.onnx")
    half, full = (folder / "pose.onnx", tmp_path / "full.onnx")
    # Two bytes of each number, less the names of the nodes that convert them.
    kernels = [x.size for x in _leaves(network.variables["params"]) if x.ndim == 4]
    saved = full.stat().st_size - half.stat().st_size
    assert 2 * sum(kernels) - 200 * len(kernels) < saved < 2 * sum(kernels)
    images = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    found = [
        onnxruntime.InferenceSession(path).run(None, {"images": images}) for path in (half, full)
    ]
    largest = np.abs(found[1][0]).max()
    assert 0 < np.abs(found[0][0] - found[1][0]).max() < 0.01 * largest


def test_numbers_beyond_half_precision_are_stored_as_they_are(tmp_path, runtime, monkeypatch):
    network = small_networks.poses()
    network.variables["params"]["stem"]["conv"]["kernel"][:] *= 1e6
    network.variables["batch_stats"]["stem"]["bn"]["var"][:] *= 1e12
    monkeypatch.setitem(CATEGORIES, "eyes", lambda: network)
    assert write(tmp_path / "site", "eyes", runtime)["pose"]


def _leaves(tree):
    for value in tree.values():
        yield from _leaves(value) if isinstance(value, dict) else [value]


def test_settings_of_the_checkpoint_are_kept(tmp_path, runtime, monkeypatch):
    settings = Inference(flip_test=False, box_margin=1.5)
    network = dataclasses.replace(small_networks.poses(), inference=settings)
    monkeypatch.setitem(CATEGORIES, "eyes", lambda: network)
    pose = write(tmp_path / "site", "eyes", runtime)["pose"]
    assert pose["flipTest"] is False and pose["margin"] == 1.5


def test_a_detector_looks_at_the_sizes_of_its_checkpoint(tmp_path, runtime, monkeypatch):
    network = small_networks.detector()
    network = dataclasses.replace(
        network,
        task=dataclasses.replace(network.task, training_size=48),
        inference=Inference(scales=(0.6, 1.0)),
    )
    monkeypatch.setitem(CATEGORIES, "boxes", lambda: network)
    detector = write(tmp_path / "site", "boxes", runtime)["detector"]
    assert detector["sides"] == [32, 64]  # the network cannot take 38 px
    sizes = {"least": pooling.LEAST * 48, "most": pooling.MOST * 48}
    assert detector["longerSides"] == sizes
    session = onnxruntime.InferenceSession(tmp_path / "site/detector.onnx")
    for side in detector["sides"]:
        (maps,) = session.run(None, {"images": np.zeros((1, side, side, 3), np.float32)})
        assert maps.shape == (1, 2, side // 4, side // 4, 6)


def test_pages_that_cannot_be(tmp_path, runtime):
    for name, flags, text in (
        ("everybody", (), "there is no page for networks of the task 'grouped_pose'"),
        ("corners", (), "show the boxes of centres alone, and this network has corners"),
        ("boxes", ("--finder=people",), "--finder=people: a detector finds by itself"),
        ("eyes", ("--finder=cups",), "does not find people, but cup, fork"),
        ("eyes", ("--finder=eyes",), "boxes of centres alone, and this network has single_pose"),
        ("eyes", ("--outputs=maps",), "--outputs=maps: a page has no choice"),
    ):
        with pytest.raises(UserError, match=text):
            write(tmp_path / "site", name, runtime, *flags)
    with pytest.raises(UserError, match="--runtime is for a web page; give a folder"):
        export.main(["--checkpoint=eyes", f"--output={tmp_path}/x.onnx", "--runtime=x"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--output=.*file/: .*; choose another folder"):
        write(tmp_path / "file", "eyes", runtime)


def test_a_missing_runtime_is_said_before_anything_is_written(tmp_path, runtime):
    folder, how = tmp_path / "site", r"run npm ci .* or npm install onnxruntime-web@[\d.]+ in"
    with pytest.raises(UserError, match=f"a page needs ONNX Runtime Web .*{how}"):
        export.main(["--checkpoint=eyes", f"--output={folder}/"])
    with pytest.raises(UserError, match=f"has no node_modules/onnxruntime-web; {how}"):
        write(folder, "eyes", tmp_path)
    package = runtime / "node_modules/onnxruntime-web"
    (package / "dist" / web_page.RUNTIME[2]).unlink()
    with pytest.raises(UserError, match=f"without {web_page.RUNTIME[2]}"):
        write(folder, "eyes", runtime)
    (package / "package.json").write_text('{"version": "1.0.0"}')
    with pytest.raises(UserError, match=f"has version 1.0.0 .*{web_page.VERSION} is needed; {how}"):
        write(folder, "eyes", runtime)
    assert not folder.exists()
