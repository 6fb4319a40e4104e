"""What warming does to gate-coupled cells, to their noise, and over a chip."""

import math

import numpy as np
import pytest

from cimsim.chip.cells import build, device_of
from cimsim.chip.load import load_hw
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import ConfigError

HOT, COLD = 358.15, 253.15
STATES = np.linspace(0, 1, 20_001)


def change(temperature_k, **more):
    device = build("eflash", {"g_max": "1 S", **more})
    return device.age(STATES.copy(), 0.0, temperature_k, np.random.default_rng(0)) - STATES


def test_bare_cells_go_as_the_formula_of_currents_below_threshold():
    np.testing.assert_allclose(change(HOT), STATES ** (REFERENCE_K / HOT) - STATES, rtol=1e-12)
    # w**e - w is largest where e w**(e - 1) = 1
    assert change(HOT).max() == pytest.approx(0.06736, abs=1e-5)


@pytest.mark.parametrize("residual", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_what_compensation_leaves_is_what_was_measured(residual, slope):
    warm = change(HOT, thermal_residual=residual, slope_change=slope)
    assert warm.max() == pytest.approx(residual, rel=1e-5)
    # 25 to 55 C is less than 25 to 85 C, and colder is the other way
    assert 0.4 * residual < change(328.15, thermal_residual=residual).max() < 0.6 * residual
    assert change(COLD, thermal_residual=residual).min() < -0.6 * residual
    assert not change(REFERENCE_K, thermal_residual=residual, slope_change=slope).any()


def test_a_residual_beyond_that_of_bare_cells_is_theirs():
    np.testing.assert_array_equal(change(HOT, thermal_residual="20 %"), change(HOT))


def test_a_slope_that_grows_with_temperature_adds_to_it():
    """n T by 20.1 % and 6 % for 60 K."""
    grown = STATES ** (REFERENCE_K / HOT / 1.06) - STATES
    np.testing.assert_allclose(change(HOT, slope_change="10 %"), grown, rtol=1e-12)


def test_noise_of_warm_cells_has_power_in_proportion_to_temperature():
    device = build("eflash", {"g_max": "10 nS"})
    assert device.noise_growth(HOT) == pytest.approx(math.sqrt(358.15 / 298.15))
    assert device.noise_growth(REFERENCE_K) == 1
    assert build("ideal", {}).noise_growth(HOT) == 1


def test_a_gradient_is_refused_where_its_warmest_tiles_are():
    ends = {"conditions.gradient": "20 K", "conditions.temperature": "75 C"}
    device_of(load_hw("eflash40nm", ends))
    with pytest.raises(
        ConfigError, match=r"^conditions\.gradient: 22 K around 75 °C makes some tiles 86 °C; cond"
    ):
        device_of(load_hw("eflash40nm", ends | {"conditions.gradient": "22 K"}))
    with pytest.raises(ConfigError, match=r"^conditions\.temperature: expected -20 °C"):
        device_of(load_hw("eflash40nm", ends | {"conditions.temperature": "90 C"}))


def test_tiles_of_a_row_have_temperatures_from_side_to_side():
    chip = load_hw("eflash40nm", {"conditions.gradient": "20 K", "conditions.temperature": "55 C"})
    side = 9  # 76 tiles in a square
    found = [chip.conditions.at(chip.place_of(tile)) - 273.15 for tile in range(side)]
    np.testing.assert_allclose(found, np.linspace(45, 65, side))
    assert chip.place_of(side) == chip.place_of(0)
    assert not chip.conditions.fresh


def test_no_part_of_a_chip_may_be_warmer_than_its_cells_are_known_for():
    with pytest.raises(ConfigError, match=r"temperature: expected -20 °C .. 85 °C.*got 90 °C"):
        device_of(
            load_hw("eflash40nm", {"conditions.gradient": "30 K", "conditions.temperature": "75 C"})
        )
    with pytest.raises(ConfigError, match="has no temperature model"):
        device_of(load_hw("hermes14nm", {"conditions.gradient": "10 K"}))
