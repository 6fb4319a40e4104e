"""Read-out converters: which partial sums a code covers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import SimulationError
from cimsim.kernels.arrays import Numbers
from cimsim.kernels.formula import level, quotient, twice, value

_MAX_SHIFT = 24  # 2**24 below the worst case no signal is left
_ROUNDS, _SECTIONS = 3, 40


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
    def full(
        cls, rows: int, input_max: int, weight_max: int, bits: int, weight_min: int | None = None
    ) -> AdcRange:
        """Cover the worst case of ``rows`` cells at full input and full weight of either sign.

        ``weight_min`` is what a cell less its reference reaches below 0, ``-weight_max`` if None.
        """
        low = -weight_max if weight_min is None else weight_min
        return cls.covering(rows * input_max * low, rows * input_max * weight_max, bits)

    @classmethod
    def calibrated(cls, sums: Numbers, percentile: float, bits: int) -> AdcRange:
        """Cover ``percentile`` % of sample partial sums; the rest is cut evenly at both ends.

        The two ends are order statistics of the samples, not interpolated between them.
        """
        low, high = two_sided(finite(sums), percentile)
        return cls.covering(low, high, bits)

    @classmethod
    def least_error(cls, sums: Numbers, bits: int) -> AdcRange:
        """Choose the range with the least squared error on sample partial sums.

        A narrow range clips large sums, a wide one has large steps. The ends are searched in turn
        by golden sections on ``clipping error + lsb**2 / 12``; the result is kept only if it beats
        the range of all samples when they are really converted.
        """
        ordered = np.sort(finite(sums).reshape(-1).astype(np.float64))
        ends = _least_error_ends(ordered, bits)
        found = cls.covering(*ends, bits), cls.covering(ordered[0], ordered[-1], bits)
        return min(found, key=lambda range_: range_.squared_error(ordered))

    def divided(self, shift: int) -> AdcRange:
        """Return a range whose two ends lie ``2**shift`` times closer to 0, with as many codes.

        A step is never below one unit, so a range that is narrower than its codes keeps spare ones.
        """
        if self.top is None or shift == 0:
            return self
        if self.lsb >= 2**shift:
            return AdcRange(self.lo / 2**shift, self.lsb / 2**shift, self.top)
        high = self.lo + self.lsb * self.top
        return AdcRange.covering(self.lo / 2**shift, high / 2**shift, self.top.bit_length())

    def shift_for(self, sums: Numbers, percentile: float | None) -> int:
        """Choose the power of two that this full range is divided by.

        The gain ``G = 2**n`` of Bai et al., TCAD 2024, eq. 3-5: 8 of the sum's bits are kept.

        Parameters
        ----------
        sums : ndarray
            Sample partial sums.
        percentile : float or None
            The largest shift at which this share of the sums still fits, in %; None: the one with
            the least squared error.
        """
        sums = finite(sums)
        shifts = range(_MAX_SHIFT + 1)
        if percentile is None:
            errors = [self.divided(n).squared_error(sums) for n in shifts]
            return int(np.argmin(errors))
        low, high = two_sided(sums, percentile)
        fitting = [n for n in shifts if self.divided(n)._holds(low, high)]
        return max(fitting, default=0)

    def _holds(self, low: float, high: float) -> bool:
        return self.top is None or (low >= self.lo and high <= self.lo + self.lsb * self.top)

    def squared_error(self, sums: Numbers) -> float:
        """Return the mean squared difference between noise-free sums and what codes stand for."""
        difference = self.decode(self.encode(sums)) - sums
        return float(np.mean(np.square(difference)))

    def effective_bits(self, sums: Numbers, noise_lsb: float = 0.0) -> float:
        """Return how many bits of information a code carries about sample partial sums.

        ``log2(sigma / error)`` with the spread ``sigma`` of the sums and the rms error of steps,
        clipping and input noise: the bits of the uniform converter whose full range, evenly used,
        has this signal to error ratio (``sigma**2 = (2**b lsb)**2 / 12``, ``error**2 = lsb**2 /
        12``). Never more than the bits that tell the codes apart that occur.

        Parameters
        ----------
        sums : ndarray
        noise_lsb : float
            Input-referred noise, rms, in steps.
        """
        sums = np.asarray(sums, np.float64).reshape(-1)
        codes = self.encode(sums)
        occurring = math.log2(codes.max() - codes.min() + 1)
        error = self.squared_error(sums) + (noise_lsb * self.lsb) ** 2
        spread = float(np.var(sums))
        if error == 0 or spread == 0:
            return occurring
        return min(occurring, max(0.0, 0.5 * math.log2(spread / error)))

    def encode(self, sums: Numbers) -> NDArray[np.float64]:
        """Return the codes of noise-free sums; `kernels.conversion` compiles the formula."""
        if self.top is None:
            return sums.astype(np.float64)
        ends = -self.lo, self.lsb
        found: NDArray[np.float64] = level(
            sums.astype(np.float64), (1.0, 0.0), ends, twice, quotient
        )
        return np.clip(np.rint(found), 0, self.top)

    def decode(self, codes: Numbers) -> NDArray[np.float64]:
        """Return the partial sums that codes stand for."""
        sums: NDArray[np.float64] = value(codes.astype(np.float64), (self.lo, self.lsb), 1.0, twice)
        return sums

    def packed(self, noise_lsb: float) -> NDArray[np.float64]:
        """Return (lo, lsb, top, noise in steps) as `kernels.convert` takes it."""
        top = -1.0 if self.top is None else float(self.top)
        return np.array([self.lo, self.lsb, top, noise_lsb])


def finite(sums: Numbers) -> Numbers:
    """Return sample partial sums that are numbers, and at least one.

    Raises
    ------
    SimulationError
        None at all, NaN or infinity.
    """
    if sums.size == 0 or not np.isfinite(sums).all():
        what = "hold NaN or infinity" if sums.size else "are missing"
        raise SimulationError(f"the partial sums that the converter's range comes from {what}")
    return sums


def _least_error_ends(ordered: NDArray[np.float64], bits: int) -> tuple[float, float]:
    """Return the ends that minimise clipping plus step error of sorted sums."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(ordered))])

    def error(low: float, high: float) -> float:
        first, last = np.searchsorted(ordered, [low, high])
        below = squares[first] - 2 * low * sums[first] + first * low**2
        n_above, above, above2 = (
            len(ordered) - last, sums[-1] - sums[last], squares[-1] - squares[last],
        )  # fmt: skip
        clipped = below + above2 - 2 * high * above + n_above * high**2
        step = AdcRange.covering(low, high, bits).lsb
        # steps of a whole unit are exact
        return float(clipped / len(ordered) + (step**2 / 12 if step > 1 else 0.0))

    first, middle, last = float(ordered[0]), float(np.median(ordered)), float(ordered[-1])
    low, high = first, last
    for _ in range(_ROUNDS):
        low = _golden(functools.partial(error, high=high), first, middle)
        high = _golden(functools.partial(error, low), middle, last)
    return low, high


def _golden(error: Callable[[float], float], a: float, b: float) -> float:
    """Return the place of the minimum of a function of one valley on ``a`` .. ``b``."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = b - ratio * (b - a), a + ratio * (b - a)
    at_left, at_right = error(left), error(right)
    for _ in range(_SECTIONS):
        if at_left <= at_right:
            b, right, at_right = right, left, at_left
            left = b - ratio * (b - a)
            at_left = error(left)
        else:
            a, left, at_left = left, right, at_right
            right = a + ratio * (b - a)
            at_right = error(right)
    return min((a, left, right, b), key=error)


def two_sided(values: Numbers, percentile: float) -> tuple[float, float]:
    """Return the ends between which ``percentile`` % of ``values`` lie, the rest cut evenly."""
    if percentile >= 100:
        return float(values.min()), float(values.max())
    outside = (100 - percentile) / 200
    flat = values.reshape(-1)
    low, high = np.quantile(flat, [outside, 1 - outside], method="nearest")
    return float(low), float(high)
