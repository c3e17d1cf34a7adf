"""Training where TensorFlow is not installed: records packed, a network trained, a workdir made."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

SMALL = {
    "num_steps": 30,
    "batch_size": 4,
    "data.num_train": 24,
    "data.num_validation": 6,
    "model.num_stacks": 1,
    "model.features": 16,
    "model.input_size": 64,
    "data.resolution": 64,
    "eval.batch_size": 8,
}
# An import of what is not there fails, as it does on such a machine.
WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys(("tensorflow", "tensorflow_datasets", "clu")))
sys.path.insert(0, "benchmarks")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_network_is_trained_without_tensorflow(tmp_path):
    one_device = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}

    def run(*command):
        command = [sys.executable, *map(str, command)]
        made = subprocess.run(command, cwd=ROOT, env=one_device, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        return made.stdout

    pack, out, workdir = (tmp_path / name for name in ("pack", "out", "workdir"))
    fields = [f"--set={name}={value}" for name, value in SMALL.items()]
    records = f"--data-dir={tmp_path / 'records'}"
    script = "benchmarks/packed.py"
    assert "24 records" in run(script, "pack", "--config=synthetic", records, *fields, pack)
    lines = run("-c", WITHOUT, script, "train", pack, f"--output={out}", "--processes=2")
    assert "step 30" in lines and "saved step 30" in lines
    run(script, "unpack", out, f"--workdir={workdir}")
    config = f"--config={workdir / 'config.json'}"
    run("-m", "hourglass_jax.main", config, f"--workdir={workdir}", "--mode=evaluate")
    result = json.loads((workdir / "evaluation.json").read_text())
    assert result["step"] == 30 and result["persons"] == 6
