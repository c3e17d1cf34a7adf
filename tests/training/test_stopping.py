"""Runs that signals, full disks and other runs disturb; the files are the same afterwards."""

import contextlib
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, small_synthetic
from short_run import assert_same_run, lines_of, unfinished

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.evaluation import evaluate
from hourglass_jax.runtime import lock, preemption
from hourglass_jax.training import train


def stop_at(monkeypatch, number):
    """Makes a signal arrive before the loop asks for the `number`-th time whether to stop."""
    asked = iter(range(1, 10**6))

    def requested_by_any(self):
        return next(asked) >= number

    monkeypatch.setattr(preemption.StopSignal, "requested_by_any", requested_by_any)


def interrupted(config, workdir, monkeypatch, moments):
    """Trains, stopped at each of these moments, and then to the end; returns the steps reached."""
    steps = []
    for moment in moments:
        with monkeypatch.context() as patch:
            stop_at(patch, moment)
            with pytest.raises(SystemExit) as end:
                train.train_and_evaluate(config, workdir)
        assert end.value.code == preemption.STOPPED
        steps.append(max(int(path.name) for path in (workdir / "checkpoints").iterdir()))
    train.train_and_evaluate(config, workdir)
    return steps


@pytest.mark.slow
def test_an_evaluation_is_left_and_done_first_on_resume(finished, records, tmp_path, monkeypatch):
    """The loop asks once for each step from 0 on, and before each batch of an evaluation."""
    steps = interrupted(small_synthetic(records), tmp_path / "run", monkeypatch, [7, 2])
    assert steps == [4, 4]  # in the second batch, and then in the first one
    assert_same_run(tmp_path / "run", finished[0])


@pytest.mark.slow
def test_stopped_at_any_moment_it_ends_with_the_same_bits(finished, records, tmp_path, monkeypatch):
    rng = random.Random(0)
    for number in range(6):
        workdir = tmp_path / str(number)
        moments = [rng.randrange(2, 12) for _ in range(rng.randrange(1, 4))]
        with contextlib.suppress(pytest.fail.Exception):  # the last one came after the end
            interrupted(small_synthetic(records), workdir, monkeypatch, moments)
        train.train_and_evaluate(small_synthetic(records), workdir)
        assert_same_run(workdir, finished[0])


def test_the_last_evaluation_is_left_and_done_first_on_resume(
    finished, records, tmp_path, monkeypatch
):
    """Its line is logged once, and another evaluation meanwhile does not count as the run's end."""
    workdir = unfinished(finished, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints/8/metrics")
    (workdir / "evaluation.json").write_text('{"step": 2}')
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(SystemExit) as end:
            train.train_and_evaluate(small_synthetic(records), workdir)
    assert end.value.code == preemption.STOPPED
    assert not (workdir / "checkpoints/8/metrics").exists()
    assert train.train_and_evaluate(small_synthetic(records), workdir) == finished[1]
    assert_same_run(workdir, finished[0])


def test_a_second_run_in_a_workdir_is_refused(records, tmp_path):
    workdir = tmp_path / "run"
    with (
        lock.claim(workdir, "--workdir"),
        pytest.raises(
            UserError, match=rf"--workdir={workdir}: process {os.getpid()} on .* at work"
        ),
    ):
        train.train_and_evaluate(small_synthetic(records), workdir)
    assert not list(workdir.iterdir())


def test_an_evaluation_on_a_full_disk(finished, records, tmp_path, monkeypatch):
    """Files cannot grow beyond a limit, as on a full disk; what was there before stays."""
    workdir = unfinished(finished, tmp_path / "run")
    names = ("predictions.npz", "report.html", "metrics.jsonl")
    before = {name: (workdir / name).read_bytes() for name in names}
    write = evaluate._write

    def write_little(*arguments):
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, most))
        try:
            write(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_write", write_little)
        with pytest.raises(RunError, match=rf"File too large; .* continue .*{workdir}"):
            train.evaluate_only(small_synthetic(records), workdir)
    assert before == {name: (workdir / name).read_bytes() for name in names}
    assert not list(workdir.glob("*.unfinished")) and not (workdir / "evaluation.json").exists()


# In a process each, as users start them.
FIELDS = [
    *("model.features=8", "model.stem_features=4", "model.num_stacks=1", "model.order=1"),
    *("model.input_size=64", "data.resolution=64", "data.num_train=120"),
    *("data.num_validation=1200", "batch_size=8", "eval.batch_size=8", "log_every_steps=1"),
    *("optimizer.name=adam", "optimizer.warmup_steps=0"),
]


def command(folder, *fields, mode="train", limit=None):
    """Starts a run in a folder, in which Ctrl-C works and files may be limited to some bytes."""

    def before():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [
            *(sys.executable, "-m", "hourglass_jax.main", "--config=synthetic", f"--mode={mode}"),
            *(f"--config.{field}" for field in (*FIELDS, *fields)),
            f"--config.data.data_dir={folder}/records",
            f"--workdir={folder}/run",
        ],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=before,
    )


def logged(folder: pathlib.Path) -> int:
    path = folder / "run/metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_until(process, condition):
    while process.poll() is None and not condition():
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[0]


def end(process, status):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == status, output
    assert "Traceback" not in output and "Event loop" not in output, output
    return output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)]
)
def test_signals_while_it_starts_trains_and_evaluates(tmp_path, number, status):
    fields = ("num_steps=30", "eval.every_steps=15", "checkpoint.every_steps=1000")
    for seconds in (1, 3, 6, 9):  # imports, records, compiling
        process = command(tmp_path, *fields)
        time.sleep(seconds)
        if not logged(tmp_path):
            process.send_signal(number)
            assert "start" in end(process, status).splitlines()[-1]
        else:
            process.kill()
            process.communicate()
    for lines in (5, 15):  # the second one as the evaluation begins
        process = command(tmp_path, *fields)
        wait_until(process, lambda lines=lines: logged(tmp_path) >= lines)
        sent = time.monotonic()
        process.send_signal(number)
        assert "start again to continue from step" in end(process, status).splitlines()[-1]
        assert time.monotonic() - sent < 20
    end(command(tmp_path, *fields), 0)
    steps = [line["step"] for line in lines_of(tmp_path / "run") if "loss" in line]
    assert steps == list(range(1, 31))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["evaluate", "calibrate_batch_norm"])
def test_other_modes_end_by_signals_and_full_disks(tmp_path, mode):
    fields = ("num_steps=4", "eval.every_steps=4", "checkpoint.every_steps=4")
    end(command(tmp_path, *fields), 0)
    assert "error: " in end(command(tmp_path, *fields, mode=mode, limit=2000), 1)
    for seconds in (1, 4, 7):
        process = command(tmp_path, *fields, mode=mode)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        assert end(process, 130).splitlines()[-1] == "stopped by Ctrl-C"
    end(command(tmp_path, *fields, mode=mode), 0)


@pytest.mark.slow
def test_the_first_of_two_runs_goes_on(tmp_path):
    fields = ("num_steps=40", "eval.every_steps=20", "checkpoint.every_steps=3")
    first = command(tmp_path, *fields)
    wait_until(first, lambda: logged(tmp_path) > 3)
    assert f"process {first.pid} on " in end(command(tmp_path, *fields), 2)
    end(first, 0)
    assert len(lines_of(tmp_path / "run")) == 42
    # And one whose owner was killed goes on.
    third = command(tmp_path, *fields, "num_steps=60")
    wait_until(third, lambda: logged(tmp_path) > 45)
    third.kill()
    third.communicate()
    end(command(tmp_path, *fields, "num_steps=60"), 0)


@pytest.mark.slow
def test_two_runs_that_need_the_same_records(tmp_path):
    fields = ("num_steps=2", "data.num_train=600")
    (tmp_path / "second").mkdir()
    os.symlink(tmp_path / "records", tmp_path / "second/records")
    (tmp_path / "records").mkdir()
    both = [command(tmp_path, *fields), command(tmp_path / "second", *fields)]
    outputs = [end(process, 0) for process in both]
    assert sum("making records" in output for output in outputs) == 1, outputs
    assert len(list((tmp_path / "records").rglob("dataset_info.json"))) == 1
    assert not list((tmp_path / "records").rglob("*incomplete*"))
