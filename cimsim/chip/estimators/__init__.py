"""Component estimators: what the value ``auto`` in a hardware description becomes.

A new one is a class (`cimsim.chip.estimators.base`) and a line in `ESTIMATORS`; from code of one's
own that line is ``cimsim.chip.estimators.ESTIMATORS["mine"] = Mine()``. A description asks for it
by name, ``energy: auto mine``; ``auto`` alone takes the one of `DEFAULTS`.
"""

from __future__ import annotations

from cimsim.chip.estimators.adc import AdcSurvey
from cimsim.chip.estimators.base import AbstractEstimator, unit_of
from cimsim.chip.estimators.logic import AddersAladdin, DacChen, MatMulAladdin, VectorAladdin
from cimsim.chip.estimators.sram import SramLop, SramLstp
from cimsim.chip.estimators.wires import CellLine, WireBus

ESTIMATORS: dict[str, AbstractEstimator] = {
    "adc_survey": AdcSurvey(),
    "adder_aladdin": AddersAladdin(),
    "cell_line": CellLine(),
    "dac_chen": DacChen(),
    "matmul_aladdin": MatMulAladdin(),
    "sram_lop": SramLop(),
    "sram_lstp": SramLstp(),
    "vector_aladdin": VectorAladdin(),
    "wire_bus": WireBus(),
}
# the bus comes last: it needs the area of all else
DEFAULTS = {
    "array": "cell_line", "dac": "dac_chen", "adc": "adc_survey", "buffer": "sram_lstp",
    "adder": "adder_aladdin", "vector": "vector_aladdin", "matmul": "matmul_aladdin",
    "global_buffer": "sram_lstp", "interconnect": "wire_bus",
}  # fmt: skip

__all__ = ["DEFAULTS", "ESTIMATORS", "AbstractEstimator", "unit_of"]
