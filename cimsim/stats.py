"""Intervals of means and shares."""

from __future__ import annotations

from collections.abc import Sequence


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return 5 .. 95 % of the mean of at least two independent values, by the t-distribution."""
    # what scipy.stats.t.ppf calls, without the second that its import takes
    from scipy.special import stdtrit

    n = len(values)
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1.0, 0.95)) * (variance / n) ** 0.5
    return mean - half, mean + half


def share_interval(hits: int, samples: int) -> tuple[float, float]:
    """Return 5 .. 95 % of a share, by Wilson's interval."""
    from scipy.stats import binomtest

    found = binomtest(hits, samples).proportion_ci(0.9, "wilson")
    return float(found.low), float(found.high)
