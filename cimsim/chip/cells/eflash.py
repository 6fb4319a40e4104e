"""A 40 nm embedded-flash cell: gate-coupled floating gate, write-verify error and read noise.

Sources: size of the programming error, T. Bai et al., IEEE TCAD 2024, Table I (standard deviation
of the weights of five layers, mean 1.75 % of full scale). Shape of programming error and read noise
over the cell current, ``A (1 - exp(-I/B))``: 40 nm SONOS cells, V. Agrawal et al., IEDM 2022, 21.7
(B = 176 nA for the error and 215 nA for the noise, of 1600 nA full scale); another flash cell, the
only one measured so. Temperature: the cell is gate-coupled and works below threshold, ``w =
exp(q dVth / (n k T))`` (Bai 2024, eq. 1), hence ``w(T) = w**(T0 / T)``: an estimate from that
formula, for the chip's range of -20 .. 85 C (Bai 2024, Fig. 3). Retention: no open measurement of
a 40 nm floating-gate cell that holds an analog weight was found. The model below has the form that
charge loss through the oxide is known for (it goes with the stored charge and with the logarithm
of time), and a size that rests on two published figures alone: "about 6 bits for 15 years at more
than 125 C" for analog floating gates (introduction of IEEE Xplore document 1465045, ISCAS 2005),
and half the loss at 25 C that 90 C gives after 1000 hours (45 nm NOR flash, M. Calabrese, ICICDT
2013, pp. 37-40, as others cite it). Its range is a factor of ten to either side; take it for an
order of magnitude.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator, model_validator

from cimsim.chip.cells.base import (
    PARAMETERS,
    AbstractDevice,
    Conduction,
    check_range,
    refuse_late,
)
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import ConfigError
from cimsim.units import (
    ZERO_CELSIUS_K,
    format_celsius,
    format_duration,
    parse_quantity,
    quantity,
)

PROGRAM_KNEE = 0.11  # of g_max: the error reaches 63 % of its full size
READ_KNEE = 0.135  # of g_max: the same for read noise
REFERENCE_SPREAD = 1 / 3.75  # weights of a trained layer, standard deviation over the largest
COLDEST_K, WARMEST_K = ZERO_CELSIUS_K - 20, ZERO_CELSIUS_K + 85
SIGMA_LIMIT = 0.25  # beyond a quarter of full scale the Gaussian form means nothing
LONGEST_S = parse_quantity("20 y", "s")
MOST_LOSS = 0.1  # of the charge per decade


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

    charge_loss: quantity("1") | None = Field(  # type: ignore[valid-type]
        default=None, description="share of the stored charge lost per decade of time at 25 C"
    )
    loss_start_s: quantity("s", exclusive=True) = Field(  # type: ignore[valid-type]
        default=3600.0, alias="loss_start", description="where its decades are counted from"
    )
    loss_doubling_k: quantity("K", exclusive=True, difference=True) = Field(  # type: ignore[valid-type]
        default=65.0, alias="loss_doubling", description="warming that doubles the loss"
    )
    loss_spread: quantity("1") = Field(  # type: ignore[valid-type]
        default=0.5, description="spread of the loss between cells, of its logarithm"
    )
    neutral_ratio: float = Field(
        default=500.0, ge=1, le=1e6, description="current of a cell without charge over g_max"
    )
    slope_change: quantity("1", maximum=1.0) = Field(  # type: ignore[valid-type]
        default=0.0, description="growth of the subthreshold slope factor n per 100 K of warming"
    )
    thermal_residual: quantity("1") | None = Field(  # type: ignore[valid-type]
        default=None,
        description="largest change of a weight from 25 to 85 C that the chip's compensation "
        "leaves, over full scale; default: it has none",
    )

    @field_validator("charge_loss")
    @classmethod
    def _possible(cls, value: float | None) -> float | None:
        if value is not None and value > MOST_LOSS:
            raise ValueError(
                f"expected 0 .. {100 * MOST_LOSS:g} % per decade, got {100 * value:.4g} %: more "
                "is no memory"
            )
        return value

    @field_validator("loss_spread")
    @classmethod
    def _narrow(cls, value: float) -> float:
        if value > 2:
            raise ValueError(f"expected 0 .. 2 (a factor of exp(2) at one sigma), got {value:.4g}")
        return value

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

    *Temperature.* ``g_max (g / g_max)**e`` with ``e = (T0 / T) / (1 + slope_change (T - T0) / 100
    K)`` and T0 = 25 C, for every cell alike: below threshold the logarithm of a current goes with
    one over ``n T``, and the gates hang on a reference cell at ``g_max``, whose current therefore
    stays. With ``thermal_residual`` the chip takes back part of it (gates that are driven in
    proportion to ``n T``, or states that drift alike in both cells of a pair): ``e`` is then ``1 +
    s (e - 1)``, with the share ``s`` that makes the largest change of any weight between 25 and 85
    C, ``max_w |w**e - w|``, what was measured. 55 nm NOR cells in differential use changed by less
    than 3 % (X. Guo et al., CICC 2017, arXiv 1611.03379); without compensation it is 6.7 %.

    *Read noise when it is warm.* 1/f noise of thermally activated traps has a power in proportion
    to T (P. Dutta and P. M. Horn, Reviews of Modern Physics 53, 497, 1981): sigma goes as ``sqrt(T
    / T0)``, 10 % more at 85 C; an estimate for these cells.

    *Retention*, before it. A cell below threshold has a current ``g_n exp(-q V / (n k T0))`` where
    V is the part of its threshold that stored electrons make, and ``g_n = neutral_ratio g_max`` the
    current without any. When a share ``c`` of the charge is lost, V is ``(1 - c) V``: ``g`` becomes
    ``g**(1 - c) g_n**c``. So all cells gain current, the more the less they had. ``c = charge_loss
    2**((T - T0) / loss_doubling) log10(1 + t / loss_start) exp(loss_spread z)``, at most 1, with a
    standard normal ``z`` of each cell's own, the same at all times; a cell of 0 S stays. T is that
    of ``conditions``, as if the chip had been stored so warm since it was written.

    A ``drift_per_decade`` d and ``drift_start`` t1 of the user's own take its place: ``g max(0, 1 -
    d log10(1 + t / t1))``; no spread between cells.

    *Reading.* ``sigma_read g_max (1 - exp(-g / (0.135 g_max)))`` per cell and pulse.
    """

    Parameters: ClassVar[type[BaseModel]] = EFlashParameters
    conduction: Conduction = "gate"

    def __init__(self, parameters: EFlashParameters) -> None:
        self.parameters = parameters

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
        given = (self.parameters.drift_per_decade, self.parameters.charge_loss)
        if time_s != 0 and given == (None, None):
            raise ConfigError(
                f"conditions.time: expected 0 s, got {format_duration(time_s)}: no retention is "
                "given for device 'eflash'; say device.charge_loss (eflash40nm has 0.1 % a decade, "
                "0.01 .. 1 %), or device.drift_per_decade and device.drift_start"
            )
        refuse_late(self.name, time_s, LONGEST_S, "no retention was ever stated for longer")

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
        elif time_s != 0:
            g_s = self._leaked(g_s, time_s, temperature_k, rng)
        if temperature_k != REFERENCE_K:
            g_s = self.g_max_s * (g_s / self.g_max_s) ** self.exponent(temperature_k)
        return g_s

    def exponent(self, temperature_k: float) -> float:
        """Return ``e`` of the notes: a current over ``g_max`` goes as its power ``e``."""
        raw, residual = self._raw_exponent(temperature_k), self.parameters.thermal_residual
        if residual is None:
            return raw
        warm = 1 - self._raw_exponent(WARMEST_K)
        # the share of the change that the measured residual leaves, by halving: it is monotonous
        low, high = 0.0, 1.0
        if _largest_change(1 - warm) <= residual:
            return raw
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (low, middle) if _largest_change(1 - middle * warm) > residual else (middle, high)
            )
        return 1 + low * (raw - 1)

    def _raw_exponent(self, temperature_k: float) -> float:
        above = temperature_k - REFERENCE_K
        slope = 1 + self.parameters.slope_change * above / 100
        return float(REFERENCE_K / temperature_k / slope)

    def noise_growth(self, temperature_k: float) -> float:
        """Return read noise at a temperature over that at 25 C; see the notes."""
        return math.sqrt(temperature_k / REFERENCE_K)

    def _leaked(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Return what is left of the charge, as conductances; see the notes."""
        held = self.parameters
        warmer = 2 ** ((temperature_k - REFERENCE_K) / held.loss_doubling_k)
        share = (held.charge_loss or 0.0) * warmer * math.log10(1 + time_s / held.loss_start_s)
        lost = np.minimum(share * np.exp(held.loss_spread * rng.standard_normal(g_s.shape)), 1.0)
        leaked: NDArray[np.float64] = (
            g_s ** (1 - lost) * (held.neutral_ratio * self.g_max_s) ** lost
        )
        return np.where(g_s > 0, leaked, 0.0)

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


def _largest_change(e: float) -> float:
    """Return the largest ``w**e - w`` for ``w`` in 0 .. 1 and ``e`` below 1."""
    if e >= 1:
        return 0.0
    w = e ** (1 / (1 - e))  # where the derivative is 0
    return float(w**e - w)


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
