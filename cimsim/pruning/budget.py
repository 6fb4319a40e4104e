"""What a network may take of a chip: arrays, or energy per frame, counted for given widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.energy.idle import working
from cimsim.energy.model import energy
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.custom import checked_layout, find_strategy
from cimsim.mapping.mapping import map_graph, matrix_name
from cimsim.mapping.strategies import Strategy
from cimsim.pruning.groups import Channels
from cimsim.timing.simulate import simulate
from cimsim.units import format_si

Kept = NDArray[np.bool_]


class Budget(Protocol):
    """Counts what a narrowed network takes; more channels never take less."""

    limit: float

    def of(self, channels: Channels, kept: Kept) -> float:
        """Return what the network takes with these sets."""
        ...

    def step(self, sets: int) -> int:
        """Return how many of a group's sets are tried at once; 0: until something is saved."""
        ...

    def shown(self, value: float) -> str:
        """Return a value with its unit."""
        ...


class Arrays:
    """Arrays of a chip, one layer to an array, counted by the mapping's own layouts.

    Whether the chip has as many does not matter here: a network may be pruned because it is too
    large.

    Parameters
    ----------
    limit : int
    chip : Chip
    strategy : str or Strategy
    """

    def __init__(self, limit: int, chip: Chip, strategy: str | Strategy) -> None:
        self.limit, self.chip = float(limit), chip
        self.strategy = find_strategy(strategy)
        self._known: dict[tuple[str, int, int], int] = {}

    def of(self, channels: Channels, kept: Kept) -> float:
        """Return the arrays that the network takes."""
        return float(sum(self.by_matrix(channels, kept).values()))

    def by_matrix(self, channels: Channels, kept: Kept) -> Mapping[str, int]:
        """Return the arrays that each matrix takes."""
        arrays: dict[str, int] = {}
        for op in channels.narrowed(kept).matrix_ops:
            if matrix_name(op) not in arrays:
                arrays[matrix_name(op)] = self._count(op)
        return arrays

    def _count(self, op: MatrixOp) -> int:
        key = op.name, op.group_rows, op.group_cols
        if key not in self._known:
            self._known[key] = checked_layout(self.strategy, op, self.chip).n_arrays
        return self._known[key]

    def step(self, sets: int) -> int:
        """Cut until an array is saved."""
        return 0

    def shown(self, value: float) -> str:
        """Return ``21 arrays``."""
        return f"{value:.0f} arrays"


class Energy:
    """Energy of one frame on a chip, as `cimsim map` and `cimsim time` would charge it.

    Parameters
    ----------
    limit : float
        J.
    chip : Chip
        Must hold the network as it is.
    strategy : str or Strategy
    """

    def __init__(self, limit: float, chip: Chip, strategy: str | Strategy) -> None:
        self.limit, self.chip, self.strategy = limit, chip, strategy

    def of(self, channels: Channels, kept: Kept) -> float:
        """Return the energy of one frame, J."""
        return energy_j(channels, kept, self.chip, self.strategy)

    def step(self, sets: int) -> int:
        """Cut a sixteenth of the group at a time."""
        return max(1, sets // 16)

    def shown(self, value: float) -> str:
        """Return ``3.1 mJ``."""
        return format_si(value, "J")


def energy_j(channels: Channels, kept: Kept, chip: Chip, strategy: str | Strategy) -> float:
    """Return the energy of one frame at the steady interval, by the activity factor, J.

    Raises
    ------
    MappingError
        When the chip has too few arrays.
    """
    mapping = map_graph(channels.narrowed(kept), chip, strategy)
    timeline = simulate(mapping)
    period_s = timeline.interval_s(chip.process.clock_hz)
    at_work = working(mapping, timeline)
    return energy(mapping, period_s, working_s=at_work, spilled=timeline.spilled).total_j
