"""How sure the numbers of a chip are: ranges that were given, else factors by kind of source.

All factors are log-normal, ``value * exp(sigma z)``; a given range is the 5 and the 95 % point, one
sigma for each side. Rows, bits and counts are exact, as are numbers that a user sets: who sets one
asks what if.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from cimsim.chip.fields import Described, fields, unit_of
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.chip.spec import Chip
from cimsim.units import format_si, parse_quantity

Z_95 = 1.6448536269514722  # 95 % of a normal distribution lie below
# one sigma as a factor: measured numbers (power: of whole systems in two papers), vendor's, and
# numbers of models by component; docs/model.md has where each comes from
_MEASURED, _MEASURED_POWER, _VENDOR = 1.05, 1.25, 1.4
_MODEL = {
    "analog": 1.15, "converter": 3.0, "memory": 1.6, "logic": 1.5, "wire": 2.5, "area": 1.1,
    "leakage": 3.0,
}  # fmt: skip
# of estimates: a voltage or an activity is known better than an energy that nobody published
_ESTIMATE = {"analog": 1.25, "area": 1.5}
_ESTIMATED = 3.0
_RESCALED = 1.15  # on top, for a number at other bits, sizes or nodes than it was given for
_PAID = ("energy.", "area.", "programming")
_WARM_ONLY = "process.leakage_doubling"


def relative_ranges(chip: Chip) -> dict[str, tuple[float, float]]:
    """Return path -> (lowest, highest) over the value, of the ranges that a description gives.

    They stand in ``ranges`` or beside a source, ``range: 1.3..7.8 pJ``.

    Raises
    ------
    ValueError
        A path that is no number of this chip, a range that cannot be read, or one that the value
        lies outside of.
    """
    texts = dict(chip.ranges)
    for path, source in chip.sources.items():
        if source.range is not None:
            if path in texts:
                raise ValueError(f"ranges.{path}: stands in sources, too; leave one of them out")
            texts[path] = source.range
    return {path: _relative(chip, path, text) for path, text in texts.items()}


def uncertain(chip: Chip) -> dict[str, tuple[float, float]]:
    """Return path -> sigma of the logarithm below and above, of all numbers that are not exact.

    Parameters
    ----------
    chip : Chip
        Only numbers that energy, area or writing are charged by, and that are not 0.
    """
    sigmas = {}
    for path, field in fields().items():
        if field.kind != "number" or not any(who.startswith(_PAID) for who in field.by):
            continue
        if field.fact is None or field.fact.spread == "exact" or not field.value(chip):
            continue
        # leakage at 25 C is as given, however fast it grows from there
        if path == _WARM_ONLY and chip.conditions.temperature_k == REFERENCE_K:
            continue
        below, above = _sigmas(chip, field)
        if below or above:
            sigmas[path] = (below, above)
    return sigmas


def _sigmas(chip: Chip, field: Described) -> tuple[float, float]:
    path, history = field.path, chip.history
    moved = {one.path for one in history.rescaled}
    if path in history.ranges:
        low, high = history.ranges[path]
        sides = -math.log(low) / Z_95, math.log(high) / Z_95
    elif any(path == text.partition("=")[0] for text in history.overrides):
        return 0.0, 0.0
    else:
        factor = math.log(_factor(chip, field))
        sides = factor, factor
    if path in moved:
        extra = math.log(_RESCALED)
        sides = math.hypot(sides[0], extra), math.hypot(sides[1], extra)
    return sides


def _factor(chip: Chip, field: Described) -> float:
    spread = field.fact.spread if field.fact else "exact"
    source = chip.sources.get(field.path)
    # an ``auto`` has no source of its own: it is a model's figure; others without are guesses
    bare = "model" if field.path in chip.history.estimated else "estimate"
    kind = source.kind if source else bare
    if kind == "measured":
        return _MEASURED_POWER if field.unit == "W" else _MEASURED
    if kind == "vendor":
        return _VENDOR
    if kind == "model":
        return _MODEL[spread]
    return _ESTIMATE.get(spread, _ESTIMATED)


def at_ends(chip: Chip, path: str) -> tuple[Chip, Chip]:
    """Return the chip with a parameter of its cells at the low and at the high end of its range.

    Parameters
    ----------
    chip : Chip
    path : str
        ``device.<parameter>``, with a range in the chip's file.
    """
    name = path.removeprefix("device.")
    value, _ = _of_device(chip, name)
    low, high = (
        chip.device.model_copy(update={name: value * end}) for end in chip.history.ranges[path]
    )
    return chip.model_copy(update={"device": low}), chip.model_copy(update={"device": high})


def _of_device(chip: Chip, name: str) -> tuple[float, str]:
    """Return value and unit of a parameter of the cells; 0 where it is not given.

    Raises
    ------
    ValueError
        The cells have no such number.
    """
    from cimsim.chip.cells import DEVICES  # cells know chips, so they come later

    model = DEVICES[chip.device.kind].Parameters if chip.device.kind in DEVICES else None
    for field_name, field in (model.model_fields if model else {}).items():
        unit = unit_of(field)
        if (field.alias or field_name) == name and unit:
            given = chip.device.parameters.get(name, 0)
            try:
                value = parse_quantity(given, unit)
            except ValueError as error:
                raise ValueError(f"device.{name}: {error}") from None
            if value < 0:
                raise ValueError(f"device.{name}: expected 0 or more, got '{given}'")
            return value, unit
    raise ValueError(f"ranges.device.{name}: no number of device '{chip.device.kind}'")


def _relative(chip: Chip, path: str, text: str) -> tuple[float, float]:
    if path.startswith("device."):
        value, unit = _of_device(chip, path.removeprefix("device."))
        return _over(path, text, value, unit)
    field = fields().get(path)
    if field is None or field.kind != "number":
        raise ValueError(f"ranges.{path}: no number of a chip has this name")
    return _over(path, text, float(field.number(chip)), field.unit)


def _over(path: str, text: str, value: float, unit: str) -> tuple[float, float]:
    """Return both ends of a range over the value."""
    ends = re.fullmatch(r"\s*(.+?)\s*\.\.\s*(.+?)\s*", text)
    if ends is None:
        raise ValueError(f"ranges.{path}: expected two ends such as '1.3..7.8 pJ', got '{text}'")
    low, high = _ends(path, ends[1], ends[2], unit)
    if not value:
        raise ValueError(f"ranges.{path}: the number itself is not given or 0; give it, too")
    if not 0 < low <= value <= high:
        shown = format_si(value, unit) if unit not in ("", "1") else f"{value:g}"
        raise ValueError(f"ranges.{path}: expected a range around {shown}, got '{text}'")
    return low / value, high / value


def _ends(path: str, low: str, high: str, unit: str) -> tuple[float, float]:
    """Read both ends; the unit may stand once, after the second."""
    unit = unit or "1"
    try:
        top = parse_quantity(high, unit)
        if re.fullmatch(r"[-+0-9.eE]+", low):
            low += re.sub(r"^[-+0-9.eE]+", "", high)
        return parse_quantity(low, unit), top
    except ValueError as error:
        raise ValueError(f"ranges.{path}: {error}") from None


def given_ranges(chip: Chip, exact: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Return `relative_ranges` without numbers that an override gave.

    Parameters
    ----------
    chip : Chip
        As its file has it.
    exact : mapping
        Paths of overrides.
    """
    return {p: ends for p, ends in relative_ranges(chip).items() if p not in exact}
