"""Corners are found better with corner pooling than without (Law and Deng 2018, table 1)."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

# Trains a small detector of drawn people for 12,800 images, and prints its AP50.
CODE = """
import pathlib, sys
from hourglass_jax import config_files
from hourglass_jax.nn import corner_pooling
from hourglass_jax.training import train

folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
if name == "plain":
    for corner in corner_pooling.DIRECTIONS:
        corner_pooling.DIRECTIONS[corner] = (lambda x: x, lambda x: x)
config = config_files.load("synthetic_boxes")
config.detection.kind = "corners"
config.num_steps, config.model.input_size = 800, 128
config.data.update(data_dir=str(folder / "records"), num_train=1000, num_validation=100)
config.data.update(resolution=128, shuffle_buffer=1000)
config.eval.every_steps = config.checkpoint.every_steps = 800
print(train.train_and_evaluate(config, folder / name)["metrics"]["AP50"])
"""


@pytest.mark.slow
def test_corner_pooling_helps(tmp_path):
    # The tests' flags compile quickly, to programs that are slow.
    environment = {**os.environ, "XLA_FLAGS": ""}
    found = {}
    for name in ("pooled", "plain"):
        command = [sys.executable, "-c", CODE, str(tmp_path), name]
        result = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        assert result.returncode == 0
        found[name] = float(result.stdout.split()[-1])
    print(f"AP50 with corner pooling {found['pooled']:.3f}, without {found['plain']:.3f}")
    assert found["pooled"] > found["plain"] + 0.02
