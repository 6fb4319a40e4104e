"""A network on several chips: cut where the least data crosses."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import Request, slot
from cimsim.mapping.dataflow import units
from cimsim.mapping.placement import PlacedLayer


@dataclass(frozen=True, slots=True)
class Partition:
    """Layers in a row on one chip after another.

    Attributes
    ----------
    first : tuple of int
        Number of the first request of each chip in use.
    arrays : tuple of int
        Arrays that each chip gives.
    crossing : tuple of int
        Bytes of one frame that pass between each chip and the next, in both directions.
    """

    first: tuple[int, ...]
    arrays: tuple[int, ...]
    crossing: tuple[int, ...]


@dataclass(frozen=True)
class ByChip:
    """Contiguous layers on each chip of ``system.chips``, whole arrays in order on each."""

    name: str = "by_chip"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Partition, then count through the arrays of each chip."""
        found = partition(graph, requests, chip)
        layers = []
        per_chip = chip.tile.count * chip.tile.arrays
        for number, begin in enumerate(found.first):
            following = number * per_chip
            end = found.first[number + 1] if number + 1 < len(found.first) else len(requests)
            for request in requests[begin:end]:
                n = request.layout.n_arrays
                layers.append(request.placed(tuple(slot(following + i, chip) for i in range(n))))
                following += n
        return tuple(layers)


def partition(graph: LayerGraph, requests: tuple[Request, ...], chip: Chip) -> Partition:
    """Cut the layers, in execution order, into parts that fit a chip each.

    Of all such cuts into at most ``system.chips`` parts: the fewest bytes between chips that follow
    each other (data for a later chip passes through those between), then the smallest largest part.
    Dynamic programming over the order, exact.

    Raises
    ------
    MappingError
        A layer larger than a chip, or too few chips.
    """
    sizes = [request.layout.n_arrays for request in requests]
    room = chip.tile.count * chip.tile.arrays
    for request in requests:
        if request.layout.n_arrays > room:
            raise MappingError(
                f"layer '{request.name}' needs {request.layout.n_arrays} arrays, one chip has "
                f"{room}: take larger chips (--set tile.count=...) or larger arrays"
            )
    cost = crossing_bytes(graph, requests, chip)
    # best[k][i]: (bytes, largest part, where the last part begins) of i layers on k chips
    best: list[dict[int, tuple[int, int, int]]] = [{0: (0, 0, 0)}]
    for _ in range(chip.system.chips):
        best.append(_one_more(best[-1], sizes, cost, room))
    whole = len(requests)
    options = [(best[k][whole][:2], k) for k in range(1, len(best)) if whole in best[k]]
    if not options:
        needed = _chips(sizes, room)
        raise MappingError(
            f"network '{graph.name}' needs {needed} chips of {room} arrays when layers stay in "
            f"order and whole ({sum(sizes)} arrays), chip '{chip.name}' has system.chips = "
            f"{chip.system.chips}: take --set system.chips={needed}, or larger chips "
            "(--set tile.count=...)"
        )
    _, k = min(options)
    starts, end = [], whole
    for chips in range(k, 0, -1):
        starts.append(best[chips][end][2])
        end = starts[-1]
    first = tuple(reversed(starts))
    ends = (*first[1:], whole)
    arrays = tuple(sum(sizes[a:b]) for a, b in zip(first, ends, strict=True))
    return Partition(first, arrays, tuple(cost[begin] for begin in first[1:]))


def _chips(sizes: list[int], room: int) -> int:
    """Fewest chips: each one takes layers as long as they fit."""
    chips, used = 1, 0
    for size in sizes:
        if used + size > room:
            chips, used = chips + 1, 0
        used += size
    return chips


def _one_more(
    before: dict[int, tuple[int, int, int]], sizes: list[int], cost: list[int], room: int
) -> dict[int, tuple[int, int, int]]:
    """Return the best cuts with one more chip, by the number of layers."""
    found: dict[int, tuple[int, int, int]] = {}
    for begin, (crossed, largest, _) in before.items():
        used = 0
        for end in range(begin + 1, len(sizes) + 1):
            used += sizes[end - 1]
            if used > room:
                break
            option = (crossed + cost[begin], max(largest, used), begin)
            if end not in found or option < found[end]:
                found[end] = option
    return found


def crossing_bytes(graph: LayerGraph, requests: tuple[Request, ...], chip: Chip) -> list[int]:
    """Return the bytes of one frame that pass each cut between layers, both directions together.

    Returns
    -------
    list of int
        ``[i]``: the cut in front of request ``i``; the first one is 0. Input frames come from
        outside and count nowhere. Data that several layers beyond a cut read passes it once.
    """
    place = {op.name: i for i, request in enumerate(requests) for op in request.ops}
    work = units(graph)
    for unit in work:
        if unit.kind == "vector":  # where the last unit that it needs is
            sources = [place[n.producer] for n in unit.needs if n.producer in place]
            place[unit.name] = max(sources, default=0)
    readers: dict[str, list[int]] = {}
    for unit in work:
        for need in unit.needs:
            readers.setdefault(need.producer, []).append(place[unit.name])
    cost = [0] * len(requests)
    for unit in work:
        if unit.kind == "input" or unit.name not in readers:
            continue
        size = unit.windows * unit.stored * chip.input_bytes
        here, found = place[unit.name], readers[unit.name]
        for cut in range(min(here, *found) + 1, max(here, *found) + 1):
            cost[cut] += size
    return cost
