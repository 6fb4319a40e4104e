"""Logs of write-verify: what one pulse does, what is accepted, when it is given up.

The loop is that of `cimsim.chip.cells.verify`: a cell is read; if the reading lies within a
tolerance of the target it is done, else a pulse moves it by ``gain (target - reading)`` and a
random part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.measured.estimate import (
    Estimate,
    Floats,
    Goodness,
    Part,
    likelihood_intervals,
    power_of,
)
from cimsim.measured.readings import Readings


@dataclass(frozen=True, eq=False)
class Log:
    """A fitted log.

    Attributes
    ----------
    away, moved : float64 [pulses]
        Distance from the target before each pulse as it was read, and what the reading moved by, S.
    pulses : int64 [cells]
        Pulses that each cell took.
    gain : float
    span_s : float
        What fractions are of, S.
    part : Part
    """

    away: Floats
    moved: Floats
    pulses: NDArray[np.int64]
    gain: float
    span_s: float
    part: Part


def fit_log(readings: Readings, span_s: float) -> Log | None:
    """Fit the loop by the likelihood of all readings, a Kalman filter for each cell.

    A cell's conductance is hidden behind read noise, and the pulse reacts to the reading, noise
    included: a straight line through distances and moves would take noise for gain. With the
    hidden state the likelihood is exact for normal noise, and which cells were pulsed again
    depends on readings alone, so it biases nothing. Read noise is taken as one size for all
    states; cells that a pulse leaves at 0 S are not modelled.

    Parameters
    ----------
    readings : Readings
        With pulses; others are left out.
    span_s : float
        Largest target less the smallest, S.

    Returns
    -------
    Log or None
        None where no cell has readings before and after a pulse.
    """
    from scipy.optimize import minimize

    counted = readings.where(readings.pulse >= 0)
    order = np.lexsort((counted.pulse, counted.cell))
    cell, pulse = counted.cell[order], counted.pulse[order]
    read = counted.read_s[order] / span_s
    target = counted.target_s[order] / span_s
    follows = (np.diff(cell) == 0) & (np.diff(pulse) == 1)
    if not follows.any():
        return None
    away = (target - read)[:-1][follows]
    moved = np.diff(read)[follows]
    steps = _steps(cell, follows, read, target)

    def loss(p: Floats) -> float:
        return _minus_log_likelihood(steps, p[0], math.exp(2 * p[1]), math.exp(2 * p[2]))

    slope = float((away * moved).sum() / (away**2).sum())
    left = math.log(max(float((moved - slope * away).std()), 1e-9))
    starts = [np.array([slope, left + a, left + b]) for a, b in ((0, -1), (-1, -0.5), (-0.5, -3))]
    how = {"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-6}
    tried = [minimize(loss, p, method="Nelder-Mead", options=how) for p in starts]
    best = min(tried, key=lambda one: one.fun).x
    ends = likelihood_intervals(loss, best)
    sizes = [math.exp(best[i]) for i in (1, 2)]
    spreads = [[power_of(end) for end in ends[i]] for i in (1, 2)]
    last = np.flatnonzero(np.append(np.diff(cell) != 0, True))
    part = _accepted(np.abs(target - read), pulse, last, follows)
    estimates = (
        Estimate.within("verify.gain", float(best[0]), ends[0], "1",
                 "share of the distance that one pulse covers"),
        Estimate.within("verify.pulse_sigma", sizes[0], spreads[0], "1",
                 "random part of one pulse, rms, of the range of targets"),
        Estimate.within("verify.read_sigma", sizes[1], spreads[1], "1",
                 "read noise during write-verify, rms, of the range of targets"),
        *part.estimates,
    )  # fmt: skip
    goodness = _whiteness(steps, best)
    return Log(
        away * span_s, moved * span_s, pulse[last], float(best[0]), span_s,
        Part(estimates, goodness, part.notes),
    )  # fmt: skip


def _steps(
    cell: NDArray[np.int64], follows: NDArray[np.bool_], read: Floats, target: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return readings and distances of runs of pulses [runs, most readings], NaN behind the end."""
    begin = np.flatnonzero(np.append(True, ~follows))
    ends = np.append(begin[1:], len(cell))
    most = int((ends - begin).max())
    shape = (len(begin), most)
    values, aims = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, (a, b) in enumerate(zip(begin.tolist(), ends.tolist(), strict=True)):
        values[row, : b - a], aims[row, : b - a] = read[a:b], target[a:b]
    keep = ~np.isnan(values[:, 1]) if most > 1 else np.zeros(len(begin), bool)
    return values[keep], aims[keep], ~np.isnan(values[keep])


def _innovations(
    steps: tuple[Floats, Floats, NDArray[np.bool_]], gain: float, pulse: float, noise: float
) -> tuple[Floats, Floats]:
    """Return what each reading brings beyond what is known, and its variance; NaN at the first."""
    read, target, there = steps
    state, spread = read[:, 0], np.full(len(read), noise)  # the first reading is all that is known
    surprise, variance = np.full(read.shape, np.nan), np.full(read.shape, np.nan)
    for k in range(1, read.shape[1]):
        state = state + gain * (target[:, k - 1] - read[:, k - 1])
        spread = spread + pulse
        surprise[:, k], variance[:, k] = read[:, k] - state, spread + noise
        share = spread / (spread + noise)
        state = state + np.where(there[:, k], share * (read[:, k] - state), 0.0)
        spread = spread * (1 - share)
    return surprise, variance


def _minus_log_likelihood(
    steps: tuple[Floats, Floats, NDArray[np.bool_]], gain: float, pulse: float, noise: float
) -> float:
    surprise, variance = _innovations(steps, gain, pulse, max(noise, 1e-18))
    there = ~np.isnan(surprise)
    s, v = surprise[there], variance[there]
    return 0.5 * float((np.log(v) + s**2 / v).sum())


def _whiteness(
    steps: tuple[Floats, Floats, NDArray[np.bool_]], best: Floats
) -> tuple[Goodness, ...]:
    """Test the surprises: normal, and independent of the one before."""
    from scipy.stats import normaltest

    surprise, variance = _innovations(
        steps, best[0], math.exp(2 * best[1]), math.exp(2 * best[2])
    )  # fmt: skip
    z = surprise / np.sqrt(variance)
    flat = z[~np.isnan(z)]
    tests = []
    if len(flat) >= 20:
        value, p = normaltest(flat)
        tests.append(
            Goodness("verify.normal", float(value), float(p),
                     "skewness and kurtosis of what readings bring that was not expected")
        )  # fmt: skip
    return tuple(tests)


def _accepted(
    away: Floats, pulse: NDArray[np.int64], last: NDArray[np.int64], follows: NDArray[np.bool_]
) -> Part:
    """Find the tolerance between accepted readings and those that were pulsed again."""
    pulsed = away[:-1][follows]
    ends = np.zeros(len(away), bool)
    ends[last] = True
    given_up = ends & (away >= pulsed.min())
    # a cell at the last pulse may have been given up within a hair of the tolerance
    accepted = away[ends & ~given_up & (pulse < pulse[last].max())]
    low = float(accepted.max()) if accepted.size else 0.0
    high = float(pulsed.min())
    notes = []
    share = float(given_up.sum()) / len(last)
    if share > 0.5:
        notes.append("more than half of the cells end outside of any tolerance: no single one")
    estimates = [
        Estimate("verify.tolerance", (low + high) / 2, low, high, "1",
                 "a reading within it is accepted: between the largest accepted distance and the "
                 "smallest that was pulsed again"),
        Estimate("verify.pulses", float(pulse[last].mean()), math.nan, math.nan, "1",
                 "mean pulses of a cell"),
        Estimate("verify.given_up", share, math.nan, math.nan, "1", "share of cells given up"),
    ]  # fmt: skip
    most = int(pulse[last].max())
    estimates.append(
        Estimate("verify.max_pulses", most, most, most if given_up.any() else math.inf, "1",
                 "pulses after which a cell is given up, or the most that were seen")
    )  # fmt: skip
    return Part(tuple(estimates), (), tuple(notes))
