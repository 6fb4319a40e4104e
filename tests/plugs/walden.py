"""An estimator: energy of a converter by Walden's figure of merit."""

from cimsim.api import AbstractEstimator


class Walden(AbstractEstimator):
    """E = FOM x 2**bits."""

    gives = ("energy",)
    formula = "5 fJ x 2**adc.bits"
    source = "R. H. Walden, IEEE JSAC 17(4), 1999: the form; the factor is an example"

    def estimate(self, chip, section):
        """Return the energy of a conversion, J."""
        if not 1 <= chip.adc.bits <= 12:
            raise ValueError("auto: the figure of merit holds for 1 .. 12 bits; give a figure")
        return {"energy": 5e-15 * 2**chip.adc.bits}
