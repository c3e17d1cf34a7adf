"""Corners are found better with corner pooling than without (Law and Deng 2018, table 1)."""

import pytest

from hourglass_jax import config_files
from hourglass_jax.nn import corner_pooling
from hourglass_jax.training import train


def average_precision(folder, name):
    """Trains a small detector of drawn people for 12,800 images; returns its AP50."""
    config = config_files.load("synthetic_boxes")
    config.detection.kind = "corners"
    config.num_steps, config.model.input_size = 800, 128
    config.data.update(data_dir=str(folder / "records"), num_train=1000, num_validation=100)
    config.data.update(resolution=128, shuffle_buffer=1000)
    config.eval.every_steps = config.checkpoint.every_steps = 800
    result = train.train_and_evaluate(config, folder / name)
    return result["metrics"]["AP50"]


@pytest.mark.slow
def test_corner_pooling_helps(tmp_path, monkeypatch):
    pooled = average_precision(tmp_path, "pooled")
    for corner, directions in corner_pooling.DIRECTIONS.items():
        monkeypatch.setitem(
            corner_pooling.DIRECTIONS, corner, tuple(lambda x: x for _ in directions)
        )
    plain = average_precision(tmp_path, "plain")
    print(f"AP50 with corner pooling {pooled:.3f}, without {plain:.3f}")
    assert pooled > plain + 0.02
