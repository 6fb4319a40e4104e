"""The event loop of `cimsim.timing.rules`, compiled.

Three kinds of events, handled in the order (cycle, kind, order of the unit, sequence number, leg):
an activation enters a STORE that no other uses; a pipeline that several units share takes its next
activation; a leg asks for a resource that others use, too. Everything between two events follows
at once, because a stage is left at ``max(end of service, cycle in which the next stage is free)``:
`_advance` moves each activation as far as those two are known, even if that lies in the future.
Whatever is computed while the event of cycle t is handled lies at t or later, what follows from a
grant later than t, so no later event can change it. An activation that waits for pixels or for
credit is moved on when the unit that it waits for stores or lets go of them (`_extend`).

Memory: all records lie in one int64 array, to which ``m`` points. A record is known by the *address* of its first
cell, its fields by the names below: ``get(m, u + U_WINDOWS)``. That keeps the compiled functions
small and fast. `cimsim.timing.tables` lays it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.timing.memory import add, get, pointer, put

Ints = NDArray[np.int64]

LOAD, DRIVE, CONVERT, REDUCE, POST, STORE, ADMIT = range(7)  # ADMIT stands for a shared pipeline

# header: pipelines, events waiting, pipelines to look at, frames, units, latest store
(
    H_PIPES, H_PIPE_COUNT, H_HEAP, H_EVENTS, H_STACK, H_CALLS, H_RING, H_FRAMES, H_FRAME, H_UNITS,
    H_UNIT_COUNT, H_LATEST, H_FULL,
) = range(13)  # fmt: skip
HEADER = 13

# unit; U_CREDITS: edges of limited capacity to its readers, U_OUT: edges to, U_IN: from others
(
    U_ORDER, U_WINDOWS, U_ACTIVATIONS, U_ROW, U_ROWS, U_PER_ACTIVATION, U_REPLICAS, U_FEEDER,
    U_NEEDS, U_NEED_COUNT, U_WATCHES, U_WATCH_COUNT, U_OUT, U_OUT_COUNT, U_IN, U_IN_COUNT,
    U_CREDITS, U_CREDIT_COUNT, U_BLOCK, U_FRAME, U_RING, U_ROW_RING,
    # progress: stored prefix (activations, windows, those of this frame, window, frame), its cycle
    U_PREFIX, U_DONE, U_IN_FRAME, U_X, U_Y, U_FRAMES, U_AT,
) = range(29)  # fmt: skip
UNIT = 29

# feeder: one unit on one replica: its head (frame, index, window, map row of the one before, the
# first need or credit not known to be there and how much of it, since when all needs, and all, are
# there), the first activation not stored, totals; then by stage: sum of the cycles of entry, cycles
# waited; then the services
(
    F_UNIT, F_PIPE, F_REPLICA, F_FRAME, F_INDEX, F_X, F_Y, F_LAST_ROW, F_NEED, F_WANTED, F_FED,
    F_READY, F_UNDONE_FRAME, F_UNDONE_INDEX, F_PULSES, F_DOUBLE, F_LATENCY, F_TRACE, F_FIRED,
    F_FIRST, F_PULSED, F_STARVED, F_NO_CREDIT, F_LEFT_DRIVE, F_LEFT_STORE, F_ENTERED,
) = range(26)  # fmt: skip
F_WAITED = F_ENTERED + 6
F_SERVICES = F_WAITED + 6

# service: cycles alone, own cycles, legs; no legs: nobody else uses its resources
V_ALONE, V_OWN, V_LEGS, V_COUNT = range(4)
SERVICE = 4
FEEDER = F_SERVICES + 7 * SERVICE

# leg, with a list of (leg, delay) that ask after it
L_RESOURCE, L_CYCLES, L_ROOT, L_CHILDREN, L_CHILD_COUNT = range(5)
LEG = 5

# pipeline: list of feeders, pulse in CONVERT, key of the next ADMIT; then six stages and ADMIT
P_FEEDERS, P_FEEDER_COUNT, P_PULSE, P_PENDING, P_STAGES = range(5)
# stage: who is in it; T_END is UNKNOWN while a request waits (DRIVE: for CONVERT)
(
    T_SEQUENCE, T_FEEDER, T_END, T_FREE, T_SERVICE, T_BEGAN, T_LEGS, T_LAST, T_PIPE, T_KIND,
    T_NEXT, T_BEFORE,
) = range(12)  # fmt: skip
STAGE = 12
PIPE = P_STAGES + 7 * STAGE
EMPTY, UNKNOWN = -1, -1

N_PRODUCER, N_ROWS, N_COLS, N_FRAME = range(4)
NEED = 4
E_PRODUCER, E_CONSUMER, E_TABLE, E_FREED, E_PEAK, E_CAPACITY, E_PLACE = range(7)
EDGE = 7
W_FEEDER, W_NEED = range(2)
WATCH = 2
X_KEY, X_WHAT = range(2)  # what: address of a stage and number of a leg
EVENT = 2
# frame: units that are not done, cycle of completion
FRAME = 2
# trace row: 6 x enter, 6 x leave, stored
TRACE = 13

FAR = 1 << 62
ORDER_BITS, KIND_BITS, LEG_BITS = 16, 2, 12
CYCLE = ORDER_BITS + KIND_BITS
STORED, ADMITTED, ASKED = (kind << ORDER_BITS for kind in range(3))
NO_LIMIT = 1 << 60


@jit
def run(cells: Ints) -> None:
    """Simulate until all frames are complete, or H_FULL says that a ring was too short."""
    _run(pointer(cells))


@jit
def _run(m: int) -> None:
    for index in range(get(m, H_PIPE_COUNT)):
        put(m, get(m, H_STACK) + index, get(m, H_PIPES) + index * PIPE)
    put(m, H_CALLS, get(m, H_PIPE_COUNT))
    while get(m, H_FULL) == 0:
        while get(m, H_CALLS) > 0:
            _admit(m, get(m, get(m, H_STACK) + add(m, H_CALLS, -1)))
        if get(m, H_EVENTS) == 0:
            if not _widen(m):
                return
            continue
        event = get(m, H_HEAP)
        key, what = get(m, event + X_KEY), get(m, event + X_WHAT)
        _pop(m)
        now, t = key >> CYCLE, what >> LEG_BITS
        kind = get(m, t + T_KIND)
        if kind == ADMIT:
            _admit_first(m, get(m, t + T_PIPE), key)
        elif key & (3 << ORDER_BITS) == STORED:
            _stored(m, t, now + get(m, get(m, t + T_SERVICE) + V_ALONE))
        else:
            _grant(m, t, kind, what & ((1 << LEG_BITS) - 1), now)


@jit
def _grant(m: int, t: int, kind: int, leg: int, now: int) -> None:
    """Serve a leg as soon as its resource is free; the last one ends the service."""
    service = get(m, t + T_SERVICE)
    x = get(m, service + V_LEGS) + leg * LEG
    r, cycles = get(m, x + L_RESOURCE), get(m, x + L_CYCLES)
    start = max(now, get(m, r))
    put(m, r, start + cycles)
    put(m, t + T_LAST, max(get(m, t + T_LAST), start + cycles))
    for index in range(get(m, x + L_CHILD_COUNT)):
        child = get(m, x + L_CHILDREN) + 2 * index
        _ask(m, t, get(m, child), start + get(m, child + 1))
    if add(m, t + T_LEGS, -1) > 0:
        return
    end = get(m, t + T_LAST) + get(m, service + V_OWN)
    waited = end - get(m, t + T_BEGAN) - get(m, service + V_ALONE)
    add(m, get(m, t + T_FEEDER) + F_WAITED + kind, waited)
    if kind == STORE:
        _stored(m, t, end)
    elif kind == CONVERT:
        _converted(m, t, end)
    else:
        put(m, t + T_END, end)
        _advance(m, t)


@jit
def _advance(m: int, t: int) -> None:
    """Move the activation in stage ``t`` on, then those behind it, then let others in.

    Called when its service ends or the next stage has become free.
    """
    if get(m, t + T_SEQUENCE) == EMPTY:
        return
    p = get(m, t + T_PIPE)
    while t != 0:
        at = t
        while _may_leave(m, at):
            at = _move(m, at)
        if get(m, t + T_SEQUENCE) != EMPTY:
            return
        t = get(m, t + T_BEFORE)
    _admit(m, p)


@jit
def _may_leave(m: int, t: int) -> bool:
    """Whether the activation in stage ``t`` is there, done, and the next stage free."""
    if get(m, t + T_SEQUENCE) == EMPTY or get(m, t + T_END) == UNKNOWN:
        return False
    return bool(get(m, get(m, t + T_NEXT) + T_SEQUENCE) == EMPTY)


@jit
def _move(m: int, t: int) -> int:
    """Move an activation to the next stage, which is free; returns that stage."""
    after, kind = get(m, t + T_NEXT), get(m, t + T_KIND)
    q, sequence = get(m, t + T_FEEDER), get(m, t + T_SEQUENCE)
    at = max(get(m, t + T_END), get(m, after + T_FREE))
    if kind == DRIVE:
        _begin_pulses(m, t, after, q, sequence, at)
        return after
    _leave(m, t, q, sequence, kind, at)
    if kind == CONVERT and get(m, q + F_DOUBLE) == 0:
        _leave(m, get(m, t + T_BEFORE), q, sequence, DRIVE, at)
        add(m, q + F_LEFT_DRIVE, at)
    following = get(m, after + T_KIND)
    _begin(m, after, q, sequence, following, at, q + F_SERVICES + following * SERVICE)
    return after


@jit
def _begin(
    m: int, t: int, q: int, sequence: int, kind: int, at: int, service: int
) -> None:  # fmt: skip
    """Enter stage ``t`` (not CONVERT) and start its service or ask for its resources."""
    put(m, t + T_SEQUENCE, sequence)
    put(m, t + T_FEEDER, q)
    put(m, t + T_SERVICE, service)
    add(m, q + F_ENTERED + kind, at)
    if get(m, q + F_TRACE) > 0:
        put(m, get(m, q + F_TRACE) + sequence * TRACE + kind, at)
    if get(m, service + V_COUNT) > 0:
        _ask_all(m, t, at)
    elif kind == STORE:
        put(m, t + T_END, UNKNOWN)
        _push(m, _key(m, q, at, STORED), t << LEG_BITS)
    else:
        put(m, t + T_END, at + get(m, service + V_ALONE))


@jit
def _ask_all(m: int, t: int, at: int) -> None:
    """Ask for the resources of all legs that need not wait for others."""
    service = get(m, t + T_SERVICE)
    put(m, t + T_END, UNKNOWN)
    put(m, t + T_BEGAN, at)
    put(m, t + T_LAST, 0)
    put(m, t + T_LEGS, get(m, service + V_COUNT))
    for leg in range(get(m, service + V_COUNT)):
        if get(m, get(m, service + V_LEGS) + leg * LEG + L_ROOT) == 1:
            _ask(m, t, leg, at)


@jit
def _ask(m: int, t: int, leg: int, at: int) -> None:
    _push(m, _key(m, get(m, t + T_FEEDER), at, ASKED), (t << LEG_BITS) | leg)


@jit
def _key(m: int, q: int, at: int, kind: int) -> int:
    return (at << CYCLE) | kind | get(m, get(m, q + F_UNIT) + U_ORDER)


@jit
def _begin_pulses(m: int, d: int, t: int, q: int, sequence: int, at: int) -> None:
    """Enter CONVERT with the first pulse; DRIVE goes on with the others."""
    drive = get(m, q + F_SERVICES + DRIVE * SERVICE + V_ALONE)
    service = q + F_SERVICES + CONVERT * SERVICE
    further, double = get(m, q + F_PULSES) - 1, get(m, q + F_DOUBLE) == 1
    put(m, t + T_SEQUENCE, sequence)
    put(m, t + T_FEEDER, q)
    put(m, t + T_SERVICE, service)
    put(m, d + T_END, UNKNOWN)
    add(m, q + F_ENTERED + CONVERT, at)
    add(m, q + F_FIRED, 1)
    if get(m, q + F_TRACE) > 0:
        put(m, get(m, q + F_TRACE) + sequence * TRACE + CONVERT, at)
    if get(m, service + V_COUNT) > 0:
        put(m, get(m, t + T_PIPE) + P_PULSE, 0)
        if further == 0 and double:
            _leave_drive(m, d, q, sequence, at)
        _ask_all(m, t, at)
        return
    convert = get(m, service + V_ALONE)
    add(m, q + F_PULSED, further + 1)
    if double:
        last = at + further * max(drive, convert)
        _leave_drive(m, d, q, sequence, last)
        put(m, t + T_END, last + convert)
    else:
        put(m, t + T_END, at + convert + further * (drive + convert))


@jit
def _converted(m: int, t: int, end: int) -> None:
    """Take the next pulse to shared converters, or the activation on after the last one."""
    p, q, began = get(m, t + T_PIPE), get(m, t + T_FEEDER), get(m, t + T_BEGAN)
    double, last = get(m, q + F_DOUBLE) == 1, get(m, q + F_PULSES) - 1
    add(m, q + F_PULSED, 1)
    if get(m, p + P_PULSE) == last:
        put(m, t + T_END, end)
        _advance(m, t)
        return
    pulse = add(m, p + P_PULSE, 1)
    driven = (began if double else end) + get(m, q + F_SERVICES + DRIVE * SERVICE + V_ALONE)
    at = max(driven, end)
    _ask_all(m, t, at)
    if double and pulse == last:
        d = get(m, t + T_BEFORE)
        _leave_drive(m, d, q, get(m, t + T_SEQUENCE), at)
        _advance(m, get(m, d + T_BEFORE))


@jit
def _leave_drive(m: int, d: int, q: int, sequence: int, at: int) -> None:
    _leave(m, d, q, sequence, DRIVE, at)
    add(m, q + F_LEFT_DRIVE, at)


@jit
def _leave(m: int, t: int, q: int, sequence: int, kind: int, at: int) -> None:
    """Leave stage ``t``, which is free from ``at`` on."""
    if get(m, q + F_TRACE) > 0:
        put(m, get(m, q + F_TRACE) + sequence * TRACE + 6 + kind, at)
    put(m, t + T_SEQUENCE, EMPTY)
    put(m, t + T_FREE, at)


@jit
def _stored(m: int, t: int, end: int) -> None:
    """Leave STORE, count the activation and see what may follow."""
    q, sequence = get(m, t + T_FEEDER), get(m, t + T_SEQUENCE)
    _leave(m, t, q, sequence, STORE, end)
    add(m, q + F_LEFT_STORE, end)
    _finish(m, q, sequence, end + get(m, q + F_LATENCY))
    _advance(m, get(m, t + T_BEFORE))


# Admission


@jit
def _admit(m: int, p: int) -> None:
    """Let the head of a pipeline's only unit in, or call for the next of several units."""
    t = p + P_STAGES
    if get(m, p + P_FEEDER_COUNT) > 1:
        _call_next(m, p)
        return
    q = get(m, get(m, p + P_FEEDERS))
    while get(m, t + T_SEQUENCE) == EMPTY and _is_ready(m, q):
        _enter(m, q, t, max(get(m, q + F_READY), get(m, t + T_FREE)))
        at = t
        while _may_leave(m, at):
            at = _move(m, at)


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
            put(m, q + F_WANTED, _wanted(m, q, u, need))
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
            put(m, q + F_WANTED, _written(m, q, u) - get(m, e + E_CAPACITY))
        if get(m, e + E_FREED) < get(m, q + F_WANTED):
            return False
        _wait_for_release(m, q, e, get(m, q + F_WANTED))
        add(m, q + F_NEED, 1)
        put(m, q + F_WANTED, UNKNOWN)
    return True


@jit
def _wanted(m: int, q: int, u: int, need: int) -> int:
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
    if 2 * (get(m, u + U_PREFIX) - index) > get(m, H_RING):
        return 0
    return get(m, get(m, u + U_RING) + (index & (get(m, H_RING) - 1)))


@jit
def _written(m: int, q: int, u: int) -> int:
    """Pixels of all activations up to the head of feeder ``q``, all frames counted."""
    upto = (get(m, q + F_INDEX) + 1) * get(m, u + U_PER_ACTIVATION)
    windows = get(m, q + F_FRAME) * get(m, u + U_WINDOWS) + min(upto, get(m, u + U_WINDOWS))
    return windows * get(m, u + U_BLOCK)


@jit
def _wait_for_release(m: int, q: int, e: int, wanted: int) -> None:
    """Move F_READY to the cycle in which ``wanted`` pixels of an edge had been released."""
    c, ring = get(m, e + E_CONSUMER), get(m, H_RING)
    rows, row = get(m, c + U_ROWS), get(m, c + U_FRAMES) * get(m, c + U_ROWS) + get(m, c + U_Y)
    oldest = max(0, row - ring)
    while row > oldest and wanted > 0:  # from the last released row back
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
    _begin(m, t, q, sequence, LOAD, at, service)


@jit
def _call_next(m: int, p: int) -> None:
    """Schedule the admission of a pipeline that several units share.

    Heads are looked at even while LOAD is taken: who was ready first must be known exactly.
    """
    q, t = _first_ready(m, p), p + P_STAGES
    if q == 0 or get(m, t + T_SEQUENCE) != EMPTY:
        return
    key = _key(m, q, max(get(m, q + F_READY), get(m, t + T_FREE)), ADMITTED)
    if key < get(m, p + P_PENDING):
        put(m, p + P_PENDING, key)
        _push(m, key, (t + ADMIT * STAGE) << LEG_BITS)


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
def _admit_first(m: int, p: int, key: int) -> None:
    """Take the head that was ready first into a shared pipeline."""
    if key != get(m, p + P_PENDING):  # a better head came and was taken
        return
    put(m, p + P_PENDING, FAR)
    t = p + P_STAGES
    _enter(m, _first_ready(m, p), t, key >> CYCLE)
    _advance(m, t)


# What stored activations set free


@jit
def _finish(m: int, q: int, sequence: int, at: int) -> None:
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
    for index in range(get(m, u + U_OUT_COUNT)):
        e = get(m, u + U_OUT) + index * EDGE
        held = done * get(m, u + U_BLOCK) - get(m, e + E_FREED)
        if held > get(m, e + E_PEAK):
            put(m, e + E_PEAK, held)
    for index in range(get(m, u + U_WATCH_COUNT)):
        w = get(m, u + U_WATCHES) + index * WATCH
        q = get(m, w + W_FEEDER)
        # who waits does so for more than was there before, so it is called exactly once
        if get(m, q + F_NEED) == get(m, w + W_NEED):
            if done - windows < get(m, q + F_WANTED) <= done:
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
def _call(m: int, p: int) -> None:
    """Have a pipeline looked at."""
    put(m, get(m, H_STACK) + get(m, H_CALLS), p)
    add(m, H_CALLS, 1)


@jit
def _widen(m: int) -> bool:
    """Nothing can happen: give the last unit that lacks nothing but credit what it lacks."""
    for place in range(get(m, H_UNIT_COUNT) - 1, -1, -1):
        u = get(m, H_UNITS) + place * UNIT
        first, head = 0, FAR
        for replica in range(get(m, u + U_REPLICAS)):
            q = get(m, u + U_FEEDER) + replica * FEEDER
            sequence = get(m, q + F_FRAME) * get(m, u + U_ACTIVATIONS) + get(m, q + F_INDEX)
            waits = get(m, q + F_FRAME) < get(m, H_FRAME) and replica < get(m, u + U_ACTIVATIONS)
            if waits and sequence < head:
                first, head = q, sequence
        needs = get(m, u + U_NEED_COUNT)
        if first == 0 or get(m, first + F_NEED) < needs:
            continue
        written = _written(m, first, u)
        for index in range(get(m, u + U_CREDIT_COUNT)):
            e = get(m, get(m, u + U_CREDITS) + index)
            held = written - get(m, e + E_FREED)
            put(m, e + E_CAPACITY, max(get(m, e + E_CAPACITY), held))
        put(m, first + F_NEED, needs)
        put(m, first + F_WANTED, UNKNOWN)
        put(m, first + F_READY, max(get(m, first + F_READY), get(m, H_LATEST)))
        _call(m, get(m, first + F_PIPE))
        return True
    return False


# A binary heap by (key, sequence number, leg)


@jit
def _push(m: int, key: int, what: int) -> None:
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
def _pop(m: int) -> None:
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
