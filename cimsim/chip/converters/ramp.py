"""A ramp that all columns of an array are compared with, and a counter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.converters.base import AbstractConverter
from cimsim.chip.converters.curves import inl_curves


class Ramp(AbstractConverter):
    """A step for each level. What bends the ramp bends all columns alike.

    One generator serves the array, each column has a comparator only (its offset is
    ``adc.offset_sigma_lsb``): the non-linearity is one curve.
    """

    def steps(self, bits: int) -> float:
        """Return the levels."""
        return 2.0**bits

    def curves(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """See `AbstractConverter`: one curve."""
        return inl_curves(1, self.adc.inl_bow_lsb, self.adc.inl_steps_lsb, rng)
