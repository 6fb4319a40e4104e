"""A perfect linear conductance: takes any target exactly, never fluctuates, never ages."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, Conduction, check_range
from cimsim.units import quantity


class IdealParameters(BaseModel):
    """Conductance range of the perfect cell."""

    model_config = PARAMETERS
    g_max_s: quantity("S", exclusive=True) = Field(  # type: ignore[valid-type]
        default=1e-6, alias="g_max", description="conductance at full scale"
    )
    g_min_s: quantity("S") = Field(  # type: ignore[valid-type]
        default=0.0, alias="g_min", description="conductance of an erased cell"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_range(self.g_min_s, self.g_max_s)
        return self


class Ideal(AbstractDevice):
    """See the module."""

    Parameters: ClassVar[type[BaseModel]] = IdealParameters
    conduction: Conduction = "ohmic"

    def __init__(self, parameters: IdealParameters) -> None:
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
        """Always true."""
        return True

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the targets."""
        return target_s.copy()

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """Take any: a perfect cell keeps its conductance."""

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros_like(g_s)
