"""The part of the training data that each row comes from."""

import numpy as np
import pytest
import tensorflow as tf

from hourglass_jax.data import shares


@pytest.mark.parametrize("parts", [[0.4, 0.2, 0.4], [0.9, 0.1], [0.05] * 20, [1.0]])
def test_every_batch_holds_each_share(parts):
    ends = shares.limits(parts)
    assert ends[-1] == 2**32
    for size in (16, 48, 100):
        for first in (0, size * 1000, size * 10**6):
            rows = np.arange(first, first + size)
            part = np.searchsorted(ends, shares.place(rows), side="right")
            counts = np.bincount(part, minlength=len(parts))
            assert np.abs(counts - np.array(parts) * size).max() < 2


def test_counts_are_of_the_rows_before():
    ends = shares.limits([3, 2, 5])
    part = np.searchsorted(ends, shares.place(np.arange(5000)), side="right")
    for rows in (0, 1, 17, 5000):
        np.testing.assert_array_equal(
            shares.counts(rows, ends), np.bincount(part[:rows], minlength=3)
        )
    assert shares.counts(7, shares.limits([2.0])).tolist() == [7]


def test_counts_of_many_rows(monkeypatch):
    ends = shares.limits([0.7, 0.3])
    whole = shares.counts(1000, ends)
    monkeypatch.setattr(shares, "_AT_ONCE", 64)
    np.testing.assert_array_equal(shares.counts(1000, ends), whole)


def test_tensorflow_computes_the_same():
    rows = np.array([0, 1, 12345, 2**31, 2**32], np.int64)
    np.testing.assert_array_equal(shares.place(tf.constant(rows)).numpy(), shares.place(rows))
