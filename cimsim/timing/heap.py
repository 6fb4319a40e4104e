"""The events of the loop in a binary heap, by (key, sequence number, leg)."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.memory import add, get, put
from cimsim.timing.records import *


@jit
def push(m: int, key: int, what: int) -> None:
    """Add an event."""
    index, heap = get(m, H_EVENTS), get(m, H_HEAP)
    put(m, H_EVENTS, index + 1)
    while index > 0:
        parent = (index - 1) >> 1
        x = heap + parent * EVENT
        if not _is_before(m, key, what, get(m, x), get(m, x + X_WHAT)):
            break
        put(m, heap + index * EVENT, get(m, x))
        put(m, heap + index * EVENT + X_WHAT, get(m, x + X_WHAT))
        index = parent
    put(m, heap + index * EVENT, key)
    put(m, heap + index * EVENT + X_WHAT, what)


@jit
def pop(m: int) -> None:
    """Remove the first event."""
    heap, size = get(m, H_HEAP), add(m, H_EVENTS, -1)
    last = heap + size * EVENT
    key, what, index = get(m, last), get(m, last + X_WHAT), 0
    while True:
        child = 2 * index + 1
        if child >= size:
            break
        x = heap + child * EVENT
        if child + 1 < size and _is_before(
            m, get(m, x + EVENT), get(m, x + EVENT + X_WHAT), get(m, x), get(m, x + X_WHAT)
        ):
            child, x = child + 1, x + EVENT
        if not _is_before(m, get(m, x), get(m, x + X_WHAT), key, what):
            break
        put(m, heap + index * EVENT, get(m, x))
        put(m, heap + index * EVENT + X_WHAT, get(m, x + X_WHAT))
        index = child
    put(m, heap + index * EVENT, key)
    put(m, heap + index * EVENT + X_WHAT, what)


@jit
def _is_before(m: int, key: int, what: int, other_key: int, other: int) -> bool:
    if key != other_key:
        return key < other_key
    mine = get(m, (what >> LEG_BITS) + T_SEQUENCE)
    theirs = get(m, (other >> LEG_BITS) + T_SEQUENCE)
    return bool(mine < theirs or (mine == theirs and what < other))
