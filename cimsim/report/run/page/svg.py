"""Small pictures as SVG text: sharp at any size, with tooltips, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypedDict

from cimsim.energy.ledger import Effect
from cimsim.units import format_si

# Okabe-Ito order: told apart by people with any kind of colour vision
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A900", "#999999")
LOW_END, HIGH_END = COLOURS[4], COLOURS[1]  # of a number's range, in `tornado`
_CHAR = 6.6  # width of a letter of 12 px, about


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of `bars`.

    Attributes
    ----------
    label : str
    value : float
        In SI units.
    text : str
        The number as people read it.
    low, high : float or None
        Its interval, drawn as a whisker.
    colour : str
    """

    label: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    colour: str = COLOURS[0]


@dataclass(frozen=True, slots=True)
class Spot:
    """One point of `scatter`, filled where nothing beats it."""

    x: float
    y: float
    label: str
    filled: bool


def lines(series: Mapping[str, Sequence[float]], unit: str, title: str, across: str) -> str:
    """Draw values over the number of a sample, one line each.

    Parameters
    ----------
    series : mapping
        Name -> values, all of one length.
    unit : str
    title : str
        What a screen reader says.
    across : str
        What the horizontal axis counts.
    """
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    if not finite:
        return ""
    width, height, left, below, right = 640, 260, 56, 40, 130
    ticks = _ticks(min(finite), max(finite))
    low, high = ticks[0], ticks[-1]
    count = max(len(values) for values in series.values())

    def x(index: int) -> float:
        return left + (width - left - right) * (index / (count - 1) if count > 1 else 0.5)

    def y(value: float) -> float:
        return 22 + (height - 22 - below) * (high - value) / (high - low)

    parts = [opened(width, height, title)]
    for tick in ticks:
        parts += [
            _line(left, y(tick), width - right, y(tick), "grid"),
            _text(left - 6, y(tick) + 4, f"{tick:g}", "end"),
        ]
    for index in range(0, count, max(1, count // 8)):
        parts.append(_text(x(index), height - below + 16, str(index), "middle"))
    parts.append(_text((left + width - right) / 2, height - 6, across, "middle"))
    parts.append(_text(8, 10, unit, "start"))
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        known = [(i, v) for i, v in enumerate(values) if math.isfinite(v)]
        points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in known)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" '
                     'stroke-width="2"/>')  # fmt: skip
        for i, v in known:
            told = f"{name}, {across} {i}: {v:.2f} {unit}"
            parts.append(
                f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}">'
                f"<title>{escape(told)}</title></circle>"
            )
        parts += [
            _line(width - right + 10, 24 + 20 * number, width - right + 30, 24 + 20 * number,
                  "", colour, 3),
            _text(width - right + 36, 28 + 20 * number, name, "start"),
        ]  # fmt: skip
    return "".join([*parts, "</svg>"])


def bars(
    rows: Sequence[Bar], unit: str, title: str, *, logarithmic: bool = False, dots: bool = False
) -> str:
    """Draw horizontal bars with whiskers.

    Parameters
    ----------
    rows : sequence of Bar
    unit : str
    title : str
        What a screen reader says.
    logarithmic : bool
        For values of many sizes; bars then begin at the left edge without meaning zero.
    dots : bool
        Marks on an axis that does not begin at zero, for numbers without a meaningful one.
    """
    ends = [v for row in rows for v in (row.value, row.low, row.high) if v is not None and v > 0]
    if not ends:
        return ""
    left = 14 + _CHAR * max(len(row.label) for row in rows)
    right = 14 + _CHAR * max(len(row.text) for row in rows)
    width, step = left + 420 + right, 24
    height = step * len(rows) + 34
    top, bottom = max(ends), min(ends)
    low = 10.0 ** math.floor(math.log10(bottom)) if logarithmic else 0.0
    if dots:
        around = _ticks(bottom, top)
        low, top = around[0], around[-1]

    def x(value: float) -> float:
        if not logarithmic:
            return left + 420 * (value - low) / (top - low)
        share = (math.log10(max(value, low)) - math.log10(low)) / (
            math.log10(top) - math.log10(low) or 1.0
        )
        return left + 420 * share

    parts = [opened(width, height, title)]
    for tick in _decades(low, top) if logarithmic else [t for t in _ticks(low, top) if t <= top]:
        told = f"{tick:g}" if unit in ("", "dB", "1/s", "TOPS/W") else _round(tick, unit)
        parts += [
            _line(x(tick), 4, x(tick), height - 30, "grid"),
            _text(x(tick), height - 14, told if tick else "0", "middle"),
        ]
    for number, row in enumerate(rows):
        y = 8 + step * number
        told = f"{row.label}: {row.text}"
        shape = (
            f'<circle cx="{x(row.value):.1f}" cy="{y + 7}" r="5" fill="{row.colour}">' if dots else
            f'<rect x="{left:.1f}" y="{y}" width="{max(0.5, x(row.value) - left):.1f}" '
            f'height="14" fill="{row.colour}">'
        )  # fmt: skip
        parts += [
            _text(left - 6, y + 12, row.label, "end"),
            f"{shape}<title>{escape(told)}</title></{'circle' if dots else 'rect'}>",
            _text(width - 4, y + 12, row.text, "end"),
        ]
        if row.low is not None and row.high is not None:
            a, b = x(row.low), x(row.high)
            parts += [_line(a, y + 7, b, y + 7, "whisker"), _line(a, y + 3, a, y + 11, "whisker"),
                      _line(b, y + 3, b, y + 11, "whisker")]  # fmt: skip
    return "".join([*parts, "</svg>"])


def scatter(spots: Sequence[Spot], x_unit: str, y_unit: str, title: str) -> str:
    """Draw points, horizontally on a logarithmic axis.

    Parameters
    ----------
    spots : sequence of Spot
        ``x`` above 0.
    x_unit, y_unit : str
    title : str
    """
    width, height, left, below, right = 680, 320, 56, 44, 20
    ticks = _ticks(min(s.y for s in spots), max(s.y for s in spots))
    low, high = ticks[0], ticks[-1]
    ends = [math.log10(s.x) for s in spots]
    first, last = min(ends) - 0.05, max(ends) + 0.05

    def x(value: float) -> float:
        share = (math.log10(value) - first) / (last - first)
        return left + (width - left - right) * share

    def y(value: float) -> float:
        return 22 + (height - 22 - below) * (high - value) / (high - low)

    parts = [opened(width, height, title)]
    for tick in ticks:
        parts += [_line(left, y(tick), width - right, y(tick), "grid"),
                  _text(left - 6, y(tick) + 4, f"{tick:g}", "end")]  # fmt: skip
    for step in range(5):
        value = 10 ** (first + (last - first) * (step + 0.5) / 5)
        parts += [_line(x(value), 22, x(value), height - below, "grid"),
                  _text(x(value), height - below + 16, format_si(value, x_unit, 2),
                        "middle")]  # fmt: skip
    parts += [_text(4, 10, y_unit, "start"),
              _text((left + width) / 2, height - 6, "energy of a frame", "middle")]  # fmt: skip
    for spot in spots:
        fill = COLOURS[0] if spot.filled else "none"
        said = f"{spot.label}: {spot.y:.2f} {y_unit}, {format_si(spot.x, x_unit)}"
        parts.append(
            f'<circle cx="{x(spot.x):.1f}" cy="{y(spot.y):.1f}" r="5" fill="{fill}" '
            f'stroke="{COLOURS[0]}" stroke-width="1.5"><title>{escape(said)}</title></circle>'
        )
    return "".join([*parts, "</svg>"])


def tornado(effects: Sequence[Effect], total_j: float, title: str) -> str:
    """Draw what the range of each number of the chip does to the energy of a frame.

    Parameters
    ----------
    effects : sequence of cimsim.energy.ledger.Effect
        The largest first.
    total_j : float
    title : str
    """
    if not effects:
        return ""
    left, step = 20 + _CHAR * max(len(one.path) for one in effects), 22
    width, height = left + 520.0, step * len(effects) + 36
    low, high = min(one.low_j for one in effects), max(one.high_j for one in effects)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return left + 490 * (value - low) / span

    parts = [opened(width, height, title)]
    for tick in _ticks(low, high):
        if low <= tick <= high:
            parts += [_line(x(tick), 2, x(tick), height - 32, "grid"),
                      _text(x(tick), height - 16, _round(tick, "J"), "middle")]  # fmt: skip
    for number, one in enumerate(effects):
        y = 6 + step * number
        parts.append(_text(left - 6, y + 12, one.path, "end"))
        for end, colour in ((one.low_j, LOW_END), (one.high_j, HIGH_END)):
            a, b = sorted((x(end), x(total_j)))
            told = f"{one.path}: {format_si(one.low_j, 'J')} .. {format_si(one.high_j, 'J')}"
            parts.append(
                f'<rect x="{a:.1f}" y="{y}" width="{max(0.5, b - a):.1f}" height="14" '
                f'fill="{colour}"><title>{escape(told)}</title></rect>'
            )
    parts.append(_line(x(total_j), 2, x(total_j), height - 32, "whisker"))
    return "".join([*parts, "</svg>"])


class Layer(TypedDict):
    """A layer as a result's inputs have it."""

    name: str
    slots: Sequence[Sequence[tuple[int, int]]]


def floor(layers: Sequence[Layer], tiles: int, arrays: int, title: str) -> str:
    """Draw the tiles of a chip, used arrays in the colour of their layer.

    Parameters
    ----------
    layers : sequence of mapping
        As a result's inputs have them: ``name``, and ``slots`` as [tile, array] for each copy.
    tiles, arrays : int
        Of the chip; arrays of one tile.
    title : str
    """
    owners: dict[tuple[int, int], list[str]] = {}
    for layer in layers:
        for slots in layer["slots"]:
            for tile, array in slots:
                owners.setdefault((tile, array), []).append(str(layer["name"]))
    tiles = max([tiles, *(tile + 1 for tile, _ in owners)])
    across = max(1, min(tiles, round(math.sqrt(2.4 * tiles))))
    inner = max(1, math.ceil(math.sqrt(arrays)))
    edge = max(10.0, min(44.0, 880 / across / inner))
    cell = edge * inner + 8
    rows = math.ceil(tiles / across)
    parts = [opened(across * cell + 4, rows * cell + 4, title)]
    colours = {str(layer["name"]): COLOURS[n % len(COLOURS)] for n, layer in enumerate(layers)}
    for tile in range(tiles):
        x0, y0 = 4 + (tile % across) * cell, 4 + (tile // across) * cell
        parts.append(f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{cell - 4:.1f}" '
                     f'height="{cell - 4:.1f}" class="tile"/>')  # fmt: skip
        for array in range(arrays):
            names = owners.get((tile, array), [])
            told = f"tile {tile}, array {array}: {', '.join(dict.fromkeys(names)) or 'unused'}"
            style = f'fill="{colours[names[0]]}"' if names else 'class="unused"'
            x, y = x0 + 2 + (array % inner) * edge, y0 + 2 + (array // inner) * edge
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{edge - 1:.1f}" height="{edge - 1:.1f}" '
                f"{style}><title>{escape(told)}</title></rect>"
            )
    return "".join([*parts, "</svg>"])


def _round(value: float, unit: str) -> str:
    """Write a round number without zeros that say nothing: 10 nJ, not 10.0 nJ."""
    number, _, rest = format_si(value, unit).partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {rest}"


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that enclose a range."""
    span = (high - low) or abs(high) or 1.0
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = last if last > first else first + 1
    return [round(n * step, 12 - math.floor(math.log10(step))) for n in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = round(math.log10(low)), math.floor(math.log10(high))
    every = max(1, math.ceil((last - first + 1) / 5))
    return [10.0**power for power in range(first, last + 1, every)]


def opened(width: float, height: float, title: str) -> str:
    """Return the opening tag of a picture; ``title`` is what a screen reader says."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(title, quote=True)}">'
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, kind: str, colour: str = "", width: int = 1
) -> str:
    style = f'stroke="{colour}" stroke-width="{width}"' if colour else f'class="{kind}"'
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
