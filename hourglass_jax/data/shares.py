"""Which part of the training data each row of a batch comes from.

Rows are numbered over all batches. Their fractional parts of multiples of the golden ratio cover
the interval from 0 to 1 evenly, in any stretch, so that each batch holds each part's share up to a
row or two, and the part is a function of the row's number alone. Whole numbers, exact in NumPy and
TensorFlow, stand for the fractions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

_ONE = 2**32
_GOLDEN = 2_654_435_769  # 2**32 over the golden ratio
_AT_ONCE = 2**22  # rows, to save memory


def limits(shares: Sequence[float]) -> Int64[np.ndarray, " parts"]:
    """Returns where each part's interval ends."""
    ends = np.cumsum(shares)
    return np.round(ends / ends[-1] * _ONE).astype(np.int64)


def place(row: Any) -> Any:
    """Returns where rows fall, 0 to 2**32; `row` is an int64 array or tensor."""
    return row * _GOLDEN % _ONE


def counts(rows: int, ends: Int64[np.ndarray, " parts"]) -> Int64[np.ndarray, " parts"]:
    """Returns how many of the first `rows` rows come from each part."""
    if len(ends) == 1:
        return np.array([rows])
    total = np.zeros(len(ends), np.int64)
    for first in range(0, rows, _AT_ONCE):
        places = place(np.arange(first, min(first + _AT_ONCE, rows)))
        parts = np.searchsorted(ends, places, side="right")
        total += np.bincount(parts, minlength=len(ends))
    return total
