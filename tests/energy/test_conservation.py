"""On every shipped chip: joules add up, follow counted actions, and each price moves its share."""

import functools

import numpy as np
import pytest
import torch

import cimsim
from cimsim.chip.load import load_hw, shipped
from cimsim.energy.idle import working
from cimsim.energy.model import CHIP_ROW, COMPONENTS, energy
from cimsim.mapping.mapping import map_graph
from cimsim.timing.simulate import simulate
from tests.thorough import some

CHIPS = sorted(shipped())
# every price of each component; cells are paid for by the square of their voltage
PRICES = {
    "array": ("array.fixed_energy_j",),
    "front_end": ("array.active_power_w",),
    "references": ("array.reference_power_w",),
    "dac": ("dac.energy_j", "dac.bit_energy_j"),
    "adc": ("adc.energy_j",),
    "adder": ("adder.energy_j",),
    "vector": ("vector.energy_j", "vector.scale_energy_j"),
    "buffer": ("buffer.read_energy_j_b", "buffer.write_energy_j_b"),
    "control": ("tile.static_power_w", "tile.clock_power_w", "tile.wake_energy_j"),
    "interconnect": ("interconnect.energy_j_b", "interconnect.static_power_w"),
    "global_buffer": ("global_buffer.read_energy_j_b", "global_buffer.write_energy_j_b"),
    "dram": ("dram.energy_j_b", "dram.static_power_w"),
    "io": ("io.energy_j_b", "io.static_power_w"),
    "processor": ("processor.power_w",),
    "static": (
        "static_power_w", "buffer.leakage_w", "vector.leakage_w", "global_buffer.leakage_w",
    ),
}  # fmt: skip


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


@functools.cache
def graph():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 20, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(20, 3, 3, padding=1)
    )
    return cimsim.trace(net, (torch.rand(1, 3, 6, 6) - 0.2,), name="two layers")


@functools.cache
def mapped(name):
    # the macros hold one array; the network takes some dozens of the smallest
    return map_graph(graph(), load_hw(name, {"tile.count": 200}))


def changed(chip, path, value):
    section, _, field = path.rpartition(".")
    if not section:
        return chip.model_copy(update={field: value})
    part = getattr(chip, section).model_copy(update={field: value})
    return chip.model_copy(update={section: part})


def value_of(chip, path):
    for name in path.split("."):
        chip = getattr(chip, name)
    return chip


def priced(chip, paths):
    """The fields of sections that a chip has."""
    return [path for path in paths if path.count(".") == 0 or value_of(chip, path.split(".")[0])]


def spent(mapping):
    timeline = simulate(mapping)
    period = 1.5 * timeline.interval_s(mapping.chip.process.clock_hz)
    return energy(mapping, period, working_s=working(mapping, timeline))


@pytest.mark.parametrize("name", CHIPS)
def test_layers_and_components_add_up_to_the_total(name):
    report = spent(mapped(name))
    assert report.total_j > 0
    assert sum(report.by_component.values()) == close(report.total_j)
    assert sum(sum(row.values()) for row in report.by_layer.values()) == close(report.total_j)
    assert set(report.by_component) == set(COMPONENTS)
    assert all(value >= 0 for row in report.by_layer.values() for value in row.values())


@pytest.mark.parametrize("component", PRICES)
@pytest.mark.parametrize("name", CHIPS)
def test_twice_the_prices_of_a_component_are_twice_its_share_and_nothing_else(name, component):
    mapping = mapped(name)
    chip = mapping.chip
    for path in priced(chip, PRICES[component]):
        chip = changed(chip, path, 2 * value_of(chip, path))
    if component == "array":
        chip = changed(chip, "array.v_read_v", 2**0.5 * chip.array.v_read_v)
    before = energy(mapping, 1e-3).by_component
    after = energy(map_graph(graph(), chip), 1e-3).by_component
    for part in COMPONENTS:
        assert after[part] == close((2 if part == component else 1) * before[part]), part


@pytest.mark.parametrize("name", CHIPS)
def test_every_action_that_is_paid_for_was_fired_by_the_timeline(name):
    """At prices of 1 J the bill is the count: of pulses, drives, conversions, additions, bytes."""
    mapping = mapped(name)
    chip = mapping.chip
    for paths in PRICES.values():
        for path in priced(chip, paths):
            chip = changed(chip, path, 0.0)
    chip = changed(chip, "array.v_read_v", 1e-30)
    for path in ("array.fixed_energy_j", "dac.energy_j", "adc.energy_j", "vector.scale_energy_j"):
        chip = changed(chip, path, 1.0)
    mapping = map_graph(graph(), chip)
    fired, report = simulate(mapping, frames=1).by_name, energy(mapping, 1e-3)
    assert not any(report.by_layer[CHIP_ROW].values())
    for op in mapping.graph.matrix_ops:
        row, node = report.by_layer[op.name], fired[op.name]
        layout = mapping.layer_of[op.name].layout
        assert row["array"] == close(node.pulses)
        assert row["adc"] == close(node.conversions)
        drives = node.pulses / layout.n_arrays * sum(layout.rows_used) * layout.lines_per_row
        assert row["dac"] == close(drives)
        assert row["vector"] == close(node.windows * op.n_cols)


def test_bits_of_trains_of_pulses_are_paid_once_however_they_are_cut():
    """7 bits in pulses of 4 and 3 bits cost what one pulse of 7 bits costs."""
    whole, cut = (
        energy(map_graph(graph(), load_hw("neurram130nm", {
            "tile.count": 200, "inputs.bits": 7, "dac.bits": bits,
        })), 1e-3).by_component["dac"]
        for bits in (7, 4)
    )  # fmt: skip
    assert cut == close(whole)


def test_active_power_is_paid_for_drives_and_conversions_by_hand():
    """1 mW; 0.15 + 7 x 0.3 us driven, then one round of 0.15 + 6 x 0.3 us: 4.2 us a pulse."""
    chip = load_hw("neurram130nm", {"tile.count": 200, "array.active_power": "1 mW"})
    bare = load_hw("neurram130nm", {"tile.count": 200, "array.active_power": "0 W"})
    paid, free = (
        energy(map_graph(graph(), c), 1e-3).by_component["front_end"] for c in (chip, bare)
    )
    pulses = map_graph(graph(), chip).total.pulses
    assert paid - free == close(pulses * 1e-3 * 4.2e-6)
    both = load_hw(
        "neurram130nm",
        {"tile.count": 200, "array.active_power": "1 mW", "tile.sample_hold": "double"},
    )
    overlapped = energy(map_graph(graph(), both), 1e-3).by_component["front_end"]
    assert overlapped - free == close(pulses * 1e-3 * 2.25e-6)


DARK = {
    "gate-driven": {},
    "charge": {"array.mode": "charge", "array.cell_capacitance": "2 fF"},
    "pulse width": {"dac.encoding": "pulse_width", "dac.t_step": "10 ns"},
    "ohmic amplitude": {"device": {"kind": "ideal", "g_max": "10 nS"}},
}


@pytest.mark.parametrize("case", some(DARK, "gate-driven"))
def test_a_dark_clip_takes_less_array_energy_than_a_bright_one(case):
    changes = DARK[case]
    network = cimsim.load_network("fastdvdnet-block", {}, "random")
    traced = cimsim.trace(network.module, network.example(16, 16), name="block")
    mapping = map_graph(traced, load_hw("eflash40nm", changes))
    dark, bright = (
        cimsim.simulate(
            mapping, np.full((1, 16, 16, 3), level, np.uint8), noise_sigma=0.0, threads=1
        ).energy.by_component
        for level in (0, 255)
    )
    assert dark["array"] < bright["array"]
    for part in COMPONENTS:
        if part != "array":
            assert dark[part] == bright[part]


def test_charge_and_current_arrays_by_hand():
    """One full array at an activity of 0.25: C V**2 a cell, or V**2 G t, times the activity."""
    from cimsim.energy.activation import full_activation

    charge = load_hw("sram22nm", {"array.fixed_energy": "0 J", "array.cell_capacitance": "1 fF"})
    assert full_activation(charge).energy_j["array"] == close(64 * 16 * 0.25 * 1e-15)
    current = load_hw("eflash40nm", {"array.activity": 0.25})
    assert full_activation(current).energy_j["array"] == close(
        1024 * 1024 * 0.25 * 11.5e-9 * 6.2e-6
    )
    width = load_hw(
        "eflash40nm", {"array.activity": 0.25, "dac.encoding": "pulse_width", "dac.t_step": "1 ns"}
    )
    assert full_activation(width).energy_j["array"] == close(
        1024 * 1024 * 0.25 * 11.5e-9 * (6.2e-6 + 255e-9)
    )
