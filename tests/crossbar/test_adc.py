import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip.converters.curves import inl_curves
from cimsim.crossbar.adc import AdcRange, two_sided
from cimsim.errors import SimulationError


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


def exhaustive(sums, bits, points=60):
    """Smallest squared error over a grid of both ends."""
    low = np.linspace(sums.min(), np.median(sums), points)
    high = np.linspace(np.median(sums), sums.max(), points)
    return min(
        AdcRange.covering(a, b, bits).squared_error(sums) for a in low for b in high if b > a
    )


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("shape", ["normal", "skewed", "tails"])
def test_least_error_range_is_as_good_as_an_exhaustive_search(bits, shape):
    rng = np.random.default_rng(0)
    sums = {
        "normal": rng.normal(0, 1e4, 4000), "skewed": rng.gamma(1.5, 1e4, 4000),
        "tails": rng.standard_t(3, 4000) * 1e4,
    }[shape]  # fmt: skip
    found = AdcRange.least_error(sums, bits)
    error = found.squared_error(sums)
    # steps are no noise of lsb^2 / 12 with 4 codes
    assert error < (1.15 if bits < 4 else 1.05) * exhaustive(sums, bits)
    assert error <= AdcRange.calibrated(sums, 100.0, bits).squared_error(sums)


@given(st.integers(0, 999), st.integers(1, 12))
def test_least_error_never_loses_to_percentiles_by_much_and_to_the_whole_range_at_all(seed, bits):
    rng = np.random.default_rng(seed)
    sums = np.rint(rng.standard_t(3, 500) * rng.uniform(1, 1000))
    error = AdcRange.least_error(sums, bits).squared_error(sums)
    assert error <= AdcRange.calibrated(sums, 100.0, bits).squared_error(sums)


def test_least_error_falls_with_bits_and_vanishes_where_codes_are_whole_units():
    sums = np.random.default_rng(0).integers(-300, 300, 5000)
    errors = [AdcRange.least_error(sums, bits).squared_error(sums) for bits in range(1, 13)]
    assert all(b < a for a, b in itertools.pairwise(errors[:10]))
    assert errors[-1] == 0.0


def test_a_power_of_two_divides_the_full_range_exactly():
    full = AdcRange.full(rows=1024, input_max=255, weight_max=127, bits=8)
    for n in range(12):
        part = full.divided(n)
        assert (part.lo * 2**n, part.lsb * 2**n, part.top) == (full.lo, full.lsb, 255)
    # steps finer than a unit carry nothing
    assert full.divided(24).lsb == 1.0


@pytest.mark.parametrize("percentile", [99.0, 100.0])
def test_the_largest_shift_that_holds_the_percentile_is_chosen(percentile):
    sums = np.random.default_rng(0).normal(0, 3e4, 5000)
    full = AdcRange.full(1024, 255, 127, 8)
    n = full.shift_for(sums, percentile)
    low, high = two_sided(sums, percentile)
    worst = 1024 * 255 * 127
    assert worst / 2**n >= max(-low, high) > worst / 2 ** (n + 1)


def test_the_shift_of_least_error_is_the_best_of_all():
    sums = np.random.default_rng(0).standard_t(3, 5000) * 1e4
    full = AdcRange.full(1024, 255, 127, 6)
    n = full.shift_for(sums, None)
    errors = [full.divided(k).squared_error(sums) for k in range(20)]
    assert errors[n] == min(errors)
    assert n > full.shift_for(sums, 100.0)


@pytest.mark.parametrize("bits", [4, 8, 10])
def test_effective_bits_of_an_evenly_used_range_are_its_bits(bits):
    sums = np.random.default_rng(0).uniform(0, 1e6, 200_000)
    adc = AdcRange.calibrated(sums, 100.0, bits)
    whole = math.log2(2**bits - 1)  # the ends of the range are codes themselves
    assert adc.effective_bits(sums) == pytest.approx(whole, abs=0.01)
    # a quarter of the range: two bits less; noise of a step: 12 + 1 parts of error power
    assert adc.effective_bits(sums / 4) == pytest.approx(whole - 2, abs=0.15)
    lost = 0.5 * math.log2(1 + 12)
    assert adc.effective_bits(sums, noise_lsb=1.0) == pytest.approx(whole - lost, abs=0.01)


def test_effective_bits_of_an_exact_converter_are_those_of_the_codes_that_occur():
    adc = AdcRange.covering(0, 255, 8)
    assert adc.effective_bits(np.arange(16)) == 4.0
    assert adc.effective_bits(np.zeros(5)) == 0.0


def test_inl_curves_have_the_asked_shape_and_spread():
    none = inl_curves(5, 0.0, 0.0, np.random.default_rng(0))
    assert none.shape == (0, 0)
    n = 20_000
    bow = inl_curves(n, 0.5, 0.0, np.random.default_rng(0)).astype(float)
    np.testing.assert_array_equal(bow[:, [0, -1]], 0)
    t = np.linspace(0, 1, 257)
    np.testing.assert_allclose(bow, np.outer(bow[:, 128], 4 * t * (1 - t)), atol=1e-6)
    assert abs(bow[:, 128].std() / 0.5 - 1) < 4 / math.sqrt(2 * n)
    steps = inl_curves(n, 0.0, 0.3, np.random.default_rng(1)).astype(float)
    np.testing.assert_allclose(steps[:, [0, -1]], 0, atol=1e-5)
    # a pinned walk: variance t (1 - t), of which the mean over the codes is the square asked for
    expected = 0.3**2 * t * (1 - t) / np.mean(t * (1 - t))
    inside = slice(1, -1)
    ratio = steps.var(axis=0)[inside] / expected[inside]
    assert np.abs(ratio - 1).max() < 5 * math.sqrt(2 / n)
    # single steps err independently
    first, second = np.diff(steps, axis=1)[:, [10, 200]].T
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(n)


CHOOSE = {
    "calibrated": lambda sums: AdcRange.calibrated(sums, 100.0, 8),
    "least error": lambda sums: AdcRange.least_error(sums, 8),
    "shift": lambda sums: AdcRange.full(8, 255, 127, 8).shift_for(sums, 100.0),
}


@pytest.mark.parametrize("bad", [[np.nan, 1.0], [np.inf], []], ids=str)
@pytest.mark.parametrize("choose", CHOOSE)
def test_sums_that_are_no_numbers_are_refused(bad, choose):
    with pytest.raises(SimulationError, match=r"partial sums .* (NaN or infinity|are missing)"):
        CHOOSE[choose](np.array(bad))
