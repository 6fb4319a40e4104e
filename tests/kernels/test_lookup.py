"""Looked-up sums against the integer product of numpy and against the product path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.kernels import lookup, products

pytestmark = pytest.mark.skipif(not lookup.HAS_LOOKUP, reason="no AVX-512 BW")


def look_up(x, shifts, planes, joined=False):
    """Return [plane, pulse, vector, column] of codes [vectors, rows]."""
    rows, cols = planes[0].shape
    tables = lookup.pack(tuple(products.pack(plane) for plane in planes), rows)
    width, groups, n_planes = 16 * len(tables), lookup.groups_of(tables), tables.shape[4]
    bits = np.zeros((groups * lookup.ROWS, len(x)), x.dtype)
    bits[:rows] = x.T
    lanes = -(-len(x) * len(shifts) // lookup.TILE) * lookup.TILE
    index = np.full((groups, lanes), 0xFFFF, np.uint16)  # what no lane uses must do no harm
    lookup.patterns(bits, np.array(shifts), index)
    whole = lookup.aligned(lookup.CHUNK * n_planes * 64)
    part = np.empty((n_planes, 16, lanes), np.int32)
    n_planes -= joined
    out = np.empty((width // 16, n_planes, lanes * 16), np.int32)
    for q, found in enumerate(out):
        lookup.sum_panel(index, tables[q], joined, whole, part, found)
    sums = out.reshape(width // 16, n_planes, lanes, 16)[:, :, : len(x) * len(shifts)]
    sums = sums.transpose(1, 2, 0, 3).reshape(n_planes, len(shifts), len(x), width)
    assert not sums[..., cols:].any()
    return sums[..., :cols]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 700), st.integers(1, 50), st.integers(1, 70), st.integers(1, 3),
    st.lists(st.integers(0, 15), min_size=1, max_size=9), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_sums_are_the_integer_products(rows, cols, vectors, n_planes, shifts, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2**16, (vectors, rows), dtype=np.uint16)
    planes = [rng.integers(-128, 128, (rows, cols), dtype=np.int8) for _ in range(n_planes)]
    got = look_up(x, shifts, planes)
    for p, shift in enumerate(shifts):
        for plane, sums in zip(planes, got, strict=True):
            expected = (x >> shift & 1).astype(np.int64) @ plane.astype(np.int64)
            np.testing.assert_array_equal(sums[p], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_patterns_hold_the_bits_of_five_rows(dtype):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, np.iinfo(dtype).max + 1, (15, 70), dtype)
    places = np.array([0, 7, 3])
    index = np.full((3, 256), 0xFFFF, np.uint16)
    lookup.patterns(bits, places, index)
    for group, p, v in np.ndindex(3, 3, 70):
        driven = [int(bits[5 * group + row, v]) >> int(places[p]) & 1 for row in range(5)]
        assert index[group, p * 70 + v] & 31 == sum(bit << k for k, bit in enumerate(driven))


@pytest.mark.parametrize("n", [1, 64, 1000])
def test_aligned_bytes_are_zeros_on_a_line(n):
    found = [lookup.aligned(n) for _ in range(20)]
    assert all(one.ctypes.data % 64 == 0 and one.shape == (n,) and not one.any() for one in found)
    assert {one.dtype for one in found} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("rows", [129, 130, 131, 255, 256, 1024, 5000])
@pytest.mark.parametrize("weight", [-128, 127])
def test_largest_sums_are_exact(rows, weight):
    x = np.full((3, rows), 1, np.uint8)
    got = look_up(x, [0], [np.full((rows, 17), weight, np.int8)])
    assert (got == rows * weight).all()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("rows", [7, 700, lookup.MOST_ROWS])
def test_high_and_low_plane_are_joined(rows, sign):
    rng = np.random.default_rng(1)
    high, low, other = (rng.integers(-128, 128, (rows, 3), dtype=np.int8) for _ in range(3))
    high[:, 0], low[:, 0] = 127 * sign, 127 * sign
    x = rng.integers(0, 2, (20, rows), dtype=np.uint8)
    x[0] = 1
    got = look_up(x, [0], [high, low, other], joined=True)
    wide = 256 * high.astype(np.int64) + low
    np.testing.assert_array_equal(got[0, 0], x.astype(np.int64) @ wide)
    np.testing.assert_array_equal(got[1, 0], x.astype(np.int64) @ other.astype(np.int64))


def test_sums_are_those_of_the_product_path():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (48, 1024), dtype=np.uint8)
    plane = rng.integers(-128, 128, (1024, 64), dtype=np.int8)
    packed, out = products.pack(plane), np.empty((48, 64), np.int32)
    for p, sums in enumerate(look_up(x, range(8), [plane])[0]):
        products.product(x & np.uint8(1 << p), packed, products.tiles(packed), 48, -1, out)
        np.testing.assert_array_equal(out, sums << p)
