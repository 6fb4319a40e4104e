"""A memory cell whose programming error grows with the square root of its conductance."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cimsim.api import AbstractDevice


class Parameters(BaseModel):
    """What may stand beside ``kind``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sigma_program: float = Field(default=0.02, ge=0, le=1)


class RootCell(AbstractDevice):
    """Normal programming error, sigma_program * sqrt(g * g_max), cut off at 0 S."""

    Parameters = Parameters
    conduction = "ohmic"
    g_min_s = 0.0
    g_max_s = 25e-6
    is_exact = False

    def __init__(self, parameters):
        self.parameters = parameters

    def program(self, target_s, rng):
        """Write cells."""
        sigma = self.parameters.sigma_program * np.sqrt(target_s * self.g_max_s)
        return np.maximum(target_s + sigma * rng.standard_normal(target_s.shape), 0.0)

    def read_sigma(self, g_s, time_s=0.0, written_s=None):
        """Return no read noise."""
        return np.zeros_like(g_s)
