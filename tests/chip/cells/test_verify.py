"""The write-verify loop against closed forms: geometric pulses, truncated normals, halving."""

import math

import numpy as np
import pytest
from scipy import stats

from cimsim.chip.cells import build

N = 40_000
SPAN = 1e-6  # the ideal cell's range


def looped(seed=1, target=0.5, kind="ideal", own=(), **verify):
    device = build(kind, {**dict(own), "verify": verify})
    goal = np.full(N, device.g_min_s + target * (device.g_max_s - device.g_min_s))
    written, pulses = device.write(goal, np.random.default_rng(seed))
    return (written - goal) / (device.g_max_s - device.g_min_s), pulses


def test_with_full_gain_pulses_are_geometric_and_errors_a_truncated_normal():
    # each pulse lands within the tolerance with p = 2 Phi(tolerance / sigma) - 1
    error, pulses = looped(tolerance="1 %", pulse_sigma="2 %", gain=1, max_pulses=200)
    p = 2 * stats.norm.cdf(0.5) - 1
    assert abs(pulses.mean() - 1 / p) < 4 * math.sqrt(1 - p) / p / math.sqrt(N)
    for k in (1, 2, 3):
        share = p * (1 - p) ** (k - 1)
        assert abs((pulses == k).mean() - share) < 4 * math.sqrt(share * (1 - share) / N)
    assert np.abs(error).max() <= 0.01 * (1 + 1e-9)
    cut = stats.truncnorm(-0.5, 0.5, scale=0.02)
    assert stats.kstest(error, cut.cdf).pvalue > 1e-4


def test_given_up_cells_keep_the_error_of_their_last_pulse():
    error, pulses = looped(tolerance="1 %", pulse_sigma="2 %", gain=1, max_pulses=3)
    p = 2 * stats.norm.cdf(0.5) - 1
    mean = (1 - (1 - p) ** 3) / p
    assert pulses.max() == 3
    assert abs(pulses.mean() - mean) < 4 / math.sqrt(N)
    outside = (1 - p) ** 3
    share = (np.abs(error) > 0.01).mean()
    assert abs(share - outside) < 4 * math.sqrt(outside * (1 - outside) / N)


@pytest.mark.parametrize("gain", [0.3, 0.5, 0.8])
def test_without_noise_the_distance_shrinks_by_one_minus_gain(gain):
    error, pulses = looped(target=0.77, tolerance="0.1 %", gain=gain, max_pulses=100)
    n = math.ceil(math.log(0.001 / 0.77) / math.log(1 - gain))
    assert (pulses == n).all()
    np.testing.assert_allclose(error, -0.77 * (1 - gain) ** n, rtol=1e-6)


def test_one_exact_pulse_for_written_cells_and_none_for_erased_ones():
    device = build("ideal", {"verify": {"tolerance": 0, "gain": 1}})
    assert device.is_exact
    target = np.random.default_rng(0).choice([0.0, 0.1e-6, 1e-6], (3, 50, 20))
    written, pulses = device.write(target, np.random.default_rng(1))
    np.testing.assert_array_equal(written, target)
    np.testing.assert_array_equal(pulses, target > 0)


def test_cells_never_go_below_zero():
    error, _ = looped(target=0.02, tolerance="0.1 %", pulse_sigma="10 %", max_pulses=4)
    assert error.min() >= -0.02 * (1 + 1e-12)


def test_a_noisy_reading_is_what_is_accepted():
    # a cell stays erased if its reading lies within the tolerance: 1 - Phi of the distance
    own = {"program_scale": 0}
    device = build("rram", own | {"verify": {"tolerance": "2 %", "max_pulses": 1}})
    target = np.full(N, 0.03 * device.g_max_s)
    _, pulses = device.write(target, np.random.default_rng(5))
    stays = stats.norm.cdf(0.05 / 0.01) - stats.norm.cdf(0.01 / 0.01)
    assert abs((pulses == 0).mean() - stays) < 4 * math.sqrt(stays * (1 - stays) / N)


def test_everything_but_writing_is_the_device_own():
    plain = build("pcm", {"program_scale": 0})
    device = build("pcm", {"program_scale": 0, "verify": {"tolerance": "1 %"}})
    g = np.linspace(0, 25e-6, 9)
    later = [d.age(g, 3600.0, 298.15, np.random.default_rng(0)) for d in (plain, device)]
    np.testing.assert_array_equal(*later)
    np.testing.assert_array_equal(plain.read_sigma(g, 60), device.read_sigma(g, 60))
    assert (device.name, device.conduction, device.g_max_s) == ("pcm", "ohmic", plain.g_max_s)
    assert not device.is_exact


def test_the_loop_depends_on_the_generator_alone():
    first, again, other = (
        looped(seed, tolerance="1 %", pulse_sigma="2 %")[0] for seed in (3, 3, 4)
    )  # fmt: skip
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99
