"""Sheets of Excel workbooks (.xlsx), as the same tables that text files give."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from cimsim.boundary.limits import TABLE, shown
from cimsim.boundary.tables import Table
from cimsim.errors import suggest

SUFFIXES = (".xlsx", ".xlsm")


def read_sheet(path: Path, header: tuple[str, ...], sheet: str | None = None) -> Table:
    """Read one sheet of a workbook.

    Parameters
    ----------
    path : Path
    header : tuple of str
        Words that columns may begin with, lower case: the first row that has two of them begins
        the table, so that titles above it do no harm.
    sheet : str, optional
        Its name; by default the only one that has such a row.

    Raises
    ------
    OSError
        As the system says it.
    ValueError
        No workbook, no package to read it, too large, no such sheet, or several that may be meant.
    """
    if importlib.util.find_spec("openpyxl") is None:
        raise ValueError(
            "workbooks need the package openpyxl (pip install 'cimsim[excel]'); or save the sheet "
            "as CSV"
        )
    sheets = _sheets(path)
    if sheet is not None and sheet not in sheets:
        raise ValueError(f"sheet {shown(sheet)} is unknown{suggest(sheet, sheets)}")
    chosen = sheets if sheet is None else {sheet: sheets[sheet]}
    tables = {name: rows for name, all_ in chosen.items() if (rows := _from_header(all_, header))}
    if len(tables) > 1:
        raise ValueError(f"tables on the sheets {', '.join(tables)}; name one of them with --sheet")
    if not tables:
        raise ValueError(
            f"no sheet has a row with names such as {', '.join(header[:4])}; sheets: "
            f"{', '.join(chosen)}"
        )
    return Table(next(iter(tables.values())), ",", False)


def _sheets(path: Path) -> dict[str, list[tuple[int, list[str]]]]:
    """Return the rows of every sheet that hold something, with their numbers from 1."""
    import openpyxl

    try:
        with ZipFile(path) as archive:
            whole = sum(item.file_size for item in archive.infolist())
        if whole > 8 * TABLE.n_bytes:  # XML takes several bytes for each of a CSV
            raise ValueError(f"unpacks to more than {8 * TABLE.n_bytes >> 20} MiB")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no readable workbook: {error}; save it anew, or as CSV") from None
    try:
        sheets: dict[str, list[tuple[int, list[str]]]] = {}
        for name in book.sheetnames:
            rows = enumerate(book[name].iter_rows(values_only=True), 1)
            texts = ((number, [_text(value) for value in row]) for number, row in rows)
            sheets[name] = [(n, _without_tail(row)) for n, row in texts if any(row)]
        return sheets
    except Exception as error:  # noqa: BLE001 - a broken sheet fails in the XML parser's own ways
        raise ValueError(f"no readable workbook: {error}; save it anew, or as CSV") from None
    finally:
        book.close()


def _text(value: object) -> str:
    """Write a cell as a CSV would: numbers with a point, text without blanks around it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    text = str(value).strip()
    # a number that was typed as text keeps the comma of its country
    plain = text.replace(",", ".", 1)
    if "," in text and "." not in text and plain.lstrip("+-").replace(".", "", 1).isdecimal():
        return plain
    return text


def _without_tail(row: list[str]) -> list[str]:
    while row and not row[-1]:
        row.pop()
    return row


def _from_header(
    rows: list[tuple[int, list[str]]], header: tuple[str, ...]
) -> list[tuple[int, list[str]]]:
    """Return the rows from the first one on that has two known names."""
    for place, (_, cells) in enumerate(rows):
        known = sum(cell.lower().startswith(header) for cell in cells)
        if known >= 2 and all(cells):
            width = len(cells)
            return [
                (n, (row + [""] * width)[:width] if not any(row[width:]) else row)
                for n, row in rows[place:]
                if not (row and row[0].startswith("#"))
            ]
    return []
