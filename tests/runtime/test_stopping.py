"""Signals: noted while there is something to save, else the end."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from hourglass_jax.runtime.stopping import StoppedError, Stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_is_noted(number):
    before = signal.getsignal(number)
    with Stopping() as stopping:
        stopping.only_note()
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
    if sys.argv[1] == "twice":
        stopping.only_note()
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
"""


def test_before_and_the_second_time_it_is_the_end():
    for times in ("once", "twice"):
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, times], cwd=ROOT, capture_output=True
        )
        assert (done.returncode, done.stderr) == (130, b"error: stopped by SIGINT\n")
