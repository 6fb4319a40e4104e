"""Ranges that numbers of real chips lie in: what `cimsim hw check` calls implausible."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cimsim.chip.estimators import DEFAULTS, ESTIMATORS, unit_of
from cimsim.chip.fields import fields
from cimsim.chip.spec import Chip
from cimsim.units import format_si

_FIT_FACTOR = 30  # figures of silicon lie within 3 of the ADC fit, ten times that is another thing


def implausible(chip: Chip) -> Iterator[str]:
    """Yield what lies outside of its field's range, or far from the estimate of its component.

    Parameters
    ----------
    chip : Chip
        Resolved: values of ``auto`` fields are checked, too.
    """
    for path, field in fields().items():
        value = field.value(chip)
        if field.fact is None or field.fact.plausible is None or not value:
            continue
        low, high, what = field.fact.plausible
        if not low <= value <= high:
            yield (
                f"{path}: {_text(value, field.unit)} is outside of {_text(low, field.unit)} .. "
                f"{_text(high, field.unit)} ({what})"
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
    value = fields()[f"{section}.{field}"].value(chip)
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


def _text(value: float, unit: str) -> str:
    return format_si(value, unit) if unit else f"{value:g}"
