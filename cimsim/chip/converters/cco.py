"""A current-controlled oscillator whose cycles are counted for a fixed time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.converters.base import AbstractConverter
from cimsim.chip.converters.curves import POINTS


class Cco(AbstractConverter):
    """A step is a cycle at full scale. The jitter of cycles adds up as they are counted.

    Cycles of a free-running oscillator with white noise jitter independently, so that the variance
    of a count goes with the count (A. A. Abidi, IEEE JSSC 41(8), 2006): rms ``count_noise_lsb`` at
    the largest code, and its square root of the code's share below.
    """

    def steps(self, bits: int) -> float:
        """Return the cycles at full scale."""
        return 2.0**bits

    def noise_curve(self) -> NDArray[np.float32] | None:
        """See `AbstractConverter`."""
        if self.adc.count_noise_lsb == 0:
            return None
        share = np.linspace(0, 1, POINTS)
        return (self.adc.count_noise_lsb * np.sqrt(share)).astype(np.float32)
