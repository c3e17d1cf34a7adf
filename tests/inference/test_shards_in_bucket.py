"""Shards and their merge in a bucket: atomic, resumable, and the same as on a disk."""

import json
import os
import random
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("gcp_storage_emulator")
pytest.importorskip("google.cloud.storage")

import bucket_child
import bucket_server
from fake import fake, run, write_images, write_video

from hourglass_jax import merge
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.inference import ray_data
from hourglass_jax.runtime import bucket_requests

__all__ = ["fake"]


@pytest.fixture
def bucket():
    with bucket_server.reached() as bucket:
        yield bucket


def test_shards_are_merged_as_on_a_disk(fake, bucket, tmp_path):
    write_images(tmp_path / "in", [f"{i}.png" for i in range(6)])
    write_images(tmp_path / "in/day 1", ["a.png"])
    write_video(tmp_path / "in/day 1/b.avi", frames=2)
    (tmp_path / "in/x.jpg").write_text("no image")
    bucket.upload(tmp_path / "in", "in")
    source, output, flags = f"{bucket.url}/in", f"{bucket.url}/in/out", ("--whole", "--shards=2")
    names = ["predictions-00000-of-00002", "predictions-00001-of-00002"]
    # The first one is stopped as if its process had been killed: nothing of it ends.
    fake.on_call = lambda call: (_ for _ in ()).throw(KeyError) if call == 3 else None
    with pytest.raises(KeyError):
        run(source, output, *flags, "--shard=0")
    begun = bucket.read(f"in/out/{names[0]}/progress.jsonl").count(b'{"end"')
    assert begun == 2 and not any(name.endswith(".parquet") for name in bucket.names())
    with pytest.raises(UserError, match=rf"^{output} holds no shards that are finished"):
        merge.main([output])
    fake.on_call, fake.calls = lambda call: None, 0
    statuses = [run(source, output, *flags, f"--shard={i}") for i in range(2)]
    assert sorted(statuses) == [0, 1] and fake.calls == 8 - begun  # x.jpg is no image
    fault = bucket.fail("POST|PUT", "in/out/predictions.parquet", status=403)
    with pytest.raises(RunError, match="no rights"):
        merge.main([output])
    assert fault.hit and "in/out/predictions.parquet" not in bucket.names()
    assert merge.main([output]) == 0
    for i in range(2):
        run(tmp_path / "in", tmp_path / "out", *flags, f"--shard={i}")
    assert merge.main([str(tmp_path / "out")]) == 0
    merged = bucket.read("in/out/predictions.json").decode()
    assert json.loads(merged) and merged == (tmp_path / "out/predictions.json").read_text()
    here = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    there = {name.removeprefix("in/out/") for name in bucket.names() if "in/out/pred" in name}
    assert {name for name in there if "/" not in name} == here


def test_a_bucket_that_fails_is_not_taken_for_empty_or_damaged(fake, bucket, tmp_path, monkeypatch):
    write_images(tmp_path / "in", ["a.png"])
    output = f"{bucket.url}/out"
    assert run(tmp_path / "in", output, "--whole", "--shards=1") == 0
    monkeypatch.setattr(bucket_requests, "PATIENCE", 0.3)
    fault = bucket.fail("GET", "parquet.*alt=media", status=503, times=1000)
    with pytest.raises(RunError, match=r"00000-of-00001.parquet: the bucket only answers 503"):
        merge.main([output])
    assert fault.hit
    bucket.fail("GET", "delimiter", status=503, times=1000)
    with pytest.raises(OSError, match="only answers 503"):
        merge.main([output])


def test_workers_of_ray_read_from_a_bucket(bucket, tmp_path):
    write_images(tmp_path, ["a.png"])
    bucket.write("in/a.png", (tmp_path / "a.png").read_bytes())
    bucket.write("in/b.png", b"no image")

    def decoded(name):
        path = os.fsencode(f"{bucket.url}/in/{name}")
        return ray_data.decoded({"path": path, "image": name})

    assert decoded("a.png")["pixels"].shape == (24, 20, 3)
    says = f"{bucket.url}/in/b.png cannot be read"
    assert says in decoded("b.png")["error"] and "no such file" in decoded("c.png")["error"]


@pytest.mark.slow
def test_four_shards_in_a_bucket_killed_at_random(bucket, tmp_path):
    """With networks; each image is merged once, as one process finds it on a disk."""
    count, killed = int(os.environ.get("IMAGES", "400")), 0
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(count):
        noise = rng.integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"in/{i:05}.jpg"), cv2.resize(noise, (64, 64)))
    bucket.upload(tmp_path / "in", "in")
    output, runs = f"{bucket.url}/out", bucket_child.Runs(tmp_path, bucket.environment)
    flags = ["--whole", "--no_flip_test", "--num_stacks=1", "--no_overlays", "--batch_size=1"]

    def start(source, output, *more):
        there = [f"--input={source}", f"--output={output}"]
        return runs.start(bucket_child.predict, *there, *flags, *more)

    for index in range(4):
        shard = ["--shards=4", f"--shard={index}"]
        journal = f"out/predictions-{index:05}-of-00004/progress.jsonl"
        for _ in range(2):
            child, before = start(f"{bucket.url}/in", output, *shard), bucket.version(journal)
            while child.process.is_alive() and bucket.version(journal) == before:
                time.sleep(0.01)
            time.sleep(8 * random.random())  # it is written every five seconds
            killed += child.process.is_alive()
            child.process.kill()
            child.end()
        status, said = start(f"{bucket.url}/in", output, *shard).end()
        assert status == 0, said
    assert killed
    assert start(tmp_path / "in", tmp_path / "one").end()[0] == 0
    status, said = runs.start(bucket_child.merge, output).end()
    assert status == 0 and f"4 shards, {count} files, each exactly once: {count} people" in said
    merged = json.loads(bucket.read("out/predictions.json"))
    expected = json.loads((tmp_path / "one/predictions.json").read_text())
    assert merged == expected and len(merged) == count
