"""What tests of a short run share: starting it in a process of its own, and comparing two."""

import json
import pathlib
import shutil
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import ROOT


def state_of(workdir):
    """Every array of the last checkpoint, read without this project's code."""
    folder = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    state = ocp.PyTreeCheckpointer().restore(folder / "state")
    return jax.tree.leaves_with_path(state)


def lines_of(workdir):
    """metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    clock = ("images_per_second", "seconds_", "memory_gb_")
    return [{k: v for k, v in line.items() if not k.startswith(clock)} for line in lines]


def assert_same_run(workdir, reference):
    for (path, a), (_, b) in zip(state_of(workdir), state_of(reference), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
    assert lines_of(workdir) == lines_of(reference)
    results = [json.loads((d / "evaluation.json").read_text()) for d in (workdir, reference)]
    assert results[0]["metrics"] == results[1]["metrics"]


COMMAND = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import conftest
from hourglass_jax.training import train
config = conftest.small_synthetic(pathlib.Path(sys.argv[2]))
config.update_from_flattened_dict(json.loads(sys.argv[4]))
if __name__ == "__main__":
    train.train_and_evaluate(config, pathlib.Path(sys.argv[3]))
"""


def start(records, workdir, fields=None, **options):
    """Starts `small_synthetic` with some fields changed; options are those of Popen."""
    arguments = [str(ROOT / "tests"), str(records), str(workdir), json.dumps(fields or {})]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def wait_for_step(process, workdir: pathlib.Path, step: int):
    path = workdir / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and f'"step": {step},' in path.read_text():
            return
        time.sleep(0.01)
    pytest.fail(f"the run ended before step {step}: {process.stdout.read()}")


def unfinished(finished, workdir):
    """A copy of the finished run that lacks its evaluation."""
    shutil.copytree(finished[0], workdir)
    (workdir / "evaluation.json").unlink()
    return workdir
