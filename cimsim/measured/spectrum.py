"""The spectrum of read noise: a white part and a 1/f part, from records of single cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cimsim.measured.estimate import (
    Estimate,
    Floats,
    Goodness,
    Part,
    likelihood_intervals,
    power_of,
)
from cimsim.measured.readings import Readings
from cimsim.measured.states import by_cell, records

SKIPPED = 2  # lowest frequencies: the mean that is taken off reaches into them


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power spectral densities of the cells of all records.

    Attributes
    ----------
    target_s : float64 [states]
    hz : float64 [frequencies]
    density : float64 [states, frequencies]
        One-sided, S^2 / Hz, mean over the records of a state.
    n : int64 [states]
        Records.
    model : float64 [states, frequencies]
        The fit.
    step_s, length_s : float
        Distance of readings, and duration of a record.
    part : Part
    """

    target_s: Floats
    hz: Floats
    density: Floats
    n: Floats
    model: Floats
    step_s: float
    length_s: float
    part: Part


def fit_spectrum(readings: Readings, top_s: float) -> Spectrum | None:
    """Fit ``W (1 + (corner / f)**slope)`` to the records of all cells, W for each state.

    Whittle's likelihood (1953): the periodogram of a record is exponential around the density at
    each frequency. A record is taken as it is, without a window; the two lowest frequencies are
    left out. Of records of different lengths the shortest length counts. The sampling is taken as
    it is: noise above half the rate has folded into what is seen, most of it into the white part.

    Parameters
    ----------
    readings : Readings
    top_s : float
        Largest target, S.

    Returns
    -------
    Spectrum or None
        None without a record of `cimsim.measured.states.RECORD` equally distant readings.
    """
    periodograms: list[tuple[float, float, Floats]] = []
    for own in by_cell(readings):
        time_s = readings.time_s[own]
        for run in records(time_s):
            values = readings.read_s[own][run]
            step = float(np.median(np.diff(time_s[run])))
            periodograms.append((float(readings.target_s[own[0]]), step, values))
    if not periodograms:
        return None
    step = periodograms[0][1]
    same = [one for one in periodograms if abs(one[1] / step - 1) < 0.05]
    notes = [] if len(same) == len(periodograms) else [
        f"{len(periodograms) - len(same)} of {len(periodograms)} records have another distance of "
        "readings and were left out"
    ]  # fmt: skip
    length = min(len(values) for _, _, values in same)
    hz = np.fft.rfftfreq(length, step).astype(np.float64)[1 + SKIPPED : (length + 1) // 2]
    targets = np.array(sorted({target for target, _, _ in same}))
    sums, n = np.zeros((len(targets), len(hz))), np.zeros(len(targets))
    for target, _, values in same:
        part = values[:length] - values[:length].mean()
        power = np.abs(np.fft.rfft(part)) ** 2 * 2 * step / length
        place = int(np.searchsorted(targets, target))
        sums[place] += power[1 + SKIPPED : (length + 1) // 2]
        n[place] += 1
    density = sums / n[:, None]
    alive = density.mean(axis=1) > 0
    if not alive.any():
        return None
    return _fitted(
        targets[alive], hz, density[alive], n[alive], (step, length * step), top_s, notes
    )


def _fitted(
    targets: Floats, hz: Floats, density: Floats, n: Floats, times: tuple[float, float],
    top_s: float, notes: list[str],
) -> Spectrum:  # fmt: skip
    from scipy.optimize import minimize

    def shape(corner: float, slope: float) -> Floats:
        return 1 + np.exp(np.clip(slope * (corner - np.log(hz)), -700, 60))

    def white(h: Floats) -> Floats:
        levels: Floats = (density / h).mean(axis=1)
        return levels

    def loss(p: Floats) -> float:
        h = shape(p[0], p[1] if len(p) > 1 else 1.0)
        return float((n * (len(hz) * np.log(white(h)) + np.log(h).sum())).sum())

    middle = 0.5 * math.log(hz[0] * hz[-1])
    starts = [np.array([middle + d, 1.0]) for d in (-3.0, 0.0, 3.0)]
    tried = [minimize(loss, p, method="Nelder-Mead", options={"xatol": 1e-5}) for p in starts]
    free = min(tried, key=lambda one: one.fun)
    tried = [minimize(loss, p[:1], method="Nelder-Mead", options={"xatol": 1e-5}) for p in starts]
    fixed = min(tried, key=lambda one: one.fun)
    flat = float((n * len(hz) * np.log(white(np.ones(len(hz))))).sum())
    has_slow = flat - fixed.fun > 2
    corner = float(fixed.x[0]) if has_slow else -math.inf
    h = shape(corner, 1.0) if has_slow else np.ones(len(hz))
    level = white(h)
    top = float(level[-1])
    estimates = []

    def both(p: Floats) -> float:
        """Minus the log likelihood of the corner and of the white part of the largest state."""
        h = shape(p[0], 1.0) if has_slow else np.ones(len(hz))
        levels = white(h)
        levels[-1] = math.exp(p[-1])
        each = len(hz) * np.log(levels) + np.log(h).sum() + (density / h).sum(axis=1) / levels
        return float((n * each).sum())

    at = np.array([corner, math.log(top)] if has_slow else [math.log(top)])
    ends = likelihood_intervals(both, at)
    estimates.append(
        Estimate.within("noise.white", math.sqrt(top) / top_s,
                 (math.sqrt(power_of(end)) / top_s for end in ends[-1]), "1",
                 "white part of the largest state, of the largest target in a band of 1 Hz")
    )  # fmt: skip
    if has_slow:
        tilt = likelihood_intervals(loss, np.array(free.x))[1]
        meaning = "exponent of the slow part if it is free; 1 belongs to 1/f"
        slope = Estimate.within("noise.slope", float(free.x[1]), tilt, "1", meaning)
        estimates += _slow_part(corner, ends[0], slope, top, top_s)
    else:
        notes.append("no slow part is seen at these frequencies: the noise is white")
    model = level[:, None] * h
    return Spectrum(
        targets, hz, density, n, model, *times,
        Part(tuple(estimates), (_goodness(density, model, n, has_slow),), tuple(notes)),
    )  # fmt: skip


def _slow_part(
    corner: float, ends: tuple[float, float], slope: Estimate, top: float, top_s: float
) -> list[Estimate]:
    """Report where the slow part begins, how steep it is and how large."""
    slow = math.sqrt(top * math.exp(corner)) / top_s
    return [
        Estimate.within("noise.corner", math.exp(corner), map(power_of, ends), "Hz",
                 "where the 1/f part is as large as the white one"),
        slope,
        Estimate("noise.slow_per_decade", slow * math.sqrt(math.log(10)), math.nan, math.nan,
                 "1", "1/f part of the largest state, rms in a decade of frequency"),
    ]  # fmt: skip


def _goodness(density: Floats, model: Floats, n: Floats, slow: bool) -> Goodness:
    """Compare octaves of frequency: in each the scaled sum of periodograms is chi-squared."""
    from scipy.stats import chi2

    bins = np.floor(np.log2(np.arange(1, density.shape[1] + 1))).astype(int)
    value, cells = 0.0, 0
    for state in range(len(density)):
        for octave in range(bins.max() + 1):
            ratio = density[state, bins == octave] / model[state, bins == octave]
            value += float((ratio.sum() - len(ratio)) ** 2 / len(ratio) * n[state])
            cells += 1
    left = cells - len(density) - slow
    p = float(chi2.sf(value, left)) if left > 0 else math.nan
    return Goodness("noise.octaves", value / max(left, 1), p,
                    "chi-squared of the octaves per degree of freedom, about 1")  # fmt: skip
