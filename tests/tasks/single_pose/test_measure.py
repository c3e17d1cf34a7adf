"""The share of joints found: what it counts, and the table for people."""

import numpy as np
import pytest
from conftest import make_predictions

from hourglass_jax.data.base import Tolerance
from hourglass_jax.data.skeleton import LSP, MPII
from hourglass_jax.tasks.single_pose.measure import JointsFound, People

pytestmark = pytest.mark.core

PCK = JointsFound(LSP, Tolerance(0.2))
PCKH = JointsFound(MPII, Tolerance(0.5, heads=True))
METRICS = pytest.mark.parametrize(
    ("metric", "name"), [(PCKH, "PCKh@0.5"), (PCK, "PCK@0.2")], ids=["MPII", "LSP"]
)


def make(metric, spread=0.0, **fields):
    predictions = make_predictions(
        metric.skeleton, people=40, stacks=2, spread=spread, reference=10.0, **fields
    )
    return predictions.found, predictions.truth


@METRICS
def test_the_truth_scores_one(metric, name):
    figures = metric(*make(metric))
    assert metric.headline == name
    assert list(figures.values()) == pytest.approx([1.0] * len(figures))
    assert {name, f"{name}/left_wrist", f"{name}/wrist", f"{name}/visible"} <= set(figures)
    assert {f"{name}/stack1", f"{name}/stack2"} <= set(figures)
    assert np.abs(metric.errors(*make(metric))).max() < 1e-6


@METRICS
def test_figures_are_shares_of_labelled_joints(metric, name):
    made = make(metric, spread=4.0)
    figures, people = metric(*made), People.of(*made)
    threshold = 10 * float(name.partition("@")[2])
    distances = np.linalg.norm(people.joints[:, -1] - people.truth, axis=-1)
    found = distances <= threshold
    counted = np.array([joint not in ("pelvis", "thorax") for joint in metric.skeleton.joints])
    for figure, mask in (
        (name, people.labelled),
        (f"{name}/visible", people.visible),
        (f"{name}/occluded", people.labelled & ~people.visible),
    ):
        assert figures[figure] == pytest.approx(found[mask & counted].mean(), abs=1e-12)
    assert 0.05 < figures[name] < 0.95
    assert figures[f"{name}/stack1"] != figures[name] == figures[f"{name}/stack2"]
    wrists = [metric.skeleton.index(f"{side}_wrist") for side in ("left", "right")]
    shares = [found[people.labelled[:, wrist], wrist].mean() for wrist in wrists]
    assert figures[f"{name}/left_wrist"] == pytest.approx(shares[0])
    assert figures[f"{name}/wrist"] == pytest.approx(np.mean(shares))
    table = str(metric.table(*made))
    assert f"{100 * figures[name]:.2f}" in table and f"{100 * shares[0]:.2f}" in table
    errors = [d[mask].mean() / 10 for d, mask in zip(distances, people.labelled, strict=True)]
    np.testing.assert_allclose(metric.errors(*made), errors, rtol=1e-6)


def test_a_joint_that_nobody_has_is_a_dash():
    found, truth = make(PCK)
    for record in truth:
        record["labelled"][3] = False
    figures = PCK(found, truth)
    assert np.isnan(figures["PCK@0.2/left_hip"]) and figures["PCK@0.2"] == 1
    table = PCK.table(found, truth)
    assert "nan" not in str(table)
    (row,) = [row for row in table.cells() if row[0] == "left_hip"]
    assert row[1:] == ["-", "-", "-", "0"]


def test_a_record_without_labels_has_no_error():
    found, truth = make(PCK, spread=1.0)
    truth[7]["labelled"][:] = False
    errors = PCK.errors(found, truth)
    assert np.isnan(errors[7]) and not np.isnan(np.delete(errors, 7)).any()


def test_the_figures_that_are_called_pckh_stand_below_the_table():
    made = make(PCKH, spread=4.0)
    table, figures = PCKH.table(*made), PCKH(*made)
    for name in ("PCKh@0.1", "PCKh/AUC", "PCKh@0.5/unweighted", "PCKh@0.5/official_head"):
        assert f"{100 * figures[name]:.2f}" in table.notes[1]
    stacks = ", ".join(f"{100 * figures[f'PCKh@0.5/stack{i}']:.2f}" for i in (1, 2))
    assert table.notes[0] == f"after each stack: {stacks}"
    assert len(PCK.table(*make(PCK)).notes) == 1
