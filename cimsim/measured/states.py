"""Mean and spread of every state at every time, and the errors of writing and of reading."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import InputError
from cimsim.measured.estimate import (
    Estimate,
    Floats,
    Goodness,
    Part,
    chi_interval,
    likelihood_intervals,
    power_of,
)
from cimsim.measured.readings import Readings, Summary
from cimsim.stats import t_interval
from cimsim.units import format_si

RECORD = 64  # readings at equal distances that are one record of noise, no course of time
_EQUAL = 0.01  # largest difference of such distances


@dataclass(frozen=True, slots=True)
class State:
    """Cells of one target at one time.

    Attributes
    ----------
    target_s, time_s : float
        S, s.
    n : int
        Cells; 0 where nobody says.
    mean_s, mean_low_s, mean_high_s : float
        S, with 5 .. 95 % of the mean.
    sigma_s, sigma_low_s, sigma_high_s : float
        Spread from cell to cell without read noise, where cells were read more than once.
    read_sigma_s, read_dof : float, int
        Spread of one cell's readings at that time, and its degrees of freedom; NaN, 0 without.
    """

    target_s: float
    time_s: float
    n: int
    mean_s: float
    mean_low_s: float
    mean_high_s: float
    sigma_s: float
    sigma_low_s: float
    sigma_high_s: float
    read_sigma_s: float = math.nan
    read_dof: int = 0


@dataclass(frozen=True, eq=False)
class Course:
    """Cells over time: the mean of each cell's readings at each time.

    Attributes
    ----------
    target_s : float64 [cells]
    time_s : float64 [times]
        Rising; a record of noise counts as one time.
    mean_s : float64 [cells, times]
        NaN where a cell was not read.
    square_s2 : float64 [cells, times]
        Sum of the squared deviations of a cell's readings from that mean.
    count : int64 [cells, times]
    """

    target_s: Floats
    time_s: Floats
    mean_s: Floats
    square_s2: Floats
    count: NDArray[np.int64]


def course(readings: Readings) -> Course:
    """Sort readings by cell and time."""
    sessions = _sessions(readings)
    times = np.array(sorted(set(sessions.tolist())))
    cells = int(readings.cell.max()) + 1
    place = readings.cell * len(times) + np.searchsorted(times, sessions)
    size = cells * len(times)
    count = np.bincount(place, minlength=size)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, readings.read_s, size) / np.where(count, count, np.nan)
    away = readings.read_s - mean[place]
    square = np.bincount(place, away**2, size)
    target = np.full(cells, np.nan)
    target[readings.cell] = readings.target_s
    used = ~np.isnan(target)
    shape = (cells, len(times))
    return Course(
        target[used], times, mean.reshape(shape)[used], square.reshape(shape)[used],
        count.reshape(shape)[used],
    )  # fmt: skip


def _sessions(readings: Readings) -> Floats:
    """Return the time of each reading, and for a record of noise that of its middle."""
    times = readings.time_s.copy()
    for own in by_cell(readings):
        for run in records(readings.time_s[own]):
            times[own[run]] = float(f"{np.median(readings.time_s[own[run]]):.9g}")
    return times


def by_cell(readings: Readings) -> list[NDArray[np.int64]]:
    """Return the readings of each cell, in the order of time."""
    order = np.lexsort((readings.time_s, readings.cell))
    return np.split(order, np.flatnonzero(np.diff(readings.cell[order])) + 1)


def records(time_s: Floats) -> list[slice]:
    """Return the runs of at least `RECORD` readings at equal distances."""
    if len(time_s) < RECORD:
        return []
    steps = np.diff(time_s)
    runs, begin = [], 0
    for i in range(1, len(steps) + 1):
        if i == len(steps) or not (
            steps[begin] > 0 and abs(steps[i] - steps[begin]) <= _EQUAL * steps[begin]
        ):
            if i - begin + 1 >= RECORD and steps[begin] > 0:
                runs.append(slice(begin, i + 1))
            begin = i
    return runs


def states_of(course: Course) -> list[State]:
    """Return every state at every time, by time and then by target."""
    states = []
    for j, time_s in enumerate(course.time_s):
        for target in np.unique(course.target_s):
            there = (course.target_s == target) & (course.count[:, j] > 0)
            if there.any():
                states.append(
                    _state(target, time_s, course.mean_s[there, j], course.square_s2[there, j],
                           course.count[there, j])
                )  # fmt: skip
    return states


def _state(target: float, time_s: float, mean: Floats, square: Floats, count: Floats) -> State:
    n, dof = len(mean), int((count - 1).sum())
    read = math.sqrt(float(square.sum()) / dof) if dof else math.nan
    between = float(mean.var(ddof=1)) if n > 1 else 0.0
    # the mean of r readings still has 1 / r of the variance of one (one-way random effects)
    noise = read**2 * float((1 / count).mean()) if dof else 0.0
    middle = float(mean.mean())
    sigma = math.sqrt(max(0.0, between - noise))
    return State(
        float(target), float(time_s), n, middle,
        *t_interval(middle, math.sqrt(between / n), n - 1),
        sigma, *chi_interval(math.sqrt(between), n - 1, noise), read, dof,
    )  # fmt: skip


def states_of_summary(summary: Summary, name: str) -> list[State]:
    """Return states that were averaged before, by time and then by target."""
    states = []
    for target, mean, sigma, time_s, n in zip(
        summary.target_s.tolist(), summary.mean_s.tolist(), summary.sigma_s.tolist(),
        summary.time_s.tolist(), summary.n.tolist(), strict=True,
    ):  # fmt: skip
        ends = t_interval(mean, sigma / math.sqrt(max(n, 1)), n - 1)
        state = State(target, time_s, n, mean, *ends, sigma, *chi_interval(sigma, n - 1))
        states.append(state)
    states.sort(key=lambda state: (state.time_s, state.target_s))
    for before, state in itertools.pairwise(states):
        if (before.time_s, before.target_s) == (state.time_s, state.target_s):
            raise InputError(
                f"{name}: target {format_si(state.target_s, 'S')} stands twice for the same time; "
                "keep one of the two"
            )
    return states


def with_cells(states: list[State], n: int) -> list[State]:
    """Return states without a number of cells as those of ``n`` cells each."""
    return [state if state.n else _of_cells(state, n) for state in states]


def _of_cells(state: State, n: int) -> State:
    low, high = t_interval(state.mean_s, state.sigma_s / math.sqrt(n), n - 1)
    least, most = chi_interval(state.sigma_s, n - 1)
    return replace(
        state, n=n, mean_low_s=low, mean_high_s=high, sigma_low_s=least, sigma_high_s=most
    )


def fit_writing(states: list[State], course: Course | None) -> Part:
    """Fit the programming error: ``A (1 - exp(-g / B))`` of the state, or one size for all.

    Maximum likelihood of the sample variances, each chi-squared of its cells less one; the shape is
    taken if it is likelier by more than its second parameter is worth (Akaike 1974). Intervals:
    curvature of the likelihood. Cells are taken as normal around their state's mean, which is
    tested beside.

    Parameters
    ----------
    states : list of State
        Those of the first time count.
    course : Course or None
        The cells themselves, where there are any.
    """
    first = [s for s in states if s.time_s == states[0].time_s]
    top = max(s.target_s for s in first)
    used = [s for s in first if s.n > 1 and s.sigma_s > 0]
    notes: list[str] = []
    estimates: list[Estimate] = []
    bias = np.array([s.mean_s - s.target_s for s in first])
    rms = math.sqrt(float(np.mean(np.array([s.sigma_s for s in first]) ** 2 + bias**2)))
    estimates.append(
        Estimate("writing.rms", rms / top, math.nan, math.nan, "1",
                 "rms distance from the target, mean over states, of the largest target")
    )  # fmt: skip
    if len(used) < 2:
        notes.append("fewer than two states with a known number of cells: no shape of the error")
        return Part(tuple(estimates), (), tuple(notes))
    g = np.array([max(s.mean_s, 0.0) for s in used])
    # what the readings themselves add is known and stays in the sample variance
    noise = np.array([0.0 if not s.read_dof else _noise(s) for s in used])
    raw = np.array([s.sigma_s for s in used]) ** 2 + noise
    dof = np.array([s.n - 1 for s in used])

    def loss(variance: Floats) -> float:
        variance = np.maximum(variance + noise, 1e-40)
        return 0.5 * float(np.sum(dof * (np.log(variance) + raw / variance)))

    def shaped(p: Floats) -> float:
        return loss((math.exp(p[0]) * -np.expm1(-g / math.exp(p[1]))) ** 2)

    def level(p: Floats) -> float:
        return loss(np.full(len(g), math.exp(2 * p[0])))

    best, shape = _least(shaped, level, raw, g, top)
    name = "saturating" if shape else "uniform"
    fitted = best[0], best[1] if shape else math.inf
    own = shaped if shape else level
    ends = likelihood_intervals(own, np.array(best))
    estimates.append(
        Estimate.within("writing.size", math.exp(fitted[0]), map(power_of, ends[0]), "S",
                 f"A: spread of the programming error of a large conductance ({name})")
    )  # fmt: skip
    if shape:
        estimates.append(
            Estimate.within("writing.knee", math.exp(fitted[1]), map(power_of, ends[1]), "S",
                     "B: conductance at which it reaches 63 % of that")
        )  # fmt: skip
    model = np.exp(2 * fitted[0]) * (np.expm1(-g / math.exp(fitted[1])) ** 2 if shape else 1.0)
    goodness = [_deviance(raw, model + noise, dof, len(best))]
    if course is not None:
        goodness += _normal(course)
    return Part(tuple(estimates), tuple(goodness), tuple(notes))


def _noise(state: State) -> float:
    """Variance that the readings of a state add to the spread of its cells' means."""
    return state.read_sigma_s**2 * state.n / (state.read_dof + state.n)


def _least(
    shaped: Callable[[Floats], float],
    level: Callable[[Floats], float],
    raw: Floats,
    g: Floats,
    top: float,
) -> tuple[Floats, bool]:
    """Return the likelier of both forms: its parameters, and whether it has a knee."""
    from scipy.optimize import minimize

    size = 0.5 * math.log(float(raw.mean()))
    starts = [np.array([size, math.log(top * knee)]) for knee in (0.05, 0.3)]
    tried = [minimize(shaped, p, method="Nelder-Mead", options={"maxiter": 2000}) for p in starts]
    curved = min(tried, key=lambda one: one.fun)
    flat = minimize(level, np.array([size]), method="Nelder-Mead")
    bounded = math.log(top * 1e-3) < curved.x[1] < math.log(top * 10)
    if bounded and curved.fun + 1 < flat.fun and len(g) > 2:
        return curved.x, True
    return flat.x, False


def _deviance(raw: Floats, model: Floats, dof: Floats, free: int) -> Goodness:
    """Compare sample variances with those of the model (likelihood ratio of gamma numbers)."""
    from scipy.stats import chi2

    ratio = raw / model
    value = float(np.sum(dof * (ratio - np.log(ratio) - 1)))
    left = len(raw) - free
    p = float(chi2.sf(value, left)) if left > 0 else math.nan
    meaning = "deviance of the spreads of the states per degree of freedom, about 1"
    return Goodness("writing.shape", value / max(left, 1), p, meaning)


def _normal(course: Course) -> list[Goodness]:
    """Test whether cells lie normally around the mean of their state, all states together."""
    from scipy.stats import normaltest

    parts = []
    for target in np.unique(course.target_s):
        values = course.mean_s[(course.target_s == target) & (course.count[:, 0] > 0), 0]
        if len(values) > 7 and values.std() > 0 and (values > 0).all():
            parts.append((values - values.mean()) / values.std(ddof=1))
    whole = np.concatenate(parts) if parts else np.empty(0)
    if len(whole) < 20:
        return []
    value, p = normaltest(whole)
    meaning = "skewness and kurtosis of the cells around their state (D'Agostino)"
    return [Goodness("writing.normal", float(value), float(p), meaning)]


def fit_reading(states: list[State], top_s: float) -> Part:
    """Return the spread of readings of one cell, pooled over states, of the largest target.

    Readings at the same time (or within a record of noise) count; normal and independent for the
    interval, which is too narrow for slow noise within a record.
    """
    read = [s for s in states if s.read_dof > 0]
    if not read:
        return Part()
    dof = sum(s.read_dof for s in read)
    variance = sum(s.read_dof * s.read_sigma_s**2 for s in read) / dof
    sigma = math.sqrt(variance) / top_s
    low, high = chi_interval(sigma, dof)
    largest = max(read, key=lambda s: (s.target_s, -s.time_s))
    ends = chi_interval(largest.read_sigma_s / top_s, largest.read_dof)
    return Part((
        Estimate("reading.sigma", sigma, low, high, "1",
                 "read noise, rms over all states, of the largest target"),
        Estimate.within("reading.sigma_top", largest.read_sigma_s / top_s, ends, "1",
                 "the same of the largest state"),
    ))  # fmt: skip
