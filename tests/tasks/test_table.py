"""Figures as a table for people."""

import numpy as np
import pytest

from hourglass_jax.tasks.base import Table

pytestmark = pytest.mark.core


def test_a_table_for_people():
    rows = [["wrist", 0.5, 12], ["left_ankle", np.float64("nan"), 0], ["all", 1.0, "many"]]
    table = Table("joint", ["PCK", "labelled"], rows, notes=("One note.", "Another."))
    assert table.cells() == [
        ["wrist", "50.00", "12"],
        ["left_ankle", "-", "0"],
        ["all", "100.00", "many"],
    ]
    assert str(table).splitlines() == [
        "joint              PCK  labelled",
        "wrist            50.00        12",
        "left_ankle           -         0",
        "all             100.00      many",
        "One note.",
        "Another.",
    ]
