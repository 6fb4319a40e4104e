"""Read-out converters: which partial sums a code covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class AdcRange:
    """Range of the converters of one array, in LSB of weight times LSB of pulse.

    ``code = clip(rint((i - lo) / lsb), 0, top)`` stands for the partial sum ``lo + lsb * code``.

    Attributes
    ----------
    lo : float
        Partial sum of code 0.
    lsb : float
        Partial sum per step, >= 1: finer steps than the product of two integers carry nothing.
        Where the codes cover a range of whole numbers, ``lsb`` is exactly 1 and ``lo`` whole, so
        that codes are exact.
    top : int or None
        Largest code; ``None`` is the ideal converter that passes any value on.
    """

    lo: float
    lsb: float
    top: int | None

    @classmethod
    def ideal(cls) -> AdcRange:
        """Return the converter that passes any value on."""
        return cls(0.0, 1.0, None)

    @classmethod
    def covering(cls, low: float, high: float, bits: int) -> AdcRange:
        """Cover ``low`` .. ``high`` with ``2**bits`` codes."""
        top = 2**bits - 1
        low, high = float(math.floor(low)), float(math.ceil(high))
        if high - low <= top:
            # spare codes go to both ends
            return cls(low - (top - int(high - low)) // 2, 1.0, top)
        return cls(low, (high - low) / top, top)

    @classmethod
    def full(cls, rows: int, input_max: int, weight_max: int, bits: int) -> AdcRange:
        """Cover the worst case of ``rows`` cells at full input and full weight of either sign."""
        worst = rows * input_max * weight_max
        return cls.covering(-worst, worst, bits)

    @classmethod
    def calibrated(cls, sums: NDArray[Any], percentile: float, bits: int) -> AdcRange:
        """Cover ``percentile`` % of sample partial sums; the rest is cut evenly at both ends.

        The two ends are order statistics of the samples, not interpolated between them.
        """
        low, high = two_sided(sums, percentile)
        return cls.covering(low, high, bits)

    def encode(self, sums: NDArray[Any]) -> NDArray[np.float64]:
        """Return the codes of noise-free partial sums; `kernels.convert` is the compiled twin."""
        if self.top is None:
            return sums.astype(np.float64)
        codes = np.rint((sums.astype(np.float64) - self.lo) / self.lsb)
        return np.clip(codes, 0, self.top)

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the partial sums that codes stand for."""
        return self.lo + self.lsb * codes.astype(np.float64)

    def packed(self, noise_lsb: float) -> NDArray[np.float64]:
        """Return (lo, lsb, top, noise in steps) as `kernels.convert` takes it."""
        top = -1.0 if self.top is None else float(self.top)
        return np.array([self.lo, self.lsb, top, noise_lsb])


def two_sided(values: NDArray[Any], percentile: float) -> tuple[float, float]:
    """Return the ends between which ``percentile`` % of ``values`` lie, the rest cut evenly."""
    if percentile >= 100:
        return float(values.min()), float(values.max())
    outside = (100 - percentile) / 200
    flat = values.reshape(-1)
    low, high = np.quantile(flat, [outside, 1 - outside], method="nearest")
    return float(low), float(high)
