"""Write-verify as a loop: pulse, read, compare, until a cell is within tolerance.

Without it a device model draws the outcome of write-verify from measured figures. The loop gives
outcome and number of pulses from how a pulse acts; its figures are the user's own, since no open
source for the 40 nm cells was found.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice
from cimsim.chip.cells.spectrum import Spectrum
from cimsim.errors import ConfigError
from cimsim.units import quantity


class VerifyParameters(BaseModel):
    """What stands under ``device.verify``. Fractions are of ``g_max - g_min``."""

    model_config = PARAMETERS
    tolerance: quantity("1", maximum=1.0) = Field(  # type: ignore[valid-type]
        description="a cell is accepted within this distance of its target"
    )
    max_pulses: int = Field(default=30, ge=1, le=10_000, description="given up after these")
    gain: float = Field(
        default=0.5, gt=0, le=1, description="share of the distance that one pulse covers"
    )
    pulse_sigma: quantity("1", maximum=1.0) = Field(  # type: ignore[valid-type]
        default=0.0, description="random part of what one pulse does, rms"
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.tolerance == 0 and self.pulse_sigma > 0:
            raise ValueError(
                "tolerance: expected more than 0 %, no pulse with pulse_sigma "
                f"{100 * self.pulse_sigma:g} % hits a target exactly"
            )
        return self


class WriteVerified(AbstractDevice):
    """A device whose cells are written by the loop; all else is the device's own.

    Notes
    -----
    Cells start erased, at ``g_min``. A cell is read, with the device's read noise; if the reading
    is within ``tolerance`` of the target the cell is done, else a pulse moves it by ``gain (target
    - reading) + pulse_sigma z``, z normal, in either direction, never below 0 S. After
    ``max_pulses`` it stays as it is. An erased cell that is wanted erased takes no pulse.

    The device must write exactly by itself: a measured programming error is that of write-verify
    already and would count twice.
    """

    Parameters: ClassVar[type[BaseModel]] = VerifyParameters

    def __init__(self, device: AbstractDevice, parameters: VerifyParameters) -> None:
        self.device, self.parameters = device, parameters
        self.conduction, self.max_bits = device.conduction, device.max_bits
        self.nonlinearity = device.nonlinearity
        self.colour, self.states_spectrum = device.colour, device.states_spectrum
        probe = np.linspace(device.g_min_s, device.g_max_s, 16)
        if not np.array_equal(device.program(probe, np.random.default_rng(0)), probe):
            raise ConfigError(
                f"device.verify: the programming error of device '{device.name}' is that after "
                "write-verify and would count twice; switch it off (sigma_program: 0 or "
                "program_scale: 0), or leave out verify"
            )

    @property
    def name(self) -> str:
        """That of the device."""
        return self.device.name

    @property
    def g_min_s(self) -> float:
        """Conductance of an erased cell, S."""
        return self.device.g_min_s

    @property
    def g_max_s(self) -> float:
        """Conductance of a full-scale cell, S."""
        return self.device.g_max_s

    @property
    def is_exact(self) -> bool:
        """True if the first pulse hits every target."""
        return self.device.is_exact and self.parameters.tolerance == 0 and self.parameters.gain == 1

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return what the loop leaves."""
        return self.write(target_s, rng)[0]

    def write(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Run the loop; see the base class and the notes."""
        target = target_s.reshape(-1)
        span = self.g_max_s - self.g_min_s
        tolerance, size = self.parameters.tolerance * span, self.parameters.pulse_sigma * span
        cells = np.full(target.shape, self.g_min_s)
        pulses = np.zeros(target.shape, np.int64)
        left = np.arange(target.size)  # cells that have not been accepted
        for _ in range(self.parameters.max_pulses):
            g = cells[left]
            away = target[left] - self._read(g, rng)
            outside = np.abs(away) > tolerance
            left, g, away = left[outside], g[outside], away[outside]
            if not left.size:
                break
            # g + (target - g) would miss the target by a rounding, and no tolerance forgives it
            wanted = target[left] if self._hits else g + self.parameters.gain * away
            noise = size * rng.standard_normal(left.size) if size else 0.0
            cells[left] = np.maximum(wanted + noise, 0.0)
            pulses[left] += 1
        return cells.reshape(target_s.shape), pulses.reshape(target_s.shape)

    @property
    def _hits(self) -> bool:
        """Whether a pulse aims at the target itself: full gain and exact readings."""
        return self.parameters.gain == 1 and self.device.is_exact

    def _read(self, g_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        if self.device.is_exact:
            return g_s
        return g_s + self.device.read_sigma(g_s) * rng.standard_normal(g_s.shape)

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """As the device."""
        self.device.check_conditions(time_s, temperature_k)

    def age(
        self,
        g_s: NDArray[np.float64],
        time_s: float,
        temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """As the device."""
        return self.device.age(g_s, time_s, temperature_k, rng)

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """As the device."""
        return self.device.read_sigma(g_s, time_s, written_s)

    def noise_growth(self, temperature_k: float) -> float:
        """As the device."""
        return self.device.noise_growth(temperature_k)

    def spectrum(self, pulse_s: float, time_s: float = 0.0) -> Spectrum | None:
        """As the device."""
        return self.device.spectrum(pulse_s, time_s)
