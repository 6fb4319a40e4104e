"""Drivers and digital arithmetic: published figures at 40 nm, scaled."""

from __future__ import annotations

from typing import ClassVar

from cimsim.chip.estimators.base import AbstractEstimator, within
from cimsim.chip.estimators.scaling import Scaling
from cimsim.chip.spec import Chip

_NODE_M, _VDD_V = 40e-9, 1.1


def _scale(chip: Chip) -> Scaling:
    return Scaling(_NODE_M, _VDD_V, chip.process.node_m, chip.process.vdd_v)


class DacChen(AbstractEstimator):
    """A capacitive 8-bit DAC; with another number of bits its capacitors are ``2**bits`` units."""

    gives: ClassVar = ("energy", "area")
    formula: ClassVar = "0.291 pJ, 438 um2 at 8 bits and 40 nm, x 2**(bits - 8), scaled"
    source: ClassVar = "Chen, VLSI 2018, as in hwcomponents-library, brahms.py"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for 1 .. 10 bits, 7 .. 130 nm and 0.4 .. 1.8 V."""
        units = 2.0 ** (within("dac.bits", chip.dac.bits, 1, 10, "") - 8)
        scale = _scale(chip)
        return {
            "energy": 0.291e-12 * units * scale.energy, "area": 438e-12 * units * scale.area,
        }  # fmt: skip


class AddersAladdin(AbstractEstimator):
    """32-bit adders, one for each lane of a tile."""

    gives: ClassVar = ("energy", "area")
    formula: ClassVar = "0.21 pJ an addition, 278 um2 a lane at 40 nm, scaled"
    source: ClassVar = "Aladdin 40 nm, as in hwcomponents-library, aladdin.py"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for 7 .. 130 nm and 0.4 .. 1.8 V."""
        scale = _scale(chip)
        return {"energy": 0.21e-12 * scale.energy, "area": chip.adder.lanes * 278e-12 * scale.area}


class MatMulAladdin(AbstractEstimator):
    """Lanes of a multiplier of two activations and a 32-bit adder; control is left out."""

    gives: ClassVar = ("energy", "leakage", "area")
    formula: ClassVar = (
        "0.25 pJ x inputs.bits / 8 + 0.21 pJ a MAC, lanes x 2.425 uW, 349 um2 at 40 nm, scaled"
    )
    source: ClassVar = "Aladdin 40 nm and RAELLA, as in hwcomponents-library"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for 2 .. 16 bits, 7 .. 130 nm and 0.4 .. 1.8 V."""
        if chip.matmul is None:
            raise ValueError("auto: the chip has no matmul unit; give matmul.lanes")
        bits = within("inputs.bits", chip.inputs.bits, 2, 16, "")
        scale, lanes = _scale(chip), chip.matmul.lanes
        return {
            "energy": (0.25e-12 * bits / 8 + 0.21e-12) * scale.energy,
            "leakage": lanes * 2.425e-6 * scale.leakage, "area": lanes * 349e-12 * scale.area,
        }  # fmt: skip


class VectorAladdin(AbstractEstimator):
    """Lanes of a comparator (ReLU), an adder (bias) and a multiplier (scale).

    Comparators go with the bits of inputs, the multiplier, 16 x 8 bits in the source, with those
    of inputs and weights; the adder of 32 bits and the area stay.
    """

    gives: ClassVar = ("energy", "scale_energy", "leakage", "area")
    formula: ClassVar = (
        "0.0295 pJ x inputs.bits / 8, 0.25 pJ x (inputs.bits + weights.bits) / 16 + 0.21 pJ, lanes "
        "x 2.425 uW, 349 um2 at 40 nm, scaled"
    )
    source: ClassVar = "Aladdin 40 nm and RAELLA, as in hwcomponents-library"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for 7 .. 130 nm and 0.4 .. 1.8 V."""
        scale, lanes, bits = _scale(chip), chip.vector.lanes, chip.inputs.bits
        multiplied = 0.25e-12 * (bits + chip.weights.bits) / 16
        return {
            "energy": 0.0295e-12 * bits / 8 * scale.energy,
            "scale_energy": (multiplied + 0.21e-12) * scale.energy,
            "leakage": lanes * 2.425e-6 * scale.leakage, "area": lanes * 349e-12 * scale.area,
        }  # fmt: skip
