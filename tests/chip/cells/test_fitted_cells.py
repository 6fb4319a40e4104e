"""Statistics of the measured cell models against their published formulas, at 4 sigma."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from cimsim.chip.cells import build
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import ConfigError

N = 60_000
DAY = 86400.0
SONOS_A = [19.88665, 25.59102, 28.72753, 31.04318, 33.76214, 34.57909]  # nA, by day
SONOS_B = [176.3115, 186.85544, 193.56834, 198.90332, 204.77023, 207.34309]
# mean drift in nA by current in nA, read off the published fit of each day
SONOS_DRIFT = {
    1: {100: 1.74, 200: 1.01, 800: -3.83, 1600: -11.53},
    2: {100: 2.43, 200: 1.52, 800: -8.00, 1600: -22.37},
    3: {100: 3.62, 200: 2.97, 800: -9.31, 1600: -26.91},
    4: {100: 3.62, 200: 2.30, 800: -13.89, 1600: -38.27},
    5: {50: 3.6, 100: 4.1, 200: 2.6, 400: -1.5, 800: -15.2, 1200: -28.5, 1600: -40.7},
}
RRAM = {
    1.0: [0.348, 16.03, -43.853, 45.393, -16.815],
    DAY: [0.701, 22.086, -50.773, 47.095, -16.458],
    2 * DAY: [0.782, 20.274, -43.507, 37.062, -11.934],
}


def aged(device, g_s, time_s, seed=11):
    return device.age(np.full(N, g_s), time_s, REFERENCE_K, np.random.default_rng(seed))


def programmed(device, g_s, seed=12):
    return device.program(np.full(N, g_s), np.random.default_rng(seed))


def assert_mean(values, expected, sigma):
    assert abs(values.mean() - expected) < 4 * sigma / math.sqrt(values.size)


def assert_sigma(values, expected):
    """Standard deviation of normals."""
    assert abs(values.std() / expected - 1) < 4 / math.sqrt(2 * values.size)


def sonos_sigma(na, day=0):
    return SONOS_A[day] * (1 - math.exp(-na / SONOS_B[day]))


def rram_sigma(x, when):
    return sum(c * x**k for k, c in enumerate(RRAM[when]))


@pytest.mark.parametrize("na", [200, 800, 1600])
def test_sonos_programming(na):
    error = (programmed(build("sonos40", {}), na * 1e-8) - na * 1e-8) * 1e8  # nA at 0.1 V
    assert_mean(error, 0, sonos_sigma(na))
    assert_sigma(error, sonos_sigma(na))


@pytest.mark.parametrize("day", [1, 2, 3, 4, 5])
def test_sonos_states_widen_day_by_day(day):
    device = build("sonos40", {})
    for na in (200, 1600):
        change = (aged(device, na * 1e-8, day * DAY) - na * 1e-8) * 1e8
        more = math.sqrt(sonos_sigma(na, day) ** 2 - sonos_sigma(na) ** 2)
        assert_sigma(change, more)
        assert_mean(change, SONOS_DRIFT[day][na], more)


@pytest.mark.parametrize("day", SONOS_DRIFT)
def test_sonos_states_move_by_the_mean_that_was_measured_on_each_day(day):
    device = build("sonos40", {})
    for na, drift in SONOS_DRIFT[day].items():
        moved = device.mean_drift(np.array([na * 1e-8]), day * DAY) * 1e8
        np.testing.assert_allclose(moved, drift, atol=0.06 if day == 5 else 0.0051)
    # half-way between two days stands the mean of both
    later = device.mean_drift(np.array([8e-6]), (day - 0.5) * DAY) * 1e8
    before = SONOS_DRIFT[day - 1][800] if day > 1 else 0.0
    assert later == pytest.approx((before + SONOS_DRIFT[day][800]) / 2, abs=0.06)


@pytest.mark.parametrize("day", SONOS_DRIFT)
def test_erased_sonos_cells_stay_within_a_third_of_a_nanoampere(day):
    left = aged(build("sonos40", {}), 0.0, day * DAY)
    assert left.min() >= 0
    assert left.max() * 1e8 < 1 / 3


def test_sonos_programming_and_ageing_together_have_the_measured_spread():
    device = build("sonos40", {})
    start = programmed(device, 8e-6)
    total = (device.age(start, 5 * DAY, REFERENCE_K, np.random.default_rng(7)) - 8e-6) * 1e8
    # ageing looks at the programmed state: exact moments over its normal law, by quadrature
    law = stats.norm(800, sonos_sigma(800))
    ends = (800 - 8 * sonos_sigma(800), 800 + 8 * sonos_sigma(800))

    def moment(power, centre=0.0):
        def integrand(na):
            step = float(device.mean_drift(np.array([na * 1e-8]), 5 * DAY)[0]) * 1e8
            var = sonos_sigma(na, 5) ** 2 - sonos_sigma(na) ** 2
            away = na + step - 800 - centre
            return law.pdf(na) * (away if power == 1 else away**2 + var)

        return integrate.quad(integrand, *ends, points=[800])[0]

    mean = moment(1)
    sigma = math.sqrt(moment(2, mean))
    assert sigma == pytest.approx(sonos_sigma(800, 5), rel=0.03)  # the figure that was measured
    assert_mean(total, mean, sigma)
    assert_sigma(total, sigma)


def test_sonos_read_noise():
    na = np.linspace(0, 1600, 40)
    expected = 12.58037 * (1 - np.exp(-na / 215.36557)) * 1e-8
    np.testing.assert_allclose(build("sonos40", {}).read_sigma(na * 1e-8), expected, rtol=1e-12)


@pytest.mark.parametrize("x", [0.2, 0.6, 1.0])
def test_pcm_programming(x):
    error = (programmed(build("pcm", {}), 25e-6 * x) - 25e-6 * x) * 1e6
    sigma = 0.26348 + 1.9650 * x - 1.1731 * x**2
    assert_mean(error, 0, sigma)
    assert_sigma(error, sigma)


def test_pcm_erased_cells_are_cut_off_at_zero():
    g = programmed(build("pcm", {}), 0.0) * 1e6
    assert g.min() == 0
    assert abs((g == 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(N)
    # half-normal: mean sigma / sqrt(2 pi), second moment sigma^2 / 2
    assert_mean(g, 0.26348 / math.sqrt(2 * math.pi), 0.26348)


@pytest.mark.parametrize("x", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("time_s", [3600.0, 30 * DAY])
def test_pcm_drift_exponents(x, time_s):
    g = aged(build("pcm", {}), 25e-6 * x, time_s)
    nu = -np.log(g / (25e-6 * x)) / math.log((time_s + 20) / 20)
    mean = min(max(-0.0155 * math.log(x) + 0.0244, 0.049), 0.1)
    sigma = min(max(-0.0125 * math.log(x) - 0.0059, 0.008), 0.045)
    folded = stats.foldnorm(mean / sigma, scale=sigma)  # the magnitude of a normal number
    assert_mean(nu, folded.mean(), folded.std())
    assert abs(nu.std() / folded.std() - 1) < 4 / math.sqrt(2 * N)
    assert stats.kstest(nu[:4000], folded.cdf).pvalue > 1e-4


def test_pcm_read_noise_grows_with_time():
    device, x = build("pcm", {}), np.array([0.001, 0.008, 0.1, 1.0])
    for time_s in (0.0, 3600.0, 30 * DAY):
        t = time_s + 20
        q = np.minimum(0.0088 / x**0.65, 0.2)
        expected = 25e-6 * x * q * math.sqrt(math.log((t + 250e-9) / 500e-9))
        np.testing.assert_allclose(device.read_sigma(25e-6 * x, time_s), expected, rtol=1e-12)
        # a cell that has lost a third fluctuates as its programmed state does, on what is left
        left = device.read_sigma(25e-6 * x / 1.5, time_s, 25e-6 * x)
        np.testing.assert_allclose(left, expected / 1.5, rtol=1e-12)
    assert device.read_sigma(np.zeros(1))[0] == 0


@pytest.mark.parametrize("x", [0.3, 0.7, 1.0])
def test_rram_programming(x):
    error = (programmed(build("rram", {}), 40e-6 * x) - 40e-6 * x) * 1e6
    assert_mean(error, 0, rram_sigma(x, 1.0))
    assert_sigma(error, rram_sigma(x, 1.0))


@pytest.mark.parametrize("time_s", [DAY - 1, 2 * DAY - 1])
def test_rram_relaxes_to_the_spread_of_the_later_days(time_s):
    device = build("rram", {})
    for x in (0.3, 0.7):
        change = (aged(device, 40e-6 * x, time_s) - 40e-6 * x) * 1e6
        more = math.sqrt(rram_sigma(x, time_s + 1) ** 2 - rram_sigma(x, 1.0) ** 2)
        assert_sigma(change, more)
        assert_mean(change, 0, more)


def test_rram_variance_goes_with_the_logarithm_of_time_in_between():
    device, g = build("rram", {}), np.array([12e-6])
    ends = [1e-12 * rram_sigma(0.3, when) ** 2 for when in (1.0, DAY)]
    half = math.sqrt(DAY) - 1  # half way in decades, counted from 1 s
    np.testing.assert_allclose(device.variance(g, half), sum(ends) / 2, rtol=1e-9)
    np.testing.assert_array_equal(device.read_sigma(g), 0.01 * 40e-6)


def test_sram_mismatch_is_a_share_of_a_stored_one():
    device = build("sram", {"sigma_mismatch": "5 %", "g_min": "10 nS"})
    on = programmed(device, 1e-6) - 1e-6
    assert_sigma(on, 0.05 * 0.99e-6)
    assert_mean(on, 0, 0.05 * 0.99e-6)
    np.testing.assert_array_equal(programmed(device, 1e-8), 1e-8)
    np.testing.assert_array_equal(aged(device, 1e-6, 1e9), 1e-6)  # a bit is held
    assert not device.is_exact


@pytest.mark.parametrize("kind", ["sonos40", "pcm", "rram"])
def test_scales_switch_each_error_alone(kind):
    quiet = build(kind, {"program_scale": 0, "read_scale": 0, "drift_scale": 0})
    g = np.linspace(0, quiet.g_max_s, 50)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(quiet.program(g, rng), g)
    np.testing.assert_array_equal(quiet.age(g, DAY, REFERENCE_K, rng), g)
    np.testing.assert_array_equal(quiet.read_sigma(g, DAY), 0)
    double = build(kind, {"program_scale": 2, "read_scale": 2})
    single = build(kind, {})
    np.testing.assert_allclose(double.program_sigma(g), 2 * single.program_sigma(g))
    np.testing.assert_allclose(double.read_sigma(g, DAY), 2 * single.read_sigma(g, DAY))


@given(
    st.sampled_from(["sonos40", "pcm", "rram"]), st.floats(0, 2 * DAY), st.floats(0, 1.05),
    st.integers(0, 2**32),
)  # fmt: skip
def test_whatever_the_state_and_the_time_cells_stay_physical(kind, time_s, x, seed):
    device = build(kind, {})
    g = np.array([x * device.g_max_s, 0.0, device.g_max_s])
    later = device.age(g, time_s, REFERENCE_K, np.random.default_rng(seed))
    assert np.isfinite(later).all()
    assert (later >= 0).all()
    if kind == "pcm":
        assert (later <= g).all()  # cells lose conductance only
    noise = device.read_sigma(later, time_s)
    assert np.isfinite(noise).all()
    assert (noise >= 0).all()


@pytest.mark.parametrize(
    ("kind", "time_s", "temperature_k", "message"),
    [
        ("sonos40", 6 * DAY, REFERENCE_K, r"conditions\.time: expected 0 \.\. 5 d .*got 6 d: "),
        ("rram", 3 * DAY, REFERENCE_K, r"conditions\.time: expected 0 \.\. 2 d .*got 3 d: it was"),
        ("pcm", 4e8, REFERENCE_K, r"conditions\.time: expected 0 \.\. 10 y .*got 12\.7 y"),
        ("pcm", 0, 358.15, r"conditions\.temperature: expected 25 C, got 85 °C: device 'pcm'"),
        ("sram", 0, 358.15, r"conditions\.temperature: expected 25 C, got 85 °C: device 'sram'"),
        ("sonos40", DAY, 300, r"conditions\.temperature: expected 25 C, got 26\.85 °C"),
    ],
)  # fmt: skip
def test_outside_of_what_was_measured_is_refused(kind, time_s, temperature_k, message):
    with pytest.raises(ConfigError, match=message):
        build(kind, {}).age(np.ones(3), time_s, temperature_k, np.random.default_rng(0))
