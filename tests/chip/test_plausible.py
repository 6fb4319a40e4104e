"""What `cimsim hw check` calls implausible: each range from both sides, and nothing of ours."""

import pytest

from cimsim.chip.fields import fields
from cimsim.chip.load import is_number, load_hw, raw_mapping, shipped
from cimsim.chip.plausible import implausible, power
from cimsim.report.chip.provenance import findings
from cimsim.units import format_si

RANGES = {
    path: (*field.fact.plausible[:2], field.unit)
    for path, field in fields().items() if field.fact.plausible
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_chips_raise_no_doubt(name):
    chip, raw = load_hw(name), raw_mapping(name)[1]
    # tile control is 0 W in two of them, and their own sources say that it is not
    found = {text for text in findings(chip, raw) if not text.startswith("tile.static_power: 0 W")}
    assert found == set()


@pytest.mark.parametrize("path", sorted(RANGES))
def test_every_range_is_of_a_field_and_is_noticed_on_both_sides(path):
    low, high, unit = RANGES[path]
    base = {
        "array.mode": "charge", "array.cell_capacitance": "1 fF", "dram.bytes_per_cycle": 8,
        "adc.kind": "sar", "dac.encoding": "pulse_width",
    }  # fmt: skip
    for value in (low / 1.5, high * 1.5):
        text = f"{value!r} {unit}".strip() if unit else value
        try:
            chip = load_hw("eflash40nm", base | {path: text})
        except ValueError:  # refused outright is better still
            continue
        assert fields()[path].value(chip) == pytest.approx(value, rel=1e-9, abs=0)
        found = [line for line in implausible(chip) if line.startswith(f"{path}: ")]
        assert any("is outside of" in line for line in found), found
        if unit:
            assert format_si(value, unit) in found[0]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"array.cell_area": "0.0001 um2"}, ["array.cell_area", "squares of the feature size"]),
        ({"array.cell_area": "100 um2"}, ["array.cell_area", "squares of the feature size"]),
        ({"adc.energy": "90 pJ"}, ["adc.energy", "30 times off", "2.61 pJ", "adc_survey"]),
        ({"buffer.size": "512 B"}, ["buffer.size", "no input vector", "1024 B"]),
        ({"adc.bits": 32}, ["adc.bits", "more than a column can hold"]),
        ({"adc.count": 2000}, ["adc.count", "2000 converters for 1024 columns"]),
        ({"buffer.read_energy": "0.00151 pJ/B"}, ["buffer.read_energy", "100 times off", "sram"]),
        ({"buffer.leakage": "0.9 W"}, ["buffer.leakage", "100 times off"]),
        ({"vector.area": "5.6 mm2"}, ["vector.area", "100 times off", "vector_aladdin"]),
        ({"interconnect.energy": "3 fJ/B"}, ["interconnect.energy", "100 times off"]),
        ({"buffer.area": "340 mm2"}, ["area: ", "more than a reticle (858 mm²)", "of it buffer"]),
        ({"array.periphery_area": "10 mm2"}, ["area", "a reticle", "of it array periphery"]),
        ({"tile.clock_power": "4 W"}, ["power", "on 207 mm²", "of it tile.clock_power"]),
        (
            {"dram.static_power": "20 W"},
            ["dram.static_power: 20.0 W", "the whole chip takes 3.21 W"],
        ),
        ({"io.static_power": "40 W"}, ["io.static_power: 40.0 W", "the whole chip takes"]),
    ],
)
def test_what_single_fields_do_not_show(changes, parts):
    found = list(implausible(load_hw("eflash40nm", changes)))
    assert any(all(part in line for part in parts) for line in found), found


def test_zero_is_not_given_and_no_doubt():
    assert list(implausible(load_hw("eflash40nm", {"adc.energy": "0 J"}))) == []
    assert is_number("1 pJ")


def test_what_a_chip_takes_at_most_by_hand():
    watts = power(load_hw("eflash40nm", {"adc.count": 2, "tile.arrays": 3}))
    assert watts["tile.clock_power"] == pytest.approx(76 * 40.5e-3)
    assert watts["array.active_power"] == pytest.approx(76 * 3 * 1e-3)
    assert watts["vector.leakage"] == pytest.approx(76 * 38.8e-6)
    # two converters for each of three arrays, 2.61 pJ each time one is done
    chip = load_hw("eflash40nm", {"adc.count": 2})
    assert power(chip)["adc.energy"] == pytest.approx(
        152 * chip.adc.energy_j / chip.adc.conversion_s
    )


def test_several_chips_are_no_large_one():
    assert not list(implausible(load_hw("eflash40nm", {"system.chips": 6})))
