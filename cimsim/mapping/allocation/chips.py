"""A network on several chips: cut where the least data crosses, a layer only if it must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cimsim.chip.spec import Chip
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.allocation.base import NoRoomError, Request, slot
from cimsim.mapping.dataflow import nodes
from cimsim.mapping.placement import PlacedLayer

Cuts = dict[int, tuple[int, int, int, int]]  # layers placed -> how they are placed best


@dataclass(frozen=True, slots=True)
class Partition:
    """Layers in a row, in parts; a part is one chip, or the chips that its first layer must span.

    Attributes
    ----------
    first : tuple of int
        Number of the first request of each part.
    chips : tuple of int
        Chips of each part: one, unless its first layer is larger than a chip.
    arrays : tuple of int
        Arrays of each part.
    crossing : tuple of int
        Bytes of one frame that pass between each part and the next, in both directions.
    """

    first: tuple[int, ...]
    chips: tuple[int, ...]
    arrays: tuple[int, ...]
    crossing: tuple[int, ...]


@dataclass(frozen=True)
class ByChip:
    """Contiguous layers on each chip of ``system.chips``, whole arrays in order on each.

    A layer larger than a chip begins on a chip of its own and takes as many as it must.
    """

    name: str = "by_chip"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Partition, then count through the arrays of each chip."""
        parts = partition(graph, requests, chip)
        layers = []
        per_chip = chip.tile.count * chip.tile.arrays
        for number, begin in enumerate(parts.first):
            following = sum(parts.chips[:number]) * per_chip
            end = parts.first[number + 1] if number + 1 < len(parts.first) else len(requests)
            for request in requests[begin:end]:
                n = request.layout.n_arrays
                layers.append(request.placed(tuple(slot(following + i, chip) for i in range(n))))
                following += n
        return tuple(layers)


def partition(graph: LayerGraph, requests: tuple[Request, ...], chip: Chip) -> Partition:
    """Cut the layers, in execution order, into parts that fit a chip each.

    Of all such cuts onto at most ``system.chips``: the fewest bytes between parts that follow each
    other (data for a later chip passes through those between), then the smallest largest number of
    arrays of a chip. Dynamic programming over the order, exact. A layer larger than a chip is the
    first one of a part of just as many chips as it needs; layers behind it may share the last of
    them. What passes between the chips of such a part is the same for every cut.

    Raises
    ------
    MappingError
        Too few chips.
    """
    sizes = [request.layout.n_arrays for request in requests]
    room = chip.tile.count * chip.tile.arrays
    cost = crossing_bytes(graph, requests, chip)
    # best[k][i]: (bytes, largest chip, where the last part begins, its chips) of i layers on k
    best: list[Cuts] = [{0: (0, 0, 0, 0)}, *({} for _ in range(chip.system.chips))]
    for used in range(chip.system.chips):
        _one_more(best, used, sizes, cost, room)
    whole = len(requests)
    options = [(best[k][whole][:2], k) for k in range(1, len(best)) if whole in best[k]]
    if not options:
        needed = _chips(sizes, room)
        raise NoRoomError(
            f"network '{graph.name}' needs {needed} chips of {room} arrays when layers stay in "
            f"order and cross no border that they need not ({sum(sizes)} arrays), chip "
            f"'{chip.name}' has system.chips = {chip.system.chips}. Ways out: --set "
            f"system.chips={needed}; larger chips (--set tile.count=...); layers that cross "
            "borders (--allocation in_order)",
            needs=_on_whole_chips,
        )
    _, k = min(options)
    parts, end = [], whole
    while k:
        parts.append(best[k][end][2:])
        k, end = k - parts[-1][1], parts[-1][0]
    first, chips = (tuple(values) for values in zip(*reversed(parts), strict=True))
    ends = (*first[1:], whole)
    arrays = tuple(sum(sizes[a:b]) for a, b in zip(first, ends, strict=True))
    return Partition(first, chips, arrays, tuple(cost[begin] for begin in first[1:]))


def _on_whole_chips(sizes: Sequence[int], chip: Chip) -> int:
    """Return how many arrays the chips have that layers of so many need."""
    room = chip.tile.count * chip.tile.arrays
    return _chips(sizes, room) * room


def _chips(sizes: Sequence[int], room: int) -> int:
    """Fewest chips: each one takes layers as long as they fit."""
    chips, left = 0, 0
    for size in sizes:
        if size > left:
            more = -(-size // room)
            chips, left = chips + more, more * room
        left -= size
    return chips


def _one_more(best: list[Cuts], used: int, sizes: list[int], cost: list[int], room: int) -> None:
    """Add a part behind each best cut onto ``used`` chips."""
    for begin, (crossed, largest, *_) in best[used].items():
        if begin == len(sizes):
            continue
        chips, taken = -(-sizes[begin] // room), 0
        if used + chips >= len(best):
            continue
        for end in range(begin + 1, len(sizes) + 1):
            taken += sizes[end - 1]
            if taken > chips * room:
                break
            fullest = max(largest, min(taken, room))
            option = (crossed + cost[begin], fullest, begin, chips)
            reached = best[used + chips]
            if end not in reached or option < reached[end]:
                reached[end] = option


def crossing_bytes(graph: LayerGraph, requests: tuple[Request, ...], chip: Chip) -> list[int]:
    """Return the bytes of one frame that pass each cut between layers, both directions together.

    Returns
    -------
    list of int
        ``[i]``: the cut in front of request ``i``; the first one is 0. Input frames come from
        outside and count nowhere. Data that several layers beyond a cut read passes it once.
    """
    place = {op.name: i for i, request in enumerate(requests) for op in request.ops}
    work = nodes(graph)
    for node in work:
        if node.kind == "vector":  # where the last node that it needs is
            sources = [place[n.producer] for n in node.dependencies if n.producer in place]
            place[node.name] = max(sources, default=0)
    readers: dict[str, list[int]] = {}
    for node in work:
        for dependency in node.dependencies:
            readers.setdefault(dependency.producer, []).append(place[node.name])
    cost = [0] * len(requests)
    for node in work:
        if node.kind == "input" or node.name not in readers:
            continue
        size = node.windows * node.stored * chip.input_bytes
        here, read_at = place[node.name], readers[node.name]
        for cut in range(min(here, *read_at) + 1, max(here, *read_at) + 1):
            cost[cut] += size
    return cost
