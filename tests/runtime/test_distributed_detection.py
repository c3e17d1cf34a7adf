"""Two processes of four devices against one of eight, training a detector."""

import json

import pytest
from test_distributed import end, losses, start, start_two

CONFIG = """
def get_config(config):
    config.task = "detection"
    config.detection = {"kind": "corners", "max_objects": 16}
    config.data.dataset = "synthetic_scenes"
    config.data.num_train = config.data.num_validation = 1
    config.model = {"network": "hourglass104", "widths": (4, 6), "blocks": (1, 1)}
    config.model.update(stem_features=4, corner_features=4, num_stacks=1)
    config.model.update(input_size=64, dtype="float64", remat=False)
    config.augment.update(rotation=0.0, rotation_probability=0.0)
    return config
"""
FIELDS = {"num_steps": 6, "eval.every_steps": 6, "model.order": None, "model.features": None}


@pytest.mark.slow
def test_two_processes_train_a_detector_as_one(tmp_path):
    """Its losses are divided by counts of the global batch, of which a process sees a half."""
    (tmp_path / "small.py").write_text(CONFIG)
    fields = {"config": tmp_path / "small.py", **FIELDS}
    records, one, two = (tmp_path / name for name in ("records", "one", "two"))
    end(start(records, one, **fields))
    end(*start_two(records, two, **fields))
    expected = losses(one)
    assert len(expected) == FIELDS["num_steps"]
    assert losses(two) == pytest.approx(expected, rel=1e-6)
    first, second = (json.loads((d / "evaluation.json").read_text()) for d in (one, two))
    assert first["images"] == second["images"] == 11
    assert second["metrics"] == pytest.approx(first["metrics"], abs=0.02, nan_ok=True)
