"""Tables as spreadsheets write them: parted by ``,``, ``;`` or tab, decimal point or comma."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cimsim.boundary.limits import TABLE
from cimsim.boundary.text import read_text

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_CELL = 1000  # characters of one value


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of a table that hold something.

    Attributes
    ----------
    rows : list of (int, list of str)
        Line number of the file, from 1, and the values, without blanks around them.
    separator : str
        ``,``, ``;`` or tab.
    decimal_comma : bool
        Whether numbers have a comma before their fraction; never with ``,`` as separator.
    """

    rows: list[tuple[int, list[str]]]
    separator: str
    decimal_comma: bool

    def mending(self, text: str) -> str:
        """Say what to do about a value that is no number of this table."""
        if "," in text and self.separator == ",":
            return "with decimal commas part the columns by ; or tab, without quotes"
        return "fill the hole or delete the row"

    def number(self, text: str) -> float:
        """Read a number of this table.

        Raises
        ------
        ValueError
            None: letters, digits of other scripts, or points that part thousands.
        """
        plain = text.replace("\u2212", "-")  # the minus of typesetters
        plain = plain.replace(",", ".") if self.decimal_comma else plain
        if not plain.isascii() or "_" in plain or plain.count(".") > 1:
            raise ValueError(f"no number: {text}")
        return float(plain)


def cased(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words of a header as `read_table` takes them, with capitals, too."""
    return tuple(name for word in words for name in (word, word.title(), word.upper()))


def read_table(path: Path, header: tuple[str, ...]) -> Table:
    """Read a table; empty lines and columns and lines that begin with ``#`` are left out.

    The separator is what stands between the columns of the first line: the one of `SEPARATORS`
    that cuts it into most parts that begin with a known name. ``sep=;`` as a first line, which
    some spreadsheets write, is believed.

    Parameters
    ----------
    path : Path
    header : tuple of str
        Words that columns may begin with.

    Raises
    ------
    OSError
        As the system says it.
    ValueError
        Too large, no text, quotes that nobody closes, or no separator; the message names the line.
    """
    lines = read_text(path, TABLE).splitlines()
    used = [
        (number, text)
        for number, text in enumerate(lines, 1)
        if text.strip(' \t;,"') and not text.lstrip().startswith("#")
    ]
    told = re.fullmatch(r"sep=(.)", used[0][1].strip('\r\n "')) if used else None
    used = used[1:] if told else used
    if not used:
        return Table([], ",", False)
    separator = told[1] if told and told[1] in SEPARATORS else _separator(used[0][1], header)
    if (told and told[1] not in SEPARATORS) or _is_parted_otherwise(used[0][1], separator, header):
        raise ValueError(
            f"line {used[0][0]}: columns are parted by none of comma, semicolon and tab; write one "
            "of these separators"
        )
    rows = _without_empty_columns([(n, _cells(n, text, separator)) for n, text in used])
    body = [cell for _, cells in rows[1:] for cell in cells]
    comma = separator != "," and any("," in cell for cell in body)
    if comma and any("." in cell for cell in body):
        number = next(n for n, cells in rows[1:] if any("." in cell for cell in cells))
        raise ValueError(
            f"line {number}: decimal commas and decimal points in one table; write one of them"
        )
    return Table(rows, separator, comma)


def _separator(line: str, header: tuple[str, ...]) -> str:
    def known(separator: str) -> int:
        parts = [part.strip().strip('"').strip() for part in line.split(separator)]
        return sum(any(part.startswith(word) for word in header) for part in parts)

    return max(SEPARATORS, key=lambda separator: (known(separator), line.count(separator)))


def _is_parted_otherwise(line: str, separator: str, header: tuple[str, ...]) -> bool:
    """Whether several known names stand in a line that the separator does not cut."""
    words = re.findall(r"[A-Za-z]+", line)
    return separator not in line and sum(word in header for word in words) > 1


def _without_empty_columns(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out columns without a name and without a value, which spreadsheets add."""
    names = rows[0][1]
    used = {i for _, cells in rows[1:] for i, cell in enumerate(cells) if cell}
    empty = {i for i, name in enumerate(names) if not name} - used
    beyond = range(len(names), max((len(cells) for _, cells in rows), default=0))
    empty |= set(beyond) - used
    return [(n, [cell for i, cell in enumerate(cells) if i not in empty]) for n, cells in rows]


def _cells(number: int, text: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {number}: {error}") from None
    if any(len(cell) > _CELL for cell in cells):
        raise ValueError(f"line {number}: a value of more than {_CELL} characters")
    return [cell.strip() for cell in cells]
