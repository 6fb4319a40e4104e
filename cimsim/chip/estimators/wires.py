"""Wires: the chip's bus, and the line that a cell of a charge-mode array charges."""

from __future__ import annotations

import math
from typing import ClassVar

from cimsim.chip.area import area
from cimsim.chip.estimators.base import AbstractEstimator, within
from cimsim.chip.spec import Chip

WIRE_F_M = 0.2e-15 / 1e-6  # capacitance of a wire: hwcomponents-library, misc.py


def wire_energy_j_b(length_m: float, vdd_v: float, activity: float = 0.5) -> float:
    """Energy of moving one byte along a wire, J: ``8 * activity * C * length * V**2 / 2``.

    Parameters
    ----------
    length_m, vdd_v : float
    activity : float
        Share of the bits that change from one transfer to the next.
    """
    return 8 * activity * 0.5 * WIRE_F_M * length_m * vdd_v**2


class WireBus(AbstractEstimator):
    """A byte travels the mean distance of two places on a square chip, two thirds of its edge.

    Two thirds is twice the mean distance of two uniform numbers of the edge, one axis after the
    other. Repeaters and clocking are not counted.
    """

    gives: ClassVar = ("energy",)
    formula: ClassVar = "8 x 0.5 x 0.5 x 0.2 fF/um x 2/3 sqrt(chip area) x vdd**2"
    source: ClassVar = "wire capacitance of hwcomponents-library, misc.py; activity 0.5"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for chips of 0.01 .. 2500 mm2 and 0.4 .. 1.8 V."""
        one = sum(area(chip).values()) / chip.system.chips  # a bus joins the tiles of one chip
        size = within("the chip's area", one, 1e-8, 2.5e-3, "m2")
        vdd = within("process.vdd", chip.process.vdd_v, 0.4, 1.8, "V")
        return {"energy": wire_energy_j_b(2 / 3 * math.sqrt(size), vdd)}


class CellLine(AbstractEstimator):
    """The wire of a cell's own pitch in both directions; a capacitor of its own comes on top."""

    gives: ClassVar = ("cell_capacitance",)
    formula: ClassVar = "0.2 fF/um x 2 sqrt(array.cell_area)"
    source: ClassVar = "wire capacitance of hwcomponents-library, misc.py; lower bound"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for cells of 0.01 .. 100 um2."""
        cell = within("array.cell_area", chip.array.cell_area_m2, 1e-14, 1e-10, "m2")
        return {"cell_capacitance": WIRE_F_M * 2 * math.sqrt(cell)}
