"""What becomes of cells over time: three laws, fitted cell by cell.

=========  ==================================================  ================================
law        course of a cell                                    whose
=========  ==================================================  ================================
power      ``g0 (1 + t / t0)**-nu``                            phase change
log        ``g0 (1 - d log10(1 + t / t1))``                    the user's own (`eflash`)
charge     ``g0**(1 - c L) g_n**(c L)``, L as in ``log``       charge loss below threshold
=========  ==================================================  ================================

``nu``, ``d`` or ``c`` is one number for each cell, ``t0`` or ``t1`` one for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cimsim.measured.estimate import HIGH, LOW, Estimate, Floats, Goodness, Part
from cimsim.measured.states import Course, State
from cimsim.stats import t_interval

Law = Literal["power", "log", "charge"]
LAWS: tuple[Law, ...] = ("power", "log", "charge")
NAMES = {
    "power": ("exponent", "1", "nu, mean over cells"),
    "log": ("per_decade", "1", "d: share of the conductance lost per decade of time, mean"),
    "charge": ("charge_loss", "1", "c: share of the charge lost per decade, median over cells"),
}
LEAST = 0.1  # of the largest target: smaller cells say more about reading than about drift
REPEATS = 400  # resamplings of the cells
LEAST_TIMES = 3
FEW = 20  # cells below which resampling says nothing
_STARTS = 61  # tried for t0
_BETWEEN = 12  # more of them in a step around the best


@dataclass(frozen=True, eq=False)
class Drift:
    """A fitted law.

    Attributes
    ----------
    law : str
    start_s : float
        t0 or t1.
    rates : float64 [cells]
        nu, d or c of each cell (or state, where cells were averaged before).
    target_s : float64 [cells]
    part : Part
        Numbers with intervals, goodness, notes.
    """

    law: Law
    start_s: float
    rates: Floats
    target_s: Floats
    part: Part


@dataclass(frozen=True, eq=False)
class _Lines:
    """Least squares of every cell for one start: level, rate and what is left."""

    rates: Floats
    error: Floats  # variance of each rate
    left_s2: Floats  # sum of squared residuals as conductances
    weight: Floats  # of a cell in the mean


def course_of_states(states: list[State]) -> Course:
    """Return states over time as if each were one cell."""
    times = np.array(sorted({s.time_s for s in states}))
    targets = np.array(sorted({s.target_s for s in states}))
    mean = np.full((len(targets), len(times)), np.nan)
    for s in states:
        mean[np.searchsorted(targets, s.target_s), np.searchsorted(times, s.time_s)] = s.mean_s
    there = (~np.isnan(mean)).astype(np.int64)
    return Course(targets, times, mean, np.zeros_like(mean), there)


def fit_drift(
    course: Course, law: Law | None, neutral_s: float, averaged: bool, seed: int = 0
) -> Drift | None:
    """Fit the courses of cells.

    The start is where the least is left over all cells, on a grid of times; without a law the one
    that leaves least is taken. Intervals of 20 cells or more: the whole fit on cells drawn anew,
    400 times; of fewer by Student's t over cells, for all starts that are likely enough.

    Parameters
    ----------
    course : Course
    law : str or None
    neutral_s : float
        Current of a cell without charge, as a conductance, S; for ``charge``.
    averaged : bool
        "Cells" are states that were averaged before.
    seed : int
        Of the resampling.

    Returns
    -------
    Drift or None
        None with fewer than three times, through which any law goes, or no cell to follow.
    """
    large = course.target_s >= LEAST * course.target_s.max()
    read = (course.count > 0).sum(axis=1) >= LEAST_TIMES
    # a logarithm needs conductances above 0, which cells of that size have
    positive = np.where(course.count > 0, course.mean_s, 1.0).min(axis=1) > 0
    used = large & read & positive
    if not used.any():
        return None
    g, t = course.mean_s[used], course.time_s
    laws = LAWS[:2] if law is None else (law,)
    coarse = _starts(t)
    tried = {one: [_fit(one, g, t, start, neutral_s) for start in coarse] for one in laws}
    sums = {one: [float(lines.left_s2.sum()) for lines in grid] for one, grid in tried.items()}
    best = min(laws, key=lambda one: min(sums[one]))
    starts = _finer(coarse, int(np.argmin(sums[best])))
    grid = [_fit(best, g, t, start, neutral_s) for start in starts]
    at = int(np.argmin([float(lines.left_s2.sum()) for lines in grid]))
    part = _told(best, grid, starts, at, g, seed, averaged)
    notes = list(part.notes)
    if (~used & read).any():
        notes.append(
            f"drift: {int((~used & read).sum())} of {int(read.sum())} "
            f"{'states' if averaged else 'cells'} are below {100 * LEAST:g} % of the largest "
            "target, or not above 0 S, and left out"
        )
    other = [min(sums[one]) for one in laws if one != best]
    if other and min(other) < 1.1 * min(sums[best]):
        notes.append("drift: a power of time and its logarithm fit alike; --law chooses")
    if at in (0, len(starts) - 1):
        notes.append(
            "the start of the decades lies outside of what was measured: only times like those of "
            "the readings are described"
        )
    part = Part(part.estimates, part.goodness, tuple(notes))
    return Drift(best, starts[at], grid[at].rates, course.target_s[used], part)


def _starts(t: Floats) -> list[float]:
    """Return the starts that are tried, by time."""
    later = t[t > 0]
    ends = np.log10([float(later[0]) / 100, float(t[-1])])
    return [float(x) for x in np.logspace(ends[0], ends[1], _STARTS)]


def _finer(coarse: list[float], at: int) -> list[float]:
    """Return the starts that are tried, more of them around the best one."""
    step = coarse[1] / coarse[0]
    near = coarse[at] * step ** np.linspace(-4, 4, 8 * _BETWEEN + 1)
    inside = near[(near >= coarse[0]) & (near <= coarse[-1])]
    return sorted({*coarse, *(float(x) for x in inside)})


def _fit(law: Law, g: Floats, t: Floats, start_s: float, neutral_s: float) -> _Lines:
    """Fit straight lines over the transformed time, one for each cell."""
    there = ~np.isnan(g)
    x = np.log1p(t / start_s) if law == "power" else np.log10(1 + t / start_s)
    y = np.where(there, g, 1.0) if law == "log" else np.log(np.where(there, g, 1.0))
    n = there.sum(axis=1)
    mx = (there * x).sum(axis=1) / n
    my = (there * y).sum(axis=1) / n
    dx = there * (x - mx[:, None])
    dy = there * (y - my[:, None])
    xx = (dx**2).sum(axis=1)
    slope = (dx * dy).sum(axis=1) / xx
    level = my - slope * mx
    left = there * (y - level[:, None] - slope[:, None] * x)
    dof = np.maximum(n - 2, 1)
    scatter = float((left**2).sum()) / float(dof.sum())
    if law == "log":
        rates, error, weight = -slope / level, scatter / xx / level**2, level
        residual = left
    else:
        residual = there * (np.where(there, g, 0.0) - np.exp(level[:, None] + slope[:, None] * x))
        reach = -1.0 if law == "power" else math.log(neutral_s) - level
        rates, error, weight = slope / reach, scatter / xx / reach**2, np.ones(len(g))
    return _Lines(rates, error, (residual**2).sum(axis=1), weight)


def _moments(law: Law, lines: _Lines, of: Floats) -> tuple[float, float]:
    """Return mean and spread of the rates of some cells; of ``charge`` median and log spread.

    Parameters
    ----------
    of : float64 [cells]
        How often each cell counts.
    """
    share = of * lines.weight
    mean = float((share * lines.rates).sum() / share.sum())
    n = float(of.sum())
    scatter = float((of * (lines.rates - mean) ** 2).sum()) / max(n - 1, 1)
    variance = max(0.0, scatter - float((of * lines.error).sum()) / n)
    if law != "charge" or mean <= 0:
        return mean, math.sqrt(variance)
    wide = math.log1p(variance / mean**2)  # of a log-normal number with these moments
    return mean * math.exp(-wide / 2), math.sqrt(wide)


def _told(
    law: Law, grid: list[_Lines], starts: list[float], at: int, g: Floats, seed: int,
    averaged: bool,
) -> Part:  # fmt: skip
    """Return numbers, intervals and goodness of a law."""
    lines, n = grid[at], len(g)
    once = np.ones(n)
    mean, spread = _moments(law, lines, once)
    start = starts[at]
    if n >= FEW and not averaged:
        rng = np.random.default_rng(seed)
        left = np.array([one.left_s2 for one in grid])
        drawn = []
        for _ in range(REPEATS):
            of = rng.multinomial(n, np.full(n, 1 / n)).astype(float)
            where = int(np.argmin(left @ of))
            drawn.append((*_moments(law, grid[where], of), where))
        ends = np.quantile(np.array(drawn), [LOW, HIGH], axis=0)
        # a start is known no better than to its neighbours that were tried
        ends[:, 2] = (
            starts[max(int(ends[0, 2]) - 1, 0)],
            starts[min(math.ceil(ends[1, 2]) + 1, len(starts) - 1)],
        )
    else:
        ends = _likely(grid, starts, at, int((~np.isnan(g)).sum()), law)
    name, unit, meaning = NAMES[law]
    whole = float(np.nansum((g - np.nanmean(g, axis=1, keepdims=True)) ** 2))
    explained = 1 - float(lines.left_s2.sum()) / whole if whole > 0 else math.nan
    wide = "spread of its logarithm between cells" if law == "charge" else "its spread"
    estimates = [
        Estimate.within(f"drift.{name}", mean, ends[:, 0], unit, meaning),
        Estimate.within("drift.start", start, ends[:, 2], "s", "t0: where the law's time begins"),
    ]
    if not averaged:
        estimates.insert(
            1, Estimate.within("drift.spread", spread, ends[:, 1], "1", f"{wide} between cells"
                        if law != "charge" else wide),
        )  # fmt: skip
    meaning = "share of the change of cells over time that the law explains (R2)"
    goodness = Goodness(f"drift.{law}", explained, math.nan, meaning)
    return Part(tuple(estimates), (goodness,))


def _likely(grid: list[_Lines], starts: list[float], at: int, readings: int, law: Law) -> Floats:
    """Return ends of mean, spread and start: all starts that are likely enough count.

    A start is likely as long as its sum of squares exceeds the least by no more than t^2 of the
    mean square that is left (normal errors of unknown size; Student's t of the readings less a
    level and a rate for each cell and the start), or as it lies within Student's t of what leaving
    out one cell after the other says (jackknife: errors need not be alike in large and small
    states); for each the mean has Student's t.
    """
    from scipy.stats import t as student

    left = np.array([float(lines.left_s2.sum()) for lines in grid])
    n = len(grid[at].rates)
    dof = max(readings - 2 * n - 1, 1)
    most = 1 + float(student.ppf(HIGH, dof)) ** 2 / dof
    near = np.flatnonzero(left <= most * left[at]) if left[at] > 0 else np.array([at])
    if n > 2:
        each = np.array([lines.left_s2 for lines in grid])
        logs = np.log(np.array(starts))
        without = logs[np.argmin(left[:, None] - each, axis=0)]
        error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
        far = float(student.ppf(HIGH, n - 1)) * error
        near = np.union1d(near, np.flatnonzero(np.abs(logs - logs[at]) <= far))
    means = []
    for where in near:
        rates = grid[where].rates
        error = float(rates.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        means.append(t_interval(_moments(law, grid[where], np.ones(n))[0], error, n - 1))
    low, high = np.array(means).min(axis=0)[0], np.array(means).max(axis=0)[1]
    first, last = starts[max(near[0] - 1, 0)], starts[min(near[-1] + 1, len(starts) - 1)]
    return np.array([[low, math.nan, first], [high, math.nan, last]])
