"""A hardware description as people want to read it: values with their sources, and what is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cimsim.devices import device_of
from cimsim.hw.auto import asks_auto
from cimsim.hw.ledger import LEDGER, contradictions, sourced_zeros, unsaid
from cimsim.hw.load import estimates, is_number, numbers
from cimsim.hw.spec import Chip
from cimsim.report.plausible import implausible
from cimsim.units import format_si

_ENERGIES = ("dac.energy", "adc.energy", "buffer.read_energy", "buffer.write_energy",
             "adder.energy", "vector.energy", "vector.scale_energy", "interconnect.energy",
             "global_buffer.read_energy", "global_buffer.write_energy")  # fmt: skip
_AREAS = ("array.cell_area", "array.periphery_area", "dac.area", "adc.area", "adder.area",
          "vector.area", "buffer.area", "global_buffer.area", "interconnect.area")  # fmt: skip


# no fields of the chip but what is said of it; trees and doubts tell what is left out
_TOLD_APART = ("sources", "schema_version", "summary", "name", "leaves_out", "included_in")


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

    Numbers without a source, energies and areas that are not given and so count as zero, parts of
    the energy that are neither stated nor left out (`cimsim.hw.ledger`), and what is implausible
    (`cimsim.report.plausible`).

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
    found += [f"{path}: not given, counted as 0 J" for path in _ENERGIES if path not in told]
    found += [f"{path}: not given, counted as 0 m2" for path in _AREAS if path not in told]
    for part in unsaid(chip):
        fields = " or ".join(LEDGER[part].fields)
        found.append(
            f"{LEDGER[part].title}: not counted, give {fields}, or say leaves_out: [{part}]"
        )
    found += contradictions(chip)
    found += [
        f"{path}: 0, although its source says: {t}" for path, t in sourced_zeros(chip).items()
    ]
    found += implausible(chip)
    if device.g_min_s >= device.g_max_s:
        found.append("device: g_min is not below g_max")
    return found


def _leaves(raw: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in raw.items():
        if prefix == "" and key in _TOLD_APART:
            continue
        if isinstance(value, Mapping) and f"{prefix}{key}" != "operating.table":
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
