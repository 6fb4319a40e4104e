"""The event loop of `cimsim.timing.rules`, compiled.

Events are requests: an activation enters STORE, or a stage whose resource others use too, or a
pipeline that several units share takes its next activation. They are handled in the order (cycle,
order of the unit, sequence number). Everything between two events follows at once, because a stage
is left at ``max(end of service, cycle in which the next stage is free)``: `_settle` moves each
activation as far as those two are known, even if that lies in the future. Whatever is computed
while the event of cycle t is handled lies at t or later, so no later event can change it. An
activation that waits for pixels is moved on when the unit that it waits for stores them
(`_extend`).

Memory: all records lie in one int64 array ``m``. A record is known by the *address* of its first
cell, its fields by the names below: ``m[u + U_LATENCY]``. That keeps the compiled functions small
(one array to pass) and fast (no index arithmetic, no reference counts). `cimsim.timing.tables` lays
it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit

Ints = NDArray[np.int64]

LOAD, DRIVE, CONVERT, REDUCE, POST, STORE = range(6)
ADMIT = 6  # event: a shared pipeline takes its next activation

# header: addresses and lengths, events waiting, pipelines to settle
H_PIPES, H_PIPE_COUNT, H_HEAP, H_EVENTS, H_STACK, H_CALLS, H_RING, H_FRAMES, H_FRAME = range(9)
HEADER = 9

# unit; U_CYCLES: on the resource, U_OWN: without it, U_SPENT: 3 cells, each by stage
(
    U_ORDER, U_WINDOWS, U_ACTIVATIONS, U_ROW, U_PER_ACTIVATION, U_REPLICAS, U_FEEDER, U_LOAD_NEXT,
    U_PULSES, U_DOUBLE, U_LATENCY, U_NEEDS, U_NEED_COUNT, U_WATCHES, U_WATCH_COUNT, U_OUT,
    U_OUT_COUNT, U_IN, U_IN_COUNT, U_BLOCK, U_FRAME, U_RING, U_TRACE,
    # progress: stored prefix (activations, windows, those of this frame, window, frame), totals
    U_PREFIX, U_DONE, U_IN_FRAME, U_X, U_Y, U_FRAMES, U_FIRED, U_PULSED, U_STARVED,
    U_CYCLES,
) = range(33)  # fmt: skip
U_OWN = U_CYCLES + 6
U_SPENT = U_OWN + 6
UNIT = U_SPENT + 18
BUSY, WAITED, OCCUPIED = range(3)

# feeder: the head of one unit on one replica: its window (x, y), the map row of the one before,
# the first need not known to be stored, the windows that it takes, the first activation not stored
(
    F_UNIT, F_PIPE, F_REPLICA, F_FRAME, F_INDEX, F_X, F_Y, F_LAST_ROW, F_NEED, F_WANTED, F_READY,
    F_UNDONE_FRAME, F_UNDONE_INDEX,
) = range(13)  # fmt: skip
FEEDER = 13

# pipeline: list of feeders, pulse in CONVERT, key of the next ADMIT; then six stages
P_FEEDERS, P_FEEDER_COUNT, P_PULSE, P_PENDING, P_STAGES = range(5)
# stage: who is in it since when; T_END is UNKNOWN while a request waits (DRIVE: for CONVERT)
T_SEQUENCE, T_UNIT, T_ENTER, T_END, T_FREE, T_CYCLES, T_RESOURCE, T_SHARED, T_NEXT = range(9)
STAGE = 9
PIPE = P_STAGES + 6 * STAGE
EMPTY, UNKNOWN = -1, -1

R_FREE, R_BUSY = range(2)
RESOURCE = 2
N_PRODUCER, N_ROWS, N_COLS, N_FRAME = range(4)
NEED = 4
E_PRODUCER, E_CONSUMER, E_TABLE, E_FREED, E_PEAK = range(5)
EDGE = 5
W_FEEDER, W_NEED = range(2)
WATCH = 2
X_KEY, X_SEQUENCE, X_PIPE, X_STAGE = range(4)
EVENT = 4
# frame: units that are not done, cycle of completion
FRAME = 2
# trace row: 6 x enter, 6 x leave, stored
TRACE = 13

FAR = 1 << 62
ORDER_BITS = 16


@jit
def run(m: Ints) -> None:
    """Simulate until nothing happens any more."""
    for index in range(m[H_PIPE_COUNT]):
        m[m[H_STACK] + index] = m[H_PIPES] + index * PIPE
    m[H_CALLS] = m[H_PIPE_COUNT]
    while True:
        while m[H_CALLS] > 0:
            m[H_CALLS] -= 1
            _settle(m, m[m[H_STACK] + m[H_CALLS]])
        if m[H_EVENTS] == 0:
            return
        event = m[H_HEAP]
        key, sequence = m[event + X_KEY], m[event + X_SEQUENCE]
        p, k = m[event + X_PIPE], m[event + X_STAGE]
        _pop(m)
        m[m[H_STACK]] = p
        m[H_CALLS] = 1
        t = p + P_STAGES + k * STAGE
        if k == STORE:
            end = _serve(m, t, k, key >> ORDER_BITS)
            u = m[t + T_UNIT]
            _leave(m, t, k, end)
            _finish(m, u, sequence, end)
        elif k == ADMIT:
            _admit_first(m, p, key)
        elif k == CONVERT:
            _convert_pulse(m, p, key >> ORDER_BITS, sequence)
        else:
            m[t + T_END] = _serve(m, t, k, key >> ORDER_BITS)


@jit
def _settle(m: Ints, p: int) -> None:
    """Move the activations of a pipeline as far as is known, and let others in."""
    first = POST
    while True:
        for start in range(first, -1, -1):
            k = start
            while k < STORE:
                t = p + P_STAGES + k * STAGE
                following = m[t + T_NEXT]
                after = p + P_STAGES + following * STAGE
                if m[t + T_SEQUENCE] == EMPTY or m[t + T_END] == UNKNOWN:
                    break
                if m[after + T_SEQUENCE] != EMPTY:
                    break
                _move(m, p, k, following)
                k = following
        first = LOAD  # only the one that is let in below can move now
        if m[p + P_FEEDER_COUNT] > 1:
            _call_next(m, p)
            return
        if m[p + P_STAGES + T_SEQUENCE] != EMPTY:
            return
        q = m[m[p + P_FEEDERS]]
        if not _is_ready(m, q):
            return
        _enter(m, q, max(m[q + F_READY], m[p + P_STAGES + T_FREE]))


@jit
def _move(m: Ints, p: int, k: int, following: int) -> None:
    """Move an activation from stage ``k`` to the ``following`` one, which is free."""
    t, after = p + P_STAGES + k * STAGE, p + P_STAGES + following * STAGE
    u, sequence = m[t + T_UNIT], m[t + T_SEQUENCE]
    at = max(m[t + T_END], m[after + T_FREE])
    if following == CONVERT:
        _begin_pulses(m, p, u, sequence, at)
        return
    _leave(m, t, k, at)
    if k == CONVERT and m[u + U_DOUBLE] == 0:
        _leave(m, p + P_STAGES + DRIVE * STAGE, DRIVE, at)
    _begin(m, p, following, u, sequence, at, m[u + U_CYCLES + following])


@jit
def _begin(m: Ints, p: int, k: int, u: int, sequence: int, at: int, cycles: int) -> None:
    """Enter stage ``k`` (not CONVERT) and start its service or ask for its resource."""
    t = p + P_STAGES + k * STAGE
    m[t + T_SEQUENCE] = sequence
    m[t + T_UNIT] = u
    m[t + T_ENTER] = at
    m[t + T_CYCLES] = cycles
    if m[u + U_TRACE] > 0:
        m[m[u + U_TRACE] + sequence * TRACE + k] = at
    if k == STORE or (cycles > 0 and m[t + T_SHARED] == 1):
        m[t + T_END] = UNKNOWN
        _push(m, (at << ORDER_BITS) | m[u + U_ORDER], sequence, p, k)
        return
    own = m[u + U_OWN + k]
    m[t + T_END] = at + cycles + own
    m[m[t + T_RESOURCE] + R_BUSY] += cycles
    m[u + U_SPENT + 3 * k + BUSY] += cycles + (own * m[u + U_PULSES] if k == DRIVE else own)


@jit
def _serve(m: Ints, t: int, k: int, now: int) -> int:
    """Grant the resource of a stage; returns the end of the service."""
    u, cycles, r = m[t + T_UNIT], m[t + T_CYCLES], m[t + T_RESOURCE]
    start = now
    if cycles > 0 and m[t + T_SHARED] == 1:
        start = max(now, m[r + R_FREE])
        m[r + R_FREE] = start + cycles
    own = m[u + U_OWN + k]
    m[r + R_BUSY] += cycles
    m[u + U_SPENT + 3 * k + WAITED] += start - now
    m[u + U_SPENT + 3 * k + BUSY] += cycles + own
    return int(start + cycles + own)


@jit
def _begin_pulses(m: Ints, p: int, u: int, sequence: int, at: int) -> None:
    """Enter CONVERT with the first pulse; DRIVE goes on with the others."""
    d, t = p + P_STAGES + DRIVE * STAGE, p + P_STAGES + CONVERT * STAGE
    drive, convert = m[u + U_OWN + DRIVE], m[u + U_CYCLES + CONVERT]
    further, double = m[u + U_PULSES] - 1, m[u + U_DOUBLE] == 1
    m[t + T_SEQUENCE] = sequence
    m[t + T_UNIT] = u
    m[t + T_ENTER] = at
    m[t + T_CYCLES] = convert
    m[d + T_END] = UNKNOWN
    m[u + U_FIRED] += 1
    if m[u + U_TRACE] > 0:
        m[m[u + U_TRACE] + sequence * TRACE + CONVERT] = at
    if m[t + T_SHARED] == 1:
        m[p + P_PULSE] = 0
        m[t + T_END] = UNKNOWN
        if further == 0 and double:
            _leave(m, d, DRIVE, at)
        _push(m, (at << ORDER_BITS) | m[u + U_ORDER], sequence, p, CONVERT)
        return
    m[u + U_PULSED] += further + 1
    m[u + U_SPENT + 3 * CONVERT + BUSY] += (further + 1) * convert
    m[m[t + T_RESOURCE] + R_BUSY] += (further + 1) * convert
    if double:
        last = at + further * max(drive, convert)
        _leave(m, d, DRIVE, last)
        m[t + T_END] = last + convert
    else:
        m[t + T_END] = at + convert + further * (drive + convert)


@jit
def _convert_pulse(m: Ints, p: int, now: int, sequence: int) -> None:
    """Grant shared converters to one pulse and send the next one."""
    d, t = p + P_STAGES + DRIVE * STAGE, p + P_STAGES + CONVERT * STAGE
    u = m[t + T_UNIT]
    end = _serve(m, t, CONVERT, now)
    double, last = m[u + U_DOUBLE] == 1, m[u + U_PULSES] - 1
    m[u + U_PULSED] += 1
    if m[p + P_PULSE] == last:
        m[t + T_END] = end
        return
    m[p + P_PULSE] += 1
    driven = (now if double else end) + m[u + U_OWN + DRIVE]
    at = max(driven, end)
    if double and m[p + P_PULSE] == last:
        _leave(m, d, DRIVE, at)
    _push(m, (at << ORDER_BITS) | m[u + U_ORDER], sequence, p, CONVERT)


@jit
def _leave(m: Ints, t: int, k: int, at: int) -> None:
    """Leave stage ``k``, which is free from ``at`` on."""
    u = m[t + T_UNIT]
    if m[u + U_TRACE] > 0:
        m[m[u + U_TRACE] + m[t + T_SEQUENCE] * TRACE + 6 + k] = at
    m[u + U_SPENT + 3 * k + OCCUPIED] += at - m[t + T_ENTER]
    m[t + T_SEQUENCE] = EMPTY
    m[t + T_FREE] = at


@jit
def _is_ready(m: Ints, q: int) -> bool:
    """Whether all needs of a feeder's head are stored; then F_READY is the cycle of the last."""
    u = m[q + F_UNIT]
    if m[q + F_FRAME] == m[H_FRAME] or m[q + F_INDEX] >= m[u + U_ACTIVATIONS]:
        return False
    while m[q + F_NEED] < m[u + U_NEED_COUNT]:
        need = m[u + U_NEEDS] + m[q + F_NEED] * NEED
        if m[q + F_WANTED] == UNKNOWN:
            m[q + F_WANTED] = _wanted(m, q, need)
        producer, wanted = m[need + N_PRODUCER], m[q + F_WANTED]
        if m[producer + U_DONE] < wanted:
            return False
        if wanted > 0:
            m[q + F_READY] = max(m[q + F_READY], _stored_at(m, producer, wanted))
        m[q + F_NEED] += 1
        m[q + F_WANTED] = UNKNOWN
    return True


@jit
def _wanted(m: Ints, q: int, need: int) -> int:
    """Windows of the producer, all frames counted, that the head of feeder ``q`` waits for."""
    u, y, x = m[q + F_UNIT], m[q + F_Y], m[q + F_X]
    rows, cols, per_row = m[need + N_ROWS], m[need + N_COLS], m[u + U_ROW]
    found = 0
    if m[u + U_PER_ACTIVATION] > 1:
        first = m[q + F_INDEX] * m[u + U_PER_ACTIVATION]
        x += min(m[u + U_PER_ACTIVATION], m[u + U_WINDOWS] - first) - 1
        while x >= per_row:  # the activation goes on in the next map row
            found = max(found, m[rows + y] + m[cols + per_row - 1])
            x -= per_row
            y += 1
    found = max(found, m[rows + y] + m[cols + x])
    frame = m[q + F_FRAME] + m[need + N_FRAME]
    if found <= 0 or frame < 0:
        return 0
    return int(frame * m[m[need + N_PRODUCER] + U_WINDOWS] + found)


@jit
def _stored_at(m: Ints, u: int, windows: int) -> int:
    """Cycle in which the prefix of unit ``u`` reached ``windows``; 0 if that is long ago."""
    per_activation, index = m[u + U_PER_ACTIVATION], windows - 1
    if per_activation > 1:
        frame = index // m[u + U_WINDOWS]
        inside = index - frame * m[u + U_WINDOWS]
        index = frame * m[u + U_ACTIVATIONS] + inside // per_activation
    if m[u + U_PREFIX] - index > m[H_RING]:
        return 0
    return int(m[m[u + U_RING] + (index & (m[H_RING] - 1))])


@jit
def _enter(m: Ints, q: int, at: int) -> None:
    """Let the head of feeder ``q`` enter LOAD and make the next activation the head."""
    u, p, row = m[q + F_UNIT], m[q + F_PIPE], m[q + F_Y]
    n, replicas, per_activation = m[u + U_ACTIVATIONS], m[u + U_REPLICAS], m[u + U_PER_ACTIVATION]
    sequence = m[q + F_FRAME] * n + m[q + F_INDEX]
    m[u + U_STARVED] += max(0, m[q + F_READY] - m[p + P_STAGES + T_FREE])
    cycles = m[u + U_LOAD_NEXT] if row == m[q + F_LAST_ROW] else m[u + U_CYCLES + LOAD]
    m[q + F_LAST_ROW] = row
    m[q + F_INDEX] += replicas
    m[q + F_X] += replicas * per_activation
    if m[q + F_INDEX] >= n:
        m[q + F_FRAME] += 1
        m[q + F_INDEX] = m[q + F_REPLICA]
        m[q + F_X] = m[q + F_REPLICA] * per_activation
        m[q + F_Y] = 0
        m[q + F_LAST_ROW] = -1
    while m[q + F_X] >= m[u + U_ROW]:
        m[q + F_X] -= m[u + U_ROW]
        m[q + F_Y] += 1
    m[q + F_NEED] = 0
    m[q + F_READY] = at
    _begin(m, p, LOAD, u, sequence, at, cycles)


@jit
def _call_next(m: Ints, p: int) -> None:
    """Schedule the admission of a pipeline that several units share.

    Heads are looked at even while LOAD is taken: who was ready first must be known exactly.
    """
    q = _first_ready(m, p)
    if q == 0 or m[p + P_STAGES + T_SEQUENCE] != EMPTY:
        return
    u, at = m[q + F_UNIT], max(m[q + F_READY], m[p + P_STAGES + T_FREE])
    key = (at << ORDER_BITS) | m[u + U_ORDER]
    if key < m[p + P_PENDING]:
        m[p + P_PENDING] = key
        _push(m, key, m[q + F_FRAME] * m[u + U_ACTIVATIONS] + m[q + F_INDEX], p, ADMIT)


@jit
def _first_ready(m: Ints, p: int) -> int:
    """Feeder whose head was ready first, ties by order; 0 if none is ready."""
    best = 0
    for index in range(m[p + P_FEEDER_COUNT]):
        q = m[m[p + P_FEEDERS] + index]
        if _is_ready(m, q) and (best == 0 or m[q + F_READY] < m[best + F_READY]):
            best = q
    return best


@jit
def _admit_first(m: Ints, p: int, key: int) -> None:
    """Take the head that was ready first into a shared pipeline."""
    if key == m[p + P_PENDING]:  # else a better head came and was taken
        m[p + P_PENDING] = FAR
        _enter(m, _first_ready(m, p), key >> ORDER_BITS)


@jit
def _finish(m: Ints, u: int, sequence: int, end: int) -> None:
    """Count a stored activation and extend the unit's stored prefix."""
    at = end + m[u + U_LATENCY]
    if m[u + U_TRACE] > 0:
        m[m[u + U_TRACE] + sequence * TRACE + 12] = at
    replicas, n = m[u + U_REPLICAS], m[u + U_ACTIVATIONS]
    if replicas == 1:
        _extend(m, u, at)
        return
    q, prefix = m[u + U_FEEDER] + sequence % n % replicas * FEEDER, FAR
    m[q + F_UNDONE_INDEX] += replicas
    if m[q + F_UNDONE_INDEX] >= n:
        m[q + F_UNDONE_INDEX] = m[q + F_REPLICA]
        m[q + F_UNDONE_FRAME] += 1
    for replica in range(min(replicas, n)):
        q = m[u + U_FEEDER] + replica * FEEDER
        prefix = min(prefix, m[q + F_UNDONE_FRAME] * n + m[q + F_UNDONE_INDEX])
    while m[u + U_PREFIX] < prefix:
        _extend(m, u, at)


@jit
def _extend(m: Ints, u: int, at: int) -> None:
    """Add one activation to the stored prefix of ``u``: occupancy, frames, and who waits for it."""
    m[m[u + U_RING] + (m[u + U_PREFIX] & (m[H_RING] - 1))] = at
    m[u + U_PREFIX] += 1
    windows = min(m[u + U_PER_ACTIVATION], m[u + U_WINDOWS] - m[u + U_IN_FRAME])
    done = m[u + U_DONE] + windows
    m[u + U_DONE] = done
    m[u + U_IN_FRAME] += windows
    m[u + U_X] += windows
    if m[u + U_X] >= m[u + U_ROW]:
        while m[u + U_X] >= m[u + U_ROW]:
            m[u + U_X] -= m[u + U_ROW]
            m[u + U_Y] += 1
        _release(m, u, at)
    for index in range(m[u + U_OUT_COUNT]):
        e = m[u + U_OUT] + index * EDGE
        m[e + E_PEAK] = max(m[e + E_PEAK], done * m[u + U_BLOCK] - m[e + E_FREED])
    for index in range(m[u + U_WATCH_COUNT]):
        w = m[u + U_WATCHES] + index * WATCH
        q = m[w + W_FEEDER]
        # who waits does so for more than was there before, so it is called exactly once
        if m[q + F_NEED] == m[w + W_NEED] and done - windows < m[q + F_WANTED] <= done:
            m[m[H_STACK] + m[H_CALLS]] = m[q + F_PIPE]
            m[H_CALLS] += 1


@jit
def _release(m: Ints, u: int, at: int) -> None:
    """Free what the finished map rows of ``u`` held, and close its frame after the last one."""
    for index in range(m[u + U_IN_COUNT]):
        e = m[m[u + U_IN] + index]
        before = m[u + U_FRAMES] * m[m[e + E_PRODUCER] + U_FRAME]
        m[e + E_FREED] = before + m[m[e + E_TABLE] + m[u + U_Y]]
    if m[u + U_IN_FRAME] == m[u + U_WINDOWS]:
        frame = m[H_FRAMES] + m[u + U_FRAMES] * FRAME
        m[frame] -= 1
        m[frame + 1] = max(m[frame + 1], at)
        m[u + U_FRAMES] += 1
        m[u + U_IN_FRAME] = 0
        m[u + U_Y] = 0


# A binary heap by (key, sequence). Writing cell by cell is the fastest that numba makes of it.


@jit
def _push(m: Ints, key: int, sequence: int, p: int, k: int) -> None:
    """Add an event."""
    index, heap = m[H_EVENTS], m[H_HEAP]
    m[H_EVENTS] += 1
    while index > 0:
        parent = (index - 1) >> 1
        x = heap + parent * EVENT
        if m[x] < key or (m[x] == key and m[x + X_SEQUENCE] <= sequence):
            break
        _copy(m, x, heap + index * EVENT)
        index = parent
    _write(m, heap + index * EVENT, key, sequence, p, k)


@jit
def _pop(m: Ints) -> None:
    """Remove the first event."""
    heap, size = m[H_HEAP], m[H_EVENTS] - 1
    m[H_EVENTS] = size
    last, index = heap + size * EVENT, 0
    while True:
        child = 2 * index + 1
        if child >= size:
            break
        x = heap + child * EVENT
        if child + 1 < size and _is_before(m, x + EVENT, x):
            child, x = child + 1, x + EVENT
        if not _is_before(m, x, last):
            break
        _copy(m, x, heap + index * EVENT)
        index = child
    _copy(m, last, heap + index * EVENT)


@jit
def _is_before(m: Ints, x: int, y: int) -> bool:
    return bool(m[x] < m[y] or (m[x] == m[y] and m[x + X_SEQUENCE] < m[y + X_SEQUENCE]))


@jit
def _copy(m: Ints, source: int, target: int) -> None:
    for cell in range(EVENT):
        m[target + cell] = m[source + cell]


@jit
def _write(m: Ints, x: int, key: int, sequence: int, p: int, k: int) -> None:
    m[x + X_KEY] = key
    m[x + X_SEQUENCE] = sequence
    m[x + X_PIPE] = p
    m[x + X_STAGE] = k
