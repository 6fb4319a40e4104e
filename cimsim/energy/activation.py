"""One array, wholly filled, fired once: what macros are published by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cimsim.chip.spec import Chip
from cimsim.energy.model import energy
from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window
from cimsim.mapping.mapping import Mapping, map_graph
from cimsim.timing.analysis.bounds import least_interval
from cimsim.timing.plan.plan import make_plan

NAME = "full"


@dataclass(frozen=True, slots=True)
class Activation:
    """A product of a full array with one input vector.

    Attributes
    ----------
    energy_j : dict
        Component -> J: cells, converters, arithmetic, and the bytes that go in and out.
    interval_s : float
        Between two activations of an array that is fed without pause, by the cycle model.
    macs : int
        Multiply-accumulates; two operations each.
    pulses, conversions : int
    """

    energy_j: dict[str, float]
    interval_s: float
    macs: int
    pulses: int
    conversions: int

    @property
    def total_j(self) -> float:
        """All components, J."""
        return sum(self.energy_j.values())

    @property
    def tops(self) -> float:
        """10^12 operations per second of one array that never waits."""
        return 2 * self.macs / self.interval_s / 1e12


def full_array(chip: Chip) -> Mapping:
    """Return the mapping of a network of one matrix that just fills an array of the chip.

    What goes in and out is there already, so no port of frames takes part.
    """
    rows, cols = chip.array.rows // chip.lines_per_input(signed=False), chip.weight_cols
    vector, out = TensorSpec((1, rows, 1, 1)), TensorSpec((1, cols, 1, 1))
    op = MatrixOp(
        NAME, ("x",), vector, out, np.ones((1, rows, cols), np.float32), None, Window(),
        (cols, 1, 1), signed=False,
    )  # fmt: skip
    fed = chip.model_copy(update={"frames": "resident"})
    return map_graph(LayerGraph(NAME, [InputOp("x", vector), op], [NAME]), fed)


def full_activation(chip: Chip) -> Activation:
    """Charge and time one activation of a full array at the chip's ``array.activity``.

    The same mapping, energy model and cycle rules as for a network; the array's operands are taken
    as non-negative.
    """
    mapping = full_array(chip)
    cycles = least_interval(make_plan(mapping))
    interval_s = cycles / chip.process.clock_hz
    row = energy(mapping, interval_s).by_layer[NAME]
    count = mapping.counts[NAME]
    return Activation(row, interval_s, count.macs, count.pulses, count.conversions)
