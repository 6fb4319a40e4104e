"""Means over trainings and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

CONFIDENCE = 0.95


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and half the width of its 95 % interval (Student's t); None for one value."""
    from scipy.stats import t

    if len(values) < 2:
        return fmean(values), None
    factor = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return fmean(values), factor * stdev(values) / len(values) ** 0.5


def shown(values: Sequence[float], digits: int = 2, sign: str = "") -> str:
    """Return ``33.31 ± 0.02``; without an interval for one value, a dash for none."""
    if not values:
        return "–"
    mean, half = interval(values)
    text = f"{mean:{sign}.{digits}f}"
    return text if half is None else f"{text} ± {half:.{digits}f}"
