"""The Pareto set of a search as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from cimsim.errors import InputError
from cimsim.placing.search import Point
from cimsim.units import format_si

_TEXT, _GREY, _BEST = "#3C444D", "#9AA3AD", "#D55E00"


def to_data(point: Point) -> dict[str, object]:
    """Return a point as plain data: cycles, joules per frame, arrays, layers by strategy."""
    return {
        "arrays": point.arrays,
        "interval_cycles": point.interval_cycles,
        "latency_cycles": point.latency_cycles,
        "energy_j": point.energy_j,
        "strategies": point.strategies,
        "allocation": point.mapping.allocation,
    }


def draw(points: Sequence[Point], goal: str, paths: Sequence[Path]) -> None:
    """Draw interval over arrays, energy as colour, and the best point for the goal.

    The line is the least interval that so many arrays allow; points above it are there for their
    energy or latency.

    Parameters
    ----------
    points : sequence of Point
        Best first.
    goal : str
    paths : sequence of Path
        The suffix says the format.

    Raises
    ------
    InputError
        A place that cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    mapping, ordered = points[0].mapping, sorted(points, key=lambda p: p.arrays)
    clock = mapping.chip.process.clock_hz
    arrays = [p.arrays for p in ordered]
    seconds = [p.interval_cycles / clock for p in ordered]
    # a point that more energy alone would beat lies above the line of the least interval
    least = list(accumulate(seconds, min))
    axes.plot(arrays, least, color=_GREY, linewidth=1, zorder=1, drawstyle="steps-post")
    for x, here, low in zip(arrays, seconds, least, strict=True):
        if here > low:
            axes.annotate(_why(ordered, x), (x, here), (4, 5), textcoords="offset points",
                          fontsize=7.5, color=_TEXT)  # fmt: skip
    unit, factor = _energy_unit(max(p.energy_j for p in ordered))
    marks = axes.scatter(
        arrays, seconds, c=[p.energy_j * factor for p in ordered], cmap="viridis_r", s=60,
        edgecolors="white", linewidths=0.8, zorder=3,
    )  # fmt: skip
    best = points[0]
    axes.scatter([best.arrays], [best.interval_cycles / clock], s=170, facecolors="none",
                 edgecolors=_BEST, linewidths=1.8, zorder=4,
                 label=f"best for {goal}")  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(min(seconds) / 1.6, max(seconds) * 1.6)
    axes.set_xlim(0, mapping.chip.n_arrays * 1.04)
    axes.axvline(mapping.chip.n_arrays, color=_GREY, linewidth=0.8, linestyle=":")
    axes.yaxis.set_major_formatter(lambda value, _: format_si(value, "s"))
    axes.yaxis.set_minor_formatter(lambda value, _: _minor(value))
    axes.set_xlabel(f"arrays in use (of {mapping.chip.n_arrays})", color=_TEXT)
    axes.set_ylabel("steady interval per frame", color=_TEXT)
    axes.grid(alpha=0.25, which="both")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, which="both", labelcolor=_TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    bar = figure.colorbar(marks, ax=axes, pad=0.02)
    bar.set_label(f"energy per frame / {unit}", color=_TEXT)
    bar.ax.tick_params(labelsize=8, labelcolor=_TEXT)
    bar.outline.set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    title = f"{mapping.graph.name} on {mapping.chip.label}: mappings that nothing beats"
    axes.set_title(title, fontsize=11, loc="left", color=_TEXT, fontweight="bold")
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}") from None


def _why(points: Sequence[Point], arrays: int) -> str:
    """Say what a point has that faster ones with no more arrays have not."""
    mine = next(p for p in points if p.arrays == arrays)
    faster = [p for p in points
              if p.arrays <= arrays and p.interval_cycles < mine.interval_cycles]  # fmt: skip
    if all(mine.energy_j < other.energy_j for other in faster):
        return "less energy"
    if all(mine.latency_cycles < other.latency_cycles for other in faster):
        return "less latency"
    return ""


def _minor(value: float) -> str:
    """Label 2 and 5 of every decade."""
    return format_si(value, "s") if f"{value:.0e}"[0] in "25" else ""


def _energy_unit(largest: float) -> tuple[str, float]:
    prefix = format_si(largest, "J").split()[1].removesuffix("J")
    return f"{prefix}J", {"": 1.0, "m": 1e3, "µ": 1e6, "n": 1e9, "p": 1e12}[prefix]
