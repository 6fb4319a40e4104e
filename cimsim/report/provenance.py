"""A hardware description as people want to read it: values with their sources, and what is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cimsim.chip.cells import device_of
from cimsim.chip.auto import asks_auto
from cimsim.chip.fields import fields
from cimsim.chip.load import estimates, is_number, numbers
from cimsim.chip.spec import Chip
from cimsim.report.plausible import implausible
from cimsim.units import format_si


@dataclass(frozen=True, slots=True)
class Row:
    """One field of the YAML file."""

    path: str
    value: str
    kind: str
    source: str


def rows(chip: Chip, raw: Mapping[str, Any]) -> list[Row]:
    """Return every field in file order with its source, if it is a number.

    Fields that say ``auto`` show what they became, with the formula and source of the estimator.
    """
    found, estimated = [], estimates(raw)
    for path, value in _leaves(raw):
        source = chip.sources.get(path)
        if path in estimated:
            got = estimated[path]
            text = f"{got.estimator}: {got.formula}; {got.source}"
            found.append(Row(path, f"auto {format_si(got.value, got.unit)}", "model", text))
            continue
        kind = source.kind if source else ("-" if not is_number(value) else "none given")
        found.append(Row(path, _shown(value), kind, source.text if source else ""))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items())
    return str(value)


def findings(chip: Chip, raw: Mapping[str, Any], origin: str = "") -> list[str]:
    """Return what a careful reader would ask about a valid description.

    Numbers without a source, energies and areas that are not given and so count as zero, and what
    is implausible (`cimsim.report.plausible`).

    Raises
    ------
    ConfigError
        If the device section is wrong, or the cells cannot do what the chip asks of them.
    """
    device = device_of(chip, origin)
    given = numbers(raw)
    told = {path for path, value in _leaves(raw) if asks_auto(value)} | set(given)
    asked = ("conditions.", "faults.")  # what a user asks about, no property of the chip
    found = [
        f"{path}: no source given"
        for path in given
        if path not in chip.sources and not path.startswith(asked)
    ]
    found += [
        f"{path}: not given, counted as 0 {field.unit}"
        for path, field in fields().items()
        if field.fact is not None and field.fact.expected and path not in told
        and field.value(chip) is not None
    ]
    found += implausible(chip)
    if device.g_min_s >= device.g_max_s:
        found.append("device: g_min is not below g_max")
    return found


def _leaves(raw: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in raw.items():
        if prefix == "" and key in ("sources", "schema_version", "summary", "name"):
            continue
        if isinstance(value, Mapping) and f"{prefix}{key}" != "operating.table":
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
