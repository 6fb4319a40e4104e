"""A 40 nm SONOS charge-trap flash cell, fitted to 128 K measured devices over five days.

Source: fit constants of cross-sim (sandialabs, simulator/devices/custom, SONOS-TCAS.json) to V.
Agrawal et al., IEDM 2022, 21.7: 0 .. 1600 nA at 0.1 V, i.e. 0 .. 16 uS.

Valid: 25 C, 0 .. 5 days after programming ("not valid far beyond 5 days"). Measured: size of the
programming error on every day, read noise, mean drift at day 5 at seven currents. Estimate: the
mean drift grows linearly from day 0 to day 5, is 0 at 0 nA and linear in between the seven currents
(the fit of cross-sim is a polynomial per day whose coefficients are not used here).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cimsim.chip.cells.base import Conduction, refuse_late, refuse_warm
from cimsim.chip.cells.fitted import AbstractFitted, FittedParameters

READ_V = 0.1
G_MAX_S = 16e-6
DAY_S = 86400.0
DAYS = np.arange(6.0)
SIZE_A = np.array([19.88665, 25.59102, 28.72753, 31.04318, 33.76214, 34.57909]) * 1e-9
KNEE_A = np.array([176.3115, 186.85544, 193.56834, 198.90332, 204.77023, 207.34309]) * 1e-9
READ_SIZE_A, READ_KNEE_A = 12.58037e-9, 215.36557e-9
DRIFT_AT_A = np.array([0, 50, 100, 200, 400, 800, 1200, 1600]) * 1e-9
DRIFT_DAY_5_A = np.array([0, 3.6, 4.1, 2.6, -1.5, -15.2, -28.5, -40.7]) * 1e-9


class Sonos40Parameters(FittedParameters):
    """What stands beside ``kind: sonos40``; everything has a default."""

    LIMIT_S: ClassVar[float] = G_MAX_S


class Sonos40(AbstractFitted):
    """See the module.

    Notes
    -----
    With I the current at 0.1 V, *programming* errs by ``A(0) (1 - exp(-I / B(0)))``; *reading* by
    ``12.58 nA (1 - exp(-I / 215.4 nA))`` per pulse. *Ageing* shifts a cell by the mean drift and
    widens the states: the total variance is ``A(t)**2 (1 - exp(-I / B(t)))**2``, so that a normal
    part of the difference to day 0 is added. A and B are linear between days. Size and shift are
    taken at the programmed, not at the wanted current: a difference of second order, since the
    error is a tenth of B.
    """

    Parameters: ClassVar[type[BaseModel]] = Sonos40Parameters
    conduction: Conduction = "gate"

    def program_sigma(self, g_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error right after programming, S."""
        return self.parameters.program_scale * self.state_sigma(g_s, 0.0)

    def state_sigma(self, g_s: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
        """Return the measured spread of cells around their mean at a time, S."""
        size, knee = (np.interp(time_s / DAY_S, DAYS, of) for of in (SIZE_A, KNEE_A))
        spread: NDArray[np.float64] = -size * np.expm1(-g_s * READ_V / knee) / READ_V
        return spread

    def mean_drift(self, g_s: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
        """Return the mean change of cells at a time, S."""
        at_day_5 = np.interp(g_s * READ_V, DRIFT_AT_A, DRIFT_DAY_5_A) / READ_V
        drift: NDArray[np.float64] = time_s / (5 * DAY_S) * at_day_5
        return drift

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Refuse more than five days and other temperatures than 25 C."""
        refuse_warm(self.name, temperature_k)
        refuse_late(self.name, time_s, 5 * DAY_S, "it was measured for 5 days")

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Drift and widen; see the base class and the notes."""
        self.check_conditions(time_s, temperature_k)
        if time_s == 0:
            return g_s
        more = self.state_sigma(g_s, time_s) ** 2 - self.state_sigma(g_s, 0.0) ** 2
        return self._widened(g_s, self.mean_drift(g_s, time_s), more, rng)

    def read_sigma(self, g_s: NDArray[np.float64], time_s: float = 0.0) -> NDArray[np.float64]:
        """Return the read noise of cells at ``g_s``, S per pulse."""
        size = self.parameters.read_scale * READ_SIZE_A / READ_V
        sigma: NDArray[np.float64] = -size * np.expm1(-g_s * READ_V / READ_KNEE_A)
        return sigma
