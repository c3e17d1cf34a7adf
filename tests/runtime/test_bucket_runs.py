"""Runs whose every file is in a bucket: killed, disturbed, and the same as on a disk."""

import json
import random
import re
import socket
import time

import cv2
import jax
import numpy as np
import pytest

pytest.importorskip("gcp_storage_emulator")
pytest.importorskip("google.cloud.storage")

import bucket_child
from bucket_server import Bucket
from conftest import small_synthetic
from short_run import assert_same_run, lines_of

from hourglass_jax.checkpoint import trained
from hourglass_jax.runtime import preemption

pytestmark = pytest.mark.slow

FIELDS = {
    "num_steps": 200,
    "log_every_steps": 10,
    "eval.every_steps": 100,
    "checkpoint.every_steps": 40,
}


@pytest.fixture(scope="module")
def bucket():
    with Bucket() as bucket:
        yield bucket


@pytest.fixture(scope="module")
def runs(bucket, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Every process runs the same programs.
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("programs")))
        yield bucket_child.Runs(tmp_path_factory.mktemp("logs"), bucket.environment)


@pytest.fixture(scope="module")
def on_disk(runs, tmp_path_factory):
    """The workdir of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("disk")
    status, said = start(runs, folder / "records", folder / "run").end()
    assert status == 0, said
    return folder / "run"


def start(runs, records, workdir, fields=None, **variables):
    config = small_synthetic(records)
    config.update_from_flattened_dict(FIELDS | (fields or {}))
    return runs.start(bucket_child.train, config.to_dict(), str(workdir), **variables)


def start_in(bucket, runs, name, fields=None, **variables):
    places = (f"{bucket.url}/records", f"{bucket.url}/runs/{name}")
    return start(runs, *places, fields, **variables)


def wait_for(bucket, run, text):
    """Waits for a request whose path has the text, and returns at once."""
    begin = len(bucket.requests)
    while run.process.is_alive():
        if any(text in path for _, path in bucket.requests[begin:]):
            return
        time.sleep(0.002)
    pytest.fail(f"it ended before: {run.said}")


def fetched(bucket, name, folder):
    """Copies a run from the bucket to a disk."""
    prefix = f"runs/{name}/"
    for each in bucket.names():
        if each.startswith(prefix) and not each.endswith("/"):
            path = folder / each.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bucket.read(each))
    return folder


def test_killed_twice_it_ends_as_on_a_disk(bucket, runs, on_disk, tmp_path):
    run = start_in(bucket, runs, "killed")
    wait_for(bucket, run, "checkpoints%2F40")
    time.sleep(random.random() / 10)
    run.process.kill()  # in a save
    run.end()
    assert not any(name.endswith("checkpoints/40/SHA256SUMS") for name in bucket.names())
    run = start_in(bucket, runs, "killed")
    wait_for(bucket, run, "checkpoints%2F120")
    time.sleep(3 * random.random())
    run.process.kill()
    run.end()
    status, said = start_in(bucket, runs, "killed").end()
    assert status == 0 and "continuing from step" in said, said
    workdir = fetched(bucket, "killed", tmp_path / "run")
    assert_same_run(workdir, on_disk)
    names = {path.name for path in workdir.iterdir()}
    assert {"report.html", "config.json", "predictions.npz", "training_batch.png"} <= names
    assert ".lock" not in names and any(name.startswith("events") for name in names)
    assert not any("hourglass-" in name for name in bucket.names())


def test_predictions_from_bucket_to_bucket(bucket, runs, on_disk, tmp_path):
    status, said = start_in(bucket, runs, "killed").end()  # it is there already
    assert status == 0, said
    rng = np.random.default_rng(0)
    (tmp_path / "in/day 1").mkdir(parents=True)
    for name in ("a.jpg", "day 1/b.png"):
        cv2.imwrite(str(tmp_path / "in" / name), rng.integers(0, 255, (80, 60, 3), np.uint8))
    bucket.upload(tmp_path / "in", "in")
    flags = ["--whole", "--heatmaps", "--no_flip_test", "--format=coco"]
    there = [f"--{flag}={bucket.url}/{path}" for flag, path in PLACES.items()]
    assert runs.start(bucket_child.predict, *there, *flags).end()[0] == 0
    here = {"checkpoint": on_disk, "input": tmp_path / "in", "output": tmp_path / "out"}
    here = [f"--{flag}={path}" for flag, path in here.items()]
    assert runs.start(bucket_child.predict, *here, *flags).end()[0] == 0
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.name != "progress.jsonl":
            name = f"out/{path.relative_to(tmp_path / 'out').as_posix()}"
            assert bucket.read(name) == path.read_bytes() or path.suffix == ".npz", name
    # Everything is done; one changes.
    bucket.write("in/a.jpg", (tmp_path / "in/day 1/b.png").read_bytes())
    status, said = runs.start(bucket_child.predict, *there, *flags).end()
    assert status == 0 and "1 of 2 files are done already" in said, said


PLACES = {"checkpoint": "runs/killed", "input": "in", "output": "out"}


@pytest.mark.parametrize("status", [429, 503, None])
def test_a_fault_in_a_save_that_passes_is_not_noticed(bucket, runs, on_disk, tmp_path, status):
    name = f"fault-{status}"
    faults = [
        bucket.fail("POST|PUT", f"runs/{name}/{part}", status=status, times=3)
        for part in ("checkpoints/80/state", "checkpoints/80/SHA", "metrics.jsonl")
    ]
    ended, said = start_in(bucket, runs, name).end()
    bucket.recover()
    assert ended == 0 and all(fault.hit == 3 for fault in faults), said
    assert_same_run(fetched(bucket, name, tmp_path / "run"), on_disk)


@pytest.mark.parametrize(
    ("status", "text"), [(403, "PERMISSION_DENIED|no rights"), (404, "NOT_FOUND|no such bucket")]
)
def test_a_fault_in_a_save_that_stays_ends_the_run(bucket, runs, on_disk, tmp_path, status, text):
    name = f"fault-{status}"
    bucket.fail("POST|PUT", f"runs/{name}/checkpoints/120", status=status, times=10**9)
    begin = time.monotonic()
    ended, said = start_in(bucket, runs, name).end()
    bucket.recover()
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert ended in (1, 2) and re.search(text, line), said
    assert "Traceback" not in said and time.monotonic() - begin < 600
    ended, said = start_in(bucket, runs, name).end()
    assert ended == 0 and "continuing from step 100" in said, said
    assert_same_run(fetched(bucket, name, tmp_path / "run"), on_disk)


def test_two_processes_do_not_share_a_workdir(bucket, runs):
    run = start_in(bucket, runs, "shared")
    wait_for(bucket, run, "checkpoints%2F40")
    ended, said = start_in(bucket, runs, "shared").end()
    assert ended == 2 and "is at work there" in said, said
    run.process.terminate()
    assert run.end()[0] == preemption.STOPPED, run.said
    ended, said = start_in(bucket, runs, "shared").end()
    assert ended == 0 and "continuing from step" in said, said


def test_two_processes_train_as_one_in_one_bucket(bucket, runs, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    together = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2"}
    fields = {"num_steps": 20, "checkpoint.every_steps": 10, "eval.every_steps": 20}
    both = [
        start_in(bucket, runs, "both", fields, JAX_PROCESS_ID=str(i), **together) for i in range(2)
    ]
    for run in both:
        status, said = run.end()
        assert status == 0, said
    workdir = fetched(bucket, "both", tmp_path / "run")
    assert {step["step"] for step in lines_of(workdir)} == {10, 20}
    assert json.loads((workdir / "evaluation.json").read_text())["persons"] == 11
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(trained.load(workdir).variables))
