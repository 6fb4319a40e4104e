"""What the models share that are fits to measured cells: a range, and switches for each error."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, check_range
from cimsim.units import quantity


class FittedParameters(BaseModel):
    """Part of the measured range that is used, and factors on the measured errors.

    Attributes
    ----------
    LIMIT_S : float
        Largest conductance that was measured, S.
    """

    model_config = PARAMETERS
    LIMIT_S: ClassVar[float]
    g_max_s: quantity("S", exclusive=True) | None = Field(  # type: ignore[valid-type]
        default=None, alias="g_max", description="largest conductance used; default: the fit's"
    )
    g_min_s: quantity("S") = Field(  # type: ignore[valid-type]
        default=0.0, alias="g_min", description="conductance of an erased cell"
    )
    program_scale: float = Field(default=1.0, ge=0, le=10, description="factor on program error")
    read_scale: float = Field(default=1.0, ge=0, le=10, description="factor on read noise")
    drift_scale: float = Field(default=1.0, ge=0, le=10, description="factor on drift")

    @model_validator(mode="after")
    def _measured(self) -> Self:
        """Refuse a range of conductances that is upside down or goes beyond the measured one."""
        limit_s = self.LIMIT_S
        if self.g_max_s is not None:
            check_range(self.g_min_s, self.g_max_s)
        for field, value in (("g_max", self.g_max_s), ("g_min", self.g_min_s)):
            if value is not None and (value > limit_s or (field == "g_min" and value == limit_s)):
                sign = "at most" if field == "g_max" else "less than"
                raise ValueError(
                    f"{field}: expected {sign} {limit_s * 1e6:g} uS, the range of the measured "
                    f"cells, got {value * 1e6:g} uS"
                )
        return self


class AbstractFitted(AbstractDevice):
    """Normal programming error of a fitted size, cut off at 0 S."""

    def __init__(self, parameters: FittedParameters) -> None:
        self.parameters = parameters

    @property
    def g_min_s(self) -> float:
        """Conductance of an erased cell, S."""
        return float(self.parameters.g_min_s)

    @property
    def g_max_s(self) -> float:
        """Conductance of a full-scale cell, S."""
        given = self.parameters.g_max_s
        return self.parameters.LIMIT_S if given is None else float(given)

    @property
    def is_exact(self) -> bool:
        """True if both errors are switched off."""
        return self.parameters.program_scale == 0 and self.parameters.read_scale == 0

    @abstractmethod
    def program_sigma(self, g_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of the programming error of cells at ``g_s``, S."""

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Draw normal errors; see the base class."""
        if self.parameters.program_scale == 0:
            return target_s.copy()
        noisy = target_s + self.program_sigma(target_s) * rng.standard_normal(target_s.shape)
        return np.maximum(noisy, 0.0)

    def _widened(
        self,
        g_s: NDArray[np.float64],
        shift_s: NDArray[np.float64] | float,
        variance: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Move cells by a mean shift and a normal part of given variance (S squared), not below 0.

        The normal part is the same multiple of its size at every time, so a cell has one course.
        """
        scale = self.parameters.drift_scale
        spread = np.sqrt(np.maximum(variance, 0.0)) * rng.standard_normal(g_s.shape)
        return np.maximum(g_s + scale * (shift_s + spread), 0.0)
