"""Numbers that threads count together, and one that waits for what another does."""

import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from cimsim.kernels.threads import count_on, seen, tell, wait


@numba.njit(nogil=True)
def _count(counter, taken):
    number = count_on(counter, 1)
    while number < taken.shape[0]:
        taken[number] += 1
        number = count_on(counter, 1)


def test_threads_count_together():
    counter, taken = np.zeros(3, np.int64), np.zeros(200_000, np.int64)
    _count(np.full(3, 200_000), taken)  # compile
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _count(counter, taken), range(4)))
    assert (taken == 1).all()
    assert counter.tolist() == [0, len(taken) + 4, 0]


@numba.njit(nogil=True)
def _fill_when_told(shared, values, out):
    looks = 0
    while seen(shared, 2) == 0:
        looks = wait(looks)
    out[:] = values
    count_on(shared, 0)
    return looks


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_one_waits_for_what_another_has_written(pause_s):
    shared, values, out = np.zeros(3, np.int64), np.zeros(1000), np.zeros(1000)
    _fill_when_told(np.ones(3, np.int64), values, out)  # compile
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_fill_when_told, shared, values, out)
        time.sleep(pause_s)
        assert shared[0] == 0
        values[:] = 7.0
        assert tell(shared, 2) == 0
        looks = waiting.result(30)
    assert shared.tolist() == [1, 0, 1]
    assert (out == 7.0).all()
    assert looks > 500 or pause_s == 0.0  # it has given way, too
