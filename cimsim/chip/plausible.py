"""Ranges that numbers of real chips lie in: what `cimsim hw check` calls implausible."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from cimsim.chip.area import area
from cimsim.chip.estimators import DEFAULTS, ESTIMATORS, unit_of
from cimsim.chip.fields import fields
from cimsim.chip.spec import Chip
from cimsim.units import format_si

_SLOW = 200  # read-outs of published arrays take up to some tens of times as long as the drive
_NEAR = 0.05
_SLIP = 0.01  # 1024 times is a number of columns, 1000 times a prefix
_PREFIX = {
    "": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6,
    "G": 1e9,
}  # fmt: skip
_FIGURE = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)\s*([fpnuµmkMG]?)(Hz|S/s|J/B|ohm|[JsWVASF])(?![\w/])"
    r"(?:\s*([/x*])\s*(\d+(?:\.\d+)?))?"
)
_FIT_FACTOR = 30  # figures of silicon lie within 3 of the ADC fit, ten times that is another thing
_ELSE_FACTOR = 100  # other figures lie within 40 of their estimates: other nodes, widths, kinds
_RETICLE_M2 = 26e-3 * 33e-3  # of a lithography tool: no chip is larger
_DENSEST_W_M2 = 1e6  # processors at work; ISAAC and PUMA, as they are published, 0.7
_BESIDE = 3  # times the chip's own power
_ALSO = {"sram_lstp": ("sram_lstp", "sram_lop")}  # other kinds of the same


def implausible(chip: Chip) -> Iterator[str]:
    """Yield what lies outside of its field's range, or far from the estimate of its component.

    Parameters
    ----------
    chip : Chip
        Resolved: values of ``auto`` fields are checked, too.
    """
    for path, field in fields().items():
        value = field.number(chip)
        if field.fact is None or field.fact.plausible is None or not value:
            continue
        low, high, what = field.fact.plausible
        if not low <= value <= high:
            yield (
                f"{path}: {_text(value, field.unit)} is outside of {_text(low, field.unit)} .. "
                f"{_text(high, field.unit)} ({what})"
            )
    yield from _cell(chip)
    yield from _far_from_sources(chip)
    yield from _slow_converters(chip)
    yield from _against_fits(chip)
    yield from _together(chip)
    yield from _whole(chip)


def _cell(chip: Chip) -> Iterator[str]:
    """No cell is smaller than a square of the feature size; ten thousand of them is no memory."""
    cell, square = chip.array.cell_area_m2, chip.process.node_m**2
    if cell and not square <= cell <= 1e4 * square:
        yield (
            f"array.cell_area: {format_si(cell, 'm2')} is outside of 1 .. 10,000 squares of the "
            f"feature size ({format_si(square, 'm2')} .. {format_si(1e4 * square, 'm2')})"
        )


def _far_from_sources(chip: Chip) -> Iterator[str]:
    """Find slips of a prefix: a thousand times, or a thousandth, of what the source names."""
    for path, source in chip.sources.items():
        field = fields().get(path)
        value = field.number(chip) if field is not None else 0.0
        # overrides and estimates are not what the source speaks of
        moved = path in chip.history.estimated or any(
            text.partition("=")[0] == path for text in chip.history.overrides
        ) or any(one.path == path for one in chip.history.rescaled)  # fmt: skip
        if field is None or not field.unit or field.unit == "1" or not value or moved:
            continue
        named = figures(source.text, field.unit)
        if any(1 / _FIT_FACTOR <= value / one <= _FIT_FACTOR for one in named):
            continue
        # "1 uW for each of 1024 columns" names a thousandth on purpose
        counts = [float(text) for text in re.findall(r"\d{2,}", source.text)]
        slips = [
            one for one in named
            if _is_slip(value / one)
            and not any(abs(value / (one * n) - 1) < _NEAR for n in counts if n)
        ]  # fmt: skip
        if slips:
            yield (
                f"{path}: {_text(value, field.unit)} is {_times(value / slips[0])} of what its "
                f"source names ({_text(slips[0], field.unit)}: {source.text[:80]})"
            )


def _is_slip(ratio: float) -> bool:
    """Whether a ratio is a whole number of prefixes."""
    steps = math.log10(ratio) / 3
    return round(steps) != 0 and abs(ratio / 1000.0 ** round(steps) - 1) < _SLIP


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio > 1 else f"1/{1 / ratio:,.0f}"


def figures(text: str, unit: str) -> list[float]:
    """Return the quantities of a unit in a text, with what simple arithmetic makes of them.

    ``6.4 us / 16 columns`` gives 6.4 us and 0.4 us; a rate in Hz or S/s gives its period.
    """
    quantities = []
    for match in _FIGURE.finditer(text):
        number, prefix, name, sign, count = match.groups()
        scale = _PREFIX.get(prefix)
        if scale is None:
            continue
        value, per = float(number) * scale, unit == "s" and name in ("Hz", "S/s")
        if not value or not (per or name == unit):
            continue
        value = 1 / value if per else value
        quantities.append(value)
        if sign and float(count):
            quantities.append(value / float(count) if sign == "/" else value * float(count))
    return quantities


def _slow_converters(chip: Chip) -> Iterator[str]:
    """Compare reading out all columns of an array with driving it."""
    adc, array = chip.adc, chip.array
    arrays = chip.tile.arrays if adc.shared == "tile" else 1
    turns = -(-array.cols * arrays // adc.count)
    whole = turns * adc.conversion_s
    if adc.kind != "ideal" and whole > _SLOW * max(array.t_read_s, chip.drive_s):
        yield (
            f"adc.t_conversion: {_text(adc.conversion_s, 's')} a conversion, {turns} of them one "
            f"after another take {_text(whole, 's')}, more than {_SLOW} times as long as driving "
            f"the array ({_text(array.t_read_s, 's')})"
        )


def _against_fits(chip: Chip) -> Iterator[str]:
    """Compare with estimates: ranges are wide, for a buffer may be a tile's or a whole chip's."""
    for section, name in DEFAULTS.items():
        try:
            several = [ESTIMATORS[one].estimate(chip, section) for one in _ALSO.get(name, (name,))]
        except ValueError:
            continue  # the fit has nothing to say about this chip
        # lines of an array differ as arrays do, and drivers of one bit are no DACs
        left_out = {"array": ("cell_capacitance",), "dac": ("energy",)}.get(section, ())
        for field in (one for one in ESTIMATORS[name].gives if one not in left_out):
            path, expected = f"{section}.{field}", [one[field] for one in several]
            value, unit = fields()[path].number(chip), unit_of(section, field)
            factor = _FIT_FACTOR if path == "adc.energy" else _ELSE_FACTOR
            if value and not min(expected) / factor <= value <= max(expected) * factor:
                yield (
                    f"{path}: {_text(value, unit)} is more than {factor} times off the "
                    f"{_text(expected[0], unit)} of '{name}' for this chip"
                )


def _whole(chip: Chip) -> Iterator[str]:
    """Look at all tiles together: what is much for a chip may be little for one number of it."""
    each = {name: part / chip.system.chips for name, part in area(chip).items()}
    whole = sum(each.values())
    if whole > _RETICLE_M2:
        most = max(each, key=lambda name: each[name])
        yield (
            f"area: {_text(whole, 'm2')} a chip are more than a reticle "
            f"({_text(_RETICLE_M2, 'm2')}), {_text(each[most], 'm2')} of it {most}"
        )
    watts = power(chip)
    taken = sum(watts.values())
    if whole and taken > _DENSEST_W_M2 * whole:
        most = max(watts, key=lambda name: watts[name])
        yield (
            f"power: {_text(taken, 'W')} on {_text(whole, 'm2')} when all tiles work are more than "
            f"{_DENSEST_W_M2 * 1e-6:g} W/mm2, {_text(watts[most], 'W')} of it {most}"
        )
    beside = {"io.static_power": chip.io.static_power_w}
    if chip.dram is not None:
        beside["dram.static_power"] = chip.dram.static_power_w
    for path, value in beside.items():
        if value > _BESIDE * taken > 0:
            yield (
                f"{path}: {_text(value, 'W')} all the time, the whole chip takes "
                f"{_text(taken, 'W')} when all tiles work"
            )


def power(chip: Chip) -> dict[str, float]:
    """Return what a chip takes when all of its tiles work, without data: field -> W.

    Parameters
    ----------
    chip : Chip
        One of its system.
    """
    tiles, arrays = chip.tile.count, chip.tile.count * chip.tile.arrays
    converters = chip.adc.count * (arrays if chip.adc.shared == "array" else tiles)
    conversion_s = chip.adc.conversion_s
    found = {
        "tile.static_power": tiles * chip.tile.static_power_w,
        "tile.clock_power": tiles * chip.tile.clock_power_w,
        "buffer.leakage": tiles * chip.buffer.leakage_w,
        "vector.leakage": (tiles if chip.vector.scope == "tile" else 1) * chip.vector.leakage_w,
        "array.active_power": arrays * chip.array.active_power_w,
        "array.reference_power": arrays * chip.array.reference_power_w,
        "adc.energy": converters * chip.adc.energy_j / conversion_s if conversion_s else 0.0,
        "interconnect.static_power": chip.interconnect.static_power_w,
        "global_buffer.leakage": chip.global_buffer.leakage_w,
        "static_power": chip.static_power_w,
    }
    if chip.matmul is not None:
        units = tiles if chip.matmul.scope == "tile" else 1
        found["matmul.leakage"] = units * chip.matmul.leakage_w
    return found


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
    return format_si(value, unit) if unit not in ("", "1") else f"{value:.3g}"
