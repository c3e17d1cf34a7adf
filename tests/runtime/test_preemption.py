"""What signals do to a command: it ends at once, in one sentence, and its loop saves first."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time

import pytest
from conftest import ROOT

from hourglass_jax.runtime import preemption

pytestmark = pytest.mark.core

# Waits where Python handles no signal, as in compiling.
COMMAND = """
import ctypes, sys, time
from hourglass_jax.runtime import preemption
if "library" not in sys.argv:
    preemption.end_at_once(resumes=lambda: "train" in sys.argv)
wait = ctypes.CDLL(None).usleep
if "loop" in sys.argv:
    stop = preemption.StopSignal()
    with stop.in_loop():
        print("ready", flush=True)
        while not stop.requested_by_any():
            time.sleep(0.01)
        if "slow" in sys.argv:
            [wait(100_000) for _ in range(100)]
        print("saved after", stop.cause)
        if "last" not in sys.argv:
            stop.exit()
else:
    print("ready", flush=True)
[wait(900_000) for _ in range(20)]
"""


def run(words, *signals, ignored=()):
    """Starts the command, sends signals, and returns its status and what it said."""

    def before():
        for number in preemption._NAMES:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=before,
    )
    assert process.stdout.readline() == "ready\n"
    for number in signals:
        process.send_signal(number)
        time.sleep(0.15)
    sent = time.monotonic()
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    return process.returncode, output


@pytest.mark.parametrize(
    ("words", "number", "status", "said"),
    [
        ("train", signal.SIGTERM, 75, "stopped by SIGTERM; start the same command again"),
        pytest.param("train", signal.SIGHUP, 75, "stopped by SIGHUP", marks=pytest.mark.slow),
        pytest.param(
            "train",
            signal.SIGINT,
            130,
            "stopped by Ctrl-C; start the same command again",
            marks=pytest.mark.slow,
        ),
        ("evaluate", signal.SIGTERM, 143, "stopped by SIGTERM\n"),
        pytest.param("evaluate", signal.SIGINT, 130, "stopped by Ctrl-C\n", marks=pytest.mark.slow),
        pytest.param(
            "train loop", signal.SIGTERM, 75, "saved after SIGTERM", marks=pytest.mark.slow
        ),
        ("train loop", signal.SIGHUP, 75, "saved after SIGHUP"),
        ("train loop", signal.SIGINT, 130, "saved after Ctrl-C"),
        ("train loop last", signal.SIGTERM, 75, "stopped by SIGTERM"),  # where nothing is saved
        pytest.param(
            "library loop", signal.SIGTERM, 75, "saved after SIGTERM", marks=pytest.mark.slow
        ),
        ("library loop last", signal.SIGTERM, -15, "saved after SIGTERM"),
    ],
)
def test_a_signal(words, number, status, said):
    found, output = run(words, number)
    assert (found, said in output) == (status, True), output
    assert "Traceback" not in output


def test_a_second_ctrl_c_does_not_wait():
    status, output = run("train loop slow", signal.SIGINT, signal.SIGINT)
    assert status == 130 and "without saving" in output and "saved" not in output
    assert "press Ctrl-C again" in output
    # But a closed terminal sends two signals, and so may who stops a job.
    status, output = run("train loop", signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    assert status == 75 and "saved" in output


def test_what_is_ignored_stays_ignored():
    """As SIGHUP under nohup, and Ctrl-C in a shell's background."""
    ignored = (signal.SIGHUP, signal.SIGINT)
    status, output = run("train loop", *ignored, signal.SIGTERM, ignored=ignored)
    assert status == 75 and "saved after SIGTERM" in output


def test_a_closed_terminal_takes_no_more_output():
    ours, theirs = os.openpty()

    def before():
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)  # as a terminal's shell does

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "train", "loop"],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=before,
    )
    os.close(theirs)
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(ours, 100)
    os.close(ours)
    assert process.wait(timeout=30) == 75


HELPER = """
import multiprocessing, os, time
from hourglass_jax.runtime import preemption
def wait():
    preemption.end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)
if __name__ == "__main__":
    with preemption.starting_helpers():
        multiprocessing.get_context("spawn").Process(target=wait).start()
    time.sleep(60)
"""


def test_helpers_end_with_a_killed_parent_and_not_by_ctrl_c(tmp_path):
    (tmp_path / "helper.py").write_text(HELPER)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "helper.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    helper = int(process.stdout.readline())
    os.kill(helper, signal.SIGINT)
    time.sleep(0.2)
    os.kill(helper, 0)
    process.kill()
    assert process.stdout.read() == ""  # until both have ended
    process.wait()
