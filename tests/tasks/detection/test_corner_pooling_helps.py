"""What corner pooling gains, by a training with it and one without."""

import json
import os
import subprocess
import sys

import pytest

# In processes with one device, as trainings are: eight would see two images each.
TRAINING = """
import json, pathlib, sys
from hourglass_jax import config_files
from hourglass_jax.nn import corner_pooling
from hourglass_jax.training import train

folder, pooled = pathlib.Path(sys.argv[1]), sys.argv[2] == "pooled"
if not pooled:
    unchanged = (lambda x: x, lambda x: x)
    corner_pooling.DIRECTIONS.update(dict.fromkeys(corner_pooling.DIRECTIONS, unchanged))
config = config_files.load("synthetic_boxes")
config.detection.kind = "corners"
config.model.widths, config.model.blocks = (32, 48), (1, 1)
config.num_steps = config.eval.every_steps = 700
config.eval.scales = (0.6,)
config.data.data_dir = str(folder / "records")
print(json.dumps(train.train_and_evaluate(config, folder / sys.argv[2])["metrics"]))
"""


@pytest.mark.slow
def test_corner_pooling_helps_a_network_that_sees_a_part_of_an_object(tmp_path):
    """AP50 of drawn people: 0.597 with it and 0.443 without, in five minutes each on two cores.

    The hourglass halves its input once. With its three halvings the config's network sees whole
    people, and corner pooling adds little: see "Detectors of drawn scenes" in docs/notebook.md.
    """
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    found = {}
    for name in ("pooled", "plain"):
        command = [sys.executable, "-c", TRAINING, str(tmp_path), name]
        made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found[name] = json.loads(made.stdout.splitlines()[-1])["AP50"]
    print(f"AP50 with corner pooling {found['pooled']:.3f}, without {found['plain']:.3f}")
    assert found["pooled"] > found["plain"] + 0.05
