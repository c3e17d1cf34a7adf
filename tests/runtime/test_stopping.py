"""Signals: noted in the loop, the end elsewhere."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from hourglass_jax.runtime.stopping import StoppedError, Stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_loop_the_first_is_noted(number):
    before = signal.getsignal(number)
    with Stopping() as stopping, stopping.in_loop():
        stopping.check()
        os.kill(os.getpid(), number)
        with pytest.raises(StoppedError, match=number.name) as stopped:
            stopping.check()
    assert stopped.value.status == 128 + number and signal.getsignal(number) is before


ELSEWHERE = """
import os, signal, sys
from hourglass_jax.runtime.stopping import Stopping
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with Stopping() as stopping:
    os.kill(os.getpid(), signal.SIGHUP)
    with stopping.in_loop():
        for _ in range(int(sys.argv[1])):
            os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
"""


def test_elsewhere_and_the_second_time_it_is_the_end():
    for signals, status, name in ((0, 130, "SIGINT"), (2, 143, "SIGTERM")):
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(signals)], cwd=ROOT, capture_output=True
        )
        assert (done.returncode, done.stderr) == (status, f"error: stopped by {name}\n".encode())
