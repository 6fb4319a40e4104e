import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cimsim.kernels.normals import _log, counters, many_normals, philox

LOW = 2**32 - 1


def naive_philox(counter, key):
    """Philox4x32-10 as Salmon et al. write it down, in Python's integers."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32) ^ b ^ k0, right & LOW, (left >> 32) ^ d ^ k1, left & LOW
        k0, k1 = (k0 + 0x9E3779B9) & LOW, (k1 + 0xBB67AE85) & LOW
    return [a, b, c, d]


def naive_normals(n, key, window, stage):
    """Box-Muller of the words of one window, by the functions of `math`."""
    found = []
    for q in range(n // 4):
        words = naive_philox((q, window & LOW, window >> 32, stage), (key & LOW, key >> 32))
        for one, other in (words[:2], words[2:]):
            radius = math.sqrt(-2 * math.log(((one >> 1) + 0.5) / 2**31))
            part = (other & 0x3FFFFFFF) - 2**29 + 0.5
            angle = (other >> 30) * math.pi / 2 + part * math.pi / 2**31
            found += [radius * math.cos(angle), radius * math.sin(angle)]
    return found


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


@given(
    st.lists(st.integers(0, LOW), min_size=4, max_size=4),
    st.lists(st.integers(0, LOW), min_size=2, max_size=2),
)
def test_philox_equals_its_naive_twin(counter, key):
    got = philox(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert got.tolist() == naive_philox(counter, key)


@pytest.mark.parametrize("key", [7, 0x123456789ABCDEF0, 2**64 - 1])
def test_normals_are_box_muller_of_philox_words(draw, key):
    n, window, stage = 24, 2**33 + 5, 2**31 + 3
    got = draw(2, n, key, window, stage)
    for w in range(2):
        np.testing.assert_allclose(got[w], naive_normals(n, key, window + w, stage), atol=3e-6)


def test_normals_in_lockstep_are_box_muller_of_philox_words():
    key, first, stage, windows, n = 2**63 + 9, 2**32 - 20, 2**31 + 1, 43, 12
    numbers = np.empty((2, windows, n // 4), np.uint64)
    counters(*numbers)
    got = np.empty((windows, n), np.float32)
    many_normals(
        got.reshape(-1), tuple(numbers.reshape(2, -1)), np.uint64(first), np.uint64(stage),
        np.uint64(key),
    )  # fmt: skip
    expected = [naive_normals(n, key, first + w, stage) for w in range(windows)]
    np.testing.assert_allclose(got, expected, atol=3e-6)


def test_counters_number_windows_and_what_they_hold():
    numbers = np.empty((2, 5, 3), np.uint64)
    counters(*numbers)
    for w, q in np.ndindex(5, 3):
        assert numbers[:, w, q].tolist() == [q, w]


def test_the_logarithm_is_that_of_the_library():
    edges = [2.0**-32, 2.0**-31, 0.5, math.sqrt(0.5), 1 - 2.0**-24, 1.0]
    u = np.concatenate([edges, 2 ** -np.random.default_rng(0).uniform(0, 32, 2000)])
    u = np.unique(np.concatenate([u, 1 - u[u < 0.3]]).astype(np.float32))
    got = np.array([_log(x) for x in u], float)
    np.testing.assert_allclose(got, np.log(u.astype(float)), rtol=2e-7)


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
