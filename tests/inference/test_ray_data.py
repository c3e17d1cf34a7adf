"""Ray Data with two workers on this machine: each image once, also if a worker is killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.inference import ray_data, table

COUNT = 60


@pytest.fixture
def source(tmp_path):
    """Small images, and a file that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(COUNT):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).resize((64 + i % 3, 64)).save(folder / f"{i:05}.jpg")
    (folder / "x.jpg").write_text("no image")
    return folder


@pytest.mark.core
def test_images_are_decoded_and_errors_are_rows(source):
    path = source / "00001.jpg"
    row = ray_data.decoded({"path": os.fsencode(path), "image": "1"})
    assert row["pixels"].shape == (64, 65, 3) and (row["image"], row["error"]) == ("1", "")
    for name, says in (("x.jpg", "cannot be read"), ("gone.jpg", "gone.jpg")):
        row = ray_data.decoded({"path": os.fsencode(source / name), "image": name})
        assert says in row["error"] and row["pixels"].ndim == 3
    pages = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    pages[0].save(source / "two.tif", save_all=True, append_images=pages[1:])
    row = ray_data.decoded({"path": os.fsencode(source / "two.tif"), "image": "two.tif"})
    assert "has several frames" in row["error"]


@pytest.mark.core
def test_ray_is_asked_for_in_one_sentence(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    flags = [f"--input={source}", f"--output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=r'Ray Data needs ray; .* "hourglass-jax\[ray\]"'):
        ray_data.main(flags)
    with pytest.raises(UserError, match="--workers=0 must be at least 1"):
        ray_data.main([*flags, "--workers=0"])
    with pytest.raises(UserError, match="--num_stacks is not for people-small"):
        ray_data.main([*flags, "--checkpoint=people-small", "--num_stacks=1"])


def workers():
    """Returns the ids of this machine's processes that are Ray's workers, finding people."""
    lines = [(path.parent.name, path) for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")]
    found = []
    for number, path in lines:
        try:
            if b"ray::MapWorker(MapBatches(Worker)).submit" in path.read_bytes():
                found.append(int(number))
        except OSError:
            pass
    return found


@pytest.mark.slow
def test_workers_read_from_a_bucket_and_the_table_is_written_there(source):
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra ray")
    bucket_server = pytest.importorskip("bucket_server", reason="its emulator is missing")
    command = [sys.executable, "-m", "hourglass_jax.inference.ray_data", "--batch_size=4"]
    with bucket_server.reached() as bucket:
        bucket.upload(source, "in")
        command += [f"--input={bucket.url}/in", f"--output={bucket.url}/out", "--whole"]
        environment = {**os.environ, "https_proxy": ""}  # which is for TensorFlow's client alone
        ended = subprocess.run([*command, "--num_stacks=1"], cwd=ROOT, env=environment)
        assert ended.returncode == 1  # one is no image
        assert "out/predictions.parquet" in bucket.names()
        again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert again.returncode == 2 and "holds predictions.parquet" in again.stderr
        (source / "a.parquet").write_bytes(bucket.read("out/predictions.parquet"))
        assert not any(name.endswith(".lock") for name in bucket.names())
    rows = list(table.read(source / "a.parquet"))
    assert [row["image"] for row in rows] == [*(f"{i:05}.jpg" for i in range(COUNT)), "x.jpg"]
    assert f"{bucket.url}/in/x.jpg cannot be read" in rows[-1]["error"]
    assert all(row["error"] is None and len(row["joints"]) == 19 for row in rows[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_two_workers_find_each_image_once(source, tmp_path, killed):
    """The rows are those of one process, as far as batches of other sizes give the same."""
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra ray")
    flags = [f"--input={source}", "--whole", "--no_flip_test", "--num_stacks=1"]
    output, before = tmp_path / "out", set(workers())
    command = [sys.executable, "-m", "hourglass_jax.inference.ray_data", *flags]
    process = subprocess.Popen([*command, f"--output={output}", "--batch_size=4"], cwd=ROOT)
    while killed and process.poll() is None:
        if mine := set(workers()) - before:
            os.kill(mine.pop(), signal.SIGKILL)
            killed -= 1
        time.sleep(0.05)
    assert process.wait() == 1 and not killed  # one is no image
    rows = list(table.read(output / "predictions.parquet"))
    names = [f"{i:05}.jpg" for i in range(COUNT)]
    assert [row["image"] for row in rows] == [*names, "x.jpg"]
    assert "x.jpg cannot be read" in rows[-1]["error"] and rows[-1]["person"] is None
    about = table.About.of(output / "predictions.parquet")
    command = [sys.executable, "-m", "hourglass_jax.predict", *flags, "--no_overlays"]
    assert subprocess.run([*command, f"--output={tmp_path / 'one'}"], cwd=ROOT).returncode == 1
    expected = json.loads((tmp_path / "one/predictions.json").read_text())
    for one, other in zip(table.entries(about.form, rows), expected, strict=True):
        assert one["image_id"] == other["image_id"]
        np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=0.01)
