"""Pictures of the comparison: both mappings of a network joined by a line; strides and arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fair.cases import NETWORKS
from benchmarks.fair.measure import FAST, IM2COL, Cell
from benchmarks.fair.quality import Judged
from benchmarks.fair.record import Record
from benchmarks.fair.stride import FORM_TITLES, FORMS, StridePoint
from benchmarks.fair.stride_db import StrideDb
from cimsim.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
# Okabe-Ito colours, which all eyes tell apart; a shape says the same again
COLOURS = ("#000000", "#D55E00", "#009E73", "#56B4E9", "#0072B2", "#E69F00", "#CC79A7", "#F0E442",
           "#999999", "#7F3C8D", "#11A579", "#3969AC")  # fmt: skip
SHAPES = "PoDs^vX<>hpd"
LINES = ("-", "--")  # of CIM-NET as drawn, and without its coarse path


def draw_trade_off(record: Record, hw: str, path: Path) -> None:
    """Draw interval and energy against PSNR on the chip, one mark for each network and mapping.

    Parameters
    ----------
    record : Record
    hw : str
        Title of the chip.
    path : Path
        PNG to write. Networks without a PSNR stand in a strip of their own at the bottom.
    """
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure = _figure(10.0, 4.6)
    axes: Any = figure.subplots(1, 2, sharey=True)
    measures: tuple[tuple[Callable[[Cell], float], str], ...] = (
        (lambda c: 1e3 * c.interval_s, "time between frames / ms"),
        (lambda c: 1e3 * c.energy_j, "energy of a frame / mJ"),
    )
    cells = {(c.network, c.how): c for c in record.cells if c.hw == hw and c.fits}
    quality = {(q.network, q.how): q for q in record.judged if q.hw == hw}
    floor = _floor(list(quality.values()))
    for one, (value, label) in zip(axes, measures, strict=True):
        for number, case in enumerate(NETWORKS):
            pair = [cells.get((case.name, how)) for how in (IM2COL, FAST)]
            if None not in pair:
                heights = [_height(quality.get((case.name, how)), floor) for how in (IM2COL, FAST)]
                xs = [value(cell) for cell in pair if cell is not None]
                _pair(one, xs, heights, number, case.title)
        one.set_xscale("log")
        one.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        one.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        one.xaxis.set_minor_formatter(NullFormatter())
        one.set_xlabel(label)
        one.grid(visible=True, color="#DDDDDD", linewidth=0.5)
        one.set_axisbelow(True)
    axes[0].set_ylabel("PSNR on the chip / dB")
    drawn = {place for place in cells if place[1] in (IM2COL, FAST)}
    if quality and drawn <= quality.keys():
        axes[0].set_ylim(min(q.chip_db for q in quality.values()) - 0.3, None)
    elif quality:
        axes[0].set_ylim(floor - 0.4, None)
        ticks = [tick for tick in axes[0].get_yticks() if tick > floor + 0.4]
        axes[0].set_yticks([floor, *ticks], ["not\nmeasured", *(f"{t:g}" for t in ticks)])
    else:
        axes[0].set_yticks([floor], ["not\nmeasured"])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(f"{hw}: open marks im2col, filled marks the fastest mapping found", fontsize=9)
    _save(figure, path)


def _pair(axes: Axes, xs: list[float], ys: list[float], number: int, title: str) -> None:
    colour, shape = COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)]
    axes.plot(xs, ys, color=colour, linewidth=1.2, zorder=2)
    axes.plot(xs[:1], ys[:1], shape, color=colour, markerfacecolor="white", zorder=3)
    axes.plot(xs[1:], ys[1:], shape, color=colour, label=title, zorder=3)


def _floor(judged: Sequence[Judged]) -> float:
    """Return where networks without a PSNR stand: below all others."""
    return min((row.chip_db for row in judged), default=30.0) - 1.0


def _height(judged: Judged | None, floor: float) -> float:
    return floor if judged is None else judged.chip_db


def draw_strides(
    points: Sequence[StridePoint], path: Path, levels: Sequence[StrideDb] = ()
) -> None:
    """Draw what a frame costs over the stride, a line per form and array, and PSNR beside it.

    Parameters
    ----------
    points : sequence of StridePoint
    path : Path
        PNG to write.
    levels : sequence of StrideDb
        None: not drawn.
    """
    from matplotlib.ticker import FormatStrFormatter, LogLocator

    measures: tuple[tuple[Callable[[StridePoint], float], str], ...] = (
        (lambda p: 1e3 * p.interval_s, "interval / ms"),
        (lambda p: 1e3 * p.energy_j, "energy / mJ"),
        (lambda p: p.conversions / 1e6, "conversions / millions"),
        (lambda p: p.cell_seconds / 1e6, "cells x interval / millions s"),
    )
    count = len(measures) + bool(levels)
    figure = _figure(2.6 * count, 3.4)
    axes: Any = figure.subplots(1, count)
    strides = sorted({p.stride for p in points})
    for one, (value, label) in zip(axes, measures, strict=False):
        for number, rows in enumerate(sorted({p.rows for p in points})):
            for model, line in zip(FORMS, LINES, strict=True):
                own = [p for p in points if (p.rows, p.model) == (rows, model)]
                own.sort(key=lambda p: p.stride)
                one.plot(
                    [p.stride for p in own], [value(p) for p in own], f"{SHAPES[number]}{line}",
                    color=COLOURS[number], markersize=4,
                    label=f"arrays of {rows}, {FORM_TITLES[model]}" if own else None,
                )  # fmt: skip
        one.set_yscale("log")
        one.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        one.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        one.set_title(label, fontsize=9)
    if levels:
        _levels(axes[-1], levels)
    for one in axes:
        one.set_xscale("log", base=2)
        one.set_xticks(strides, [str(stride) for stride in strides])
        one.minorticks_off()
        one.set_xlabel("stride S")
        one.grid(visible=True, color="#DDDDDD", linewidth=0.5)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8,
        frameon=False,
    )  # fmt: skip
    _save(figure, path)


def _levels(axes: Axes, levels: Sequence[StrideDb]) -> None:
    """Draw PSNR of every weight file: shape of the form, open in float, filled on the chip."""
    for (form, shape), colour in zip(zip(FORMS, "os", strict=True), COLOURS[4:], strict=False):
        own = [row for row in levels if row.form == form]
        title = FORM_TITLES[form]
        chip = [row.on_chip()[0] for row in own]
        axes.plot([r.stride for r in own], [r.in_float for r in own], shape, color=colour,
                  markerfacecolor="none", markersize=5, label=f"{title}, float")  # fmt: skip
        axes.plot([r.stride for r in own], chip, shape, color=colour, markersize=5,
                  label=f"{title}, chip")  # fmt: skip
    axes.set_title("PSNR / dB, each weight file", fontsize=9)
    axes.legend(fontsize=7)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png", dpi=DPI)
