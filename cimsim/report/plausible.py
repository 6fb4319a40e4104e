"""Ranges that numbers of real chips lie in: what `cimsim hw check` calls implausible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cimsim.hw.estimators import DEFAULTS, ESTIMATORS, unit_of
from cimsim.hw.spec import Chip
from cimsim.units import format_si

# path: low, high, unit, what the range is. Zero means "not given" for energies, areas and powers.
RANGES: dict[str, tuple[float, float, str, str]] = {
    "process.node": (5e-9, 250e-9, "m", "nodes that arrays were built in"),
    "process.vdd": (0.4, 5, "V", "core supplies of 5 .. 250 nm"),
    "process.clock": (1e5, 5e9, "Hz", "clocks of published accelerators"),
    "array.t_read": (1e-10, 1e-4, "s", "reads of SRAM .. subthreshold flash"),
    "array.v_read": (1e-3, 3, "V", "read voltages from charge-trap cells to NAND"),
    "array.cell_capacitance": (1e-17, 1e-12, "F", "wire of a cell .. a ladder of capacitors"),
    "array.fixed_energy": (1e-15, 1e-6, "J", "control of one array"),
    "array.active_power": (1e-9, 1, "W", "amplifiers of one array"),
    "array.periphery_area": (1e-12, 1e-5, "m2", "drivers of one array"),
    "dac.energy": (1e-17, 1e-10, "J", "one line switched .. a fast 10-bit DAC"),
    "dac.bit_energy": (1e-17, 1e-10, "J", "one line switched .. a pair of long word lines"),
    "dac.area": (1e-14, 1e-8, "m2", "inverter .. capacitive DAC at 130 nm"),
    "adc.energy": (1e-15, 1e-9, "J", "Murmann's survey, 4 .. 16 bits"),
    "adc.area": (1e-12, 1e-6, "m2", "Murmann's survey"),
    "adc.t_conversion": (1e-11, 1e-3, "s", "Murmann's survey"),
    "buffer.read_energy": (1e-15, 1e-10, "J/B", "registers .. megabytes of SRAM"),
    "buffer.write_energy": (1e-15, 1e-10, "J/B", "registers .. megabytes of SRAM"),
    "buffer.leakage": (1e-9, 1, "W", "registers .. megabytes of SRAM"),
    "buffer.area": (1e-11, 1e-4, "m2", "registers .. megabytes of SRAM"),
    "global_buffer.read_energy": (1e-14, 1e-9, "J/B", "SRAM .. DRAM of an older generation"),
    "global_buffer.write_energy": (1e-14, 1e-9, "J/B", "SRAM .. DRAM of an older generation"),
    "global_buffer.leakage": (1e-9, 1, "W", "kilobytes .. tens of megabytes of SRAM"),
    "global_buffer.area": (1e-10, 1e-3, "m2", "kilobytes .. tens of megabytes of SRAM"),
    "adder.energy": (1e-15, 1e-10, "J", "16-bit add at 7 nm .. datapath at 65 nm"),
    "adder.area": (1e-12, 1e-5, "m2", "some adders .. a datapath"),
    "vector.energy": (1e-16, 1e-10, "J", "compare at 7 nm .. special functions"),
    "vector.scale_energy": (1e-16, 1e-10, "J", "add at 7 nm .. 32-bit multiply at 40 nm"),
    "vector.leakage": (1e-9, 1, "W", "a few lanes .. a core"),
    "vector.area": (1e-12, 1e-5, "m2", "a few lanes .. a core"),
    "interconnect.energy": (1e-15, 1e-9, "J/B", "a millimetre of wire .. a link off the chip"),
    "interconnect.area": (1e-12, 1e-3, "m2", "a bus .. a mesh of routers"),
    "tile.static_power": (1e-9, 10, "W", "leakage .. clock and registers of a large tile"),
    "tile.clock_power": (1e-9, 10, "W", "clock of one tile"),
    "process.leakage_doubling": (5, 40, "K", "steep subthreshold leakage .. mostly gate leakage"),
    "array.reference_power": (1e-9, 1, "W", "a bias cell .. pumps of a large array"),
    "interconnect.static_power": (1e-9, 50, "W", "a bus .. routers of a large chip"),
    "dram.energy": (1e-12, 2e-9, "J/B", "stacked DRAM .. DDR2 with its bus"),
    "dram.static_power": (1e-6, 50, "W", "self-refresh of one die .. modules"),
    "io.energy": (1e-12, 1e-8, "J/B", "a link on a board .. a slow serial port"),
    "io.static_power": (1e-9, 50, "W", "a serial port .. links of a server"),
    "processor.power": (1e-9, 50, "W", "a microcontroller that sleeps .. application cores"),
    "power_conversion.efficiency": (0.3, 1, "", "linear regulators .. none at all"),
    "tile.area": (1e-12, 1e-4, "m2", "one tile"),
    "static_power": (1e-9, 200, "W", "a sensor node .. a card"),
    "other_area": (1e-12, 1e-3, "m2", "a reticle"),
    "programming.t_pulse": (1e-10, 1, "s", "SRAM write .. slow flash"),
    "programming.t_erase": (1e-9, 10, "s", "SRAM .. flash sectors"),
    "programming.pulse_energy": (1e-16, 1e-5, "J", "SRAM write .. hot electrons with pump losses"),
    "programming.erase_energy": (1e-13, 1, "J", "one array"),
    "programming.endurance_cycles": (1e2, 1e17, "", "worn flash .. SRAM"),
}
_FIT_FACTOR = 30  # figures of silicon lie within 3 of the ADC fit, ten times that is another thing


def implausible(chip: Chip) -> Iterator[str]:
    """Yield what lies outside of `RANGES`, or far from the estimate of its component.

    Parameters
    ----------
    chip : Chip
        Resolved: values of ``auto`` fields are checked, too.
    """
    for path, (low, high, unit, what) in RANGES.items():
        value = field_value(chip, path)
        if value is None or value == 0 or low <= value <= high:
            continue
        yield (
            f"{path}: {_text(value, unit)} is outside of {_text(low, unit)} .. "
            f"{_text(high, unit)} ({what})"
        )
    yield from _cell(chip)
    yield from _against_fit(chip, "adc", "energy")
    yield from _together(chip)


def _cell(chip: Chip) -> Iterator[str]:
    """No cell is smaller than a square of the feature size; ten thousand of them is no memory."""
    cell, square = chip.array.cell_area_m2, chip.process.node_m**2
    if cell and not square <= cell <= 1e4 * square:
        yield (
            f"array.cell_area: {format_si(cell, 'm2')} is outside of 1 .. 10,000 squares of the "
            f"feature size ({format_si(square, 'm2')} .. {format_si(1e4 * square, 'm2')})"
        )


def _against_fit(chip: Chip, section: str, field: str) -> Iterator[str]:
    value = field_value(chip, f"{section}.{field}")
    try:
        expected = ESTIMATORS[DEFAULTS[section]].estimate(chip, section)[field]
    except ValueError:
        return  # the fit has nothing to say about this chip
    if value and not expected / _FIT_FACTOR <= value <= expected * _FIT_FACTOR:
        unit = unit_of(section, field)
        yield (
            f"{section}.{field}: {_text(value, unit)} is more than {_FIT_FACTOR} times off the "
            f"{_text(expected, unit)} of '{DEFAULTS[section]}' for this chip"
        )


def _together(chip: Chip) -> Iterator[str]:
    """Compare fields with each other: what a single one does not show."""
    vector = chip.array.rows * chip.input_bytes
    if chip.buffer.size_b < vector:
        yield (
            f"buffer.size: {chip.buffer.size_b:g} B hold no input vector of a full array "
            f"({vector} B)"
        )
    full = math.log2(max(chip.array.rows, 2)) + chip.dac.bits + chip.weights.slice_bits
    if chip.adc.kind != "ideal" and chip.adc.bits > full:
        yield (
            f"adc.bits: {chip.adc.bits} bits resolve more than a column can hold "
            f"(log2 rows + dac.bits + bits per cell = {full:.1f})"
        )
    if chip.adc.count > chip.array.cols * (chip.tile.arrays if chip.adc.shared == "tile" else 1):
        yield f"adc.count: {chip.adc.count} converters for {chip.array.cols} columns"


def field_value(chip: Chip, path: str) -> float | None:
    """Return a number of a chip by its YAML path; None where it is not given at all."""
    part: Any = chip
    for name in path.split("."):
        if part is None:  # a section that the chip does not have
            return None
        for attribute, field in type(part).model_fields.items():
            if name in (field.alias, attribute):
                part = getattr(part, attribute)
                break
        else:
            return None
    return float(part) if isinstance(part, int | float) else None


def _text(value: float, unit: str) -> str:
    return format_si(value, unit) if unit else f"{value:g}"
