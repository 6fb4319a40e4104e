"""A converter in two stages: a coarse code, then what is left of it, amplified."""

import numpy as np

from cimsim.api import AbstractConverter


class Subranging(AbstractConverter):
    """Half of the bits at once, then the others; the amplifier between them is not exact."""

    gain_sigma = 0.02  # of the amplifier, rms over converters
    is_bent = True

    def steps(self, bits):
        """Return the two decisions and the settling of the amplifier."""
        return 3.0

    def curves(self, n, rng):
        """Return saw teeth: each coarse code begins anew with what the amplifier gets wrong."""
        coarse = 2 ** (self.adc.bits // 2)
        codes = np.linspace(0, 2**self.adc.bits - 1, 16 * coarse + 1)
        fine = 2**self.adc.bits / coarse
        error = self.gain_sigma * rng.standard_normal((n, 1))
        return (error * (codes % fine - fine / 2)).astype(np.float32)
