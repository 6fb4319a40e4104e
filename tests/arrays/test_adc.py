import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.arrays.adc import AdcRange, two_sided


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.integers(1, 32))
def test_whole_numbers_are_exact_where_the_codes_cover_them(low, span, bits):
    adc = AdcRange.covering(low, low + span, bits)
    sums = np.unique(np.linspace(low, low + span, 1000).round())
    if span < 2**bits:
        assert adc.lsb == 1.0
        assert adc.lo == math.floor(adc.lo)
        np.testing.assert_array_equal(adc.decode(adc.encode(sums)), sums)
    else:
        assert adc.lsb > 1
        error = np.abs(adc.decode(adc.encode(sums)) - sums)
        assert error.max() <= 0.5 * adc.lsb * (1 + 1e-9)


def test_full_range_reaches_exactly_the_worst_case():
    adc = AdcRange.full(rows=1024, input_max=255, weight_max=127, bits=8)
    worst = 1024 * 255 * 127
    assert adc.decode(np.array([0, 255])).tolist() == pytest.approx([-worst, worst])


def test_full_range_with_enough_bits_is_lossless():
    rows, x, w = 9, 3, 7
    bits = math.ceil(math.log2(2 * rows * x * w + 1))
    assert AdcRange.full(rows, x, w, bits).lsb == 1.0
    assert AdcRange.full(rows, x, w, bits - 1).lsb > 1.0


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_calibrated_range_cuts_the_asked_share_evenly(percentile):
    sums = np.random.default_rng(0).normal(0, 1e5, (5000, 20)).astype(np.float32)
    adc = AdcRange.calibrated(sums, percentile, 16)
    high = adc.lo + adc.lsb * adc.top
    below, above = (sums < adc.lo).mean(), (sums > high).mean()
    assert below == pytest.approx((100 - percentile) / 200, rel=0.01)
    assert above == pytest.approx((100 - percentile) / 200, rel=0.01)


def test_percentile_100_clips_nothing():
    sums = np.random.default_rng(0).normal(0, 1e5, 5000)
    adc = AdcRange.calibrated(sums, 100.0, 6)
    assert np.abs(adc.decode(adc.encode(sums)) - sums).max() <= 0.5 * adc.lsb * (1 + 1e-9)
    assert two_sided(sums, 100.0) == (sums.min(), sums.max())


def test_values_outside_of_the_range_take_the_end_codes():
    adc = AdcRange(-100.0, 10.0, 15)
    assert adc.encode(np.array([-1e9, -106.0, -95.1, 50.0, 1e9])).tolist() == [0, 0, 0, 15, 15]


def test_the_ideal_converter_passes_any_value():
    adc = AdcRange.ideal()
    sums = np.array([-1e12, 0.123, 7.5])
    np.testing.assert_array_equal(adc.decode(adc.encode(sums)), sums)


def test_a_constant_column_is_safe():
    adc = AdcRange.calibrated(np.zeros((10, 3)), 99.9, 8)
    np.testing.assert_array_equal(adc.decode(adc.encode(np.zeros(3))), np.zeros(3))
