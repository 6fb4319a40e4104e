"""Which activation a pipeline lets in, and when: needs, credit, turns of several units."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.heap import push
from cimsim.timing.memory import add, get, put
from cimsim.timing.records import *
from cimsim.timing.stages import begin, event_key, may_leave, move


@jit
def admit(m: int, p: int) -> None:
    """Let the head of a pipeline's only unit in, or call for the next of several units."""
    t = p + P_STAGES
    if get(m, p + P_FEEDER_COUNT) > 1:
        _call_next(m, p)
        return
    q = get(m, get(m, p + P_FEEDERS))
    while get(m, t + T_SEQUENCE) == EMPTY and _is_ready(m, q):
        _enter(m, q, t, max(get(m, q + F_READY), get(m, t + T_FREE)))
        at = t
        while may_leave(m, at):
            at = move(m, at)


@jit
def _is_ready(m: int, q: int) -> bool:
    """Whether all needs of a feeder's head are stored and its output has room.

    Then F_READY is the first cycle in which that is so.
    """
    u = get(m, q + F_UNIT)
    if get(m, q + F_FRAME) == get(m, H_FRAME) or get(m, q + F_INDEX) >= get(m, u + U_ACTIVATIONS):
        return False
    needs = get(m, u + U_NEED_COUNT)
    while get(m, q + F_NEED) < needs:
        need = get(m, u + U_NEEDS) + get(m, q + F_NEED) * NEED
        if get(m, q + F_WANTED) == UNKNOWN:
            put(m, q + F_WANTED, windows_wanted(m, q, u, need))
        producer, wanted = get(m, need + N_PRODUCER), get(m, q + F_WANTED)
        if get(m, producer + U_DONE) < wanted:
            return False
        if wanted > 0 and get(m, producer + U_AT) > get(m, q + F_READY):
            put(m, q + F_READY, max(get(m, q + F_READY), _stored_at(m, producer, wanted)))
        add(m, q + F_NEED, 1)
        put(m, q + F_WANTED, UNKNOWN)
        put(m, q + F_FED, get(m, q + F_READY))
    credits = get(m, u + U_CREDIT_COUNT)
    while get(m, q + F_NEED) < needs + credits:
        e = get(m, get(m, u + U_CREDITS) + get(m, q + F_NEED) - needs)
        if get(m, q + F_WANTED) == UNKNOWN:
            put(m, q + F_WANTED, pixels_through(m, q, u) - get(m, e + E_CAPACITY))
        if get(m, e + E_FREED) < get(m, q + F_WANTED):
            return False
        _wait_for_release(m, q, e, get(m, q + F_WANTED))
        add(m, q + F_NEED, 1)
        put(m, q + F_WANTED, UNKNOWN)
    return True


@jit
def windows_wanted(m: int, q: int, u: int, need: int) -> int:
    """Windows of the producer, all frames counted, that the head of feeder ``q`` waits for."""
    y, x = get(m, q + F_Y), get(m, q + F_X)
    rows, cols = get(m, need + N_ROWS), get(m, need + N_COLS)
    found, per_activation = 0, get(m, u + U_PER_ACTIVATION)
    if per_activation > 1:
        per_row = get(m, u + U_ROW)
        first = get(m, q + F_INDEX) * per_activation
        x += min(per_activation, get(m, u + U_WINDOWS) - first) - 1
        while x >= per_row:  # the activation goes on in the next map row
            found = max(found, get(m, rows + y) + get(m, cols + per_row - 1))
            x -= per_row
            y += 1
    found = max(found, get(m, rows + y) + get(m, cols + x))
    frame = get(m, q + F_FRAME) + get(m, need + N_FRAME)
    if found <= 0 or frame < 0:
        return 0
    return int(frame * get(m, get(m, need + N_PRODUCER) + U_WINDOWS) + found)


@jit
def _stored_at(m: int, u: int, windows: int) -> int:
    """Cycle in which the prefix of unit ``u`` reached ``windows``; 0 if that is long ago."""
    per_activation, index = get(m, u + U_PER_ACTIVATION), windows - 1
    if per_activation > 1:
        frame = index // get(m, u + U_WINDOWS)
        inside = index - frame * get(m, u + U_WINDOWS)
        index = frame * get(m, u + U_ACTIVATIONS) + inside // per_activation
    back = get(m, u + U_PREFIX) - index
    if 2 * back > get(m, H_RING):
        return 0
    put(m, H_BACK, max(get(m, H_BACK), back))
    return get(m, get(m, u + U_RING) + (index & (get(m, H_RING) - 1)))


@jit
def pixels_through(m: int, q: int, u: int) -> int:
    """Pixels of all activations up to the head of feeder ``q``, all frames counted."""
    upto = (get(m, q + F_INDEX) + 1) * get(m, u + U_PER_ACTIVATION)
    windows = get(m, q + F_FRAME) * get(m, u + U_WINDOWS) + min(upto, get(m, u + U_WINDOWS))
    return windows * get(m, u + U_BLOCK)


@jit
def _wait_for_release(m: int, q: int, e: int, wanted: int) -> None:
    """Move F_READY to the cycle in which ``wanted`` pixels of an edge had been released."""
    c, ring = get(m, e + E_CONSUMER), get(m, H_RING)
    rows, row = get(m, c + U_ROWS), get(m, c + U_FRAMES) * get(m, c + U_ROWS) + get(m, c + U_Y)
    oldest, newest = max(0, row - ring), row
    while row > oldest and wanted > 0:  # from the last released row back
        put(m, H_ROWS_BACK, max(get(m, H_ROWS_BACK), newest - row + 1))
        when = get(m, get(m, c + U_ROW_RING) + ((row - 1) & (ring - 1)))
        if when <= get(m, q + F_READY):
            return
        row -= 1
        freed = row // rows * get(m, get(m, e + E_PRODUCER) + U_FRAME)
        if freed + get(m, get(m, e + E_TABLE) + row % rows) < wanted:
            put(m, q + F_READY, when)
            return


@jit
def _enter(m: int, q: int, t: int, at: int) -> None:
    """Let the head of feeder ``q`` enter LOAD and make the next activation the head."""
    u, row = get(m, q + F_UNIT), get(m, q + F_Y)
    n, replicas = get(m, u + U_ACTIVATIONS), get(m, u + U_REPLICAS)
    free, fed = get(m, t + T_FREE), get(m, q + F_FED)
    sequence = get(m, q + F_FRAME) * n + get(m, q + F_INDEX)
    add(m, q + F_STARVED, max(0, fed - free))
    add(m, q + F_NO_CREDIT, max(0, get(m, q + F_READY) - max(fed, free)))
    service = q + F_SERVICES + 6 * SERVICE
    if row != get(m, q + F_LAST_ROW):
        service = q + F_SERVICES
        add(m, q + F_FIRST, 1)
        put(m, q + F_LAST_ROW, row)
    x = get(m, q + F_X) + replicas * get(m, u + U_PER_ACTIVATION)
    if add(m, q + F_INDEX, replicas) >= n:
        add(m, q + F_FRAME, 1)
        put(m, q + F_INDEX, get(m, q + F_REPLICA))
        x = get(m, q + F_REPLICA) * get(m, u + U_PER_ACTIVATION)
        row = 0
        put(m, q + F_LAST_ROW, -1)
    while x >= get(m, u + U_ROW):
        x -= get(m, u + U_ROW)
        row += 1
    put(m, q + F_X, x)
    put(m, q + F_Y, row)
    put(m, q + F_NEED, 0)
    put(m, q + F_READY, at)
    put(m, q + F_FED, at)
    begin(m, t, q, sequence, LOAD, at, service)


@jit
def _call_next(m: int, p: int) -> None:
    """Schedule the admission of a pipeline that several units share.

    Heads are looked at even while LOAD is taken: who was ready first must be known exactly.
    """
    q, t = _first_ready(m, p), p + P_STAGES
    if q == 0 or get(m, t + T_SEQUENCE) != EMPTY:
        return
    key = event_key(m, q, max(get(m, q + F_READY), get(m, t + T_FREE)), ADMITTED)
    if key < get(m, p + P_PENDING):
        put(m, p + P_PENDING, key)
        push(m, key, (t + ADMIT * STAGE) << LEG_BITS)


@jit
def _first_ready(m: int, p: int) -> int:
    """Feeder whose head was ready first, ties by order; 0 if none is ready."""
    best = 0
    for index in range(get(m, p + P_FEEDER_COUNT)):
        q = get(m, get(m, p + P_FEEDERS) + index)
        if _is_ready(m, q) and (best == 0 or get(m, q + F_READY) < get(m, best + F_READY)):
            best = q
    return best


@jit
def admit_first(m: int, p: int, key: int) -> int:
    """Take the head that was ready first into a shared pipeline; returns its stage or 0."""
    if key != get(m, p + P_PENDING):  # a better head came and was taken
        return 0
    put(m, p + P_PENDING, FAR)
    t = p + P_STAGES
    _enter(m, _first_ready(m, p), t, key >> CYCLE)
    return t
