"""A 40 nm embedded-flash cell: gate-coupled floating gate, write-verify error and read noise.

Sources: size of the programming error, T. Bai et al., IEEE TCAD 2024, Table I (standard deviation
of the weights of five layers, mean 1.75 % of full scale). Shape of programming error and read noise
over the cell current, ``A (1 - exp(-I/B))``: 40 nm SONOS cells, V. Agrawal et al., IEDM 2022, 21.7
(B = 176 nA for the error and 215 nA for the noise, of 1600 nA full scale); another flash cell, the
only one measured so. Temperature: the cell is gate-coupled and works below threshold, ``w =
exp(q dVth / (n k T))`` (Bai 2024, eq. 1), hence ``w(T) = w**(T0 / T)``: an estimate from that
formula, for the chip's range of -20 .. 85 C (Bai 2024, Fig. 3). Drift: no open measurement of a
floating-gate cell used as an analog weight was found, so time is refused unless the user gives a
figure.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator, model_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, Conduction, check_range
from cimsim.chip.spec import REFERENCE_K
from cimsim.errors import ConfigError
from cimsim.units import ZERO_CELSIUS_K, format_celsius, format_duration, quantity

PROGRAM_KNEE = 0.11  # of g_max: the error reaches 63 % of its full size
READ_KNEE = 0.135  # of g_max: the same for read noise
REFERENCE_SPREAD = 1 / 3.75  # weights of a trained layer, standard deviation over the largest
COLDEST_K, WARMEST_K = ZERO_CELSIUS_K - 20, ZERO_CELSIUS_K + 85
SIGMA_LIMIT = 0.25  # beyond a quarter of full scale the Gaussian form means nothing


class EFlashParameters(BaseModel):
    """What stands beside ``kind: eflash``."""

    model_config = PARAMETERS
    g_max_s: quantity("S", exclusive=True) = Field(  # type: ignore[valid-type]
        alias="g_max", description="cell current at full-scale weight and input over read voltage"
    )
    g_min_s: quantity("S") = Field(  # type: ignore[valid-type]
        default=0.0, alias="g_min", description="the same of an erased cell"
    )
    sigma_program: quantity("1") = Field(  # type: ignore[valid-type]
        default=0.0, description="rms error of a weight after write-verify, mean over a layer"
    )
    sigma_read: quantity("1") = Field(  # type: ignore[valid-type]
        default=0.0, description="read noise of a large current, rms, over full scale"
    )
    program_shape: Literal["saturating", "uniform"] = Field(
        default="saturating", description="how the programming error depends on the state"
    )
    drift_per_decade: quantity("1") | None = Field(  # type: ignore[valid-type]
        default=None, description="share of the conductance lost per decade of time; user's own"
    )
    drift_start_s: quantity("s", exclusive=True) | None = Field(  # type: ignore[valid-type]
        default=None, alias="drift_start", description="where the decades are counted from"
    )

    @field_validator("sigma_program", "sigma_read")
    @classmethod
    def _small(cls, value: float) -> float:
        if value > SIGMA_LIMIT:
            raise ValueError(
                f"expected 0 .. {100 * SIGMA_LIMIT:g} % of full scale, got {100 * value:.4g} %"
            )
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_range(self.g_min_s, self.g_max_s)
        if (self.drift_per_decade is None) != (self.drift_start_s is None):
            raise ValueError(
                "drift_per_decade: expected drift_start beside it, such as 'drift_per_decade: "
                "0.5 %, drift_start: 1 h'; one of the two alone says nothing"
            )
        return self


class EFlash(AbstractDevice):
    """See the module.

    Notes
    -----
    *Programming.* ``sigma_program`` is the rms error of a **weight**, i.e. of a differential pair,
    over a layer, in units of ``g_max - g_min``, as it was measured. With ``program_shape:
    saturating`` a cell at ``g`` errs by ``A (1 - exp(-g / (0.11 g_max)))``; the erased partner of a
    pair has next to no error. ``A`` follows from asking that the pairs of a reference layer err by
    ``sigma_program`` rms: ``A**2 (E[s(g(w))**2] + s(g_min)**2) = (sigma_program (g_max -
    g_min))**2`` with ``s(g) = 1 - exp(-g / (0.11 g_max))`` and magnitudes ``w`` half-normal of
    spread 1/3.75 cut off at 1 (the largest of some thousand normal weights stands at 3.5 .. 4
    sigma). The expectation is in closed form, `_laplace`. A layer with more large weights errs more
    than ``sigma_program``, one with fewer less. With ``program_shape: uniform`` both cells of every
    pair err alike, by ``sigma_program (g_max - g_min) / sqrt(2)``. Either way a cell never goes
    below 0 S, which cuts the error of an erased cell in half for ``uniform``.

    *Ageing.* ``g_max (g / g_max)**(T0 / T)`` with T0 = 25 C, for every cell alike and not
    compensated. With the user's ``drift_per_decade`` d and ``drift_start`` t1, ``g max(0, 1 - d
    log10(1 + t / t1))`` before it; no spread between cells.

    *Reading.* ``sigma_read g_max (1 - exp(-g / (0.135 g_max)))`` per cell and pulse.
    """

    Parameters: ClassVar[type[BaseModel]] = EFlashParameters
    conduction: Conduction = "gate"

    def __init__(self, parameters: Any) -> None:
        self.parameters: EFlashParameters = parameters

    @property
    def g_min_s(self) -> float:
        """Conductance of an erased cell, S."""
        return float(self.parameters.g_min_s)

    @property
    def g_max_s(self) -> float:
        """Conductance of a full-scale cell, S."""
        return float(self.parameters.g_max_s)

    @property
    def is_exact(self) -> bool:
        """True if both errors are set to 0."""
        return bool(self.parameters.sigma_program == 0 and self.parameters.sigma_read == 0)

    def program_sigma(self, g_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of the programming error of cells at ``g_s``, S."""
        span = self.g_max_s - self.g_min_s
        size = self.parameters.sigma_program * span
        if self.parameters.program_shape == "uniform":
            return np.full_like(g_s, size / math.sqrt(2))
        return float(size / self._reference_rms()) * _saturating(
            g_s / (PROGRAM_KNEE * self.g_max_s)
        )

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Write and verify cells; see the base class and the notes."""
        if self.parameters.sigma_program == 0:
            return target_s.copy()
        noisy = rng.standard_normal(target_s.shape)
        noisy *= self.program_sigma(target_s)
        noisy += target_s
        return np.maximum(noisy, 0.0, out=noisy)

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Refuse time without a user's drift, and temperatures outside of the chip's range."""
        if not COLDEST_K <= temperature_k <= WARMEST_K:
            raise ConfigError(
                f"conditions.temperature: expected {format_celsius(COLDEST_K)} .. "
                f"{format_celsius(WARMEST_K)}, the range of the chip that device 'eflash' is "
                f"measured on, got {format_celsius(temperature_k)}"
            )
        if time_s != 0 and self.parameters.drift_per_decade is None:
            raise ConfigError(
                f"conditions.time: expected 0 s, got {format_duration(time_s)}: device 'eflash' "
                "has no drift model, for want of an open measurement; give a figure of your own "
                "(device.drift_per_decade, device.drift_start), or take device.kind sonos40 or pcm"
            )

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Return conductances later and warmer; see the base class and the notes."""
        self.check_conditions(time_s, temperature_k)
        loss, start_s = self.parameters.drift_per_decade, self.parameters.drift_start_s
        if time_s != 0 and loss is not None and start_s is not None:
            g_s = g_s * max(0.0, 1 - loss * math.log10(1 + time_s / start_s))
        if temperature_k != REFERENCE_K:
            g_s = self.g_max_s * (g_s / self.g_max_s) ** (REFERENCE_K / temperature_k)
        return g_s

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return the read noise of cells at ``g_s``, S per pulse."""
        size = self.parameters.sigma_read * self.g_max_s
        return float(size) * _saturating(g_s / (READ_KNEE * self.g_max_s))

    def _reference_rms(self) -> float:
        """Return sqrt(E[s(g(w))**2] + s(g_min)**2) of the reference layer, a pure number."""
        knee = PROGRAM_KNEE * self.g_max_s
        erased = self.g_min_s / knee
        slope = (self.g_max_s - self.g_min_s) / knee
        written = (
            1
            - 2 * math.exp(-erased) * _laplace(slope)
            + math.exp(-2 * erased) * _laplace(2 * slope)
        )
        return math.sqrt(written + math.expm1(-erased) ** 2)


def _saturating(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - exp(-x)."""
    return np.negative(np.expm1(-x))


def _laplace(t: float) -> float:
    """Return E[exp(-t w)] for ``w`` half-normal of spread `REFERENCE_SPREAD`, cut off at 1."""
    spread = REFERENCE_SPREAD
    low = t * spread / math.sqrt(2)
    high = (1 / spread + t * spread) / math.sqrt(2)
    return (
        math.exp(low**2) * (math.erfc(low) - math.erfc(high)) / math.erf(1 / spread / math.sqrt(2))
    )
