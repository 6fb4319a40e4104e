"""Layers share arrays only as far as the network needs, and those that work least share first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from cimsim.chip.spec import Chip
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import Request, no_room
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.allocation.packed import Packed
from cimsim.mapping.allocation.turns import work_s
from cimsim.mapping.placement import PlacedLayer, Slot

# how much longer than the busiest layer alone a group of layers may work; tried one by one
_LIMITS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the layers, those that work least


@dataclass(frozen=True)
class PackedIdle:
    """Arrays shared by layers with few windows, so that no group works longer than it must.

    Layers in one group take turns, so what a group takes for a frame is the sum of its layers'
    times; the slowest group sets the pace. Late layers of a classifier have few windows and many
    weights, and those of depthwise convolutions fill a diagonal and leave nine tenths of each array
    empty: sharing costs them next to nothing. Groups are filled first fit, the longest layers
    first, up to a limit; of the limits the lowest is taken at which the network fits, and at it as
    few layers as can be share.
    """

    name: str = "packed_idle"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Group layers, then pack each group by itself."""
        least = None
        for groups in _groupings(requests, chip):
            layers = _packed(graph, requests, groups, chip)
            needed = 1 + max(_index(s, chip) for layer in layers for s in layer.slots[0])
            if needed <= chip.n_arrays:
                return layers
            least = needed if least is None else min(least, needed)
        raise no_room(graph, chip, requests, least or 0, shared=True)


def _groupings(requests: tuple[Request, ...], chip: Chip) -> Iterator[list[list[int]]]:
    """Yield groups of layers, with more sharing each time: by limits, then by how many share."""
    alone = [work_s(r, tuple(_at(i, chip) for i in range(r.layout.n_arrays)), chip)
             for r in requests]  # fmt: skip
    order = sorted(range(len(requests)), key=lambda i: -alone[i])
    tried: list[list[list[int]]] = []
    for limit, share in product((*_LIMITS, len(requests)), _SHARES):
        own = round(len(order) * (1 - share))
        groups = [[i] for i in order[:own]]
        for i in order[own:]:
            room = limit * alone[order[0]] - alone[i]
            fits = (g for g in groups[own:] if sum(alone[k] for k in g) <= room)
            if (group := next(fits, None)) is None:
                groups.append([i])
            else:
                group.append(i)
        grouping = sorted(sorted(group) for group in groups)
        if grouping not in tried:
            tried.append(grouping)
            yield grouping


def _packed(
    graph: LayerGraph, requests: tuple[Request, ...], groups: Sequence[Sequence[int]], chip: Chip
) -> tuple[PlacedLayer, ...]:
    """Pack each group into arrays of its own, one group behind the other; the chip is endless."""
    most = sum(request.layout.n_arrays for request in requests)
    endless = chip.model_copy(update={"tile": chip.tile.model_copy(update={"count": most})})
    by_number: dict[int, PlacedLayer] = {}
    first = 0
    for group in groups:
        mine = tuple(requests[i] for i in group)
        how = Packed() if len(mine) > 1 else InOrder()
        layers = how.allocate(graph, mine, endless)
        for i, layer in zip(group, layers, strict=True):
            places = (first + _index(slot, chip) for slot in layer.slots[0])
            by_number[i] = replace(layer, slots=(tuple(_at(place, chip) for place in places),))
        first = 1 + max(_index(s, chip) for i in group for s in by_number[i].slots[0])
    return tuple(by_number[i] for i in range(len(requests)))


def _index(slot: Slot, chip: Chip) -> int:
    return chip.tile.arrays * slot.tile + slot.array


def _at(index: int, chip: Chip) -> Slot:
    return Slot(*divmod(index, chip.tile.arrays))
