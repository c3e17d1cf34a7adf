"""What a command prints where nobody reads, or not all letters can be printed."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

PROGRAM = """
import logging, sys
from hourglass_jax.runtime import command_line
with command_line.reporting_errors():
    logging.getLogger("hourglass_jax").info("a name: %s", "caf\\udce9 \\u65e5")
    sys.exit(3)
"""


def test_output_that_fails_is_no_error():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=full, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (3, b"")


def test_any_name_is_printed():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (3, b"")
    assert done.stdout == rb"a name: caf\udce9 \u65e5" + b"\n"


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("open('none/x')", b"error: none/x: No such file or directory"),
        ("os.getcwd()", b"error: the current folder: No such file or directory"),
    ],
)
def test_an_error_of_a_disk_that_nobody_expects_is_one_sentence(tmp_path, action, says):
    program = f"""
import os
from hourglass_jax.runtime import command_line
os.rmdir(os.getcwd())
with command_line.reporting_errors():
    {action}
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert (done.returncode, done.stderr.strip()) == (1, says)
