"""What stored activations set free: readers, line buffers, frames."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.admission import pixels_through, windows_wanted
from cimsim.timing.memory import add, get, put
from cimsim.timing.records import *


@jit
def finish(m: int, q: int, sequence: int, at: int) -> None:
    """Count a stored activation and extend the unit's stored prefix."""
    u, ring = get(m, q + F_UNIT), get(m, H_RING)
    if get(m, q + F_TRACE) > 0:
        put(m, get(m, q + F_TRACE) + sequence * TRACE + 12, at)
    put(m, H_LATEST, max(get(m, H_LATEST), at))
    put(m, get(m, u + U_RING) + (sequence & (ring - 1)), at)
    replicas, n = get(m, u + U_REPLICAS), get(m, u + U_ACTIVATIONS)
    if replicas == 1:
        _extend(m, u)
        return
    if 2 * (sequence - get(m, u + U_PREFIX)) >= ring:
        put(m, H_FULL, 1)
    if add(m, q + F_UNDONE_INDEX, replicas) >= n:
        put(m, q + F_UNDONE_INDEX, get(m, q + F_REPLICA))
        add(m, q + F_UNDONE_FRAME, 1)
    prefix = FAR
    for replica in range(min(replicas, n)):
        q = get(m, u + U_FEEDER) + replica * FEEDER
        prefix = min(prefix, get(m, q + F_UNDONE_FRAME) * n + get(m, q + F_UNDONE_INDEX))
    while get(m, u + U_PREFIX) < prefix:
        _extend(m, u)


@jit
def _extend(m: int, u: int) -> None:
    """Add one activation to the stored prefix of ``u``: occupancy, frames, and who waits for it."""
    cell = get(m, u + U_RING) + (get(m, u + U_PREFIX) & (get(m, H_RING) - 1))
    at = max(get(m, u + U_AT), get(m, cell))
    put(m, cell, at)
    put(m, u + U_AT, at)
    add(m, u + U_PREFIX, 1)
    windows = min(
        get(m, u + U_PER_ACTIVATION), get(m, u + U_WINDOWS) - get(m, u + U_IN_FRAME)
    )  # fmt: skip
    done = add(m, u + U_DONE, windows)
    add(m, u + U_IN_FRAME, windows)
    row = get(m, u + U_ROW)
    x = add(m, u + U_X, windows)
    if x >= row:
        while x >= row:
            x -= row
            _end_row(m, u, at)
        put(m, u + U_X, x)
    measure_all(m, u)
    for index in range(get(m, u + U_WATCH_COUNT)):
        w = get(m, u + U_WATCHES) + index * WATCH
        q = get(m, w + W_FEEDER)
        # who waits does so for more than was there before, so it is called exactly once
        wanted = get(m, q + F_WANTED)
        if get(m, q + F_NEED) == get(m, w + W_NEED) and done - windows < wanted <= done:
            _call(m, get(m, q + F_PIPE))


@jit
def _end_row(m: int, u: int, at: int) -> None:
    """Free what a finished map row of ``u`` held, and close its frame after the last one."""
    rows = get(m, u + U_ROWS)
    y = get(m, u + U_FRAMES) * rows + get(m, u + U_Y)
    put(m, get(m, u + U_ROW_RING) + (y & (get(m, H_RING) - 1)), at)
    if add(m, u + U_Y, 1) == rows:
        frame = get(m, H_FRAMES) + get(m, u + U_FRAMES) * FRAME
        add(m, frame, -1)
        put(m, frame + 1, max(get(m, frame + 1), at))
        add(m, u + U_FRAMES, 1)
        put(m, u + U_IN_FRAME, 0)
        put(m, u + U_Y, 0)
    for index in range(get(m, u + U_IN_COUNT)):
        e = get(m, get(m, u + U_IN) + index)
        before, producer = get(m, e + E_FREED), get(m, e + E_PRODUCER)
        _measure(m, producer, e)
        freed = get(m, u + U_FRAMES) * get(m, producer + U_FRAME)
        freed += get(m, get(m, e + E_TABLE) + get(m, u + U_Y))
        put(m, e + E_FREED, freed)
        if get(m, e + E_CAPACITY) == NO_LIMIT:
            continue
        waits = get(m, producer + U_NEED_COUNT) + get(m, e + E_PLACE)
        for replica in range(get(m, producer + U_REPLICAS)):
            q = get(m, producer + U_FEEDER) + replica * FEEDER
            if get(m, q + F_NEED) == waits and before < get(m, q + F_WANTED) <= freed:
                _call(m, get(m, q + F_PIPE))


@jit
def measure_all(m: int, u: int) -> None:
    """Look for the peaks of all edges from a unit."""
    for index in range(get(m, u + U_OUT_COUNT)):
        _measure(m, u, get(m, u + U_OUT) + index * EDGE)


@jit
def _measure(m: int, u: int, e: int) -> None:
    """Look for the peak of an edge at all stores before the cycle at hand.

    Those of later cycles must wait, since what is released until then is not known.
    """
    c, ring = get(m, e + E_CONSUMER), get(m, H_RING)
    seen, prefix, now = get(m, e + E_SEEN), get(m, u + U_PREFIX), get(m, H_NOW)
    while seen < prefix:
        at = get(m, get(m, u + U_RING) + (seen & (ring - 1)))
        put(m, H_BACK, max(get(m, H_BACK), prefix - seen))
        if at >= now:
            break
        rows = get(m, c + U_ROWS)
        known = get(m, c + U_FRAMES) * rows + get(m, c + U_Y)
        row = max(get(m, e + E_ROW), known - ring // 2)
        put(m, H_ROWS_BACK, max(get(m, H_ROWS_BACK), known - row))
        while row < known and get(m, get(m, c + U_ROW_RING) + (row & (ring - 1))) <= at:
            row += 1
        if row != get(m, e + E_ROW):
            put(m, e + E_ROW, row)
            frame = row // rows
            gone = frame * get(m, u + U_FRAME) + get(m, get(m, e + E_TABLE) + row - frame * rows)
            put(m, e + E_GONE, gone)
        seen += 1
        windows, all_windows = get(m, u + U_PER_ACTIVATION), get(m, u + U_WINDOWS)
        if windows > 1 and seen % get(m, u + U_ACTIVATIONS) == 0:
            windows = all_windows - (get(m, u + U_ACTIVATIONS) - 1) * windows
        written = add(m, e + E_WRITTEN, windows * get(m, u + U_BLOCK))
        put(m, e + E_PEAK, max(get(m, e + E_PEAK), written - get(m, e + E_GONE)))
    put(m, e + E_SEEN, seen)


@jit
def _call(m: int, p: int) -> None:
    """Have a pipeline looked at."""
    put(m, get(m, H_STACK) + get(m, H_CALLS), p)
    add(m, H_CALLS, 1)


@jit
def _next_of(m: int, u: int) -> int:
    """Feeder of the next activation of a unit, the first in sequence; 0: there is none."""
    first, head = 0, FAR
    for replica in range(get(m, u + U_REPLICAS)):
        q = get(m, u + U_FEEDER) + replica * FEEDER
        sequence = get(m, q + F_FRAME) * get(m, u + U_ACTIVATIONS) + get(m, q + F_INDEX)
        waits = get(m, q + F_FRAME) < get(m, H_FRAME) and replica < get(m, u + U_ACTIVATIONS)
        if waits and sequence < head:
            first, head = q, sequence
    return first


@jit
def _mark_awaited(m: int) -> None:
    """Note of each unit whether the next activation of another one lacks its pixels."""
    units, count = get(m, H_UNITS), get(m, H_UNIT_COUNT)
    for place in range(count):
        put(m, units + place * UNIT + U_AWAITED, 0)
    for place in range(count):
        u = units + place * UNIT
        q = _next_of(m, u)
        for index in range(get(m, q + F_NEED) if q != 0 else FAR, get(m, u + U_NEED_COUNT)):
            need = get(m, u + U_NEEDS) + index * NEED
            producer = get(m, need + N_PRODUCER)
            if get(m, producer + U_DONE) < windows_wanted(m, q, u, need):
                put(m, producer + U_AWAITED, 1)


@jit
def widen(m: int) -> bool:
    """Nothing can happen: give a unit that lacks nothing but credit what it lacks."""
    _mark_awaited(m)
    first, best = 0, FAR
    for place in range(get(m, H_UNIT_COUNT) - 1, -1, -1):
        u = get(m, H_UNITS) + place * UNIT
        q = _next_of(m, u)
        if q != 0 and get(m, q + F_NEED) >= get(m, u + U_NEED_COUNT):
            late = get(m, q + F_FRAME) + (1 - get(m, u + U_AWAITED)) * get(m, H_FRAME)
            if late < best:
                first, best = q, late
    if first == 0:
        return False
    u = get(m, first + F_UNIT)
    written = pixels_through(m, first, u)
    for index in range(get(m, u + U_CREDIT_COUNT)):
        e = get(m, get(m, u + U_CREDITS) + index)
        held = written - get(m, e + E_FREED)
        put(m, e + E_CAPACITY, max(get(m, e + E_CAPACITY), held))
    put(m, first + F_NEED, get(m, u + U_NEED_COUNT))
    put(m, first + F_WANTED, UNKNOWN)
    put(m, first + F_READY, max(get(m, first + F_READY), get(m, H_LATEST)))
    _call(m, get(m, first + F_PIPE))
    return True
