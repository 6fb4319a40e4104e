"""The page of a study, and of runs and studies beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cimsim.errors import CimsimError
from cimsim.report.run.page import parts, svg
from cimsim.report.run.page.parts import Cell, real, render, safe, words
from cimsim.studies.points import Row
from cimsim.studies.table import SHORT, Table

_MOST_BARS = 40
_SIDE_BY_SIDE = 4  # lines that are columns of the table of all numbers: so it is read more easily


def page(title: str, rows: Sequence[Row], command: str) -> str:
    """Return the page of a study's points, or of runs as `cimsim.studies.study.Runs` has them.

    Parameters
    ----------
    title : str
    rows : sequence of dict
        All points, those without a result too.
    command : str
        What to type for the same numbers.
    """
    table = Table.of(rows)
    wrong = [row for row in rows if row["error"] is not None]
    subtitle = (
        f"{len(rows)} points in {len(table.groups)} lines; chips on the same frames are one line"
    )
    pictures = [
        (f"bars-{n}", name, note, safe(picture))
        for n, (name, note, picture) in enumerate(_study_bars(table))
    ]
    front = _front(table)
    if front:
        pictures.insert(0, ("front", "PSNR against energy",
                            "Filled: no other line has a better picture for less energy; the "
                            "others are drawn open.", safe(front)))  # fmt: skip
    caption = "All numbers of all lines"
    few = 1 < len(table.groups) <= _SIDE_BY_SIDE
    every = (_beside_each_other(table, "all-numbers", caption) if few
             else _study_table(table, "all-numbers", caption, table.numbers))  # fmt: skip
    doubts = {": ".join(filter(None, (d.get("text"), d.get("way")))) for row in rows
              for d in row["doubts"]}  # fmt: skip
    common = [(words(str(k)), words(str(v))) for k, v in table.common.items() if v is not None]
    sections = [
        ("numbers", "Numbers"), *((p[0], p[1]) for p in pictures), ("every", "Every number"),
        ("again", "Again"),
    ]  # fmt: skip
    errors = [
        (words(", ".join(f"{k} {v}" for k, v in row["settings"].items() if v is not None)),
         words(str(row["error"]), "fold"))
        for row in wrong
    ]  # fmt: skip
    return render("many.html.j2", {
        "title": title, "subtitle": subtitle, "sections": sections, "doubts": sorted(doubts),
        "notes": [],
        "common": parts.table("common-table", "The same for all", ("setting", "value"), common),
        "numbers": _study_table(table, "main", "What varies, and the usual numbers", None),
        "pictures": pictures, "every": every,
        "errors": parts.table("error-table", "Why", ("point", "why"), errors), "command": command,
    })  # fmt: skip


def _study_table(table: Table, id_: str, caption: str, names: Sequence[str] | None) -> parts.Table:
    heads, lines = table.cells(names)
    varies = len(table.distinguishing)
    shown = table.shown(names)
    rows = []
    for group, line in zip(table.groups, lines, strict=True):
        cells = [words(text) for text in line[:varies]]
        for name, text in zip(shown, line[varies:], strict=True):
            full = table.named(name)
            held = group.cells.get(full)
            value = None if held is None or not real(held.value) else group.number(full)
            cells.append(Cell(text, value))
        rows.append(cells)
    return parts.table(id_, caption, heads, rows)


def _beside_each_other(table: Table, id_: str, caption: str) -> parts.Table:
    """Return all numbers with a row for each number and a column for each line."""
    heads, lines = table.cells(table.numbers)
    varies = len(table.distinguishing)
    rows = [
        [words(head), *(Cell(line[at]) for line in lines)]
        for at, head in enumerate(heads) if at >= varies
    ]  # fmt: skip
    return parts.table(id_, caption, ["number", *(table.label(g) for g in table.groups)], rows)


_TITLES = {
    "psnr": "PSNR on the chip", "energy": "Energy of a frame", "fps": "Frames per second",
    "efficiency": "TOPS/W", "arrays": "Arrays used", "area": "Area of the chip",
    "ssim": "SSIM on the chip", "latency": "Latency of the first frame", "power": "Power",
}  # fmt: skip
_OF_TEXT = ("dB", "1/s", "TOPS/W")  # units that a cell's text leaves to the head of its column


def _study_bars(table: Table) -> Iterable[tuple[str, str, str]]:
    """Yield title, note and picture of each of the usual numbers that differ."""
    if not 1 < len(table.groups) <= _MOST_BARS:
        return
    short = {full: name for name, full in SHORT.items()}
    for name in table.shown(None):
        rows, unit = [], ""
        for group in table.groups:
            held = group.cells.get(table.named(name))
            if held is None or not real(held.value):
                continue
            low, high = held.interval or (None, None)
            label = table.label(group)[:60]
            unit = held.unit if held.unit in (*_OF_TEXT, "J", "s", "W", "m2") else ""
            text = f"{held.text} {unit}" if unit in _OF_TEXT else held.text
            rows.append(svg.Bar(label or "all", group.number(table.named(name)), text, low, high))
        if len(rows) < 2 or len({row.value for row in rows}) < 2:
            continue
        top, bottom = max(r.value for r in rows), min(r.value for r in rows)
        far = bottom > 0 and top > 30 * bottom
        title = _TITLES.get(short.get(table.named(name), name), name)
        note = "The axis is logarithmic." if far else ""
        note = "The axis does not begin at zero." if unit == "dB" else note
        yield title, note, svg.bars(rows, unit, title, logarithmic=far, dots=unit == "dB")


def _front(table: Table) -> str:
    """Draw PSNR against energy where both are known for several lines."""
    try:
        best = {id(group) for group in table.front(["max psnr", "min energy"])}
    except CimsimError:  # lines without a picture have no front
        return ""
    points = []
    for group in table.groups:
        names = table.named("psnr"), table.named("energy")
        if not all(name in group.cells and real(group.cells[name].value) for name in names):
            continue  # without a result: the others are compared all the same
        psnr, energy = map(group.number, names)
        if energy <= 0:  # has no place on a logarithmic axis
            continue
        points.append(svg.Spot(energy, psnr, table.label(group), id(group) in best))
    return svg.scatter(points, "J", "dB", "PSNR against energy") if len(points) > 2 else ""
