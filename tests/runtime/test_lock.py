"""One process at a time in a folder."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import lock

HOLD = """
import os, pathlib, sys, time
from hourglass_jax.runtime.lock import claim
with claim(pathlib.Path(sys.argv[1]), "--workdir"):
    if not os.fork():
        print("claimed", flush=True)
    time.sleep(60)
"""


def test_one_owner(tmp_path):
    folder = tmp_path / "deeper" / "run"
    with lock.claim(folder, "--workdir"):
        with (
            pytest.raises(UserError, match=rf"--workdir=.*process {os.getpid()} on .* is at work"),
            lock.claim(folder, "--workdir"),
        ):
            pytest.fail("claimed twice")
        with lock.claim(tmp_path, "--output"):  # another folder
            pass
    assert not any(folder.iterdir())
    with lock.claim(folder, "--workdir"):
        pass


def test_a_dead_owner_does_not_block(tmp_path):
    """Nor does its child, which is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == b"claimed\n"
        with pytest.raises(UserError, match=f"process {process.pid} "), lock.claim(tmp_path, "--o"):
            pass
        process.kill()
        process.wait()
        with lock.claim(tmp_path, "--o"):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_waiting_for_another_owner(tmp_path, caplog):
    command = HOLD.replace("time.sleep(60)", "time.sleep(0.5)").replace("os.fork()", "0")
    process = subprocess.Popen(
        [sys.executable, "-c", command, tmp_path], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"claimed\n"
    with caplog.at_level("INFO"), lock.claim(tmp_path, "--o", wait=True):
        assert process.wait(timeout=10) == 0
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} ")
    assert f"waiting for process {process.pid} " in caplog.text
    process.stdout.close()


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "deeper"):
        with pytest.raises(UserError, match="choose another folder"), lock.claim(folder, "--o"):
            pass
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/.lock").symlink_to(file)
    with pytest.raises(UserError), lock.claim(tmp_path / "linked", "--o"):
        pass
    for number, kind in (
        (28, RunError),
        (30, RunError),
        (13, UserError),
    ):  # full, read-only, access

        def fail(*unused, number=number):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(lock.os, "open", fail)
            with pytest.raises(kind, match=r"--o=.*: "), lock.claim(tmp_path, "--o"):
                pass


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog):
    def fail(*unused):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    with caplog.at_level("WARNING"), lock.claim(tmp_path, "--o"):
        pass
    assert "has no locks" in caplog.text
