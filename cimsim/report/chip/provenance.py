"""A hardware description as people want to read it: values with their sources, and what is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cimsim.chip.fields import fields
from cimsim.chip.load import estimates, is_number, numbers
from cimsim.chip.spec import Chip
from cimsim.session.doubts import chip_doubts
from cimsim.units import canonical, format_si

# no fields of the chip but what is said of it; trees and doubts tell what is left out
_TOLD_APART = (
    "sources",
    "ranges",
    "schema_version",
    "summary",
    "name",
    "leaves_out",
    "included_in",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One field of the YAML file."""

    path: str
    value: str
    kind: str
    source: str


def rows(chip: Chip, raw: Mapping[str, object]) -> list[Row]:
    """Return every field in file order with its source, if it is a number.

    Fields that say ``auto`` show what they became, with the formula and source of the estimator.
    """
    found, estimated, given = [], estimates(raw), _set(chip)
    moved = {one.path: one for one in chip.history.rescaled}
    for path, value in _leaves(raw):
        source = chip.sources.get(path)
        if path in estimated:
            got = estimated[path]
            text = f"{got.estimator}: {got.formula}; {got.source}"
            found.append(Row(path, f"auto {format_si(got.value, got.unit)}", "model", text))
            continue
        if path in moved:
            one = moved[path]
            old, new = (format_si(value, one.unit) for value in (one.before, one.after))
            why = f"rescaled from {old} ({one.cause}; {one.law})"
            text = f"{why}; {source.text}" if source else why
            found.append(Row(path, new, "rescaled", text))
            continue
        if path in given:
            found.append(Row(path, _shown(value), "given", "by --set"))
            continue
        kind = source.kind if source else ("-" if not is_number(value) else "none given")
        found.append(Row(path, _shown(value), kind, source.text if source else ""))
    return found


def to_data(chip: Chip, raw: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the fields of `rows` as plain data.

    Returns
    -------
    list of dict
        ``field``, ``value`` (a number in SI units, or a text), ``unit``, ``text`` (as the table
        has it), ``kind`` and ``source``.
    """
    found = []
    for row in rows(chip, raw):
        value, unit = _in_si(chip, row)
        found.append({"field": row.path, "value": value, "unit": unit, "text": row.value,
                      "kind": row.kind, "source": row.source})  # fmt: skip
    return found


def _in_si(chip: Chip, row: Row) -> tuple[object, str]:
    """Return what a chip holds at a row, and its unit; cells keep their parameters as text."""
    field = fields().get(row.path)
    if field is not None:
        value = field.value(chip)
        if isinstance(value, bool | int | float | str | None):
            return value, field.unit
        return row.value, ""
    number, _, unit = canonical(row.value).partition(" ")
    try:
        return float(number), unit
    except ValueError:
        return row.value, ""


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items())
    return str(value)


def findings(chip: Chip, raw: Mapping[str, object], origin: str = "") -> list[str]:
    """Return what a careful reader would ask about a valid description.

    Numbers without a source, and the doubts of `cimsim.session.doubts.chip_doubts`.

    Raises
    ------
    ConfigError
        If the device section is wrong, or the cells cannot do what the chip asks of them.
    """
    asked = ("conditions.", "faults.")  # what a user asks about, no property of the chip
    found = [
        f"{path}: no source given"
        for path in numbers(raw)
        if path not in chip.sources and not path.startswith(asked) and path not in _set(chip)
    ]
    return found + [str(doubt) for doubt in chip_doubts(chip, origin)]


def _set(chip: Chip) -> dict[str, str]:
    """Return what overrides gave, by path."""
    pairs = (text.partition("=") for text in chip.history.overrides)
    return {path: value for path, _, value in pairs}


def _leaves(raw: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in raw.items():
        if prefix == "" and key in _TOLD_APART:
            continue
        if isinstance(value, Mapping) and f"{prefix}{key}" != "operating.table":
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
