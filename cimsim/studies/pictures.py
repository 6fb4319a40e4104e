"""Pictures of a study: a number over a parameter, and the front of what no other point beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.errors import InputError, suggest
from cimsim.studies.points import Value
from cimsim.studies.table import Cell, Group, Table, title
from cimsim.units import format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_FAR = 30  # largest over smallest value from which on an axis is logarithmic
# Okabe and Ito's palette: told apart by colour-blind readers, too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = "os^Dv<>"
_DASHES = ("-", "--", ":", "-.")  # lines that lie on each other are seen both
_TEXT, _GREY = "#3C444D", "#B5BCC4"
_MOST_LINES, _MOST_BARS = 12, 12


def over(table: Table, x: str, y: str, path: Path, title: str = "") -> None:
    """Draw a number over a setting: one line for each other combination, bands are 5 .. 95 %.

    Parameters
    ----------
    table : Table
    x : str
        A setting that varies, such as ``adc.bits``.
    y : str
        A number, such as ``psnr``.
    path : Path
        The suffix says the format.
    title : str

    Raises
    ------
    InputError
        No such setting or number, too many lines, or a place that cannot be written.
    """
    figure, axes = draw_over(table, x, y)
    _save(figure, axes, path, title)


def draw_over(table: Table, x: str, y: str) -> tuple[Figure, Axes]:
    """Return figure and axes of `over`.

    Raises
    ------
    InputError
        No such setting or number, or too many lines.
    """
    name = table.named(y)
    if x not in table.varies:
        raise InputError(f"plot: no setting '{x}' that varies{suggest(x, table.varies)}")
    others = _beside(table, x)
    lines: dict[str, list[Group]] = {}
    for group in table.groups:
        if name in group.cells:
            lines.setdefault(table.label(group, others), []).append(group)
    if not lines:
        raise InputError(f"plot: no point has the number '{y}'")
    if len(lines) > _MOST_LINES:
        raise InputError(
            f"plot: {len(lines)} lines; fix some of {', '.join(others)} with --only NAME=VALUE"
        )
    figure, axes = _figure()
    order = _order([g.settings[x] for groups in lines.values() for g in groups if _has(g, x)])
    for number, (label, groups) in enumerate(lines.items()):
        there = [group for group in groups if _has(group, x)]
        if there:
            _line(axes, there, (x, name), order, (label, number))
        else:
            _level(axes, groups[0].cells[name], (label, number))
    if order is not None:
        axes.set_xticks(range(len(order)), order)
    elif all(isinstance(g.settings.get(x, 0), int) for groups in lines.values() for g in groups):
        from matplotlib.ticker import MaxNLocator

        locator = axes.xaxis.get_major_locator()
        assert isinstance(locator, MaxNLocator)
        locator.set_params(integer=True)
    _labels(axes, x, name, table)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure, axes


def _beside(table: Table, x: str) -> list[str]:
    """Return what tells lines apart: options that follow from ``x`` and the others are left out."""
    left = [one for one in table.distinguishing if one != x]
    for name in reversed([one for one in left if one.startswith("network.")]):
        rest = [one for one in left if one != name]
        if table.follows(name, [*rest, x]):
            left = rest
    return left


def _has(group: Group, x: str) -> bool:
    """Whether a group has a setting; networks have options of their own, and all of the others."""
    return x in group.settings or not x.startswith("network.")


def _level(axes: Axes, cell: Cell, what: tuple[str, int]) -> None:
    """Draw what has no place on the axis, such as a network without a stride, as a level."""
    label, number = what
    colour = _COLOURS[number % len(_COLOURS)]
    axes.axhline(float(_height(cell)), color=colour, linewidth=1.2, label=label, zorder=2,
                 linestyle=_DASHES[number % len(_DASHES)])  # fmt: skip
    if cell.interval:
        axes.axhspan(*cell.interval, color=colour, alpha=0.1, linewidth=0, zorder=1)


def _line(
    axes: Axes, groups: list[Group], names: tuple[str, str], order: list[str] | None,
    what: tuple[str, int],
) -> None:  # fmt: skip
    x, name = names
    label, number = what

    def place(group: Group) -> float:
        held = group.settings.get(x)
        return float(order.index(str(held))) if order is not None else _number(held)

    groups = sorted(groups, key=place)
    colour = _COLOURS[number % len(_COLOURS)]
    places = [place(group) for group in groups]
    cells = [group.cells[name] for group in groups]
    heights = [_height(cell) for cell in cells]
    axes.plot(places, heights, color=colour, linewidth=1.6, markersize=4.5,
              linestyle=_DASHES[number % len(_DASHES)],
              marker=_MARKS[number % len(_MARKS)], label=label, zorder=3)  # fmt: skip
    ends = [cell.interval or (y, y) for cell, y in zip(cells, heights, strict=True)]
    if len(places) == 1:  # a band of one point would not be seen
        low, high = zip(*ends, strict=True)
        axes.vlines(places, low, high, color=colour, linewidth=1.0, zorder=2)
    elif any(cell.interval for cell in cells):
        axes.fill_between(places, [e[0] for e in ends], [e[1] for e in ends], color=colour,
                          alpha=0.15, linewidth=0, zorder=2)  # fmt: skip


def _height(cell: Cell) -> float | str:
    """Return what is drawn of a number; nothing where there is none."""
    return math.nan if cell.value is None else cell.value


def pareto(table: Table, objectives: Sequence[str], path: Path, title: str = "") -> None:
    """Draw two objectives: the front in colour with its intervals, what it beats in grey.

    Raises
    ------
    InputError
        Not two objectives, none of this study, or a place that cannot be written.
    """
    figure, axes = draw_pareto(table, objectives)
    _save(figure, axes, path, title)


def draw_pareto(table: Table, objectives: Sequence[str]) -> tuple[Figure, Axes]:
    """Return figure and axes of `pareto`.

    Raises
    ------
    InputError
        Not two objectives, or none of this study.
    """
    if len(objectives) != 2:
        raise InputError(f"pareto: a picture shows two objectives, got {len(objectives)}")
    (y, _), (x, _) = (table.objective(text) for text in objectives)
    front = table.front(objectives)
    chosen = {id(group) for group in front}
    figure, axes = _figure()
    told = ", 5 .. 95 %" if 0 < len(front) <= _MOST_BARS else ""
    beaten = [g for g in table.groups if x in g.cells and y in g.cells and id(g) not in chosen]
    axes.scatter([_height(g.cells[x]) for g in beaten], [_height(g.cells[y]) for g in beaten],
                 color=_GREY, s=22, linewidths=0, zorder=1, label="beaten by another")  # fmt: skip
    ordered = sorted(front, key=lambda g: g.number(x))
    places = [g.number(x) for g in ordered]
    heights = [g.number(y) for g in ordered]
    axes.plot(places, heights, color=_COLOURS[0], linewidth=1.2, marker="o", markersize=5.5,
              zorder=3, label=f"front{told}")  # fmt: skip
    across = [g.number(x) for g in (*beaten, *front)]
    logarithmic = min(across, default=0) > 0 and max(across) > _FAR * min(across)
    if logarithmic:
        axes.set_xscale("log")
    _bars(axes, ordered, (x, y), logarithmic)
    clear = 4 if heights and heights[-1] > heights[0] else -9  # of the line, left of a point
    low, high = axes.get_xlim()
    middle = math.sqrt(low * high) if logarithmic else (low + high) / 2
    for group in ordered[:: max(1, len(ordered) // 8)]:
        place = group.number(x), group.number(y)
        side, away = ("left", (5, -9)) if place[0] < middle else ("right", (-5, clear))
        axes.annotate(table.label(group), place, fontsize=7, color=_TEXT, ha=side,
                      xytext=away, textcoords="offset points")  # fmt: skip
    _labels(axes, x, y, table)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure, axes


def _bars(axes: Axes, front: Sequence[Group], names: tuple[str, str], logarithmic: bool) -> None:
    """Draw the intervals of a front's points, where they are few enough to be told apart."""
    if len(front) > _MOST_BARS:
        return
    for group in front:
        x, y = (group.cells[name] for name in names)
        if x.interval and (not logarithmic or x.interval[0] > 0):
            axes.hlines(
                group.number(names[1]),
                *x.interval,
                color=_COLOURS[0],
                linewidth=0.8,
                alpha=0.5,
                zorder=2,
            )
        if y.interval:
            axes.vlines(
                group.number(names[0]),
                *y.interval,
                color=_COLOURS[0],
                linewidth=0.8,
                alpha=0.5,
                zorder=2,
            )


def check_name(path: Path) -> None:
    """Refuse a file that is no picture.

    Raises
    ------
    InputError
        Saying which names are.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)}")


def _figure() -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _number(value: Value) -> float:
    """Return a setting as a number: itself, or what stands before its unit."""
    return float(str(value).split()[0])


def _order(values: list[Value]) -> list[str] | None:
    """Return settings that are no numbers in the order they come; None for numbers of one unit."""
    units = set()
    for value in values:
        first, _, unit = str(value).partition(" ")
        try:
            float(first)
        except ValueError:
            return list(dict.fromkeys(map(str, values)))
        units.add(unit)
    return None if len(units) == 1 else list(dict.fromkeys(map(str, values)))


def _in_si(unit: str) -> Callable[[float, float], str]:
    return lambda value, _: format_si(value, unit)


def _labels(axes: Axes, x: str, y: str, table: Table) -> None:
    for axis, name in ((axes.xaxis, x), (axes.yaxis, y)):
        unit = next((g.cells[name].unit for g in table.groups if name in g.cells), "")
        if unit in ("s", "J", "W", "m2"):
            axis.set_major_formatter(_in_si(unit))
            unit = ""
        shown = f"{title(name)} / {unit}" if unit not in ("", "1") else title(name)
        axis.set_label_text(shown, color=_TEXT)


def _save(figure: Figure, axes: Axes, path: Path, title: str) -> None:
    finish(axes, title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None


def finish(axes: Axes, title: str = "") -> None:
    """Give axes the look of all pictures of studies."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, labelcolor=_TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if title:
        axes.set_title(title, fontsize=10, loc="left", color=_TEXT, fontweight="bold")
