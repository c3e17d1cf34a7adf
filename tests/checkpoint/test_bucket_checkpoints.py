"""Checkpoints in a bucket: whole or not there, whenever a save is stopped."""

import socket

import jax
import numpy as np
import pytest

pytest.importorskip("gcp_storage_emulator")
pytest.importorskip("google.cloud.storage")

import bucket_child
import bucket_server

from hourglass_jax.checkpoint import integrity, store
from hourglass_jax.checkpoint.integrity import DamagedError
from hourglass_jax.errors import RunError
from hourglass_jax.runtime import bucket_requests, paths


@pytest.fixture(scope="module")
def bucket():
    with bucket_server.reached() as bucket:
        yield bucket


def state(step):
    return {"step": np.int32(step), "weights": np.full((3, 2), step, np.float32)}


class Saved(dict):
    """A state as `Checkpoints.save` wants it."""

    @property
    def step(self):
        return self["step"]


jax.tree_util.register_pytree_with_keys(
    Saved,
    lambda saved: ([(jax.tree_util.DictKey(k), saved[k]) for k in sorted(saved)], sorted(saved)),
    lambda keys, values: Saved(zip(keys, values, strict=True)),
)


def save(workdir, step, figure=None):
    with store.Checkpoints(workdir, "AP") as checkpoints:
        checkpoints.save(Saved(state(step)), {"about": "x"}, figure)


def restored(workdir, step):
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state(0))
    return store.read_state(workdir / "checkpoints" / str(step), like)


def test_what_is_saved_is_read(bucket):
    workdir = paths.path(f"{bucket.url}/runs/a")
    save(workdir, 5)
    save(workdir, 10, figure=0.5)
    save(workdir, 15)
    assert integrity.steps_in(workdir / "checkpoints") == [10, 15]  # the best and the latest
    np.testing.assert_array_equal(restored(workdir, 15)["weights"], state(15)["weights"])
    assert integrity.metadata(workdir / "checkpoints/15")["about"] == "x"
    with store.Checkpoints(workdir, "AP") as checkpoints:
        assert (checkpoints.latest, checkpoints.best) == (15, 10)
        checkpoints.add_figure(15, 0.7)
        assert checkpoints.best == 15 and checkpoints.is_measured(15)
    with store.Checkpoints(workdir, None, read_only=True) as checkpoints:
        assert checkpoints.best == 15


def test_a_save_that_is_stopped_leaves_nothing_that_counts(bucket):
    workdir = paths.path(f"{bucket.url}/runs/b")
    save(workdir, 5)
    bucket.fail("POST|PUT", "b/checkpoints/10/SHA256SUMS", status=403)
    with pytest.raises(RunError, match=r"could not be written to gs://.*no rights"):
        save(workdir, 10)
    assert integrity.steps_in(workdir / "checkpoints") == [5]
    assert any("b/checkpoints/10/" in name for name in bucket.names())
    bucket.write("runs/b/checkpoints/10/left", b"")
    with store.Checkpoints(workdir, "AP") as checkpoints:
        assert checkpoints.latest == 5
        checkpoints.save(Saved(state(10)), {"about": "x"}, None)
    assert not any(name.endswith("left") for name in bucket.names())
    assert integrity.steps_in(workdir / "checkpoints") == [10]


def test_a_figure_that_was_cut_short_is_removed(bucket):
    workdir = paths.path(f"{bucket.url}/runs/c")
    save(workdir, 5)
    bucket.write("runs/c/checkpoints/5/metrics/metrics", b'{"AP": 1')
    with store.Checkpoints(workdir, "AP") as checkpoints:
        assert checkpoints.latest == 5 and not checkpoints.is_measured(5)
    restored(workdir, 5)


def test_what_cannot_be_reached_is_not_damaged(bucket, monkeypatch):
    monkeypatch.setattr(bucket_requests, "PATIENCE", 0.3)
    workdir = paths.path(f"{bucket.url}/runs/d")
    save(workdir, 5)
    for status in (403, 503):
        bucket.fail("GET", "d/checkpoints/5/metadata", status=status, times=100)
        with pytest.raises(RunError, match="cannot be read"):
            store.read_metadata(workdir / "checkpoints/5")
        bucket.recover()
    bucket.write("runs/d/checkpoints/5/metadata/metadata", b"{}")
    with pytest.raises(DamagedError, match="is not as it was written"):
        store.read_metadata(workdir / "checkpoints/5")


@pytest.mark.slow
def test_of_two_processes_the_first_compares_digests_for_both(bucket, tmp_path):
    save(paths.path(f"{bucket.url}/runs/e"), 5)
    checkpoint = f"{bucket.url}/runs/e/checkpoints/5"
    runs = bucket_child.Runs(tmp_path, bucket.environment)

    def restore():
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        begin = len(bucket.requests)
        both = [runs.start(bucket_child.restore, checkpoint, address, i) for i in range(2)]
        ended = [run.end() for run in both]
        read = [path for method, path in bucket.requests[begin:] if method == "GET"]
        # TensorStore has other addresses.
        return ended, [path for path in read if "/download/" in path and "manifest" in path]

    ended, compared = restore()
    assert all(status == 0 and "restored 5" in said for status, said in ended), ended
    assert len(set(compared)) == len(compared) > 0
    (name,) = {n for n in bucket.names() if n.endswith("runs/e/checkpoints/5/state/manifest.ocdbt")}
    bucket.write(name, bucket.read(name) + b" ")
    ended, _ = restore()
    assert [status for status, _ in ended] == [2, 2], ended
    assert "manifest.ocdbt is not as it was written" in ended[0][1]
