"""The results of the published programs' operations, where they are."""

import conftest
import numpy as np
import pytest


def load(name):
    """Returns the arrays of one file by name."""
    path = conftest.SHARED / "parity" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no results of the published programs: there is no {path}")
    with np.load(path) as arrays:
        return dict(arrays)
