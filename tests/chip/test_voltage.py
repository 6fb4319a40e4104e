"""Another supply: energy as a power of it, speed by law or table, and everything else untouched."""

import pytest

from cimsim.chip.load import build, chip_hash, load_hw, raw_mapping
from cimsim.energy.activation import full_activation
from cimsim.errors import ConfigError


def close(value, rel=1e-9):
    return pytest.approx(value, rel=rel, abs=0)  # joules are smaller than the usual tolerance


def at(vdd, name="eflash40nm", **operating):
    return load_hw(
        name, {"operating.vdd": vdd} | {f"operating.{k}": v for k, v in operating.items()}
    )


def test_energy_of_digital_actions_is_quadratic():
    base, low = load_hw("eflash40nm"), at("0.55 V", frequency="fixed")
    for section, field in (
        ("adc", "energy_j"), ("dac", "energy_j"), ("buffer", "read_energy_j_b"),
        ("vector", "scale_energy_j"), ("interconnect", "energy_j_b"), ("adder", "energy_j"),
    ):  # fmt: skip
        before, after = (getattr(getattr(chip, section), field) for chip in (base, low))
        assert after == close(before / 4)
    assert low.buffer.leakage_w == close(base.buffer.leakage_w / 2)
    assert low.static_power_w == close(base.static_power_w / 2)
    assert low.array.active_power_w == close(base.array.active_power_w / 4)
    assert low.array.reference_power_w == close(base.array.reference_power_w / 2)
    # memory and link have supplies of their own, flash cells were programmed for their read voltage
    assert (low.dram, low.io) == (base.dram, base.io)
    assert low.array.v_read_v == base.array.v_read_v
    assert low.process.clock_hz == base.process.clock_hz
    assert low.process.vdd_v == 0.55


def test_alpha_power_law_by_hand():
    """((0.9 - 0.35)**1.3 / 0.9) / ((1.1 - 0.35)**1.3 / 1.1) = 0.8166."""
    base, low = load_hw("eflash40nm"), at("0.9 V")
    speed = (0.55**1.3 / 0.9) / (0.75**1.3 / 1.1)
    assert speed == close(0.8166, rel=2e-4)
    assert low.process.clock_hz == close(148e6 * speed)
    assert low.adc.t_conversion_s == close(base.adc.t_conversion_s / speed)
    assert low.array.t_read_s == close(base.array.t_read_s / speed)


def test_cycles_do_not_depend_on_the_supply_only_seconds_do():
    for name in ("sram22nm", "sram7nm", "sram65nm"):
        base = load_hw(name)
        other = at(f"{0.9 * base.process.vdd_v} V", name)
        cycles = [
            full_activation(chip).interval_s * chip.process.clock_hz for chip in (base, other)
        ]
        assert cycles[0] == close(cycles[1], rel=1e-9)


def test_charge_arrays_swing_with_the_supply():
    base, low = load_hw("sram22nm"), at("0.5 V", "sram22nm")
    energies = [full_activation(chip).energy_j for chip in (base, low)]
    for name in ("array", "adc", "dac", "vector"):
        assert energies[1][name] == close(energies[0][name] / 4)


@pytest.mark.parametrize("exponent", [1.0, 1.6, 2.0])
def test_another_exponent_holds_for_arrays_too(exponent):
    base = full_activation(load_hw("sram22nm")).energy_j
    low = full_activation(at("0.8 V", "sram22nm", energy_exponent=exponent)).energy_j
    for name in ("array", "adc", "dac"):
        assert low[name] == close(base[name] * 0.8**exponent)


def test_table_is_met_at_its_points_and_straight_between_them():
    assert at("0.85 V", "sram65nm").process.clock_hz == close(40e6)
    assert at("1.025 V", "sram65nm").process.clock_hz == close(70e6)


def test_power_of_what_works_is_energy_over_time():
    low = at("0.9 V", "neurram130nm", v_threshold="0.5 V")
    base = load_hw("neurram130nm")
    speed = low.process.clock_hz / base.process.clock_hz
    assert low.array.active_power_w == close(base.array.active_power_w * speed / 4)


def test_the_nominal_supply_changes_nothing_and_a_scaled_chip_stays():
    base = load_hw("eflash40nm")
    assert at("1.1 V").adc == base.adc
    low = at("0.9 V")
    assert low.operating == base.operating
    assert chip_hash(low) != chip_hash(base)


@pytest.mark.parametrize(
    ("operating", "parts"),
    [
        ({"vdd": "0.3 V"}, ["operating.vdd", "operating.v_threshold = 350 mV", "got 300 mV"]),
        ({"vdd": "0 V"}, ["operating.vdd", "> 0 V"]),
        ({"vdd": "0.9 V", "frequency": "table"}, ["operating.table", "900 mV", "0 supplies"]),
        ({"vdd": "0.9 V", "frequency": "table", "table": {"1 V": "1 GHz", "1.2 V": "2 GHz"}},
         ["operating.table", "both sides of 900 mV", "from 1.00 V to 1.20 V"]),
        ({"vdd": "0.9 V", "frequency": "table", "table": {"0.8 V": "1 s", "1.2 V": "2 GHz"}},
         ["operating.table", "in Hz", "'1 s'"]),
        ({"vdd": "0.9 V", "frequency": "table", "table": {"0.8 V": "0 Hz", "1.2 V": "2 GHz"}},
         ["operating.table", "more than 0 Hz"]),
        ({"frequency": "linear"}, ["operating.frequency", "'alpha'", "got 'linear'"]),
        ({"alpha": 3}, ["operating.alpha", "got 3"]),
    ],
)  # fmt: skip
def test_impossible_supplies_are_refused(operating, parts):
    origin, raw = raw_mapping("eflash40nm")
    with pytest.raises(ConfigError) as caught:
        build(raw | {"operating": operating}, origin)
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
