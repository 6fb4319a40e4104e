"""A 40 nm SONOS charge-trap flash cell, fitted to 128 K measured devices over five days.

Source: fit constants of cross-sim (sandialabs, simulator/devices/custom, SONOS-TCAS.json) to V.
Agrawal et al., IEDM 2022, 21.7: 0 .. 1600 nA at 0.1 V, i.e. 0 .. 16 uS.

Valid: 25 C, 0 .. 5 days after programming ("not valid far beyond 5 days"). Measured on each of
the five days: size of the error (Fig. 10a there) and mean drift (Fig. 10b, a polynomial of degree
ten in the current for each day). Measured once: read noise. Estimate: linear between days.
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
# mean drift in nA on days 1 .. 5 as a polynomial in the current in nA, constant first
DRIFT_NA = np.array(
    [
        [0.172684, 0.0572552, -0.000685715, 3.50271e-6, -9.37682e-9, 1.40575e-11,
         -1.19803e-14, 5.41293e-18, -8.85448e-22, -1.66869e-25, 5.9518e-29],
        [0.250712, 0.0662195, -0.000683218, 2.99442e-6, -6.78255e-9, 7.70482e-12,
         -3.04983e-15, -2.15919e-18, 2.94617e-21, -1.23359e-24, 1.85329e-28],
        [-0.01753, 0.0976883, -0.000963791, 4.55551e-6, -1.22391e-8, 1.93786e-11,
         -1.85899e-14, 1.07659e-17, -3.58211e-21, 5.96785e-25, -3.3041e-29],
        [0.0403338, 0.103111, -0.0010474, 4.83961e-6, -1.28132e-8, 1.99484e-11,
         -1.85139e-14, 1.00008e-17, -2.84944e-21, 3.01008e-25, 1.18747e-29],
        [0.319927, 0.106596, -0.00104054, 4.5029e-6, -1.10352e-8, 1.56477e-11,
         -1.27592e-14, 5.45513e-18, -7.26841e-22, -2.43893e-25, 7.14608e-29],
    ]
)  # fmt: skip


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
        days = min(time_s / DAY_S, float(DAYS[-1]))
        before = int(min(days, DAYS[-1] - 1))
        share = days - before
        terms = np.vstack([np.zeros(DRIFT_NA.shape[1]), DRIFT_NA])
        now = (1 - share) * terms[before] + share * terms[before + 1]
        # beyond the measured currents the polynomial means nothing
        current_na = np.clip(g_s, 0.0, G_MAX_S) * READ_V * 1e9
        drift: NDArray[np.float64] = np.polynomial.polynomial.polyval(current_na, now)
        drift *= 1e-9 / READ_V
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

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the read noise of cells at ``g_s``, S per pulse."""
        size = self.parameters.read_scale * READ_SIZE_A / READ_V
        sigma: NDArray[np.float64] = -size * np.expm1(-g_s * READ_V / READ_KNEE_A)
        return sigma
