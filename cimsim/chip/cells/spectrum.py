"""How the read noise of a cell is spread over frequency, and what that means for reads in a row.

A device states how large its fluctuation is in one read (`AbstractDevice.read_sigma`); a spectrum
says how fast it is. Its one-sided power spectral density is ``S (1 + corner / f)``, a white part
and a 1/f (flicker) part that are equal at the corner, down to ``1 / span``; a Lorentzian of a
telegraph signal may stand beside them. A read averages over its duration ``T``, so its variance is
``integral of S(f) sinc(pi f T)**2``:

- white: ``S / (2 T)``;
- 1/f: ``S corner L(T)``, ``L(T) = sin(a)**2 / (2 a**2) + sin(2 a) / (2 a) - Ci(2 a)`` with ``a = pi
  T / span``, which is ``ln(span / T) - 0.915`` for reads much shorter than the span;
- telegraph of corner ``f_t``: ``2 (y - 1 + exp(-y)) / y**2`` of its own variance, ``y = 2 pi f_t
  T``.

With ``B(T) = T**2 variance(T)``, the variance of the integral, two reads of ``T`` whose beginnings
are ``d`` apart have the covariance ``(B(d + T) + B(|d - T|) - 2 B(d)) / (2 T**2)``. All of it is
textbook theory of stationary processes (e.g. A. Papoulis, Probability, Random Variables, and
Stochastic Processes, chapter 9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_FAR = 1000.0  # durations of a read


@dataclass(frozen=True, slots=True)
class Reads:
    """The reads of one array in a frame.

    Attributes
    ----------
    pulse_s : float
        Duration of one, s.
    interval_s : float
        From the beginning of one pulse to that of the next, >= ``pulse_s``.
    frame_s : float
        From the first read of a frame to the end of the last one.
    """

    pulse_s: float
    interval_s: float
    frame_s: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the noise of one read goes, as variances over ``read_sigma**2``.

    Attributes
    ----------
    held : float
        The same in all reads of a frame: it is drawn with the cells.
    shared : float
        The same in all pulses of one input, and other for each input.
    fresh : float
        Other for each pulse.
    """

    held: float
    shared: float
    fresh: float

    @property
    def total(self) -> float:
        """Variance of one read; 1 where it lasts as long as those of the measurement."""
        return self.held + self.shared + self.fresh

    @property
    def correlation(self) -> float:
        """Correlation of two pulses of one input, of what is not held."""
        moving = self.shared + self.fresh
        return self.shared / moving if moving > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The spectrum of a cell's read noise; see the module.

    Attributes
    ----------
    white, flicker, telegraph : float
        Shares of the variance of a read of ``read_s``; they add up to 1.
    span_s : float
        Of the 1/f part.
    read_s : float
        Duration of the reads that ``read_sigma`` is that of.
    telegraph_hz : float
    """

    white: float
    flicker: float
    telegraph: float
    span_s: float
    read_s: float
    telegraph_hz: float = 1.0

    def slow_variance(self, time_s: float) -> float:
        """Return the variance of an average over some time without the white part.

        Over that of a read of ``read_s``.
        """
        variance = 0.0
        if self.flicker:
            variance += self.flicker * (
                flicker_variance(time_s, self.span_s) / flicker_variance(self.read_s, self.span_s)
            )
        if self.telegraph:
            variance += self.telegraph * (
                telegraph_variance(time_s, self.telegraph_hz)
                / telegraph_variance(self.read_s, self.telegraph_hz)
            )
        return variance

    def covariance(self, pulse_s: float, distance_s: float) -> float:
        """Return the covariance of two reads that do not overlap, over the variance of ``read_s``.

        Parameters
        ----------
        pulse_s : float
            Duration of each.
        distance_s : float
            Between their beginnings, >= ``pulse_s``.
        """
        if distance_s > _FAR * pulse_s:  # as of two moments; the difference would be rounding
            return self._far_covariance(distance_s)

        def integral(time_s: float) -> float:
            return time_s**2 * self.slow_variance(time_s) if time_s > 0 else 0.0

        ends = integral(distance_s + pulse_s) + integral(distance_s - pulse_s)
        return (ends - 2 * integral(distance_s)) / (2 * pulse_s**2)

    def _far_covariance(self, distance_s: float) -> float:
        """Return the covariance of two moments, over the variance of ``read_s``."""
        covariance = 0.0
        if self.flicker:
            # the integral of cos(2 pi f d) / f from 1 / span on
            moment = -_cosine_integral(2 * math.pi * distance_s / self.span_s)
            covariance += self.flicker * moment / flicker_variance(self.read_s, self.span_s)
        if self.telegraph:
            moment = math.exp(-2 * math.pi * self.telegraph_hz * distance_s)
            covariance += (
                self.telegraph * moment / telegraph_variance(self.read_s, self.telegraph_hz)
            )
        return covariance

    def shares(self, reads: Reads, weights: Sequence[float] = (1.0,)) -> Shares:
        """Return what of the noise is held over a frame, shared by pulses, and fresh.

        The covariance of two reads depends on how far apart they are; it is taken as one number
        for all reads of a frame and as another for the pulses of one input. These are means: over
        a frame that of the average over its time, over pulses that of all pairs weighted with what
        a unit of each counts. So the variance of an output summed over its pulses is exact.

        Parameters
        ----------
        reads : Reads
        weights : sequence of float
            What a unit of each pulse of an input counts in the output.
        """
        total = self.white * self.read_s / reads.pulse_s + self.slow_variance(reads.pulse_s)
        held = min(self.slow_variance(max(reads.frame_s, reads.pulse_s)), total)
        pairs = [
            (abs(a * b), self.covariance(reads.pulse_s, (j - i) * reads.interval_s))
            for i, a in enumerate(weights)
            for j, b in enumerate(weights)
            if i < j
        ]
        weight = sum(size for size, _ in pairs)
        if weight == 0:  # one pulse: shared with nobody
            return Shares(held, 0.0, total - held)
        common = sum(size * covariance for size, covariance in pairs) / weight
        common = min(max(common, 0.0), total)
        held = min(held, common)  # pulses of an input alone in its frame share what is held
        shared = common - held
        return Shares(held, shared, total - held - shared)


def flicker_variance(time_s: float, span_s: float) -> float:
    """Return the integral of ``sinc(pi f T)**2 / f`` from ``1 / span`` on, a pure number."""
    a = math.pi * time_s / span_s
    return (math.sin(a) / a) ** 2 / 2 + math.sin(2 * a) / (2 * a) - _cosine_integral(2 * a)


def _cosine_integral(x: float) -> float:
    from scipy.special import sici

    return float(sici(x)[1])


def telegraph_variance(time_s: float, corner_hz: float) -> float:
    """Return the variance of an average over some time of a Lorentzian of variance 1."""
    y = 2 * math.pi * corner_hz * time_s
    if y < 1e-4:  # the difference below would be rounding
        return 1 - y / 3
    return 2 * (y + math.expm1(-y)) / y**2
