"""The events of the loop in a binary heap, by (key, sequence number, reservation)."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.loop.accessors import kept_apart
from cimsim.timing.loop.places import stage_at
from cimsim.timing.loop.records import RESERVATION_BITS, Header


@jit
def push(header: Header, key: int, what: int) -> None:
    """Add an event."""
    kept_apart()
    index, heap = header.events, header.heap
    header.events = index + 1
    while index > 0:
        above = heap[(index - 1) >> 1]
        if not _is_before(header, key, what, above.key, above.what):
            break
        place = heap[index]
        place.key, place.what = above.key, above.what
        index = (index - 1) >> 1
    place = heap[index]
    place.key, place.what = key, what


@jit
def pop(header: Header) -> None:
    """Remove the first event."""
    heap, size = header.heap, header.events - 1
    header.events = size
    last = heap[size]
    key, what, index = last.key, last.what, 0
    while True:
        child = 2 * index + 1
        if child >= size:
            break
        one = heap[child]
        if child + 1 < size:
            other = heap[child + 1]
            if _is_before(header, other.key, other.what, one.key, one.what):
                child, one = child + 1, other
        if not _is_before(header, one.key, one.what, key, what):
            break
        place = heap[index]
        place.key, place.what = one.key, one.what
        index = child
    place = heap[index]
    place.key, place.what = key, what


@jit
def _is_before(header: Header, key: int, what: int, other_key: int, other: int) -> bool:
    if key != other_key:
        return key < other_key
    mine = stage_at(header, what >> RESERVATION_BITS).sequence
    theirs = stage_at(header, other >> RESERVATION_BITS).sequence
    return mine < theirs or (mine == theirs and what < other)
