"""Borrowed arrays: the same numbers, and nobody counts them."""

import sys
from typing import NamedTuple

import numba
import numpy as np
import pytest

from cimsim.kernels.borrow import address_of, borrowed, lent_1, lent_4, record


class Record(NamedTuple):
    values: np.ndarray
    pair: tuple[np.ndarray, float]
    nothing: None


@numba.njit
def _doubled(record):
    values, pair = record.values, record.pair
    values[:] = 2 * values
    return pair[0].sum() * pair[1]


@numba.njit
def _lent(record):
    total = 0.0
    for _ in range(3):
        total += _doubled(borrowed(record))
    return total


@numba.njit
def _made_inside(n):
    made = np.full(n, 3.0), np.ones((2, n))
    return _sum(made, borrowed(made))


@numba.njit
def _sum(held, lent):
    other = np.full(lent[0].shape[0], 7.0)  # would take the memory of what was freed
    return lent[0].sum() + lent[1].sum() + other[0]


def test_borrowed_arrays_are_the_same_memory_and_leave_the_count_alone():
    record = Record(np.arange(5.0), (np.ones((3, 4), np.float32), 0.5), None)
    before = [sys.getrefcount(array) for array in (record.values, record.pair[0])]
    assert _lent(record) == 3 * 6.0
    np.testing.assert_array_equal(record.values, 8 * np.arange(5.0))
    assert [sys.getrefcount(array) for array in (record.values, record.pair[0])] == before


def test_arrays_live_as_long_as_who_holds_them_is_passed_on():
    assert _made_inside(1000) == 3000 + 2000 + 7


@numba.njit
def _sums(records, like):
    four, one = lent_4(records, 1, like), lent_1(records, 6, like)
    four[0, 1, 0, 1] += 10.0
    return four[1, 0, 2, 1], four.shape, one.sum(), one.shape[0]


def test_arrays_are_found_again_by_address_and_shape():
    four, one = np.arange(24.0).reshape(2, 2, 3, 2), np.arange(5.0)
    records = np.array([7, *record(four, 4), *record(one)], np.int64)
    assert _sums(records, np.empty(0)) == (17.0, (2, 2, 3, 2), 10.0, 5)
    assert four[0, 1, 0, 1] == 17.0
    assert record(np.empty((0, 3)), 4) == [0, 0, 3, 0, 0]
    with pytest.raises(ValueError, match="in C order"):
        record(four.T)
    fixed = four[1].copy()
    fixed.flags.writeable = False
    for array in (four, four[1], four.T, four[:, :, 1], fixed, fixed[1:]):
        assert address_of(array) == array.ctypes.data
