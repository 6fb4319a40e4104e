"""Read a CSV of measured states; every fault is one line with file, line number and way out."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.limits import shown
from cimsim.boundary.tables import SEPARATORS, Table, cased, read_table
from cimsim.errors import ConfigError, suggest
from cimsim.units import check_possible, format_duration, format_si, parse_quantity

COLUMNS = {"target": "S", "mean": "S", "sigma": "S", "time": "s"}
_REQUIRED = ("target", "mean", "sigma")


@dataclass(frozen=True, eq=False)
class States:
    """What was measured at one time.

    Attributes
    ----------
    time_s : float
    target_s, mean_s, sigma_s : float64 [n]
        S; targets rise.
    """

    time_s: float
    target_s: NDArray[np.float64]
    mean_s: NDArray[np.float64]
    sigma_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    target: float
    mean: float
    sigma: float
    time: float


def read_states(path: Path, unit: str | None, time_unit: str | None) -> tuple[States, ...]:
    """Read the states of every time, in the order of time.

    Parameters
    ----------
    path : Path
        A relative one starts at the working directory.
    unit, time_unit : str or None
        Of columns whose header names none: ``"uS"``, ``"h"``.

    Raises
    ------
    ConfigError
        The file cannot be read, or its first fault: ``device.file: cells.csv, line 3: ...``.
    """
    try:
        table = read_table(path, cased(COLUMNS))
    except ValueError as error:
        raise ConfigError(f"device.file: {path}: {error}") from None
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise ConfigError(
            f"device.file: {path}: {why}; give a CSV of target, mean, sigma[, time]; a relative "
            "path starts at the folder of the YAML file, in --set at the working directory"
        ) from None
    used = table.rows
    if not used:
        raise ConfigError(
            f"device.file: {path}: the file is empty; expected a header such as "
            "'target [uS], mean [uS], sigma [uS], time [h]' and rows below it"
        )
    columns = _header(path, *used[0], {"S": unit, "s": time_unit})
    rows = [_row(path, number, cells, columns, table) for number, cells in used[1:]]
    return tuple(_by_time(path, used[0][0], rows))


def _fault(path: Path, line: int, text: str) -> ConfigError:
    return ConfigError(f"device.file: {path}, line {line}: {text}")


def _header(
    path: Path, line: int, cells: list[str], given: dict[str, str | None]
) -> list[tuple[str, float]]:
    """Return name and factor to SI of each column."""
    columns: list[tuple[str, float]] = []
    for cell in cells:
        match = re.fullmatch(r"\s*([A-Za-z]+)\s*(?:\[\s*(.+?)\s*\]|_(\S+?))?\s*", cell)
        name = match[1].lower() if match else cell.strip()
        if match is None or name not in COLUMNS:
            raise _fault(path, line, f"unknown column {shown(cell)}{suggest(name[:60], COLUMNS)}")
        if name in [known for known, _ in columns]:
            raise _fault(path, line, f"column '{name}' stands twice; keep one of them")
        dimension = COLUMNS[name]
        unit = match[2] or match[3] or given[dimension]
        field = "unit" if dimension == "S" else "time_unit"
        example = "uS" if dimension == "S" else "h"
        if unit is None:
            raise _fault(
                path, line, f"column '{name}' has no unit; write '{name} [{example}]', or "
                f"device.{field}: {example} in the YAML",
            )  # fmt: skip
        try:
            columns.append((name, parse_quantity(f"1 {unit}", dimension)))
        except ValueError:
            raise _fault(
                path, line, f"column '{name}': expected a unit of {dimension} such as {example}, "
                f"got '{unit}'",
            ) from None  # fmt: skip
    missing = [name for name in _REQUIRED if name not in [known for known, _ in columns]]
    if missing:
        raise _fault(
            path, line, f"column '{missing[0]}' is missing; expected a header such as "
            "'target [uS], mean [uS], sigma [uS], time [h]'",
        )  # fmt: skip
    return columns


def _row(
    path: Path, line: int, cells: list[str], columns: list[tuple[str, float]], table: Table
) -> _Row:
    if len(cells) != len(columns):
        # a comma that separates columns cannot stand in numbers, too
        both = table.separator == "," and len(cells) == 2 * len(columns)
        hint = "; with decimal commas part the columns by ; or tab" if both else ""
        raise _fault(
            path, line, f"expected {len(columns)} values as in the header, got {len(cells)} "
            f"(separator: {SEPARATORS[table.separator]}){hint}",
        )  # fmt: skip
    values = {"time": 0.0}
    for (name, factor), cell in zip(columns, cells, strict=True):
        text = cell.strip()
        try:
            number = table.number(text)
        except ValueError:
            got = f"'{text}'" if text else "nothing"
            raise _fault(
                path, line, f"{name}: expected a number, got {got}; {table.mending(text)}"
            ) from None  # fmt: skip
        if not math.isfinite(number):
            raise _fault(
                path, line, f"{name}: expected a finite number, got '{text}'; measure it again or "
                "delete the row",
            )  # fmt: skip
        if number < 0:
            raise _fault(path, line, f"{name}: expected at least 0, got {text}")
        try:
            check_possible(number * factor, COLUMNS[name], text)
        except ValueError as error:
            raise _fault(path, line, f"{name}: {error}") from None
        values[name] = number * factor
    return _Row(line, **values)


def _by_time(path: Path, header: int, rows: list[_Row]) -> Iterator[States]:
    """Put rows of a time together and check them."""
    times: dict[float, list[_Row]] = {}
    for row in rows:
        times.setdefault(row.time, []).append(row)
    if not times or min(times) != 0:
        got = f"the first time is {format_duration(min(times))}" if times else "there are no rows"
        raise _fault(
            path, header, f"expected rows of time 0, right after programming, but {got}; count "
            "time from the first reading",
        )  # fmt: skip
    span = [times[0.0][0].target, times[0.0][-1].target]
    for time_s in sorted(times):
        states = times[time_s]
        if len(states) < 2:
            raise _fault(
                path, states[0].line, f"one target at time {format_duration(time_s)}; expected two "
                "or more to interpolate between",
            )  # fmt: skip
        _check_rising(path, states, with_mean=time_s == 0)
        if [states[0].target, states[-1].target] != span:
            low, high = (format_si(end, "S") for end in span)
            raise _fault(
                path, states[0].line, f"targets at time {format_duration(time_s)} end at "
                f"{format_si(states[0].target, 'S')} and {format_si(states[-1].target, 'S')}; "
                f"expected {low} and {high} as at time 0",
            )  # fmt: skip
        columns = np.array([(s.target, s.mean, s.sigma) for s in states]).T
        yield States(time_s, *columns)


def _check_rising(path: Path, states: list[_Row], with_mean: bool) -> None:
    for last, row in itertools.pairwise(states):
        if row.target == last.target:
            raise _fault(
                path, row.line, f"target {format_si(row.target, 'S')} stands in line {last.line} "
                "already for the same time; keep one of the two",
            )  # fmt: skip
        if row.target < last.target:
            raise _fault(
                path, row.line, f"target {format_si(row.target, 'S')} is below that of line "
                f"{last.line}; sort the rows of one time by target",
            )  # fmt: skip
        if with_mean and row.mean <= last.mean:
            raise _fault(
                path, row.line, f"mean {format_si(row.mean, 'S')} is not above that of line "
                f"{last.line}; at time 0 a larger target must give a larger mean",
            )  # fmt: skip
