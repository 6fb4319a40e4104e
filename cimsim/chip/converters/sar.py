"""Successive approximation: one bit after the other, against a capacitor for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.converters.base import AbstractConverter
from cimsim.chip.converters.curves import POINTS, bows, pinned


class Sar(AbstractConverter):
    """As many steps as bits. Its random non-linearity jumps where large capacitors switch.

    A capacitor of ``2**k`` units has an error whose variance is ``2**k`` times that of a unit, and
    a code's error is the sum of those of the capacitors that are on (B. P. Ginsburg and A. P.
    Chandrakasan, IEEE JSSC 42(4), 2007, for the binary-weighted array): worst amid the range, where
    all of them change.
    """

    def steps(self, bits: int) -> float:
        """Return the bits."""
        return float(bits)

    def curves(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """See `AbstractConverter`; ``inl_steps_lsb`` is the rms over converters and codes."""
        adc = self.adc
        bow = bows(n, adc.inl_bow_lsb, rng)
        weights = 2.0 ** np.arange(adc.bits)
        codes = np.rint(np.linspace(0, 2.0**adc.bits - 1, POINTS)).astype(np.int64)
        on = (codes[:, None] >> np.arange(adc.bits)) & 1
        errors = pinned((rng.standard_normal((n, adc.bits)) * np.sqrt(weights)) @ on.T)
        share = codes / codes[-1]
        # of the pinned sum: sum_k 2**k (on_k - share)**2
        mean = float(np.mean(((on - share[:, None]) ** 2) @ weights))
        bent = bow + adc.inl_steps_lsb / np.sqrt(mean) * errors
        curves: NDArray[np.float32] = bent.astype("f4")
        return curves
