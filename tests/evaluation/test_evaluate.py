"""Evaluation of a workdir: each record once, whatever the batch."""

import json
import shutil

import numpy as np
import pytest
from conftest import small_synthetic

from hourglass_jax.errors import UserError
from hourglass_jax.training import train


@pytest.fixture
def trained(finished, records):
    return small_synthetic(records), finished[0]


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_figures_do_not_depend_on_the_batch(trained, tmp_path, batch_size):
    config, workdir = trained
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    (copy / "predictions.npz").unlink()
    config.eval.batch_size = batch_size
    config.batch_size = 16  # of training: it does not concern evaluation
    result = train.evaluate_only(config, copy)
    before = json.loads((workdir / "evaluation.json").read_text())
    assert result["persons"] == 11
    assert result["metrics"] == before["metrics"]
    found, expected = (np.load(folder / "predictions.npz") for folder in (copy, workdir))
    assert sorted(found) == sorted(expected) == ["ids", "joints", "scores"]
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    for name in ("joints", "scores"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_a_folder_without_checkpoints_is_refused(trained, tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint.*--mode=train"):
        train.evaluate_only(trained[0], tmp_path)


def test_a_checkpoint_of_another_network_is_refused(trained):
    config, workdir = trained
    config.model.features = 12
    with pytest.raises(UserError, match=r"model\.features"):
        train.evaluate_only(config, workdir)
