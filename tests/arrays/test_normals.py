import math

import numpy as np
import pytest
from scipy import stats

from cimsim.arrays.normals import counters, many_normals, philox


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # known-answer tests of Random123, philox4x32 with 10 rounds
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    got = philox(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert got.tolist() == words


def test_normals_are_box_muller_of_philox_words(draw):
    n, window, stage, key = 6, 2**33 + 5, 3, 0x123456789ABCDEF0
    got = draw(1, 4 * n, key, window, stage)[0]
    key_words = np.array([key & 0xFFFFFFFF, key >> 32], np.uint32)
    for q in range(n):
        counter = np.array([q, window & 0xFFFFFFFF, window >> 32, stage], np.uint32)
        words = [int(word) for word in philox(counter, key_words)]
        for pair in (0, 2):
            radius = math.sqrt(-2 * math.log(((words[pair] >> 1) + 0.5) / 2**31))
            part = (words[pair + 1] & 0x3FFFFFFF) - 2**29 + 0.5
            angle = (words[pair + 1] >> 30) * math.pi / 2 + part * math.pi / 2**31
            expected = radius * math.cos(angle), radius * math.sin(angle)
            assert got[4 * q + pair] == pytest.approx(expected[0], abs=3e-6)
            assert got[4 * q + pair + 1] == pytest.approx(expected[1], abs=3e-6)


def test_normals_of_a_window_do_not_depend_on_its_block(draw):
    many = draw(7, 12, first=2**32 - 3)
    for w in range(7):
        np.testing.assert_array_equal(draw(1, 12, first=2**32 - 3 + w)[0], many[w])


@pytest.mark.parametrize("windows", [22, 43, 64, 150])
def test_counters_in_lockstep_give_the_bits_of_single_ones(draw, windows):
    """Three counters a window: 66, 129, 192 and 450 of them, 64 at a time."""
    key, first, stage = 2**63 + 9, 2**32 - 20, 2**31 + 1
    numbers = np.empty((2, windows, 3), np.uint64)
    counters(*numbers)
    got = np.empty(windows * 12, np.float32)
    many_normals(
        got, tuple(numbers.reshape(2, -1)), np.uint64(first), np.uint64(stage), np.uint64(key)
    )
    np.testing.assert_array_equal(
        got.reshape(windows, 12), draw(windows, 12, key=key, first=first, stage=stage)
    )


def test_normals_are_normal(draw):
    x = draw(2000, 256).reshape(-1).astype(np.float64)
    n = len(x)
    assert abs(x.mean()) < 5 / math.sqrt(n)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert stats.kstest(x, "norm").pvalue > 1e-4
    for threshold in (3.0, 4.0):
        share = 2 * stats.norm.sf(threshold)
        found = (np.abs(x) > threshold).mean()
        assert abs(found - share) < 5 * math.sqrt(share / n)


def test_normals_are_independent_over_columns_windows_stages_and_keys(draw):
    x = draw(3000, 64)
    n = x.shape[0]
    correlation = np.corrcoef(x.T) - np.eye(64)
    assert np.abs(correlation).max() < 6 / math.sqrt(n)
    bound = 5 / math.sqrt(x.size)
    assert abs((x[1:] * x[:-1]).mean()) < bound
    assert abs((x * draw(3000, 64, stage=1)).mean()) < bound
    assert abs((x * draw(3000, 64, key=8)).mean()) < bound
    assert abs((x * draw(3000, 64, first=2**32)).mean()) < bound
