"""Processes that share an input: who takes what, and what a killed one costs."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from fake import fake, people_in, run, write_images, write_video
from PIL import Image
from pyarrow import parquet

from hourglass_jax import merge
from hourglass_jax.errors import UserError
from hourglass_jax.inference import table
from hourglass_jax.inference.shards import Shard

__all__ = ["fake"]
ARRAY = {
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "3",
}
# A batch script is task 0 of its job, and none of those that `srun` starts.
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
STEP = {**BATCH, "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.core
@pytest.mark.parametrize(
    ("shards", "shard", "variables", "expected"),
    [
        (None, None, {}, None),
        (4, 1, {}, (1, 4)),
        (4, 1, {**ARRAY, "JOB_COMPLETION_INDEX": "3"}, (1, 4)),
        (None, None, ARRAY, (2, 4)),
        (8, None, ARRAY, (2, 8)),
        (1, None, ARRAY, (0, 1)),
        (None, None, {"JOB_COMPLETION_INDEX": "3"}, None),  # of how many?
        (4, None, {"JOB_COMPLETION_INDEX": "3"}, (3, 4)),
        (None, None, BATCH, None),
        (None, None, STEP, (3, 4)),
        (5, None, STEP, (3, 5)),
        (None, None, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}, None),
        (None, None, {**STEP, **ARRAY}, (2, 4)),
    ],
)
def test_flags_and_variables(shards, shard, variables, expected):
    assert Shard.from_flags(shards, shard, variables) == (expected and Shard(*expected))


@pytest.mark.core
@pytest.mark.parametrize(
    ("shards", "shard", "variables", "says"),
    [
        (0, 0, {}, "--shards=0 must be at least 1"),
        (4, 4, {}, "--shard=4 must be from 0 to 3, as there are 4 shards"),
        (4, -1, {}, "--shard=-1 must be from 0 to 3"),
        (None, 1, {}, "--shard=1: give --shards as well"),
        (4, None, {}, "--shards=4: give --shard as well, from 0 to 3"),
        (4, None, BATCH, "--shards=4: give --shard as well"),
        (2, None, ARRAY, "SLURM_ARRAY_TASK_ID=2 must be from 0 to 1"),
        (None, None, {**ARRAY, "SLURM_ARRAY_TASK_MIN": "1"}, "_MIN=1: number the array from 0"),
        (None, None, {**ARRAY, "SLURM_ARRAY_TASK_MAX": "6"}, "_MAX=6: number the array from 0"),
        (4, None, {"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX=x must be a whole number"),
    ],
)
def test_mistakes_in_them(shards, shard, variables, says):
    with pytest.raises(UserError, match=says):
        Shard.from_flags(shards, shard, variables)


@pytest.mark.core
def test_each_file_has_one_shard_for_ever():
    names = [f"day{i // 1000}/{i:06}.jpg" for i in range(8000)]
    shards = [Shard(i, 7) for i in range(7)]
    shares = [sum(map(shard.has, names)) for shard in shards]
    assert sum(shares) == 8000 and 1000 < min(shares) < max(shares) < 1300
    # By `printf %s NAME | b2sum --length=64`, modulo 7.
    known = ["a.jpg", "deeper/b.jpg", "é.jpg", "caf\udce9.jpg"]
    assert [next(s.index for s in shards if s.has(name)) for name in known] == [6, 0, 3, 5]


@pytest.fixture
def source(tmp_path):
    """24 images, of which some show nobody, a video, and a file that is none."""
    names = [f"{i:02}.png" for i in range(22)]
    write_images(tmp_path / "in/deeper", ["b.png", "b.jpg"])
    write_images(tmp_path / "in", names)
    write_video(tmp_path / "in/c.avi", frames=5)
    (tmp_path / "in/e.jpg").write_text("no image")
    boxes = {name: [[1, 2, 12, 15], [3, 3, 9, 9]] for name in [*names[::2], "b.png", "c.avi"]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path / "in"


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, "tests/inference")
from fake import FakeEstimator, Finder, PoseEstimator, run
made = FakeEstimator()
made.on_call = lambda call: call == 4 and os.kill(os.getpid(), signal.SIGKILL)
PoseEstimator.from_checkpoint = lambda *unused, **options: made
run(*sys.argv[1:])
"""


def test_a_killed_shard_goes_on_and_all_are_merged(fake, source, tmp_path):
    flags = [f"--boxes={source.parent / 'boxes.json'}"]
    assert run(source, tmp_path / "whole", *flags) == 1  # one is no image
    output = source / "out"  # what is drawn there is no input
    shard = [*flags, "--shards=2", "--shard=0"]
    killed = [sys.executable, "-c", KILLED, source, output, *shard]
    environment = {**os.environ, "PYTHONPATH": "tests"}
    assert subprocess.run(killed, cwd=ROOT, env=environment).returncode == -signal.SIGKILL
    begun = (output / "predictions-00000-of-00002/progress.jsonl").read_text().count('"end"')
    assert 0 < begun < 10 and not list(output.glob("*.parquet"))
    fake.calls = 0
    for i in range(2):
        assert run(source, output, *flags, "--shards=2", f"--shard={i}") == 1 - i
    with pytest.raises(UserError, match=r"holds predictions-00000-of-00002, and this is one of 3"):
        run(source, output, *flags, "--shards=3", "--shard=0")
    assert merge.main([str(output)]) == 0
    merged = (output / "predictions.json").read_text()
    assert merged == (tmp_path / "whole/predictions.json").read_text()
    rows = parquet.read_table(output / "predictions.parquet")
    assert json.loads(rows.schema.metadata[b"names"]) == list(fake.task.joints)
    assert rows.schema.names == ["image", "frame", "person", "box", "score", "joints", "error"]
    images = rows["image"].to_pylist()
    (frames,) = {tuple(rows["frame"].take([i for i, x in enumerate(images) if x == "c.avi"]))}
    assert [frame.as_py() for frame in frames] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    expected = sorted([f"{i:02}.png" for i in range(22) for _ in range(2 - i % 2)])
    assert images == [*expected, *["c.avi"] * 10, "deeper/b.jpg", *["deeper/b.png"] * 2, "e.jpg"]
    (error,) = [text for text in rows["error"].to_pylist() if text]
    assert "e.jpg cannot be read" in error
    people = rows.filter(rows["person"].is_valid())
    joints = np.stack([np.stack(joints) for joints in people["joints"].to_numpy()])
    found = people_in(output)
    assert joints.shape == (len(found), 14, 3) and len(found) == 22 + 10 + 2
    assert (joints.reshape(len(found), -1) == [one["keypoints"] for one in found]).all()
    assert np.stack(people["box"].to_numpy())[0].tolist() == [1, 2, 12, 15]


def test_more_shards_than_images_and_images_that_come_later(fake, tmp_path):
    write_images(tmp_path / "in", ["a.png", "b.png"])

    def predict(shard):
        flags = ["--whole", "--shards=5", f"--shard={shard}"]
        assert run(tmp_path / "in", tmp_path / "out", *flags) == 0

    def predict_all():
        for i in range(5):
            predict(i)

    predict_all()
    assert merge.main([str(tmp_path / "out")]) == 0
    assert [one["image_id"] for one in people_in(tmp_path / "out")] == ["a.png", "b.png"]
    assert fake.calls == 2
    write_images(tmp_path / "in", ["c.png"])
    predict(4)
    with pytest.raises(UserError, match=r"00004-of-00005.parquet is of an input of 3 files, and "):
        merge.main([str(tmp_path / "out")])
    predict_all()
    assert merge.main([str(tmp_path / "out")]) == 0
    assert len(people_in(tmp_path / "out")) == fake.calls == 3


def test_a_table_is_there_only_while_its_shard_is_finished(fake, tmp_path):
    write_images(tmp_path / "in", ["a.png", "b.png"])
    flags = [tmp_path / "in", tmp_path / "out", "--whole", "--shards=1"]
    assert run(*flags) == 0 and list(tmp_path.glob("out/*.parquet"))
    write_images(tmp_path / "in", ["a.png"], seed=1)

    def look(call):
        assert not list(tmp_path.glob("out/*.parquet"))

    fake.on_call = look
    assert run(*flags) == 0 and fake.calls == 3
    assert list(tmp_path.glob("out/*.parquet"))


def test_pyarrow_is_asked_for_in_one_sentence(fake, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    says = r'2 shards needs pyarrow; install it with pip install "hourglass-jax\[parquet\]"'
    with pytest.raises(UserError, match=says):
        run(tmp_path, tmp_path / "out", "--shards=2", "--shard=0")
    with pytest.raises(UserError, match="merging needs pyarrow"):
        merge.main([str(tmp_path)])
    assert table.About  # which is imported without it


@pytest.mark.slow
def test_thousands_of_images_in_four_shards_killed_twice_each(tmp_path):
    """With a network; each image is merged exactly once."""
    rng, source, output = random.Random(0), tmp_path / "in", tmp_path / "out"
    count = int(os.environ.get("IMAGES", "5000"))
    source.mkdir()
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).resize((64, 64)).save(source / f"{i:05}.jpg")

    def start(index):
        command = [sys.executable, "-m", "hourglass_jax.predict", f"--input={source}"]
        command += [f"--output={output}", "--checkpoint=lsp-small", "--whole", "--no_flip_test"]
        command += ["--num_stacks=1", "--no_overlays", "--shards=4", f"--shard={index}"]
        return subprocess.Popen(command, cwd=ROOT)

    for index in range(4):
        journal = output / f"predictions-{index:05}-of-00004/progress.jsonl"
        done = 0
        for _ in range(2):
            process, wanted = start(index), done + rng.randint(1, count // 12)
            while done < wanted:
                assert process.poll() is None
                time.sleep(0.05)
                done = journal.read_bytes().count(b'{"end"') if journal.exists() else 0
            process.kill()
            process.wait()
        assert start(index).wait() == 0
    command = [sys.executable, "-m", "hourglass_jax.merge", output]
    merged = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert f"4 shards, {count} files, each exactly once: {count} people" in merged.stdout
    names = [f"{i:05}.jpg" for i in range(count)]
    assert parquet.read_table(output / "predictions.parquet")["image"].to_pylist() == names
    assert [one["image_id"] for one in people_in(output)] == names
