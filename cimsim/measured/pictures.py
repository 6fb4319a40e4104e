"""Pictures of a fit: readings as they came, and the fitted form through them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cimsim.measured.fit import NEUTRAL, Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DATA, _FIT, _MORE = "#0072B2", "#D55E00", "#009E73"  # Okabe-Ito
_CELLS = 4000  # drawn at most


def draw(fit: Fit) -> Figure:
    """Draw a panel for all that was fitted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: list[Callable[[Axes, Fit], None]] = [_states, _spread]
    panels += [_drift] if fit.drift is not None else []
    panels += [_spectrum] if fit.spectrum is not None else []
    panels += [_pulse, _counts] if fit.log is not None else []
    columns = 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(8.4, 0.4 + 3.0 * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, paint in zip(axes, panels, strict=False):
        paint(panel, fit)
        panel.grid(color="#DDDDDD", linewidth=0.5)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    cells = f"{fit.cells} cells" if fit.cells else "number of cells unknown"
    figure.suptitle(f"{', '.join(fit.files)}: {cells}", fontsize=10)
    return figure


def _unit(fit: Fit) -> tuple[float, str]:
    small = fit.top_s < 1e-6
    return (1e9, "nS") if small else (1e6, "µS")


def _states(axes: Axes, fit: Fit) -> None:
    factor, unit = _unit(fit)
    first = [s for s in fit.states if s.time_s == fit.states[0].time_s]
    if fit.courses is not None:
        there = fit.courses.count[:, 0] > 0
        target, mean = fit.courses.target_s[there][:_CELLS], fit.courses.mean_s[there, 0][:_CELLS]
        axes.plot(target * factor, (mean - target) * factor, ".", color=_DATA, alpha=0.25,
                  markersize=3, label="cells")  # fmt: skip
    xs = [s.target_s * factor for s in first]
    axes.errorbar(
        xs, [(s.mean_s - s.target_s) * factor for s in first],
        yerr=[s.sigma_s * factor for s in first], fmt="o", color=_FIT, markersize=4, capsize=3,
        label="mean and spread",
    )  # fmt: skip
    axes.axhline(0, color="#777777", linewidth=0.8)
    axes.set_xlabel(f"target ({unit})")
    axes.set_ylabel(f"cell less target ({unit})")
    axes.set_title("Writing", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7.5)


def _spread(axes: Axes, fit: Fit) -> None:
    factor, unit = _unit(fit)
    times = sorted({s.time_s for s in fit.states})
    for time_s, colour in ((times[0], _DATA), (times[-1], _MORE)) if len(times) > 1 else (
        (times[0], _DATA),
    ):  # fmt: skip
        own = [s for s in fit.states if s.time_s == time_s]
        ends = [
            [(s.sigma_s - s.sigma_low_s) * factor for s in own],
            [(s.sigma_high_s - s.sigma_s) * factor for s in own],
        ]
        known = not np.isnan(ends).any()
        axes.errorbar(
            [s.mean_s * factor for s in own], [s.sigma_s * factor for s in own],
            yerr=np.maximum(ends, 0) if known else None, fmt="o", color=colour, markersize=4,
            capsize=3, label=f"from cell to cell, {_clock(time_s)}",
        )  # fmt: skip
    size, knee = fit.writing.value("size"), fit.writing.value("knee")
    if not math.isnan(size):
        g = np.linspace(0, fit.top_s * 1.03, 200)
        shape = np.ones_like(g) if math.isnan(knee) else -np.expm1(-g / knee)
        axes.plot(g * factor, size * shape * factor, color=_FIT, label=f"fit, {_clock(times[0])}")
    read = [s for s in fit.states if s.read_dof]
    if read:
        axes.plot(
            [s.mean_s * factor for s in read], [s.read_sigma_s * factor for s in read], "x",
            color="#555555", markersize=4, label="readings of one cell",
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"conductance ({unit})")
    axes.set_ylabel(f"spread ({unit})")
    axes.set_title("Spread, bars 5 .. 95 %", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7.5)


def _clock(time_s: float) -> str:
    from cimsim.units import format_duration

    return format_duration(time_s)


def _drift(axes: Axes, fit: Fit) -> None:
    assert fit.drift is not None
    factor, unit = _unit(fit)
    times = np.array(sorted({s.time_s for s in fit.states}))
    start, law = fit.drift.start_s, fit.drift.law
    zero = max(times[times > 0].min() / 5, 1e-30) if (times > 0).any() else 1.0
    fine = np.concatenate([[0.0], np.geomspace(zero, times[-1], 200)])
    for target in np.unique(fit.drift.target_s):
        own = [s for s in fit.states if s.target_s == target]
        at = np.array([max(s.time_s, zero) for s in own])
        axes.plot(at, [s.mean_s * factor for s in own], "o", color=_DATA, markersize=3.5)
        rates = fit.drift.rates[fit.drift.target_s == target]
        first = own[0]

        def shape(t: np.ndarray, rates: np.ndarray = rates, g: float = first.mean_s) -> np.ndarray:
            grown = np.log1p(t / start) if law == "power" else np.log10(1 + t / start)
            rate = float(rates.mean())
            if law == "power":
                return np.exp(-rate * grown)
            if law == "log":
                return 1 - rate * grown
            return np.exp(rate * grown * math.log(NEUTRAL * fit.top_s / g))

        begin = first.mean_s / shape(np.array([first.time_s]))[0]
        axes.plot(
            np.maximum(fine, zero), begin * shape(fine) * factor, color=_FIT, linewidth=1
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("time since programming (s); time 0 at the left end")
    axes.set_ylabel(f"mean conductance ({unit})")
    axes.set_title(f"Drift, law: {law}", loc="left", fontsize=9)


def _spectrum(axes: Axes, fit: Fit) -> None:
    assert fit.spectrum is not None
    spectrum = fit.spectrum
    edges = np.unique(np.geomspace(1, len(spectrum.hz) + 1, 40).astype(int)) - 1
    for place in range(len(spectrum.target_s)):
        xs = [float(spectrum.hz[a:b].mean()) for a, b in itertools.pairwise(edges.tolist())]
        ys = [spectrum.density[place, a:b].mean() for a, b in itertools.pairwise(edges.tolist())]
        axes.plot(xs, ys, "o", color=_DATA, markersize=3)
        axes.plot(spectrum.hz, spectrum.model[place], color=_FIT, linewidth=1)
    corner = spectrum.part.value("corner")
    if not math.isnan(corner):
        axes.axvline(corner, color="#777777", linewidth=0.8, linestyle="--")
        axes.annotate("corner", (corner, 1), (2, -8), xycoords=("data", "axes fraction"),
                      textcoords="offset points", fontsize=7.5)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel("density (S²/Hz)")
    axes.set_title("Spectrum of read noise, each state", loc="left", fontsize=9)


def _pulse(axes: Axes, fit: Fit) -> None:
    assert fit.log is not None
    factor, unit = _unit(fit)
    away, moved = fit.log.away[:_CELLS] * factor, fit.log.moved[:_CELLS] * factor
    axes.plot(away, moved, ".", color=_DATA, alpha=0.25, markersize=3, label="one pulse")
    ends = np.array([away.min(), away.max()])
    axes.plot(ends, fit.log.gain * ends, color=_FIT, label=f"gain {fit.log.gain:.3g}")
    axes.set_xlabel(f"target less reading before ({unit})")
    axes.set_ylabel(f"reading moved by ({unit})")
    axes.set_title("Write-verify: one pulse", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7.5)


def _counts(axes: Axes, fit: Fit) -> None:
    assert fit.log is not None
    most = int(fit.log.pulses.max())
    axes.hist(fit.log.pulses, bins=[count - 0.5 for count in range(most + 2)], color=_DATA)
    axes.set_xlabel("pulses of a cell")
    axes.set_ylabel("cells")
    axes.set_title(f"Pulses: mean {fit.log.pulses.mean():.3g}", loc="left", fontsize=9)
