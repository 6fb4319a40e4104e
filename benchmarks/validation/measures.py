"""What publications report of a macro or a chip, taken from the model: one array, wholly filled."""

from __future__ import annotations

from collections.abc import Callable

from cimsim.chip.area import area
from cimsim.chip.spec import Chip
from cimsim.energy.activation import Activation, full_activation
from cimsim.report.chip.trees import static_power_w_of

# what a published energy includes
MACRO = ("array", "front_end", "dac", "adc")
UNIT = (*MACRO, "adder")
MACRO_AREA = ("cells", "array periphery", "dac", "adc")


def tops(chip: Chip) -> float:
    """10^12 operations per second with all arrays busy; converters shared by a tile take turns."""
    return _at_once(chip) * full_activation(chip).tops


def one_bit_tops(chip: Chip) -> float:
    """Count the same in operations of one bit by one bit: two for each row and conversion."""
    full = full_activation(chip)
    return _at_once(chip) * _one_bit_ops(chip, full) / full.interval_s / 1e12


def tops_per_w(chip: Chip) -> float:
    """Operations per joule of cells, drivers and converters, 10^12."""
    full = full_activation(chip)
    return 2 * full.macs / _spent(full, MACRO) / 1e12


def npu_tops_per_w(chip: Chip) -> float:
    """Count registers for inputs and outputs and post-processing in, too."""
    full = full_activation(chip)
    registers = chip.weight_cols * chip.input_bytes * chip.buffer.write_energy_j_b
    return 2 * full.macs / (_spent(full, (*UNIT, "vector", "buffer")) + registers) / 1e12


def one_bit_tops_per_w(chip: Chip) -> float:
    """One-bit operations per joule of cells, drivers and converters, 10^12."""
    full = full_activation(chip)
    return _one_bit_ops(chip, full) / _spent(full, MACRO) / 1e12


def unit_nj(chip: Chip) -> float:
    """Energy of one product with shift-adds, nJ."""
    return _spent(full_activation(chip), UNIT) * 1e9


def interval_us(chip: Chip) -> float:
    """Time of one product, us."""
    return full_activation(chip).interval_s * 1e6


def macro_density(chip: Chip) -> float:
    """10^12 operations per second and mm2 of arrays with drivers and converters."""
    parts = area(chip)
    return tops(chip) / (sum(parts[name] for name in MACRO_AREA) * 1e6)


def chip_density(chip: Chip) -> float:
    """10^12 operations per second and mm2 of the whole chip."""
    return tops(chip) / chip_mm2(chip)


def chip_mm2(chip: Chip) -> float:
    """Area of the chip, mm2."""
    return sum(area(chip).values()) * 1e6


def adc_mm2(chip: Chip) -> float:
    """Area of all converters, mm2."""
    return area(chip)["adc"] * 1e6


def chip_power_w(chip: Chip) -> float:
    """Power with all arrays busy, W: every action of theirs, and everything static."""
    full = full_activation(chip)
    return _at_once(chip) * full.total_j / full.interval_s + static_power_w_of(chip)


def busy_chip_w(chip: Chip) -> float:
    """Count the way of every output to the next tile in, too, W."""
    full = full_activation(chip)
    moved = chip.weight_cols * chip.input_bytes
    each = chip.interconnect.energy_j_b + chip.buffer.write_energy_j_b
    return chip_power_w(chip) + _at_once(chip) * moved * each / full.interval_s


def soc_mw(ops_per_s: float) -> Callable[[Chip], float]:
    """Return a measure: power of a chip that does so many operations in full arrays, mW."""

    def measure(chip: Chip) -> float:
        full = full_activation(chip)
        rate = ops_per_s / (2 * full.macs)
        return 1e3 * (rate * full.total_j + static_power_w_of(chip))

    return measure


def macro_power_w(chip: Chip) -> float:
    """Power of cells, drivers and converters with all arrays busy, W."""
    full = full_activation(chip)
    return _at_once(chip) * _spent(full, MACRO) / full.interval_s


def _spent(full: Activation, parts: tuple[str, ...]) -> float:
    return sum(full.energy_j[name] for name in parts)


def _one_bit_ops(chip: Chip, full: Activation) -> int:
    return 2 * chip.array.rows * full.conversions


def _at_once(chip: Chip) -> int:
    """Arrays that work at the same time."""
    return chip.tile.count if chip.adc.shared == "tile" else chip.n_arrays
