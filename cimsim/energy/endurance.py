"""What it takes to run a network that the chip does not hold: writing weights again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import layouts, matrix_name
from cimsim.mapping.strategies import Strategy

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Reprogramming:
    """A schedule that writes the chip anew, load after load.

    Attributes
    ----------
    loads : int
        Fillings of the chip that hold the whole network; 1 if it fits and nothing is rewritten.
    writes_per_day : float
        How often each array is written.
    cells_per_day : float
        Cells written, all arrays.
    power_w : float
        Mean power of writing.
    writing_share : float
        Share of the time that writing takes; above 1 the frame rate cannot be kept.
    days_to_wear : float
        Until cells reach the chip's ``programming.endurance_cycles``; infinite where nothing is
        rewritten or no endurance is given.
    """

    loads: int
    writes_per_day: float
    cells_per_day: float
    power_w: float
    writing_share: float
    days_to_wear: float


def reprogramming(
    graph: LayerGraph,
    chip: Chip,
    frame_rate_hz: float,
    frames_per_load: int = 1,
    strategy: str | Strategy = "im2col",
) -> Reprogramming:
    """Count what running a network in loads costs.

    The arrays of the network are dealt into ``ceil(needed / present)`` loads; for every batch of
    frames each load is written once and run on the whole batch. All arrays of a load are erased and
    written one after another, as in `cimsim.energy.model.programming`.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip
    frame_rate_hz : float
    frames_per_load : int
        Frames that a load is run on before the next one is written: latency and buffers for wear.
    strategy : str or Strategy

    Raises
    ------
    ConfigError
        A rate or a number of frames that is not positive.
    """
    for name, value in (("frame_rate_hz", frame_rate_hz), ("frames_per_load", frames_per_load)):
        if not 0 < value < math.inf:
            raise ConfigError(f"{name}: expected more than 0, got {value}")
    by_name = layouts(graph, chip, strategy)
    by_matrix = {matrix_name(op): by_name[op.name] for op in graph.matrix_ops}
    arrays = sum(layout.n_arrays for layout in by_matrix.values())
    loads = math.ceil(arrays / chip.n_arrays)
    if loads == 1:
        return Reprogramming(1, 0.0, 0.0, 0.0, 0.0, math.inf)
    rounds_per_s = frame_rate_hz / frames_per_load
    cells = sum(cells_written(layout, chip) for layout in by_matrix.values())
    plan = chip.programming
    energy_j = arrays * plan.erase_energy_j + cells * plan.pulses_per_cell * plan.pulse_energy_j
    steps = cells / plan.parallel_cells * plan.pulses_per_cell
    time_s = arrays * plan.t_erase_s + steps * plan.t_pulse_s
    # each load rewrites the arrays that it uses; the fullest ones see all of them
    writes = loads * rounds_per_s * DAY_S
    endurance = plan.endurance_cycles
    return Reprogramming(
        loads, writes, cells * rounds_per_s * DAY_S, energy_j * rounds_per_s,
        time_s * rounds_per_s, math.inf if endurance is None else endurance / writes,
    )  # fmt: skip


def cells_written(layout: Layout, chip: Chip) -> int:
    """Cells of one copy of a matrix: those of weights, and a reference per row and slice.

    The same count as `cimsim.mapping.mapping.Mapping.cells_of`, before anything is placed.
    """
    weights = chip.weights
    cells = weights.cells_per_slice * weights.slices * layout.cells_used
    return (cells + weights.reference_cols * sum(layout.rows_used)) * layout.lines_per_row
