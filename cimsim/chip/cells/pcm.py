"""A phase-change memory cell: programming error, structural drift, 1/f read noise.

Source: the PCM model of IBM's AIHWKit (src/aihwkit/inference/noise/pcm.py), fitted to doped-GST
cells by S. R. Nandakumar et al., ICECS 2019; conductances 0 .. 25 uS.

Valid: 25 C (the fits name no other temperature), states up to 25 uS. Time 0 is the first reading,
20 s after the programming pulse. The power law has no end of its own; beyond 10 years, some decades
above what anybody has measured, it is refused (estimate).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cimsim.chip.cells.base import Conduction, refuse_late, refuse_warm
from cimsim.chip.cells.fitted import AbstractFitted, FittedParameters
from cimsim.chip.cells.spectrum import Spectrum
from cimsim.units import parse_quantity

G_MAX_S = 25e-6
T_0_S = 20.0  # from the programming pulse to the first reading
T_READ_S = 250e-9
LONGEST_S = parse_quantity("10 y", "s")


class PcmParameters(FittedParameters):
    """What stands beside ``kind: pcm``; everything has a default."""

    LIMIT_S: ClassVar[float] = G_MAX_S


class Pcm(AbstractFitted):
    """See the module.

    Notes
    -----
    With ``x = g / 25 uS``:

    *Programming.* sigma = 0.26348 + 1.9650 x - 1.1731 x**2 uS, cut off at 0 S.

    *Ageing.* ``g ((t + t0) / t0)**-nu``, ``t0`` = 20 s, with an exponent of each cell's own: the
    magnitude of a normal number of mean ``clip(-0.0155 ln x + 0.0244, 0.049, 0.1)`` and standard
    deviation ``clip(-0.0125 ln x - 0.0059, 0.008, 0.045)``, as published: a cell does not gain
    conductance (at most 2.6 % of the draws of a state are negative). ``x`` is that of the
    programmed cell.

    *Reading.* ``g Q sqrt(ln((t + t0 + tr) / (2 tr)))`` with ``Q = min(0.0088 / x**0.65, 0.2)`` and
    ``tr`` = 250 ns: the 1/f noise that has built up since programming. ``x`` is that of the
    programmed cell, ``g`` its conductance when it is read. The size is that of the published reads
    for pulses of any duration. Its spectrum is 1/f from the time since programming on
    (`cimsim.chip.cells.spectrum`): most of it is slower than a frame and held through all of it.
    """

    Parameters: ClassVar[type[BaseModel]] = PcmParameters
    conduction: Conduction = "ohmic"
    states_spectrum = True

    def program_sigma(self, g_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error at the first reading, S."""
        x = g_s / G_MAX_S
        return self.parameters.program_scale * 1e-6 * (0.26348 + 1.9650 * x - 1.1731 * x**2)

    def exponent(self, g_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of the drift exponent of cells at ``g_s``."""
        log_x = np.log(np.maximum(g_s / G_MAX_S, 1e-12))  # both clip long before
        mean = np.clip(-0.0155 * log_x + 0.0244, 0.049, 0.1)
        sigma = np.clip(-0.0125 * log_x - 0.0059, 0.008, 0.045)
        return mean, sigma

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Refuse more than ten years and other temperatures than 25 C."""
        refuse_warm(self.name, temperature_k)
        refuse_late(self.name, time_s, LONGEST_S, "the power law is far beyond its measurements")

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Drift; see the base class and the notes."""
        self.check_conditions(time_s, temperature_k)
        if time_s == 0:
            return g_s
        mean, sigma = self.exponent(g_s)
        nu = np.abs(mean + sigma * rng.standard_normal(g_s.shape))
        return g_s * np.exp(-self.parameters.drift_scale * math.log1p(time_s / T_0_S) * nu)

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the read noise of cells at ``g_s`` at a time, S per pulse."""
        grown = math.sqrt(math.log((time_s + T_0_S + T_READ_S) / (2 * T_READ_S)))
        state_s = g_s if written_s is None else written_s
        x = np.maximum(state_s / G_MAX_S, 1e-12)  # Q is 0.2 from 0.8 % down
        return self.parameters.read_scale * grown * g_s * np.minimum(0.0088 / x**0.65, 0.2)

    def spectrum(self, pulse_s: float, time_s: float = 0.0) -> Spectrum | None:
        """Return 1/f noise since the programming pulse, unless the chip file says otherwise."""
        given = super().spectrum(pulse_s, time_s)
        return Spectrum(0.0, 1.0, 0.0, time_s + T_0_S, pulse_s) if given is None else given
