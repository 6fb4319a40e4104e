"""Allocation: which arrays of the chip the pieces of each layer take."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import cast

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
