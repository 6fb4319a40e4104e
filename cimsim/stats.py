"""Intervals of means and shares."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return 5 .. 95 % of the mean of at least two independent values, by the t-distribution."""
    n = len(values)
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return t_interval(mean, (variance / n) ** 0.5, n - 1)


def t_interval(mean: float, error: float, dof: int) -> tuple[float, float]:
    """Return 5 .. 95 % of a mean with the standard error ``error``; NaN without any freedom."""
    # what scipy.stats.t.ppf calls, without the second that its import takes
    from scipy.special import stdtrit

    if dof < 1:
        return math.nan, math.nan
    half = float(stdtrit(float(dof), 0.95)) * error
    return mean - half, mean + half


def share_interval(hits: int, samples: int) -> tuple[float, float]:
    """Return 5 .. 95 % of a share, by Wilson's interval."""
    from scipy.stats import binomtest

    found = binomtest(hits, samples).proportion_ci(0.9, "wilson")
    return float(found.low), float(found.high)
