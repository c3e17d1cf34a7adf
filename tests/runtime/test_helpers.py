"""Helper processes neither get a terminal's signals nor survive the command."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

# It is not guarded by `if __name__ == "__main__"`: helpers do not run it.
COMMAND = """
import concurrent.futures, multiprocessing, signal, time
from hourglass_jax.runtime import helpers

signal.signal(signal.SIGINT, lambda *_: None)  # which is not passed on to helpers
context = multiprocessing.get_context("spawn")
with concurrent.futures.ProcessPoolExecutor(2, context, helpers.end_with_parent) as pool:
    with helpers.starting():
        started = pool.map(time.sleep, [0.2, 0.2])
    list(started)
    print(*pool._processes, flush=True)
    pool.map(time.sleep, [60, 60])
    time.sleep(60)
"""


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_helpers_end_with_their_parent(tmp_path, number):
    """Killed, or ended by Ctrl-C, which the terminal sends to all of them."""
    (tmp_path / "command.py").write_text(COMMAND)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "command.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    helpers = [int(text) for text in process.stdout.readline().split()]
    assert helpers and all(is_there(helper) for helper in helpers)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
        time.sleep(0.3)
        assert process.poll() is None and all(is_there(helper) for helper in helpers)
    process.kill()
    _, errors = process.communicate(timeout=10)  # until no helper has these files open
    assert "Traceback" not in errors
