"""Allocation: which arrays of the chip the pieces of each layer take."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from typing import cast

from cimsim.boundary.own import ask, require
from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.around_faults import AroundFaults
from cimsim.mapping.allocation.base import Allocation as Allocation
from cimsim.mapping.allocation.base import Request as Request
from cimsim.mapping.allocation.base import requests_of as requests_of
from cimsim.mapping.allocation.chips import ByChip
from cimsim.mapping.allocation.idle import PackedIdle
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.allocation.line_order import ShortWires
from cimsim.mapping.allocation.loads import Loads
from cimsim.mapping.allocation.packed import Packed
from cimsim.mapping.custom import ALLOCATION_GROUP, checked, find
from cimsim.mapping.placement import PlacedLayer

ALLOCATIONS: dict[str, Allocation] = {
    "in_order": InOrder(),
    "in_order_by_tile": InOrder(region="tile", name="in_order_by_tile"),
    "by_chip": ByChip(),
    "short_wires": ShortWires(),
    "around_faults": AroundFaults(),
    "loads": Loads(),
    "packed": Packed(),
    "packed_idle": PackedIdle(),
    "packed_exact": Packed(exact=True, name="packed_exact"),
}


def allocation_of(
    where: str | Allocation, known: MappingABC[str, Allocation] = ALLOCATIONS
) -> Allocation:
    """Return an allocation by name, import path or entry point; objects pass through.

    Raises
    ------
    MappingError
        An unknown name, or something that is no allocation.
    """
    if isinstance(where, str):
        return cast(Allocation, find(where, known, ALLOCATION_GROUP, "allocation", "allocate"))
    return cast(Allocation, checked(where, "allocate", repr(where)))


def allocated(
    where: Allocation, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
) -> tuple[PlacedLayer, ...]:
    """Ask an allocation for places and make sure that there is one for each request.

    Raises
    ------
    MappingError
        No room; or one of the user's own failed or gave something else. Whether places are legal,
        the mapping says.
    """

    def rule(value: object, *arguments: object) -> None:
        require(
            isinstance(value, tuple | list)
            and all(isinstance(layer, PlacedLayer) for layer in value)
            and [layer.name for layer in value] == [request.name for request in requests],
            "expected a tuple with a PlacedLayer for each request, in their order",
        )

    layers = ask(where, "allocate", graph, requests, chip, place="allocation", rule=rule,
                 error=MappingError)  # fmt: skip
    return tuple(cast(Sequence[PlacedLayer], layers))
