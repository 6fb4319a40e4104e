"""Layers that share their arrays on purpose, so that copies of all of them fill the chip evenly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cimsim.chip.spec import Chip
from cimsim.mapping.allocation.base import Request, on_fewest_chips, slot
from cimsim.mapping.allocation.packed import boxes
from cimsim.mapping.allocation.rectangles import Piece, Room, Spot, pack_first_fit
from cimsim.mapping.placement import Origin, PlacedLayer


@dataclass(frozen=True)
class Group:
    """Layers on the same arrays.

    Attributes
    ----------
    members : tuple of int
        Numbers of the requests.
    spots : dict
        Request -> for each of its local arrays, which array of the group it is in (``spot.array``)
        and where.
    """

    members: tuple[int, ...]
    spots: dict[int, tuple[Spot, ...]]

    @property
    def n_arrays(self) -> int:
        """Arrays of one copy."""
        return 1 + max(spot.array for spots in self.spots.values() for spot in spots)


def grouped(requests: Sequence[Request], chip: Chip) -> list[Group]:
    """Join layers of equal numbers of local arrays, first fit in execution order.

    Local array ``i`` of each member lies in array ``i`` of the group, so a member fires all its
    arrays at once as it does alone. Joining such layers wastes no time of any array.
    """
    groups: list[Group] = []
    for number, request in enumerate(requests):
        for index, group in enumerate(groups):
            if group.n_arrays == request.layout.n_arrays:
                joined = _group((*group.members, number), requests, chip)
                if joined is not None:
                    groups[index] = joined
                    break
        else:
            alone = _group((number,), requests, chip)
            if alone is None:
                raise ValueError("a layout leaves its own arrays")
            groups.append(alone)
    return groups


def _group(members: tuple[int, ...], requests: Sequence[Request], chip: Chip) -> Group | None:
    room = Room(1, chip.array.rows, chip.weight_cols)
    spots: dict[int, list[Spot]] = {member: [] for member in members}
    for local in range(requests[members[0]].layout.n_arrays):
        pieces: list[Piece] = [boxes(requests[member])[local][1] for member in members]
        packing = pack_first_fit(pieces, room)
        if packing is None:
            return None
        for n, member in enumerate(members):
            spots[member].append(replace(packing[n], array=local))
    return Group(members, {member: tuple(places) for member, places in spots.items()})


def group_cost(
    groups: Sequence[Group], stages: Callable[[int, int], Sequence[float]]
) -> Callable[[int, int], float]:
    """Return ``cost(group, copies)``: cycles of one frame in the busiest stage of a copy.

    Parameters
    ----------
    groups : sequence of Group
    stages : callable
        ``stages(layer, replicas)``: cycles of one frame in each stage.
    """

    def cost(group: int, copies: int) -> float:
        each = [stages(member, copies) for member in groups[group].members]
        busiest: float = max(sum(values) for values in zip(*each, strict=True))
        return busiest

    return cost


def place_groups(
    groups: Sequence[Group], copies: Sequence[int], requests: Sequence[Request], chip: Chip
) -> tuple[PlacedLayer, ...]:
    """Place that many copies of each group, group after group.

    A member has no more copies than activations; the others hold their place empty.
    """
    placed: dict[int, PlacedLayer] = {}
    following = 0
    for group, count in zip(groups, copies, strict=True):
        n, starts = group.n_arrays, []
        for _ in range(count):
            starts.append(on_fewest_chips(following, n, chip))
            following = starts[-1] + n
        for member in group.members:
            corners = [corner for corner, _ in boxes(requests[member])]
            spots = group.spots[member]
            origins = tuple(_origin(s, c) for s, c in zip(spots, corners, strict=True))
            useful = min(count, requests[member].activations)
            slots = [tuple(slot(start + s.array, chip) for s in spots) for start in starts[:useful]]
            moved = (origins,) * useful if any(o != (0, 0) for o in origins) else ()
            placed[member] = replace(requests[member].placed(*slots), origins=moved)
    return tuple(placed[number] for number in range(len(requests)))


def _origin(spot: Spot, corner: Origin) -> Origin:
    return spot.row - corner[0], spot.col - corner[1]
