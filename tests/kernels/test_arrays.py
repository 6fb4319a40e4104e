"""Memory that begins at a line of the caches, and sums in a fixed order."""

import numpy as np
import pytest

from cimsim.kernels import floats
from cimsim.kernels.arrays import LINE, empty
from cimsim.kernels.products import lines


@pytest.mark.parametrize("shape", [(1,), (7, 3), (96, 1024), (3, 0), (5, 4, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.dtype(np.int32)])
def test_arrays_begin_at_a_line(shape, dtype):
    for _ in range(5):
        made = empty(shape, dtype)
        assert made.shape == shape
        assert made.dtype == dtype
        assert made.ctypes.data % LINE == 0 or made.size == 0
        assert made.flags.c_contiguous
        assert made.flags.writeable
        made[:] = 1  # all of it is there


@pytest.mark.parametrize("size", [0, 1, 64, 98304])
def test_memory_of_kernels_begins_at_a_line(size):
    made = lines(size)
    assert made.shape == (size,)
    assert made.ctypes.data % LINE == 0 or size == 0
    made[:] = 255


def test_sums_are_weighed_row_by_row():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**40, 300)
    table = np.array([[0, 200, 0], [0, 200, 200], [200, 300, 400], [300, 300, 500]], np.int64)
    weights, found = rng.random(500) ** 9, np.full(4, np.nan)
    floats.weigh(numbers, table, weights, found)
    for (start, end, first), one in zip(table.tolist(), found.tolist(), strict=True):
        expected = 0.0
        for number, weight in zip(numbers[start:end], weights[first:], strict=False):
            expected += float(number) * float(weight)
        assert one == expected
