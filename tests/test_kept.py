"""What the launchers start: again after 75, stopped by signals, and kept without a terminal."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import ROOT

LAUNCH = ROOT / "launch"
AGAIN = "source {launch}/again.sh; again bash {child}"


def test_it_starts_again_after_75_and_ends_with_any_other_status(tmp_path):
    child = tmp_path / "child.sh"
    child.write_text(
        f"echo run >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) = 3 ] && exit 4; exit 75"
    )
    command = AGAIN.format(launch=LAUNCH, child=child)
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.returncode == 4
    assert (tmp_path / "runs").read_text().count("run") == 3


def test_a_signal_to_the_launcher_is_passed_on_and_ends_it(tmp_path):
    child = tmp_path / "child.sh"
    child.write_text(
        f"trap 'sleep 0.3; echo saved > {tmp_path}/saved; exit 75' TERM\n"
        f"touch {tmp_path}/started\nwhile true; do sleep 0.05; done\n"
    )
    process = subprocess.Popen(["bash", "-c", AGAIN.format(launch=LAUNCH, child=child)])
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 75
    assert (tmp_path / "saved").exists()


def test_a_second_ctrl_c_ends_the_launcher_at_once(tmp_path):
    child = tmp_path / "child.sh"
    child.write_text(f"trap '' TERM\ntouch {tmp_path}/started\nwhile true; do sleep 0.05; done\n")
    process = subprocess.Popen(
        ["bash", "-c", AGAIN.format(launch=LAUNCH, child=child)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 128 + signal.SIGKILL


def keep(folder, *command, **environment):
    """Starts launch/keep.sh of a copy of the launchers."""
    if not (folder / "launch").exists():
        shutil.copytree(LAUNCH, folder / "launch")
    return subprocess.Popen(
        ["bash", folder / "launch/keep.sh", *command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.skipif(shutil.which("flock") is None, reason="util-linux is missing, as on macOS")
def test_what_is_kept_outlives_its_terminal_and_is_stopped_by_name(tmp_path):
    """The terminal's end is SIGHUP to its session."""
    child = tmp_path / "child.sh"
    child.write_text(
        "trap 'echo saved; exit 75' TERM\necho begun $1\nwhile true; do sleep 0.05; done\n"
    )
    first = keep(tmp_path, "bash", child, "a  b")
    log = tmp_path / "runs/kept.log"
    while not log.exists() or "begun" not in log.read_text():
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGHUP)
    assert first.wait(timeout=20) == -signal.SIGHUP
    again = keep(tmp_path, "bash", child)  # shows its output, and starts nothing
    stop = keep(tmp_path, STOP="1")
    for each in (again, stop):
        said, _ = each.communicate(timeout=20)
        assert each.returncode == 75 and "saved" in said
    assert log.read_text() == "begun a b\nsaved\n"
    nothing, _ = keep(tmp_path, STOP="1").communicate(timeout=20)
    assert "error: nothing is at work here" in nothing
    child.write_text("echo $1; exit 4\n")
    last = keep(tmp_path, "bash", child, "other")
    said, _ = last.communicate(timeout=20)
    assert last.returncode == 4 and said.endswith("other\n")
    assert (tmp_path / "runs/kept.before.log").read_text() == "begun a b\nsaved\n"
