"""A comparator for each threshold, all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.converters.base import AbstractConverter
from cimsim.chip.converters.curves import POINTS, bows


class Flash(AbstractConverter):
    """One step. Each threshold is off by the offset of a comparator of its own.

    The code is the number of comparators that are on, so that thresholds that change places do no
    harm beyond that.
    """

    takes_steps = False

    def steps(self, bits: int) -> float:
        """Return 1."""
        return 1.0

    def curves(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """See `AbstractConverter`; ``inl_steps_lsb`` is the rms offset of a comparator."""
        adc = self.adc
        top = 2**adc.bits - 1
        bow, levels = bows(n, adc.inl_bow_lsb, rng), np.linspace(0, top, POINTS)
        nominal = np.arange(top) + 0.5
        offsets = adc.inl_steps_lsb * rng.standard_normal((n, top))
        bent = np.stack([
            np.interp(levels, [-0.5, *np.sort(nominal + one), top + 0.5],
                      [-0.5, *nominal, top + 0.5]) - levels
            for one in offsets
        ])  # fmt: skip
        curves: NDArray[np.float32] = (bow + bent).astype(np.float32)
        return curves
