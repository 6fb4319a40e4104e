"""Estimators against the published figures that they stand for, and how ``auto`` asks for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.chip.area import area
from cimsim.chip.estimators import DEFAULTS, ESTIMATORS, AbstractEstimator, unit_of
from cimsim.chip.estimators.adc import survey_area_m2, survey_energy_j
from cimsim.chip.estimators.scaling import Scaling
from cimsim.chip.estimators.wires import wire_energy_j_b
from cimsim.chip.load import chip_hash, estimates, load_hw, raw_mapping
from cimsim.errors import ConfigError
from cimsim.report.chip.provenance import findings, rows

PJ, UM2 = 1e-12, 1e-12


def close(value, rel=1e-9):
    return pytest.approx(value, rel=rel, abs=0)  # joules are smaller than the usual tolerance


# Accelergy plug-in: nm, bits, pJ at 1 .. 100 MS/s, pJ at 1.2 GS/s, um2 at 1, 10, 100 MS/s
SURVEY = [
    (40, 6, 1.62, 1.62, (2100, 3190, 4830)), (40, 8, 2.61, 2.81, (2420, 3680, 5570)),
    (40, 10, 5.03, 23.9, (2950, 4480, 6790)), (32, 8, 1.71, 1.85, (1710, 2600, 3940)),
    (65, 8, 6.49, 7.01, (5160, 7820, 11900)), (22, 8, 0.85, 0.91, (957, 1450, 2200)),
]  # fmt: skip


@pytest.mark.parametrize(("node", "bits", "slow", "fast", "areas"), SURVEY)
def test_adc_fit_gives_the_published_table(node, bits, slow, fast, areas):
    for rate in (1e6, 1e7, 1e8):
        assert survey_energy_j(bits, rate, node * 1e-9) == close(slow * PJ, rel=0.005)
    assert survey_energy_j(bits, 1.2e9, node * 1e-9) == close(fast * PJ, rel=0.005)
    for rate, expected in zip((1e6, 1e7, 1e8), areas, strict=True):
        assert survey_area_m2(bits, rate, node * 1e-9) == close(expected * UM2, rel=0.005)


@given(bits=st.integers(4, 15), rate=st.floats(1e4, 9e9), node=st.floats(8e-9, 200e-9))
def test_more_bits_a_higher_rate_or_a_larger_node_never_cost_less(bits, rate, node):
    here = survey_energy_j(bits, rate, node)
    assert survey_energy_j(bits + 1, rate, node) > here
    assert survey_energy_j(bits, 1.1 * rate, node) >= here
    assert survey_energy_j(bits, rate, 1.1 * node) > here


SRAM = {  # KiB: LSTP read, write, leak uW, mm2; LOP read, write, leak uW
    1: (0.17, 0.35, 0.06, 0.0028, 0.075, 0.14, 41), 4: (0.34, 0.65, 0.28, 0.0107, 0.17, 0.26, 180),
    8: (0.51, 1.13, 0.56, 0.0200, 0.31, 0.31, 340),
    32: (0.84, 2.38, 1.9, 0.0949, 0.63, 0.53, 1280),
    64: (1.50, 2.76, 4.4, 0.167, 0.93, 0.76, 2540),
    320: (5.49, 4.33, 17, 0.884, 2.10, 1.76, 11500),
    1024: (9.61, 7.77, 54, 2.58, 3.57, 3.04, 36800),
}  # fmt: skip


def sram(kind, size, **more):
    auto = {f"buffer.{name}": f"auto {kind}" for name in ESTIMATORS[kind].gives}
    part = load_hw("eflash40nm", {"buffer.size": size} | auto | more).buffer
    return part.read_energy_j_b, part.write_energy_j_b, part.leakage_w, part.area_m2


@pytest.mark.parametrize("kib", SRAM)
def test_sram_gives_the_table_at_its_sizes(kib):
    read, write, leak, mm2, *low = SRAM[kib]
    expected = (read * PJ, write * PJ, leak * 1e-6, mm2 * 1e-6)
    assert sram("sram_lstp", f"{kib} KiB") == close(expected, rel=1e-9)
    expected = (low[0] * PJ, low[1] * PJ, low[2] * 1e-6, mm2 * 1e-6)
    assert sram("sram_lop", f"{kib} KiB") == close(expected, rel=1e-9)


@pytest.mark.slow
@given(kib=st.floats(1, 1024))
def test_sram_between_sizes_is_the_straight_line_in_log_log(kib):
    sizes = np.array(list(SRAM), float)
    for column, got in enumerate(sram("sram_lstp", f"{kib * 1024!r} B")):
        factor = (PJ, PJ, 1e-6, 1e-6)[column]
        table = np.array([row[column] for row in SRAM.values()]) * factor
        line = np.exp(np.interp(np.log(kib), np.log(sizes), np.log(table)))
        assert got == close(line, rel=1e-9)


def test_sram_scales_with_node_and_supply():
    at_40 = sram("sram_lstp", "8 KiB")
    at_65 = sram("sram_lstp", "8 KiB", **{"process.node": "65 nm", "process.vdd": "1.2 V"})
    assert at_65[0] / at_40[0] == close(65 / 40 * (1.2 / 1.1) ** 2)
    assert 1 < at_65[3] / at_40[3] < (65 / 40) ** 3


def test_scaling_at_its_own_node_changes_nothing_and_two_steps_are_one():
    same = Scaling(40e-9, 1.1, 40e-9, 1.1)
    assert (same.energy, same.area, same.leakage) == close((1, 1, 1))
    there, on = Scaling(65e-9, 1.2, 22e-9, 0.9), Scaling(22e-9, 0.9, 7e-9, 0.7)
    whole = Scaling(65e-9, 1.2, 7e-9, 0.7)
    assert there.energy * on.energy == close(whole.energy)
    assert there.area * on.area == close(whole.area)


def test_wire_energy_by_hand():
    """0.2 fF/um, 1.1 V, half of the bits change: 0.0605 pJ per bit and mm, 0.484 pJ per byte."""
    assert wire_energy_j_b(1e-3, 1.1) == close(0.484 * PJ)
    chip = load_hw("eflash40nm", {"interconnect.energy": "auto"})
    edge = np.sqrt(sum(area(chip).values()))
    expected = 0.484 * PJ * 2 / 3 * edge / 1e-3
    assert chip.interconnect.energy_j_b == close(expected)


def test_a_bus_over_estimated_areas_waits_for_them():
    autos = {f"{s}.area": "auto" for s in ("adc", "buffer", "global_buffer", "dac")}
    small = {"interconnect.energy": "auto", "global_buffer.size": "1 MiB"}
    chip = load_hw("eflash40nm", small | autos)
    edge = np.sqrt(sum(area(chip).values()))
    assert chip.interconnect.energy_j_b == close(0.484e-12 * 2 / 3 * edge / 1e-3)


def test_auto_counts_in_the_hash_as_the_figure_that_it_became():
    chip = load_hw("eflash40nm", {"adc.energy": "auto"})
    figure = f"{chip.adc.energy_j!r} J"
    assert chip_hash(load_hw("eflash40nm", {"adc.energy": figure})) == chip_hash(chip)
    assert chip.adc.energy_j == survey_energy_j(8, 1 / 0.4e-6, 40e-9)


MATMUL = {
    "matmul.lanes": 16, "matmul.energy": "1 pJ", "matmul.leakage": "1 uW", "matmul.area": "1 um2",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_says_what_it_computes_and_from_whom(name):
    estimator = ESTIMATORS[name]
    assert len(estimator.formula) > 10
    assert len(estimator.source) > 10
    section = next((s for s, default in DEFAULTS.items() if default == name), "buffer")
    changes = {"array.mode": "charge", "array.cell_capacitance": "1 fF", **MATMUL}
    got = estimator.estimate(load_hw("eflash40nm", changes), section)
    assert set(got) == set(estimator.gives)
    assert all(value > 0 and unit_of(section, field) for field, value in got.items())


@pytest.mark.parametrize("bits", [{"weights.bits": 4}, {"inputs.bits": 10}, {"weights.bits": 12}])
def test_a_vector_unit_that_is_estimated_follows_bits_as_a_given_one_does(bits):
    autos = {"vector.energy": "auto", "vector.scale_energy": "auto"}
    base, given = load_hw("eflash40nm", autos).vector, load_hw("eflash40nm", bits).vector
    assert (base.energy_j, base.scale_energy_j) == (0.0295e-12, 0.46e-12)
    estimated = load_hw("eflash40nm", autos | bits).vector
    assert estimated.scale_energy_j == close(given.scale_energy_j)
    assert estimated.scale_energy_j != base.scale_energy_j
    assert estimated.energy_j / base.energy_j == close(given.energy_j / 0.03e-12)


class Constant(AbstractEstimator):
    """What a user writes: a class ..."""

    gives = ("energy",)
    formula = "3 fJ for every column of the array"
    source = "own measurement of the week before"

    def estimate(self, chip, section):
        return {"energy": 3e-15 * chip.array.cols}


def test_an_estimator_of_ones_own_is_a_class_and_a_line(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "constant", Constant())  # ... and a line
    chip = load_hw("eflash40nm", {"adc.energy": "auto constant"})
    assert chip.adc.energy_j == close(3e-15 * 1024)
    _, raw = raw_mapping("eflash40nm")
    raw["adc"]["energy"] = "auto constant"
    row = next(row for row in rows(chip, raw) if row.path == "adc.energy")
    assert (row.value, row.kind) == ("auto 3.07 pJ", "model")
    assert "own measurement" in row.source


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"adc.energy": "auto mine"}, ["adc.energy", "no estimator 'mine'", "adc_survey"]),
        ({"adc.energy": "auto adc_survey x"}, ["adc.energy", "no estimator"]),
        ({"tile.count": "auto"}, ["tile.count", "'auto' is not known here", "adc.energy"]),
        ({"static_power": "auto"}, ["static_power", "not known here"]),
        ({"buffer.size": "auto"}, ["buffer.size", "sram_lstp", "gives read_energy"]),
        ({"adc.energy": "auto", "adc.bits": 3}, ["adc.energy", "adc.bits of 4 .. 16, got 3"]),
        ({"buffer.area": "auto", "buffer.size": "512 B"},
         ["buffer.area", "1 KiB .. 1024 KiB", "got 512 B", "instead of auto"]),
        ({"buffer.area": "auto", "process.node": "250 nm"}, ["process.node", "130 nm", "250 nm"]),
        ({"adc.energy": "auto", "adc.t_conversion": "0.01 ns"}, ["t_conversion", "10.0 GHz"]),
        ({"array.cell_area": "auto"}, ["array.cell_area", "gives cell_capacitance"]),
        ({"adc.energy": "auto", "adc.bits": 0}, ["adc.bits", "got 0"]),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_is_refused_with_a_way_out(changes, parts):
    with pytest.raises(ConfigError) as caught:
        load_hw("eflash40nm", changes)
    for part in ["eflash40nm.yaml: ", *parts]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_estimates_are_told_apart_from_figures():
    _, raw = raw_mapping("example_minimal")
    found = estimates(raw)
    assert found["adc.energy"].estimator == "adc_survey"
    assert found["interconnect.energy"].unit == "J/B"
    assert "adc.t_conversion" not in found
    assert findings(load_hw("example_minimal"), raw) == []


def test_the_bus_of_a_chip_is_as_long_however_many_chips_there_are():
    one, many = (
        load_hw("eflash40nm", {"interconnect.energy": "auto", "system.chips": n}) for n in (1, 300)
    )
    assert sum(area(many).values()) == close(300 * sum(area(one).values()))
    assert many.interconnect.energy_j_b == close(one.interconnect.energy_j_b)
