import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.kernels import planes, products


def restored(found):
    """Multiply with unit vectors: what the packed planes stand for."""
    high, low = (np.zeros((0, found.n_cols)), restored_plane(found.low, found.n_cols))
    if found.high.size:
        high = restored_plane(found.high, found.n_cols)
        return found.unit * (256 * high + low)
    return found.unit * low


def restored_plane(packed, n_cols):
    depth = packed.shape[1] * 4 if products.PACKED else packed.shape[0]
    width = -(-n_cols // 16) * 16
    rows = []
    for start in range(0, depth, 48):
        x = np.zeros((48, depth), np.uint8)
        for k in range(start, min(depth, start + 48)):
            x[k - start, k] = 1
        out = np.empty((48, width), np.int32)
        products.product(x, packed, products.tiles(packed), 48, -1, out)
        rows.append(out[: min(48, depth - start), :n_cols])
    return np.concatenate(rows).astype(float)


@given(st.integers(0, 2**32 - 1), st.integers(-12, 12))
def test_real_numbers_err_by_at_most_two_to_minus_15_of_the_largest(seed, exponent):
    matrix = np.random.default_rng(seed).normal(0, 2.0**exponent, (9, 5))
    found = planes.signal_planes(matrix)
    error = np.abs(restored(found)[:9] - matrix).max()
    assert error <= np.abs(matrix).max() * 2.0**-15
    assert np.log2(found.unit) % 1 == 0


@pytest.mark.parametrize("largest", [1, 127, 128, 4000, planes.LARGEST])
def test_whole_numbers_stay_whole(largest):
    matrix = np.random.default_rng(0).integers(-largest, largest + 1, (7, 20)).astype(float)
    matrix[0, 0] = -largest
    found = planes.signal_planes(matrix)
    np.testing.assert_array_equal(restored(found)[:7], matrix)
    assert (found.high.size == 0) == (largest <= 127)


def test_numbers_that_would_lose_their_units_have_no_planes():
    assert planes.signal_planes(np.array([[planes.LARGEST + 1.0]])) is None


def test_zeros_have_planes():
    found = planes.signal_planes(np.zeros((4, 3)))
    assert not restored(found).any()
    assert not restored(planes.variance_planes(np.zeros((4, 3)))).any()


def test_variances_are_rounded_to_parts_of_the_largest():
    matrix = np.random.default_rng(0).uniform(0, 0.3, (30, 17))
    found = restored(planes.variance_planes(matrix))[:30]
    assert np.abs(found - matrix).max() <= matrix.max() / 254 * (1 + 1e-6)
    assert abs(found.mean() / matrix.mean() - 1) < 2e-3
