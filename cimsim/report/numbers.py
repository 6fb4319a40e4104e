"""How all tables write a number with its interval, a rate, and the names of what was measured."""

from __future__ import annotations

import math
from decimal import Decimal

from cimsim.units import format_interval, format_si

MEASURES = {
    "top1": "right class (top-1)", "top5": "among five (top-5)",
    "agreement": "the float network's class", "snr": "signal to error",
    "psnr_by_retention": "PSNR, aged", "top1_by_retention": "right class, aged",
}  # fmt: skip
_PHYSICAL = ("s", "J", "W", "m2", "TOPS/W", "J/B", "Hz", "m", "F", "A", "V")
_LARGEST = 1e15  # beyond it digits before the point say nothing

Ends = tuple[float, float]


def with_interval(value: float, ends: Ends | None, unit: str) -> str:
    """Write a number with its interval, 5 .. 95 %, as a table has it.

    A physical number is written with as many digits as its interval allows, and with a prefix; a
    measure (decibels, shares, what a metric gives) with two decimals, and more where its interval
    is narrow.

    Parameters
    ----------
    value : float
    ends : (float, float) or None
    unit : str
        SI unit; a measure's is not written.
    """
    if unit in _PHYSICAL:
        plain = "1" if unit == "TOPS/W" else unit
        return format_si(value, plain) if ends is None else format_interval(value, *ends, plain)
    if ends is None:
        return measured(value)[0]
    text, low, high = measured(value, ends)
    return f"{text} ({low}..{high})"


def figures(value: float, ends: Ends, unit: str, factor: float = 1.0) -> tuple[str, str, str]:
    """Return number and ends for a column of one unit, with the digits that the screen has.

    Parameters
    ----------
    value, ends, unit
        As in `with_interval`.
    factor : float
        A power of ten, by which all numbers of the column are multiplied.
    """
    if unit not in _PHYSICAL:
        return measured(value, ends)
    told = with_interval(value, ends, unit).replace(",", "")
    text, _, rest = told.partition(" ")
    if "(" not in rest:  # 0, or two ends that are the same
        low, high = (f"{end * factor:.4g}" for end in ends)
        return f"{value * factor:.4g}", low, high
    low, _, high = rest.partition("(")[2].rstrip(")").partition("..")
    # the power of ten that the prefix of the text stands for, and the one of the column
    shift = round(math.log10(abs(value * factor) / abs(float(text))))
    text, low, high = (f"{Decimal(one).scaleb(shift):f}" for one in (text, low, high))
    return text, low, high


def measured(value: float, ends: Ends | None = None) -> tuple[str, str, str]:
    """Return a measure and the ends of its interval; these are empty where there is none."""
    if ends is None:
        return _decimals(value, 2), "", ""
    spread = ends[1] - ends[0]
    narrow = 0
    if math.isfinite(spread) and spread > 0:
        narrow = max(0, min(6, 1 - math.floor(math.log10(spread))))
    low, high = (_decimals(end, max(1, narrow)) for end in ends)
    return _decimals(value, max(2, narrow)), low, high


def rate(value: float) -> str:
    """Write frames per second, and what else is counted per second: ``9.84``, ``38,543``."""
    return f"{value:,.0f}" if 1000 <= value < _LARGEST else f"{value:.4g}"


def _decimals(value: float, decimals: int) -> str:
    """Write a number with some decimals; below 1 with three digits, if these are more."""
    if value == 0 or abs(value) >= 1 or not math.isfinite(value):
        return f"{value:.{decimals}f}"
    return max(f"{value:.{decimals}f}", f"{value:.3g}", key=len)
