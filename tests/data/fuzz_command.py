"""Runs the command over many damaged data sets in one process; started by
test_annotations_fuzz.py.

python fuzz_command.py FOLDER: every sub-folder holds `flags.json`, the flags of one run. Prints a
JSON object a run: its folder, exit status, what it wrote to stderr and how long it took. Training
itself is left out: what is tried is reading.
"""

import contextlib
import io
import json
import logging
import pathlib
import signal
import sys
import time

from absl import flags

from hourglass_jax import main
from hourglass_jax.errors import UserError
from hourglass_jax.evaluation import evaluate
from hourglass_jax.training import train


def run_one(arguments: list[str]) -> tuple[int, str]:
    """Does what `main.run` does, without leaving the process."""
    stderr = io.StringIO()
    flags.FLAGS.unparse_flags()
    with contextlib.redirect_stderr(stderr):
        try:
            main._parse(["main.py", *arguments])
            main.main([])
        except UserError as error:
            return 2, str(error)
    return 0, ""


def too_long(*unused):
    raise TimeoutError("a minute has passed")


if __name__ == "__main__":
    train._train = evaluate.evaluate = lambda *unused: None
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, too_long)
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        arguments = json.loads((folder / "flags.json").read_text())
        start = time.monotonic()
        signal.alarm(60)
        try:
            status, message = run_one(arguments)
        except BaseException as error:  # what the test is to find
            status, message = 1, f"{type(error).__name__}: {error}"
        signal.alarm(0)
        result = {
            "folder": folder.name,
            "status": status,
            "message": message,
            "seconds": time.monotonic() - start,
        }
        print(json.dumps(result), flush=True)
