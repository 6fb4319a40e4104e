"""A fitted number with its interval, and how well a model fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LOW, HIGH = 0.05, 0.95  # ends of all intervals here
Z = 1.6448536269514722  # of a normal number


@dataclass(frozen=True, slots=True)
class Estimate:
    """A fitted number.

    Attributes
    ----------
    name : str
        ``drift.exponent``: the part of the fit, and what it is.
    value : float
        SI units.
    low, high : float
        5 .. 95 %; NaN where the file does not say how many cells it averages.
    unit, meaning : str
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    meaning: str

    @classmethod
    def within(
        cls, name: str, value: float, ends: Iterable[float], unit: str, meaning: str
    ) -> Estimate:
        """Return one with both ends of its interval in one argument."""
        low, high = (float(end) for end in ends)
        return cls(name, float(value), low, high, unit, meaning)


@dataclass(frozen=True, slots=True)
class Goodness:
    """How well a part of the fit describes the readings.

    Attributes
    ----------
    name : str
        What was asked.
    value : float
        The statistic.
    p : float
        Probability of a worse value if the model is right; NaN where none is known.
    meaning : str
    """

    name: str
    value: float
    p: float
    meaning: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a fit found.

    Attributes
    ----------
    estimates, goodness : tuple
    notes : tuple of str
        What a reader must know: cells left out, what could not be told apart.
    """

    estimates: tuple[Estimate, ...] = ()
    goodness: tuple[Goodness, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def value(self, name: str) -> float:
        """Return a fitted number by the end of its name; NaN where there is none."""
        values = [one.value for one in self.estimates if one.name.rpartition(".")[2] == name]
        return values[0] if values else math.nan


def likelihood_intervals(
    loss: Callable[[Floats], float], best: Floats, steps: float | Floats = 0.02
) -> list[tuple[float, float]]:
    """Return 5 .. 95 % of each parameter from the curvature of the likelihood at its best.

    Parameters
    ----------
    loss : callable
        Minus the log likelihood of a vector of parameters.
    best : float64 [n]
        Where it is least.
    steps : float or float64 [n]
        Differences for the curvature; refined to where the loss rises by about 1/2.

    Returns
    -------
    list of (float, float)
        Infinite where the readings bound nothing (no positive curvature): normal limits of the
        observed information, other parameters free.
    """
    n = len(best)
    steps = np.broadcast_to(np.asarray(steps, float), (n,)).copy()
    floor = loss(best)
    unit = np.eye(n)
    for i in range(n):  # steps of about one standard error: differences are then far from rounding
        for _ in range(4):
            risen = 0.5 * (loss(best + steps[i] * unit[i]) + loss(best - steps[i] * unit[i]))
            if not risen - floor > 0:
                steps[i] *= 4
                continue
            steps[i] *= min(max(math.sqrt(0.5 / (risen - floor)), 0.1), 10.0)
    curved = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            a, b = steps[i] * unit[i], steps[j] * unit[j]
            bent = loss(best + a + b) - loss(best + a - b) - loss(best - a + b)
            curved[i, j] = (bent + loss(best - a - b)) / (4 * steps[i] * steps[j])
    try:
        spread = np.linalg.inv(curved).diagonal()
    except np.linalg.LinAlgError:
        spread = np.full(n, -1.0)
    half = [Z * math.sqrt(v) if v > 0 and math.isfinite(v) else math.inf for v in spread.tolist()]
    return [(float(b) - h, float(b) + h) for b, h in zip(best, half, strict=True)]


def power_of(end: float) -> float:
    """Return e to the power of an end that may be infinite."""
    return math.exp(min(max(end, -700.0), 700.0)) if math.isfinite(end) else (
        math.inf if end > 0 else 0.0
    )  # fmt: skip


def chi_interval(sigma: float, dof: int, taken: float = 0.0) -> tuple[float, float]:
    """Return 5 .. 95 % of a standard deviation of normal numbers.

    Parameters
    ----------
    sigma : float
        Root of the sample variance.
    dof : int
        Its degrees of freedom; intervals are NaN without any.
    taken : float
        A known variance that is taken off each end.
    """
    from scipy.stats import chi2

    if dof < 1:
        return math.nan, math.nan
    ends = (sigma**2 * dof / float(chi2.ppf(q, dof)) - taken for q in (HIGH, LOW))
    low, high = (math.sqrt(max(0.0, end)) for end in ends)
    return low, high
