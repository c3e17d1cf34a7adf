"""What goes wrong with files while a run is away or at work, caused for real."""

import resource
import shutil

import pytest
import tensorflow as tf
from conftest import small_synthetic
from short_run import assert_same_run, lines_of, start, unfinished, wait_for_step

from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.training import train


def cut_short(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "part",
    ["state", *(pytest.param(p, marks=pytest.mark.slow) for p in ("metadata", "metrics", ""))],
    ids=lambda p: p or "all",
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    finished, records, tmp_path, part, caplog
):
    workdir = unfinished(finished, tmp_path / "run")
    steps = sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert steps[-2:] == [6, 8]
    cut_short(workdir / "checkpoints/8" / part)
    with caplog.at_level("INFO"):
        train.train_and_evaluate(small_synthetic(records), workdir)
    assert f"{workdir / 'checkpoints/8'} cannot be read" in caplog.text
    assert "continuing from step 6" in caplog.text and (workdir / "damaged-8").is_dir()
    assert_same_run(workdir, finished[0])


@pytest.mark.parametrize("part", ["state", "metadata"])
def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(
    finished, records, tmp_path, part
):
    workdir = unfinished(finished, tmp_path / "run")
    for folder in (workdir / "checkpoints").iterdir():
        cut_short(folder / part)
    # The best is kept as well, which may be older than the latest two.
    first, *others = sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir())
    with pytest.raises(UserError, match=rf"checkpoints/{first} cannot be read.*before it"):
        train.train_and_evaluate(small_synthetic(records), workdir)
    assert (workdir / f"checkpoints/{first}").is_dir() and others
    assert all((workdir / f"damaged-{step}").is_dir() for step in others)


def start_on_a_full_disk(records, workdir, fields):
    """The system refuses to let files grow beyond 20 kB, as it refuses on a full disk."""
    return start(
        records,
        workdir,
        fields,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )


@pytest.mark.parametrize(
    ("at", "error"),
    [
        ("the records", "RunError: records cannot be written to"),
        pytest.param("the first picture", "RunError: ", marks=pytest.mark.slow),
    ],
    ids=lambda value: value.partition(":")[0],
)
def test_a_full_disk_ends_the_run(finished, records, tmp_path, at, error):
    data_dir = tmp_path / "records" if at == "the records" else records
    process = start_on_a_full_disk(data_dir, tmp_path / "run", {})
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert any(error in line and str(tmp_path) in line for line in output.splitlines()), output


@pytest.mark.slow
def test_a_run_made_longer_ends_where_the_disk_is_full_for_its_checkpoint(
    finished, records, tmp_path
):
    workdir = unfinished(finished, tmp_path / "run")
    process = start_on_a_full_disk(records, workdir, {"num_steps": 9})
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"RunError: a checkpoint could not be written to {workdir}" in output
    assert lines_of(workdir)[-1]["step"] == 9
    # To read: another writer would sweep up what is left of the save beside the run's own.
    with Checkpoints(workdir, "PCKh@0.5", read_only=True) as checkpoints:
        assert checkpoints.latest == 8
    # And with room again, it goes on.
    config = small_synthetic(records)
    config.num_steps = 9
    result = train.train_and_evaluate(config, workdir)
    with Checkpoints(workdir, "PCKh@0.5", read_only=True) as checkpoints:
        assert checkpoints.latest == 9
        assert result["step"] == checkpoints.best
    # What it ends with is what a run of that length ends with that nothing disturbed.
    train.train_and_evaluate(config, tmp_path / "undisturbed")
    assert_same_run(workdir, tmp_path / "undisturbed")


def test_a_damaged_best_checkpoint_is_told_by_evaluation(finished, records, tmp_path):
    workdir = unfinished(finished, tmp_path / "run")
    for folder in (workdir / "checkpoints").iterdir():
        cut_short(folder / "state")
    with pytest.raises(UserError, match=r"checkpoints/\d cannot be read"):
        train.evaluate_only(small_synthetic(records), workdir)


@pytest.mark.parametrize("how", ["half a record", "records missing at the end", "no file"])
def test_records_cut_short_are_told(finished, records, tmp_path, how):
    copy = tmp_path / "records"
    shutil.copytree(records, copy)
    (path,) = copy.rglob("*train.tfrecord*")
    if how == "no file":
        path.unlink()
    else:
        size = path.stat().st_size // 2 if how == "half a record" else first_record(path)
        path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=f"records.*delete {copy}"):
        train.train_and_evaluate(small_synthetic(copy), tmp_path / "run")


def first_record(path):
    """Bytes of a TFRecord file's first record: length, its check, the data and theirs."""
    return 16 + int.from_bytes(path.read_bytes()[:8], "little")


@pytest.mark.parametrize("share", [0.5, 0.001], ids=["a later one", "the first"])
def test_a_record_that_changed_on_disk_is_told(finished, records, tmp_path, share):
    copy = tmp_path / "records"
    shutil.copytree(records, copy)
    (path,) = copy.rglob("*train.tfrecord*")
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"damaged.*delete {copy}"):
        train.train_and_evaluate(small_synthetic(copy), tmp_path / "run")


def test_a_picture_in_the_records_that_is_none_is_told(finished, records, tmp_path):
    copy = tmp_path / "records"
    shutil.copytree(records, copy)
    (path,) = copy.rglob("*train.tfrecord*")
    serialized = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in serialized:
            writer.write(record.replace(b"\xff\xd8\xff", b"\0\0\0"))
    with pytest.raises(UserError, match=rf"damaged \(an image .* not a JPEG\); delete {copy}"):
        train.train_and_evaluate(small_synthetic(copy), tmp_path / "run")


@pytest.mark.slow
def test_a_workdir_that_vanishes_ends_the_run(records, tmp_path):
    process = start(records, tmp_path / "run")
    wait_for_step(process, tmp_path / "run", 1)
    # At once: a folder that is taken away file by file may be written to meanwhile.
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "RunError" in output, output
