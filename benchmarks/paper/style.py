"""One look for all figures: one column wide, 8 pt, colours that all eyes tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.paper.networks import title
from benchmarks.paper.record import NOISY, write_csv
from benchmarks.paper.results import SHIPPED, Point, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.4  # inches, one column
DPI = 220
# Okabe-Ito colours; shape and line style say the same again, for print without colour
LOOKS: dict[str, dict[str, Any]] = {
    "cimnet": {"color": "#D55E00", "marker": "o", "linestyle": "-"},
    "abla-net": {"color": "#009E73", "marker": "^", "linestyle": "-."},
    "baseline-o2": {"color": "#0072B2", "marker": "s", "linestyle": "--"},
    "baseline-o1": {"color": "#CC79A7", "marker": "D", "linestyle": ":"},
    "fastdvdnet-block": {"color": "#000000", "marker": "P", "linestyle": ""},
    NOISY: {"color": "#777777", "marker": "", "linestyle": (0, (1, 1.5))},
}
NAMES = {
    "cimnet": "CIM-NET", "abla-net": "Abla-NET", "baseline-o2": "baseline o2",
    "baseline-o1": "baseline o1", "fastdvdnet-block": "FastDVDnet block", NOISY: "noisy input",
}  # fmt: skip
_RC: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8,
    "axes.labelsize": 8, "axes.titlesize": 8, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.major.size": 3, "ytick.major.size": 3,
    "lines.linewidth": 1.2, "lines.markersize": 4.5, "axes.spines.top": False,
    "axes.spines.right": False, "grid.linewidth": 0.4, "grid.color": "#DDDDDD",
    "svg.hashsalt": "cimsim", "svg.fonttype": "none",
}  # fmt: skip
COLUMNS = (
    "series", "network", "stride", "windows_per_pixel", "sigma", "psnr_db", "origin", "weights",
    "minutes", "crops", "trained_sigma", "seeds", "half_db", "date", "sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished figure, the points in it and what to say below it."""

    name: str
    figure: Figure
    points: tuple[Point, ...]
    caption: str

    def save(self, folder: Path) -> None:
        """Write ``name.png``, ``name.svg`` and ``name.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        with paper_style():
            for _ in range(2):  # sizes of tick labels settle in the second pass
                self.figure.draw_without_rendering()
            self.figure.set_layout_engine("none")  # it is laid out: not again for each format
            self.figure.savefig(folder / f"{self.name}.png", dpi=DPI)
            self.figure.savefig(folder / f"{self.name}.svg", metadata={"Date": None})
        write_csv(folder / f"{self.name}.csv", COLUMNS, map(csv_line, self.points))


def csv_line(point: Point) -> dict[str, object]:
    """Return one line of a figure's CSV."""
    row = point.row
    values = {name: getattr(row, name, None) for name in COLUMNS}
    values |= {"series": NAMES[row.model], "origin": point.origin}
    values |= {"seeds": len(point.rows), "half_db": point.half_db}
    if row.model != NOISY:
        values["weights"] = "shipped" if point.shipped else "equal budget"
    return {name: "" if value is None else value for name, value in values.items()}


@contextmanager
def paper_style() -> Iterator[None]:
    """Set matplotlib's parameters for the time of a ``with``."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        yield


def new_figure(height: float, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Figure, Any]:
    """Return a figure of one column's width and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **grid)
    for one in figure.axes:
        one.grid(axis="y")
        one.set_axisbelow(True)
    return figure, axes


def plot(
    axes: Axes, model: str, xs: Sequence[float], ys: Sequence[float], points: Sequence[Point]
) -> None:
    """Draw one series: a line, filled marks for measured points, open marks for recorded ones."""
    if points:
        look = LOOKS[model]
        axes.plot(xs, ys, color=look["color"], linestyle=look["linestyle"] or "none", zorder=2)
        marks(axes, xs, ys, points)


def marks(axes: Axes, xs: Sequence[float], ys: Sequence[float], points: Sequence[Point]) -> None:
    """Draw the marks of points, each in the look of its model."""
    for x, y, point in zip(xs, ys, points, strict=True):
        look = LOOKS[point.row.model]
        axes.plot(
            [x], [y], color=look["color"], marker=look["marker"], linestyle="none", zorder=3,
            markerfacecolor="white" if point.origin == "recorded" else look["color"],
        )  # fmt: skip
        if point.half_db is not None:
            axes.errorbar(
                [x], [y], yerr=[point.half_db], fmt="none", ecolor=look["color"], elinewidth=0.8,
                capsize=2, zorder=2,
            )  # fmt: skip


def plot_shipped(axes: Axes, model: str, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Draw stars for shipped weights: another training than that of the line."""
    if not xs:  # an empty line would count as a mark at the figure's corner in the layout
        return
    axes.plot(xs, ys, color=LOOKS[model]["color"], linewidth=0.5, alpha=0.6, zorder=1)
    axes.plot(
        xs, ys, color=LOOKS[model]["color"], marker="*", linestyle="none", markersize=8, zorder=4,
        markeredgecolor="white", markeredgewidth=0.5, clip_on=False,
    )  # fmt: skip


def legend(figure: Figure, models: Sequence[str], points: Sequence[Point]) -> None:
    """Draw a legend above the axes: models that have points, what open marks and stars mean."""
    from matplotlib.lines import Line2D

    present = {point.row.model for point in points}
    handles = [Line2D([], [], label=NAMES[m], **LOOKS[m]) for m in models if m in present]
    grey: dict[str, Any] = {"color": "#555555", "linestyle": "none"}
    if any(point.origin == "recorded" for point in points):
        handles.append(Line2D([], [], marker="o", mfc="white", label="recorded", **grey))
    if any(point.shipped for point in points):
        handles.append(Line2D([], [], marker="*", markersize=7, label="shipped weights", **grey))
    if handles:
        width = sum(len(str(handle.get_label())) for handle in handles)
        figure.legend(
            handles=handles, loc="outside upper center", ncols=3 if width <= 34 else 2,
            frameon=False, handlelength=2.4, labelspacing=0.3, columnspacing=1.4,
            borderaxespad=0.1,
        )  # fmt: skip


def halo() -> list[Any]:
    """Return path effects that set text off from the lines behind it."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.8, foreground="white")]


def stride_axis(axes: Axes, strides: Sequence[int]) -> None:
    """Make x a logarithmic axis of strides with a tick at each."""
    shown = sorted(set(strides)) or [2, 4, 8]
    axes.set_xscale("log", base=2)
    axes.set_xticks(shown, [str(s) for s in shown])
    axes.minorticks_off()
    axes.set_xlim(shown[0] / 1.25, shown[-1] * 1.25)
    axes.set_xlabel("stride S")


def window_axis(axes: Axes, which: str = "x") -> None:
    """Make an axis of windows per pixel logarithmic, with powers of 4 as ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    setter = axes.set_xscale if which == "x" else axes.set_yscale
    setter("log", base=2)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator([4.0**power for power in range(-4, 4)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axes.minorticks_off()
    axis.set_label_text("windows per pixel")


def _power(value: float) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def room(axes: Axes, below: float = 0.08, above: float = 0.08) -> None:
    """Leave some room under and over the points."""
    low, high = axes.dataLim.intervaly
    if not (low < high):
        low, high = low - 0.5, high + 0.5
    span = high - low
    axes.set_ylim(low - below * span, high + above * span)


def caption(text: str, results: Results, points: Sequence[Point], sigma: str = "σ = 15") -> str:
    """Return a caption: what is shown, on what, with which budget, what is recorded or shipped."""
    parts = [text, f"Clips: {results.clips}; {sigma}."]
    networks = [point for point in points if point.row.model != NOISY]
    lines = [point for point in networks if not point.shipped]
    budget = _budget(lines)
    if budget:
        parts.append(f"Lines: trained {budget}.")
    seeds = sorted({len(point.rows) for point in lines})
    if seeds and seeds[-1] > 1:
        count = f"{seeds[-1]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        parts.append(
            f"Marks are means of {count} trainings with other seeds, bars their 95 % interval."
        )
    recorded = sorted({title(p.row.model, p.row.stride) for p in lines if p.origin == "recorded"})
    if recorded:
        parts.append(f"Open marks are recorded, not measured in this run: {', '.join(recorded)}.")
    shipped = {
        f"{title(p.row.model, p.row.stride)}{_form(p)} ({p.row.minutes:g} min)"
        for p in networks
        if p.shipped
    }
    if shipped:
        parts.append(
            "Stars: shipped weights, trained otherwise than the lines: "
            f"{', '.join(sorted(shipped))}."
        )
    if not networks:
        parts.append("No weights at hand and nothing recorded for these clips.")
    return " ".join(parts)


def _form(point: Point) -> str:
    return ", two layers alone" if point.row.network in SHIPPED.values() else ""


def _budget(lines: Sequence[Point]) -> str:
    """Say what the points of the lines had in common: minutes, or else crops."""
    minutes = sorted({round(p.row.minutes, 1) for p in lines if p.row.minutes is not None})
    if not minutes:
        return ""
    crops = {p.row.crops for p in lines if p.row.minutes is not None}
    devices = ", ".join(sorted({p.row.device for p in lines if p.row.device}))
    if len(minutes) == 1:
        return f"for {minutes[0]:g} minutes each ({devices})"
    spent = f"{minutes[0]:g} to {minutes[-1]:g} minutes"
    if len(crops) == 1:
        return f"on {crops.pop():,} crops each, {spent} ({devices})"
    return f"for {spent} each ({devices})"
