import math

import numpy as np
import pytest
from scipy import integrate, stats

from cimsim.chip.cells import build
from cimsim.errors import ConfigError

G_MAX, G_MIN = 11.5e-9, 0.01e-9
N = 40_000


def eflash(**parameters):
    return build("eflash", {"g_max": "11.5 nS", "g_min": "0.01 nS"} | parameters)


def shape(g, knee):
    return 1 - np.exp(-g / (knee * G_MAX))


def sigma_bounds(sigma, n, z=5):
    """Interval for the sample standard deviation of n normals."""
    return sigma * (1 - z / math.sqrt(2 * n)), sigma * (1 + z / math.sqrt(2 * n))


def reference_layer_rms(sigma_of_g):
    """Rms error of a pair over half-normal magnitudes cut off at 1, by numeric integration."""
    spread = 1 / 3.75
    law = stats.truncnorm(0, 1 / spread, scale=spread)

    def integrand(w):
        pair = sigma_of_g(G_MIN + w * (G_MAX - G_MIN)) ** 2 + sigma_of_g(G_MIN) ** 2
        return law.pdf(w) * pair

    return math.sqrt(integrate.quad(integrand, 0, 1, epsabs=0, epsrel=1e-10)[0])


@pytest.mark.parametrize("program_shape", ["saturating", "uniform"])
def test_pairs_of_the_reference_layer_err_by_the_measured_figure(program_shape):
    device = eflash(sigma_program="1.75 %", program_shape=program_shape)
    rms = reference_layer_rms(lambda g: float(device.program_sigma(np.array([g]))[0]))
    assert rms == pytest.approx(0.0175 * (G_MAX - G_MIN), rel=1e-9)


@pytest.mark.parametrize("state", [0.05, 0.3, 1.0])
def test_programming_error_has_the_saturating_size(state):
    device = eflash(sigma_program="1.75 %")
    target = np.full(N, state * G_MAX)
    error = device.program(target, np.random.default_rng(5)) - target
    size = 0.0175 * (G_MAX - G_MIN) / reference_layer_rms(lambda g: shape(g, 0.11))
    low, high = sigma_bounds(size * shape(state * G_MAX, 0.11), N)
    assert low < error.std() < high
    assert abs(error.mean()) < 5 * error.std() / math.sqrt(N)


def test_the_erased_cell_of_a_pair_hardly_errs():
    device = eflash(sigma_program="1.75 %")
    erased, full = device.program_sigma(np.array([G_MIN, G_MAX]))
    assert erased < 0.01 * full


def test_uniform_shape_spreads_the_error_over_both_cells_and_clips_at_zero():
    device = eflash(sigma_program="1.75 %", program_shape="uniform")
    sigma = 0.0175 * (G_MAX - G_MIN) / math.sqrt(2)
    full = device.program(np.full(N, G_MAX), np.random.default_rng(6))
    low, high = sigma_bounds(sigma, N)
    assert low < full.std() < high
    erased = device.program(np.full(N, G_MIN), np.random.default_rng(7))
    assert erased.min() == 0
    assert (erased == 0).mean() == pytest.approx(
        stats.norm.cdf(-G_MIN / sigma), abs=5 * 0.5 / math.sqrt(N)
    )


def test_read_noise_follows_the_measured_curve():
    device = eflash(sigma_read="0.79 %")
    g = np.linspace(0, G_MAX, 30)
    np.testing.assert_allclose(
        device.read_sigma(g), 0.0079 * G_MAX * shape(g, 0.135), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("setting", ["sigma_program", "sigma_read"])
def test_one_error_is_enough_to_be_inexact(setting):
    assert eflash().is_exact
    assert not eflash(**{setting: "0.1 %"}).is_exact


def age(device, g, time_s=0.0, celsius=25.0):
    return device.age(np.asarray(g), time_s, celsius + 273.15, np.random.default_rng(0))


def test_a_warm_cell_follows_the_gate_coupled_law():
    device = build("eflash", {"g_max": "1 S"})
    # 0.5 -> 0.56 and 0.1 -> 0.147 from 25 to 85 C (Bai 2024, eq. 1); full scale and 0 stay
    np.testing.assert_allclose(age(device, [0.5, 0.1], celsius=85), [0.56, 0.147], rtol=5e-3)
    np.testing.assert_array_equal(age(device, [0.0, 1.0], celsius=85), [0, 1])
    there_and_back = age(device, age(device, [0.3], celsius=85))  # 25 C changes nothing
    np.testing.assert_array_equal(there_and_back, age(device, [0.3], celsius=85))
    # w = exp(-u / T): twice the way in 1/T is the square of the change
    for celsius in (-20, 60):
        expected = np.exp(np.log(0.3) * 298.15 / (celsius + 273.15))
        np.testing.assert_allclose(age(device, [0.3], celsius=celsius), expected, rtol=1e-12)


def test_without_a_figure_for_retention_time_is_refused():
    with pytest.raises(ConfigError, match=r"conditions\.time: .*got 30 d.*device\.charge_loss"):
        age(eflash(), [1e-9], time_s=30 * 86400)


def test_a_users_drift_loses_its_share_per_decade():
    device = eflash(drift_per_decade="0.5 %", drift_start="1 h")
    g = np.linspace(0, G_MAX, 5)
    for decades in (1, 2, 5):
        later = age(device, g, time_s=3600 * (10**decades - 1))
        np.testing.assert_allclose(later, g * (1 - 0.005 * decades), rtol=1e-12)
    far = eflash(drift_per_decade="60 %", drift_start="1 s")
    np.testing.assert_array_equal(age(far, g, time_s=1e4), 0)  # never negative


@pytest.mark.parametrize("celsius", [-21, 86])
def test_temperatures_outside_of_the_chips_range_are_refused(celsius):
    with pytest.raises(ConfigError, match=r"conditions\.temperature: expected -20 °C \.\. 85 °C"):
        age(eflash(), [1e-9], celsius=celsius)


DECADES = 3600 * (10.0 ** np.array([1, 2, 4]) - 1)


@pytest.mark.parametrize("time_s", DECADES)
@pytest.mark.parametrize("celsius", [25, 90 - 5, -20])
def test_lost_charge_moves_the_threshold_and_so_the_logarithm_of_the_current(time_s, celsius):
    device = eflash(charge_loss="0.1 %", loss_spread=0)
    g = np.geomspace(1e-11, G_MAX, 9)
    later = age(device, g, time_s, celsius) / age(device, g, 0.0, celsius)
    # by threshold voltages: n k T / q = 40 mV, the neutral cell conducts 500 g_max
    volt = 0.04
    threshold = volt * np.log(500 * G_MAX / g)
    lost = 1e-3 * np.log10(1 + time_s / 3600) * 2 ** ((celsius - 25) / 65)
    moved = np.exp(threshold * lost / volt)
    # the warm law comes after, on what is left: w ** (T0 / T)
    np.testing.assert_allclose(later, moved ** (298.15 / (celsius + 273.15)), rtol=1e-9)


def test_cells_lose_charge_each_at_its_own_pace_and_keep_it_at_all_times():
    device = eflash(charge_loss="0.1 %", loss_spread=0.5)
    g = np.full(60_000, G_MAX / 3)
    early, late = (np.log(age(device, g, t) / g) / np.log(1500.0) for t in DECADES[:2])
    np.testing.assert_allclose(late, 2 * early, rtol=1e-9)
    logs = np.log(early / 1e-3)
    assert abs(logs.mean()) < 4 * 0.5 / np.sqrt(g.size)
    assert logs.std() == pytest.approx(0.5, rel=4 / np.sqrt(2 * g.size))


def test_a_cell_without_current_stays_and_none_passes_the_neutral_one():
    device = eflash(charge_loss="10 %", loss_spread=2)
    g = np.concatenate([np.zeros(3), np.full(5000, 1e-11)])
    later = age(device, g, 20 * 365.25 * 86400, 85)
    assert (later[:3] == 0).all()
    cap = G_MAX * 500 ** (298.15 / 358.15)  # the neutral cell, warm
    assert later.max() == pytest.approx(cap, rel=1e-9)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"charge_loss": "11 %"}, r"charge_loss.*0 \.\. 10 % per decade, got 11 %"),
        ({"loss_spread": 3}, r"loss_spread.*0 \.\. 2"),
        ({"neutral_ratio": 0.5}, r"neutral_ratio"),
    ],
)
def test_retention_that_cannot_be_is_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        eflash(**more)


def test_a_users_drift_takes_the_place_of_the_model():
    own = {"drift_per_decade": "0.5 %", "drift_start": "1 h"}
    later = [age(eflash(**own, **more), [1e-9], 1e6) for more in ({}, {"charge_loss": "1 %"})]
    np.testing.assert_array_equal(*later)


def test_more_than_twenty_years_are_refused():
    with pytest.raises(ConfigError, match=r"conditions\.time: expected 0 \.\. 20 y .*got 21 y"):
        age(eflash(charge_loss="0.1 %"), [1e-9], 21 * 365.25 * 86400)
