"""Arrays that hold several matrices: who would disturb whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cimsim.mapping.placement import Placement

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A block on a driven row and a read column of somebody else.

    Attributes
    ----------
    first : Placement
        A block of those that fire.
    second : Placement
        The block whose cells would add to their sums.
    """

    first: Placement
    second: Placement


def first_disturbed(places: Sequence[Placement]) -> Disturbed | None:
    """Return a block of one array that lies where rows and columns of another firing cross.

    Blocks of one layer, replica and local array fire together: all their rows are driven and all
    their columns are read. A cell on such a row and column conducts, whoever it belongs to.
    """
    firing: dict[tuple[str, int, int], list[Placement]] = defaultdict(list)
    for place in places:
        firing[place.layer, place.replica, place.local].append(place)
    if len(firing) == 1:
        return None
    for key, own in firing.items():
        rows = union((p.row0, p.row0 + p.rows) for p in own)
        cols = union((p.col0, p.col0 + p.cols) for p in own)
        if len(rows) == len(cols) == 1 and len(own) == 1:
            continue  # a single rectangle: overlaps are looked for elsewhere
        for other in places:
            if (other.layer, other.replica, other.local) != key and (
                _meets(rows, other.row0, other.rows) and _meets(cols, other.col0, other.cols)
            ):
                return Disturbed(own[0], other)
    return None


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of half-open intervals as disjoint ones, in order."""
    disjoint: list[Interval] = []
    for start, stop in sorted(intervals):
        if disjoint and start <= disjoint[-1][1]:
            disjoint[-1] = (disjoint[-1][0], max(disjoint[-1][1], stop))
        else:
            disjoint.append((start, stop))
    return disjoint


def _meets(intervals: list[Interval], start: int, length: int) -> bool:
    return any(first < start + length and start < stop for first, stop in intervals)
