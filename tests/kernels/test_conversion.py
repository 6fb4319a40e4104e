"""From sums of planes to output values, each step against plain loops."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.crossbar.adc import AdcRange
from cimsim.kernels import conversion

CONVERTER, IDEAL = AdcRange(-150.0, 2.3, 127), AdcRange.ideal()
UNIT, NOISE_UNIT = 0.25, 0.031
NONE = np.empty(0)


class Panels:
    """Sums of some vectors of an array of 32 columns, and how its columns are read."""

    def __init__(self, seed, vectors=9, width=32):
        rng = np.random.default_rng(seed)
        self.width, self.n = width, vectors * width
        self.places = (3, 5, 7)
        self.high = rng.integers(-3, 4, self.n + 3).astype(np.int32)
        self.low = rng.integers(-400, 400, self.n + 5).astype(np.int32)
        self.weight = 2.0 ** rng.integers(0, 4, width)
        self.gain, self.offset = rng.normal(1, 0.05, width), rng.normal(0, 1, width)
        self.variance = rng.integers(0, 5000, self.n)
        self.draws = rng.normal(0, 1, self.n).astype(np.float32)

    def fast(self, function, adc, own, factor, shift, noisy, dtype):
        packed = adc.packed(own)
        columns = conversion.packed_columns(
            np.stack([self.weight, self.gain, self.offset]), packed, (UNIT, NOISE_UNIT)
        )
        tiled = np.empty((5, self.n), dtype)
        conversion.tile(columns.astype(dtype), tiled)
        value = np.full(self.n + 20, 99, dtype)
        variance, draws = (self.variance.astype(dtype), self.draws) if noisy else (
            NONE.astype(dtype), NONE.astype(np.float32))  # fmt: skip
        clipped = function(
            conversion.Sums(self.high, self.low, factor, shift), self.places,
            conversion.Noise(variance, draws),
            conversion.Converter(tiled, packed[:3].astype(dtype)), value, self.n,
        )  # fmt: skip
        inside = slice(self.places[2], self.places[2] + self.n)
        assert (np.delete(value, np.r_[inside]) == 99).all()
        return value[inside], clipped

    def naive(self, adc, own, factor, shift, noisy):
        lo, step, top, own = adc.packed(own)
        values, clipped = [], 0
        for i in range(self.n):
            j = i % self.width
            whole = 256 * int(self.high[3 + i]) + int(self.low[5 + i])
            current = whole * factor * UNIT
            read = math.sqrt(self.variance[i] * NOISE_UNIT) if noisy else 0.0
            draw = float(self.draws[i]) if noisy else 0.0
            if top < 0:
                found = current + read * draw
            else:
                sigma = math.hypot(read * self.gain[j] / step, own)
                level = (current * self.gain[j] - lo) / step + self.offset[j] + sigma * draw
                code = round(level)
                clipped += not 0 <= code <= top
                found = lo + step * min(max(code, 0), top)
            values.append(found * self.weight[j] * 2**shift)
        return np.array(values), clipped


def compare(got, expected, adc, dtype):
    (values, clipped), (wanted, many) = got, expected
    if dtype == np.float64 or adc is IDEAL:
        rtol = 1e-12 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose(values, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())
        assert clipped == many
    else:  # a level that lies between two codes may go to either
        np.testing.assert_allclose(np.median(values / wanted), 1, rtol=1e-6)
        assert (np.abs(values / wanted - 1) > 1e-5).mean() < 0.01
        assert abs(clipped - many) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("factor", "shift", "own"), [(1.0, 0, 0.0), (0.5, 3, 0.7)])
def test_convert_equals_its_naive_twin(factor, shift, own, dtype):
    case = Panels(0)
    how = (CONVERTER, own, factor, shift, True)
    got, expected = case.fast(conversion.convert, *how, dtype), case.naive(*how)
    assert expected[1] > 0
    compare(got, expected, CONVERTER, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("adc", "noisy"), [(CONVERTER, False), (IDEAL, False), (IDEAL, True)])
@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0), (0.5, 3)])
def test_convert_other_equals_its_naive_twin(factor, shift, adc, noisy, dtype):
    case = Panels(1)
    how = (adc, 0.0, factor, shift, noisy)
    got, expected = case.fast(conversion.convert_other, *how, dtype), case.naive(*how)
    assert (expected[1] > 0) == (adc is CONVERTER)
    compare(got, expected, adc, dtype)


def test_tile_repeats_the_columns():
    columns = np.random.default_rng(0).normal(size=(5, 48))
    for rows in (1, 2, 7):
        out = np.empty((5, 48 * rows))
        conversion.tile(columns, out)
        np.testing.assert_array_equal(out, np.tile(columns, rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_undoes_the_exponents_of_each_vector(dtype):
    rng = np.random.default_rng(0)
    spread = rng.integers(0, 10**6, (9, 32)).astype(np.int32)
    exponents, first, count, unit = rng.integers(0, 9, 9), 2, 5, 16.0
    variance = np.full(count * 32 + 3, -1, dtype)
    conversion.scale(spread, first, count, exponents, unit, variance)
    for v, j in product(range(count), range(32)):
        exact = int(spread[first + v, j]) * 2 ** int(exponents[first + v]) * 16
        assert variance[v * 32 + j] == dtype(exact)
    assert (variance[count * 32 :] == -1).all()


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40)), min_size=1, max_size=6),
    st.integers(0, 5), st.integers(1, 3), st.sampled_from([16, 32]), st.booleans(),
    st.integers(0, 2**32),
)  # fmt: skip
def test_add_equals_its_naive_twin(cuts, rows, panel, width, fresh, seed):
    """Stretches are what a panel holds, begin in it, end in it or lie outside of it."""
    rng = np.random.default_rng(seed)
    stretches, column = [], 0
    for gap, length in cuts:
        # outputs that are fresh take one column each
        to = column + gap if fresh else int(rng.integers(0, 30))
        stretches.append((column + gap, to, length))
        column += gap + length
    columns, at = (16 * panel, width), 4
    value = rng.normal(size=at + rows * width + 9)
    acc = rng.normal(size=(rows + 3, 300))
    expected = acc.copy()
    for r, (source, to, length) in product(range(rows), stretches):
        for k in range(length):
            j = source + k - columns[0]
            if 0 <= j < width:
                before = 0.0 if fresh else expected[2 + r, to + k]
                expected[2 + r, to + k] = before + value[at + r * width + j]
    conversion.add(acc, (2, rows), value, at, columns, np.array(stretches), fresh)
    np.testing.assert_allclose(acc, expected, rtol=1e-12)
