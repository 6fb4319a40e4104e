"""A filamentary resistive memory cell, as on the NeuRRAM chip (130 nm), for two days.

Source: fit of IBM's AIHWKit (src/aihwkit/inference/noise/reram.py) to the published figures of W.
Wan et al., Nature 608, 2022: spread around the target at 1 s, 1 day and 2 days for states of 0 ..
40 uS, and about 1 % of read noise.

Valid: 25 C, 0 .. 2 days, time 0 being the reading 1 s after programming. Estimate: between the
three times the variance goes linearly with the logarithm of time. The cells have no mean drift in
this fit; they relax.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cimsim.chip.cells.base import Conduction, refuse_late, refuse_warm
from cimsim.chip.cells.fitted import AbstractFitted, FittedParameters

G_MAX_S = 40e-6
DAY_S = 86400.0
TIMES_S = np.array([1.0, DAY_S, 2 * DAY_S])  # after the programming pulse
COEFFICIENTS_US = np.array(
    [
        [0.348, 16.030, -43.853, 45.393, -16.815],
        [0.701, 22.086, -50.773, 47.095, -16.458],
        [0.782, 20.274, -43.507, 37.062, -11.934],
    ]
)  # of 1, x, x**2, x**3, x**4 with x = g / 40 uS
READ_SIGMA = 0.01  # of 40 uS, every state alike


class RramParameters(FittedParameters):
    """What stands beside ``kind: rram``; everything has a default."""

    LIMIT_S: ClassVar[float] = G_MAX_S


class Rram(AbstractFitted):
    """See the module.

    Notes
    -----
    *Programming.* Normal, sigma the polynomial of 1 s, cut off at 0 S. *Ageing.* The variance of a
    state at a time is that of the polynomials, interpolated; a normal part of the difference to 1 s
    is added, taken at the programmed conductance. *Reading.* 1 % of 40 uS per pulse.
    """

    Parameters: ClassVar[type[BaseModel]] = RramParameters
    conduction: Conduction = "ohmic"

    def program_sigma(self, g_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the spread 1 s after programming, S."""
        return self.parameters.program_scale * np.sqrt(self.variance(g_s, 0.0))

    def variance(self, g_s: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
        """Return the measured variance of cells around their target, S squared."""
        x = np.clip(g_s / G_MAX_S, 0.0, 1.0)  # a polynomial of degree 4 means nothing beyond
        at_times = (1e-6 * np.polynomial.polynomial.polyval(x, COEFFICIENTS_US.T)) ** 2
        logs = np.log(TIMES_S)
        now = math.log(TIMES_S[0] + time_s)
        first = int(np.searchsorted(logs[1:-1], now))
        share = (now - logs[first]) / (logs[first + 1] - logs[first])
        before, after = at_times[first], at_times[first + 1]
        mixed: NDArray[np.float64] = before + share * (after - before)
        return mixed

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Refuse more than two days and other temperatures than 25 C."""
        refuse_warm(self.name, temperature_k)
        refuse_late(self.name, time_s, 2 * DAY_S, "it was measured for 2 days")

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Relax; see the base class and the notes."""
        self.check_conditions(time_s, temperature_k)
        if time_s == 0:
            return g_s
        return self._widened(g_s, 0.0, self.variance(g_s, time_s) - self.variance(g_s, 0.0), rng)

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the read noise, S per pulse."""
        return np.full_like(g_s, self.parameters.read_scale * READ_SIGMA * G_MAX_S)
