"""An SRAM cell that switches one conductance on or off: exact, or with static mismatch.

A bit is stored digitally, so there is neither programming error nor drift nor read noise; what
differs from cell to cell is the current of the transistor that it switches on. No open measurement
of that mismatch was found, so it is 0 unless the user gives a figure. Valid at 25 C: how the
current depends on temperature is not modelled. Needs ``weights.cell_bits: 1``.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, Conduction, check_range, refuse_warm
from cimsim.units import quantity


class SramParameters(BaseModel):
    """What stands beside ``kind: sram``."""

    model_config = PARAMETERS
    g_max_s: quantity("S", exclusive=True) = Field(  # type: ignore[valid-type]
        default=1e-6, alias="g_max", description="cell current of a stored 1 over read voltage"
    )
    g_min_s: quantity("S") = Field(  # type: ignore[valid-type]
        default=0.0, alias="g_min", description="the same of a stored 0: leakage"
    )
    sigma_mismatch: quantity("1", maximum=0.25) = Field(  # type: ignore[valid-type]
        default=0.0, description="static spread of the current of a stored 1, rms; user's own"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_range(self.g_min_s, self.g_max_s)
        return self


class Sram(AbstractDevice):
    """See the module.

    Notes
    -----
    The current above ``g_min`` is multiplied by ``1 + sigma_mismatch z``, z normal per cell, and
    cut off at 0 S. Mismatch belongs to the cell, not to what is written; since a chip is written
    once, it is drawn when that happens.
    """

    Parameters: ClassVar[type[BaseModel]] = SramParameters
    conduction: Conduction = "gate"
    max_bits: int | None = 1

    def __init__(self, parameters: SramParameters) -> None:
        self.parameters = parameters

    @property
    def g_min_s(self) -> float:
        """Conductance of a stored 0, S."""
        return float(self.parameters.g_min_s)

    @property
    def g_max_s(self) -> float:
        """Conductance of a stored 1, S."""
        return float(self.parameters.g_max_s)

    @property
    def is_exact(self) -> bool:
        """True without mismatch."""
        return bool(self.parameters.sigma_mismatch == 0)

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the targets times the mismatch of each cell."""
        if self.is_exact:
            return target_s.copy()
        factor = 1 + float(self.parameters.sigma_mismatch) * rng.standard_normal(target_s.shape)
        return np.maximum(self.g_min_s + (target_s - self.g_min_s) * factor, 0.0)

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Take any time, a bit is held; refuse other temperatures than 25 C."""
        refuse_warm(self.name, temperature_k)

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros_like(g_s)
