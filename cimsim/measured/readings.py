"""Files of readings: one row for each reading of a cell, or for each state of many cells.

Columns are known by their names, in any order and in capitals or not, each with its unit in the
header, ``target [uS]``, ``target (uS)`` or ``target_uS``:

=========================  ==============================================================
``cell``                   number or name of the cell; or ``row`` and ``col`` (and ``array``)
``target``                 what it was written to, S or A
``read``                   what it read (also ``g``, ``conductance``, ``current``), S or A
``time``                   of the reading, since programming
``pulse``                  pulses before the reading, 0, 1, 2 ...: a log of write-verify
``mean``, ``sigma``        instead of ``read``: mean and spread (``std``) of a state
``n``                      beside them: cells of the state
=========================  ==============================================================

Currents (A) are divided by the voltage that they were read at.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.limits import shown
from cimsim.boundary.tables import SEPARATORS, Table, cased, read_table
from cimsim.boundary.workbook import SUFFIXES, read_sheet
from cimsim.errors import InputError, suggest
from cimsim.units import check_possible, parse_quantity

Floats = NDArray[np.float64]
ALIASES = {
    "cell": "cell", "device": "cell", "id": "cell", "row": "row", "col": "col", "column": "col",
    "array": "array", "target": "target", "read": "read", "reading": "read", "g": "read",
    "conductance": "read", "current": "read", "i": "read", "mean": "mean", "sigma": "sigma",
    "std": "sigma", "n": "n", "count": "n", "time": "time", "t": "time", "pulse": "pulse",
    "pulses": "pulse",
}  # fmt: skip
_CONDUCTANCES = ("target", "read", "mean", "sigma")
_WHOLE = ("pulse", "n")
_NAMES = ("cell", "row", "col", "array")
EXAMPLE = "'cell, target [uS], read [uS], time [s]'"


@dataclass(frozen=True, eq=False)
class Readings:
    """Readings of single cells, in the order of the file.

    Attributes
    ----------
    cell : int64 [n]
        Number of the cell, from 0.
    target_s, read_s : float64 [n]
        S.
    time_s : float64 [n]
        Since programming; 0 where the file has no times.
    pulse : int64 [n]
        Pulses before the reading; -1 where the file has none.
    """

    cell: NDArray[np.int64]
    target_s: Floats
    read_s: Floats
    time_s: Floats
    pulse: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> Readings:
        """Return some of them."""
        return Readings(
            self.cell[chosen], self.target_s[chosen], self.read_s[chosen], self.time_s[chosen],
            self.pulse[chosen],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Summary:
    """States that were averaged over cells before.

    Attributes
    ----------
    target_s, mean_s, sigma_s, time_s : float64 [n]
    n : int64 [n]
        Cells of each state; 0 where nobody says.
    """

    target_s: Floats
    mean_s: Floats
    sigma_s: Floats
    time_s: Floats
    n: NDArray[np.int64]


@dataclass(frozen=True)
class _Column:
    name: str
    factor: float = 1.0
    unit: str = ""


@dataclass
class _Place:
    """Whose fault it is, for messages."""

    path: Path
    kind: str = "line"
    volts: float | None = None
    units: dict[str, str | None] = field(default_factory=dict)

    def fault(self, line: int, text: str) -> InputError:
        return InputError(f"{self.path}, {self.kind} {line}: {text}")


def read_file(
    path: Path,
    *,
    volts: float | None = None,
    unit: str | None = None,
    time_unit: str | None = None,
    sheet: str | None = None,
) -> Readings | Summary:
    """Read a CSV or an Excel workbook.

    Parameters
    ----------
    path : Path
    volts : float, optional
        What cells were read at, for currents.
    unit, time_unit : str, optional
        Of conductances (or currents) and of times whose header names none.
    sheet : str, optional
        Of a workbook; by default the only one with a table.

    Raises
    ------
    InputError
        The first fault, with file, line and way out.
    """
    book = path.suffix.lower() in SUFFIXES
    place = _Place(path, "row" if book else "line", volts, {"S": unit, "s": time_unit})
    if sheet is not None and not book:
        raise InputError(f"--sheet: {path} is no workbook; leave it out")
    try:
        table = read_sheet(path, tuple(ALIASES), sheet) if book else read_table(
            path, cased(ALIASES)
        )  # fmt: skip
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a CSV or .xlsx of {EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    if len(table.rows) < 2:
        raise InputError(f"{path}: no rows; expected a header such as {EXAMPLE} and rows below it")
    columns = _header(place, *table.rows[0])
    return _columns(place, table, columns)


def _header(place: _Place, line: int, cells: list[str]) -> list[_Column]:
    columns: list[_Column] = []
    for cell in cells:
        match = re.fullmatch(r"\s*([A-Za-z]+)\s*(?:[\[(]\s*(.+?)\s*[\])]|_(\S+?))?\s*", cell)
        name = ALIASES.get(match[1].lower()) if match else None
        if match is None or name is None:
            close = suggest((match[1] if match else cell).lower()[:60], ALIASES)
            raise place.fault(line, f"unknown column {shown(cell)}{close}")
        if name in [column.name for column in columns]:
            raise place.fault(line, f"column '{name}' stands twice; keep one of them")
        columns.append(_unit(place, line, name, match[2] or match[3]))
    _check_columns(place, line, [column.name for column in columns])
    return columns


def _unit(place: _Place, line: int, name: str, told: str | None) -> _Column:
    """Return a column with its factor to SI."""
    if name in _WHOLE or name in _NAMES:
        return _Column(name)
    dimension = "s" if name == "time" else "S"
    option, example = ("--time-unit", "h") if name == "time" else ("--unit", "uS")
    unit = told or place.units[dimension]
    if unit is None:
        raise place.fault(
            line, f"column '{name}' has no unit; write '{name} [{example}]', or {option} {example}"
        )
    kinds = ("s",) if name == "time" else ("S", "A")
    for kind in kinds:
        try:
            factor = parse_quantity(f"1 {unit}", kind)
        except ValueError:
            continue
        if kind == "A":
            if place.volts is None:
                raise place.fault(
                    line, f"column '{name}' is a current; say what cells were read at, such as "
                    "--read-voltage 0.1V",
                )  # fmt: skip
            factor /= place.volts
        return _Column(name, factor, kind)
    wanted = "a unit of time such as h" if name == "time" else "uS, nS, uA or nA"
    raise place.fault(line, f"column '{name}': expected {wanted}, got {shown(unit)}")


def _check_columns(place: _Place, line: int, names: list[str]) -> None:
    if "target" not in names:
        raise place.fault(line, f"column 'target' is missing; expected a header such as {EXAMPLE}")
    averaged = "mean" in names and "sigma" in names
    if "read" in names and averaged:
        raise place.fault(line, "columns 'read' and 'mean' in one table; give two files")
    if not averaged and "read" not in names:
        missing = "sigma" if "mean" in names else "read"
        raise place.fault(
            line, f"column '{missing}' is missing; expected a header such as {EXAMPLE}, or "
            "'target [uS], mean [uS], sigma [uS], time [h], n'",
        )  # fmt: skip
    placed = "cell" in names or {"row", "col"} <= set(names)
    if "read" in names and not placed:
        raise place.fault(
            line, "no column tells one cell from another; add 'cell', or 'row' and 'col' (a table "
            "of states has 'mean' and 'sigma' in place of 'read')",
        )  # fmt: skip


def _columns(place: _Place, table: Table, columns: list[_Column]) -> Readings | Summary:
    numbers: dict[str, list[float]] = {c.name: [] for c in columns if c.name not in _NAMES}
    names: list[tuple[str, ...]] = []
    for line, cells in table.rows[1:]:
        if len(cells) != len(columns):
            hint = "; with decimal commas part the columns by ; or tab" if (
                table.separator == "," and len(cells) > len(columns)
            ) else ""  # fmt: skip
            raise place.fault(
                line, f"expected {len(columns)} values as in the header, got {len(cells)}"
                f"{'' if place.kind == 'row' else f' (separator: {SEPARATORS[table.separator]})'}"
                f"{hint}",
            )  # fmt: skip
        named = []
        for column, cell in zip(columns, cells, strict=True):
            if column.name in _NAMES:
                if not cell:
                    raise place.fault(line, f"{column.name}: expected a name, got nothing")
                named.append(cell)
            else:
                numbers[column.name].append(_number(place, table, line, column, cell))
        names.append(tuple(named))
    arrays = {name: np.array(values) for name, values in numbers.items()}
    time_s = arrays.get("time", np.zeros(len(table.rows) - 1))
    if "mean" in arrays:
        n = arrays.get("n", np.zeros(len(time_s))).astype(np.int64)
        return Summary(arrays["target"], arrays["mean"], arrays["sigma"], time_s, n)
    known: dict[tuple[str, ...], int] = {}
    numbers_of = np.array([known.setdefault(name, len(known)) for name in names], np.int64)
    pulse = arrays.get("pulse", np.full(len(names), -1.0)).astype(np.int64)
    readings = Readings(numbers_of, arrays["target"], arrays["read"], time_s, pulse)
    _check_targets(place, readings, [line for line, _ in table.rows[1:]])
    return readings


def _number(place: _Place, table: Table, line: int, column: _Column, cell: str) -> float:
    try:
        value = table.number(cell)
    except ValueError:
        got = shown(cell) if cell else "nothing"
        raise place.fault(
            line, f"{column.name}: expected a number, got {got}; {table.mending(cell)}"
        ) from None
    if not math.isfinite(value):
        raise place.fault(
            line, f"{column.name}: expected a finite number, got {shown(cell)}; measure it again "
            "or delete the row",
        )  # fmt: skip
    if value < 0 and column.name != "read":  # noise takes readings of an erased cell below 0
        raise place.fault(line, f"{column.name}: expected at least 0, got {cell}")
    if column.name in _WHOLE:
        if value != int(value) or value > 1e9:
            raise place.fault(line, f"{column.name}: expected a whole number, got {cell}")
        return value
    try:
        dimension = "s" if column.name == "time" else "S"
        check_possible(abs(value) * column.factor, dimension, cell)
    except ValueError as error:
        raise place.fault(line, f"{column.name}: {error}") from None
    return value * column.factor


def _check_targets(place: _Place, readings: Readings, lines: list[int]) -> None:
    """Refuse a cell with two targets: nobody could tell which of its readings belong to which."""
    first: dict[int, float] = {}
    for number, target, line in zip(
        readings.cell.tolist(), readings.target_s.tolist(), lines, strict=True
    ):
        if first.setdefault(number, target) != target:
            raise place.fault(
                line, "target: the cell had another one before; give a cell that was written "
                "again another name, such as 17b",
            )  # fmt: skip
