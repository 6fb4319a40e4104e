"""From a graph and a chip to a mapping, with everything that can be named: the public door.

Strategies cut matrices, allocations give the pieces their arrays, and a mapping file holds what
both did. Allocations that look at time stand above `cimsim.mapping`, so they come in here.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from pathlib import Path

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation import ALLOCATIONS as _PLAIN
from cimsim.mapping.allocation import Allocation, allocation_of
from cimsim.mapping.custom import find_strategy
from cimsim.mapping.files import is_file, load_mapping
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.mapping import map_graph as _map_graph
from cimsim.mapping.strategies import Strategy
from cimsim.timing.analysis.replicas import Replicated, Shared, WholeCopies

ALLOCATIONS: MappingABC[str, Allocation] = {
    **_PLAIN,
    "replicated": Replicated(),
    "whole_copies": WholeCopies(),
    "shared": Shared(),
}


def map_graph(
    graph: LayerGraph,
    chip: Chip,
    strategy: str | Path | Strategy = "im2col",
    allocation: str | Allocation = "in_order",
) -> Mapping:
    """Place a network on a chip.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip
    strategy : str, Path or Strategy
        How matrices are cut: a name, ``package.module:Class``, an object with a method ``place``;
        or the path of a mapping file (.yaml, .json), which says the arrays, too.
    allocation : str or Allocation
        Which arrays the pieces take: ``in_order`` (each array holds one layer), ``packed`` (layers
        share arrays), ``replicated`` (spare arrays hold copies, smallest interval), another
        name of `ALLOCATIONS`, ``package.module:Class``, or an object with a method ``allocate``.

    Raises
    ------
    MappingError
        If the chip has no room, a name is unknown, or a file or a layout is not legal.
    """
    if is_file(strategy):
        return load_mapping(Path(str(strategy)), graph, chip)
    if isinstance(strategy, Path):
        strategy = str(strategy)
    return _map_graph(graph, chip, strategy, resolve(allocation))


def resolve(allocation: str | Allocation) -> Allocation:
    """Return an allocation by name; objects pass through.

    Raises
    ------
    MappingError
        An unknown name, or something that is no allocation.
    """
    return allocation_of(allocation, ALLOCATIONS)


def check(strategy: str, allocation: str) -> None:
    """Refuse unknown names and missing files before anything takes long.

    Raises
    ------
    MappingError
        Which one, and what is known.
    """
    if is_file(strategy):
        from cimsim.mapping.files import read

        read(Path(strategy))
        if allocation != "in_order":
            raise MappingError(
                f"--allocation {allocation}: the mapping file '{strategy}' says which arrays the "
                "layers take; leave --allocation out"
            )
    else:
        find_strategy(strategy)
    resolve(allocation)
