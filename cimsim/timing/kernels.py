"""The event loop of `cimsim.timing.rules`, compiled.

Events are requests: an activation enters STORE, or a stage whose resource others use too (`SHARED`), or
a pipeline that several units share takes its next activation. They are handled in the order (cycle,
order of the unit, sequence number). Everything between two events follows at once, because a stage is
left at ``max(end of service, cycle in which the next stage is free)``: `_settle` moves each activation
as far as those two are known, even if that lies in the future. Whatever is computed while the event of
cycle t is handled lies at t or later, so no later event can change it. An activation that waits for
pixels is moved again when the unit that it waits for stores them (`_watchers`).

Everything is int64; the columns of the tables stand below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit

Ints = NDArray[np.int64]

LOAD, DRIVE, CONVERT, REDUCE, POST, STORE = range(6)
ADMIT = 6  # event code: a shared pipeline takes its next activation

# unit: what never changes
(
    U_WINDOWS, U_ACTIVATIONS, U_ROW, U_PER_ACTIVATION, U_REPLICAS, U_VECTOR, U_FEEDER, U_LOAD_NEXT, U_PULSES,
    U_DOUBLE, U_LATENCY, U_NEED0, U_NEED1, U_WATCH0, U_WATCH1, U_OUT0, U_OUT1, U_IN0, U_IN1, U_BLOCK, U_FRAME,
    U_TRACE, U_BUS,
) = range(23)  # fmt: skip
U_OWN = U_BUS + 6
UNIT_COLUMNS = U_OWN + 6
# count: progress and totals of a unit
(
    C_PREFIX, C_DONE, C_IN_FRAME, C_X, C_Y, C_FRAME, C_FIRED, C_PULSES, C_STARVED,
) = range(9)  # fmt: skip
COUNT_COLUMNS = 9
# spent: cycles of a unit in a stage
S_BUSY, S_WAITED, S_OCCUPIED = range(3)
# feeder: head of one unit on one replica
(
    F_UNIT, F_PIPE, F_REPLICA, F_FRAME, F_INDEX, F_X, F_Y, F_LAST_ROW, F_CURSOR, F_READY, F_THRESHOLD, F_UNDONE_FRAME,
    F_UNDONE_INDEX,
) = range(13)  # fmt: skip
FEEDER_COLUMNS = 13
# stage: who is in it; T_END is UNKNOWN while its request waits (DRIVE: while CONVERT decides)
T_SEQUENCE, T_UNIT, T_ENTER, T_END, T_FREE, T_CYCLES = range(6)
STAGE_COLUMNS = 6
EMPTY, UNKNOWN = -1, -1
# pipe
P_FEEDER0, P_FEEDER1, P_PULSE, P_PENDING = range(4)
PIPE_COLUMNS = 4
# need, edge, watch
N_PRODUCER, N_ROWS, N_COLS, N_FRAME = range(4)
E_PRODUCER, E_CONSUMER, E_TABLE, E_FREED, E_PEAK = range(5)
W_FEEDER, W_NEED = range(2)
# what a trace row holds: 6 x enter, 6 x leave, stored
TRACE_COLUMNS = 13

FAR = np.int64(1) << np.int64(62)
ORDER_BITS = 16


class State(NamedTuple):
    """All tables of one simulation; `cimsim.timing.plan` fills them in."""

    unit: Ints  # [units, UNIT_COLUMNS]
    count: Ints  # [units, COUNT_COLUMNS]
    spent: Ints  # [units, 6, 3]
    feeder: Ints  # [feeders, FEEDER_COLUMNS], by unit
    pipe: Ints  # [pipes, PIPE_COLUMNS]
    pipe_feeder: Ints  # [feeders], by pipe
    stage: Ints  # [pipes, 6, STAGE_COLUMNS]
    resource: Ints  # [pipes, 6]: number of the resource; the last one stands for none
    shared: Ints  # [pipes, 6]: 1 if others use the resource, too
    busy: Ints  # [resources, 2]: free from, busy cycles
    need: Ints  # [needs, 4], by unit
    watch: Ints  # [watches, 2], by producer
    edge: Ints  # [edges, 5], by producer
    in_edge: Ints  # [edges], by consumer
    table: Ints  # row, column and release tables
    ring: Ints  # [units, a power of two]: cycles of the last stored activations
    frame: Ints  # [frames, 2]: units that are not done, cycle of completion
    heap: Ints  # [capacity, 3]: (cycle, order), sequence, pipe and stage
    stack: Ints  # [1 + capacity]: size, pipes to settle
    trace: Ints  # [activations or 0, TRACE_COLUMNS]


@jit
def run(s: State) -> None:
    """Simulate until nothing happens any more."""
    size = 0
    for p in range(s.pipe.shape[0]):
        size = _settle(s, p, size)
    while size > 0:
        key, sequence, code = s.heap[0, 0], s.heap[0, 1], s.heap[0, 2]
        size = _pop(s.heap, size)
        now, p, k = key >> ORDER_BITS, code >> 3, code & 7
        if k == ADMIT:
            size = _admit_first(s, p, now, key, size)
        elif k == CONVERT:
            size = _convert_pulse(s, p, now, sequence, size)
        else:
            end = _serve(s, p, k, now)
            if k == STORE:
                _leave(s, p, STORE, end)
                _finish(s, s.stage[p, STORE, T_UNIT], sequence, end)
            else:
                s.stage[p, k, T_END] = end
        size = _settle(s, p, size)
        while s.stack[0] > 0:
            s.stack[0] -= 1
            size = _settle(s, s.stack[1 + s.stack[0]], size)


@jit
def _settle(s: State, p: int, size: int) -> int:
    """Move the activations of a pipeline as far as is known; returns the heap's new size."""
    stage, vector = s.stage, s.resource[p, DRIVE] < 0
    first = POST
    while True:
        for start in range(first, -1, -1):
            k = start
            while k < STORE and stage[p, k, T_SEQUENCE] >= 0 and stage[p, k, T_END] != UNKNOWN:
                following = POST if vector else k + 1
                if k == POST:
                    following = STORE
                if stage[p, following, T_SEQUENCE] != EMPTY:
                    break
                size = _move(s, p, k, following, size)
                k = following
        first = LOAD
        if s.pipe[p, P_FEEDER1] - s.pipe[p, P_FEEDER0] > 1:
            return _call_next(s, p, size)
        if stage[p, LOAD, T_SEQUENCE] != EMPTY:
            return size
        q = s.pipe_feeder[s.pipe[p, P_FEEDER0]]
        if not _is_ready(s, q):
            return size
        size = _enter(s, q, max(s.feeder[q, F_READY], stage[p, LOAD, T_FREE]), size)


@jit
def _move(s: State, p: int, k: int, following: int, size: int) -> int:
    """Move an activation from stage ``k`` to the next one, which is free."""
    stage = s.stage
    u, sequence = stage[p, k, T_UNIT], stage[p, k, T_SEQUENCE]
    at = max(stage[p, k, T_END], stage[p, following, T_FREE])
    if following == CONVERT:
        return _begin_pulses(s, p, u, sequence, at, size)
    _leave(s, p, k, at)
    if k == CONVERT and s.unit[u, U_DOUBLE] == 0:
        _leave(s, p, DRIVE, at)
    return _begin(s, p, following, u, sequence, at, s.unit[u, U_BUS + following], size)


@jit
def _begin(
    s: State, p: int, k: int, u: int, sequence: int, at: int, cycles: int, size: int
) -> int:
    """Enter stage ``k`` (not CONVERT) and start its service or ask for its resource."""
    stage = s.stage
    stage[p, k, T_SEQUENCE] = sequence
    stage[p, k, T_UNIT] = u
    stage[p, k, T_ENTER] = at
    stage[p, k, T_CYCLES] = cycles
    if s.trace.shape[0] > 0:
        s.trace[s.unit[u, U_TRACE] + sequence, k] = at
    if k == STORE or (cycles > 0 and s.shared[p, k] == 1):
        stage[p, k, T_END] = UNKNOWN
        return _push(s.heap, size, (at << ORDER_BITS) | u, sequence, p << 3 | k)
    own = s.unit[u, U_OWN + k]
    stage[p, k, T_END] = at + cycles + own
    s.busy[s.resource[p, k], 1] += cycles
    s.spent[u, k, S_BUSY] += cycles + (own * s.unit[u, U_PULSES] if k == DRIVE else own)
    return size


@jit
def _serve(s: State, p: int, k: int, now: int) -> int:
    """Grant the resource of stage ``k``; returns the end of the service."""
    u, cycles, r = s.stage[p, k, T_UNIT], s.stage[p, k, T_CYCLES], s.resource[p, k]
    start = now
    if cycles > 0 and s.shared[p, k] == 1:
        start = max(now, s.busy[r, 0])
        s.busy[r, 0] = start + cycles
    own = s.unit[u, U_OWN + k]
    s.busy[r, 1] += cycles
    s.spent[u, k, S_WAITED] += start - now
    s.spent[u, k, S_BUSY] += cycles + own
    return start + cycles + own


@jit
def _begin_pulses(s: State, p: int, u: int, sequence: int, at: int, size: int) -> int:
    """Enter CONVERT with the first pulse; DRIVE goes on with the others."""
    stage, drive, convert = s.stage, s.unit[u, U_OWN + DRIVE], s.unit[u, U_BUS + CONVERT]
    further, double = s.unit[u, U_PULSES] - 1, s.unit[u, U_DOUBLE] == 1
    stage[p, CONVERT, T_SEQUENCE] = sequence
    stage[p, CONVERT, T_UNIT] = u
    stage[p, CONVERT, T_ENTER] = at
    stage[p, CONVERT, T_CYCLES] = convert
    stage[p, DRIVE, T_END] = UNKNOWN
    s.count[u, C_FIRED] += 1
    if s.trace.shape[0] > 0:
        s.trace[s.unit[u, U_TRACE] + sequence, CONVERT] = at
    if s.shared[p, CONVERT] == 1:
        s.pipe[p, P_PULSE] = 0
        stage[p, CONVERT, T_END] = UNKNOWN
        if further == 0 and double:
            _leave(s, p, DRIVE, at)
        return _push(s.heap, size, (at << ORDER_BITS) | u, sequence, p << 3 | CONVERT)
    s.count[u, C_PULSES] += further + 1
    s.spent[u, CONVERT, S_BUSY] += (further + 1) * convert
    s.busy[s.resource[p, CONVERT], 1] += (further + 1) * convert
    if double:
        last = at + further * max(drive, convert)
        _leave(s, p, DRIVE, last)
        stage[p, CONVERT, T_END] = last + convert
    else:
        stage[p, CONVERT, T_END] = at + convert + further * (drive + convert)
    return size


@jit
def _convert_pulse(s: State, p: int, now: int, sequence: int, size: int) -> int:
    """Grant shared converters to one pulse and send the next one."""
    u = s.stage[p, CONVERT, T_UNIT]
    end = _serve(s, p, CONVERT, now)
    double, last = s.unit[u, U_DOUBLE] == 1, s.unit[u, U_PULSES] - 1
    s.count[u, C_PULSES] += 1
    if s.pipe[p, P_PULSE] == last:
        s.stage[p, CONVERT, T_END] = end
        return size
    s.pipe[p, P_PULSE] += 1
    driven = (now if double else end) + s.unit[u, U_OWN + DRIVE]
    at = max(driven, end)
    if double and s.pipe[p, P_PULSE] == last:
        _leave(s, p, DRIVE, at)
    return _push(s.heap, size, (at << ORDER_BITS) | u, sequence, p << 3 | CONVERT)


@jit
def _leave(s: State, p: int, k: int, at: int) -> None:
    """Leave stage ``k``, which is free from ``at`` on."""
    stage = s.stage
    u = stage[p, k, T_UNIT]
    if s.trace.shape[0] > 0:
        s.trace[s.unit[u, U_TRACE] + stage[p, k, T_SEQUENCE], 6 + k] = at
    s.spent[u, k, S_OCCUPIED] += at - stage[p, k, T_ENTER]
    stage[p, k, T_SEQUENCE] = EMPTY
    stage[p, k, T_FREE] = at


@jit
def _is_ready(s: State, q: int) -> bool:
    """Whether all needs of a feeder's head are stored; F_READY is then the cycle of the last one."""
    feeder, u = s.feeder, s.feeder[q, F_UNIT]
    if feeder[q, F_FRAME] == s.frame.shape[0] or feeder[q, F_INDEX] >= s.unit[u, U_ACTIVATIONS]:
        return False
    while s.unit[u, U_NEED0] + feeder[q, F_CURSOR] < s.unit[u, U_NEED1]:
        n = s.unit[u, U_NEED0] + feeder[q, F_CURSOR]
        if feeder[q, F_THRESHOLD] == UNKNOWN:
            feeder[q, F_THRESHOLD] = _threshold(s, q, n)
        producer, wanted = s.need[n, N_PRODUCER], feeder[q, F_THRESHOLD]
        if s.count[producer, C_DONE] < wanted:
            return False
        feeder[q, F_READY] = max(feeder[q, F_READY], _stored_at(s, producer, wanted))
        feeder[q, F_CURSOR] += 1
        feeder[q, F_THRESHOLD] = UNKNOWN
    return True


@jit
def _threshold(s: State, q: int, n: int) -> int:
    """Windows of the producer, all frames counted, that the head of feeder ``q`` waits for."""
    feeder, table, u = s.feeder, s.table, s.feeder[q, F_UNIT]
    per_row, y, x = s.unit[u, U_ROW], feeder[q, F_Y], feeder[q, F_X]
    first = feeder[q, F_INDEX] * s.unit[u, U_PER_ACTIVATION]
    x += min(s.unit[u, U_PER_ACTIVATION], s.unit[u, U_WINDOWS] - first) - 1
    rows, cols = s.need[n, N_ROWS], s.need[n, N_COLS]
    wanted = np.int64(0)
    while x >= per_row:  # the activation goes on in the next map row
        wanted = max(wanted, table[rows + y] + table[cols + per_row - 1])
        x -= per_row
        y += 1
    wanted = max(wanted, table[rows + y] + table[cols + x])
    frame = feeder[q, F_FRAME] + s.need[n, N_FRAME]
    if wanted == 0 or frame < 0:
        return 0
    return frame * s.unit[s.need[n, N_PRODUCER], U_WINDOWS] + wanted


@jit
def _stored_at(s: State, u: int, windows: int) -> int:
    """Cycle in which the prefix of unit ``u`` reached ``windows``; 0 if that is long ago."""
    if windows == 0:
        return 0
    per_activation = s.unit[u, U_PER_ACTIVATION]
    index = windows - 1
    if per_activation > 1:
        frame = index // s.unit[u, U_WINDOWS]
        inside = index - frame * s.unit[u, U_WINDOWS]
        index = frame * s.unit[u, U_ACTIVATIONS] + inside // per_activation
    length = s.ring.shape[1]
    if s.count[u, C_PREFIX] - index > length:
        return 0
    return s.ring[u, index & (length - 1)]


@jit
def _enter(s: State, q: int, at: int, size: int) -> int:
    """Let the head of feeder ``q`` enter LOAD and make the next activation the head."""
    feeder = s.feeder
    u, p = feeder[q, F_UNIT], feeder[q, F_PIPE]
    n, row = s.unit[u, U_ACTIVATIONS], feeder[q, F_Y]
    sequence = feeder[q, F_FRAME] * n + feeder[q, F_INDEX]
    s.count[u, C_STARVED] += max(0, feeder[q, F_READY] - s.stage[p, LOAD, T_FREE])
    cycles = s.unit[u, U_LOAD_NEXT if row == feeder[q, F_LAST_ROW] else U_BUS + LOAD]
    feeder[q, F_LAST_ROW] = row
    feeder[q, F_INDEX] += s.unit[u, U_REPLICAS]
    feeder[q, F_X] += s.unit[u, U_REPLICAS] * s.unit[u, U_PER_ACTIVATION]
    if feeder[q, F_INDEX] >= n:
        feeder[q, F_FRAME] += 1
        feeder[q, F_INDEX] = feeder[q, F_REPLICA]
        feeder[q, F_X] = feeder[q, F_REPLICA] * s.unit[u, U_PER_ACTIVATION]
        feeder[q, F_Y] = 0
        feeder[q, F_LAST_ROW] = -1
    while feeder[q, F_X] >= s.unit[u, U_ROW]:
        feeder[q, F_X] -= s.unit[u, U_ROW]
        feeder[q, F_Y] += 1
    feeder[q, F_CURSOR] = 0
    feeder[q, F_READY] = at
    return _begin(s, p, LOAD, u, sequence, at, cycles, size)


@jit
def _call_next(s: State, p: int, size: int) -> int:
    """Schedule the admission of a pipeline that several units share.

    Heads are looked at even while LOAD is taken: who was ready first must be known exactly.
    """
    best = np.int64(-1)
    for index in range(s.pipe[p, P_FEEDER0], s.pipe[p, P_FEEDER1]):
        q = s.pipe_feeder[index]
        if _is_ready(s, q) and (best < 0 or s.feeder[q, F_READY] < s.feeder[best, F_READY]):
            best = q
    if best < 0 or s.stage[p, LOAD, T_SEQUENCE] != EMPTY:
        return size
    at, u = max(s.feeder[best, F_READY], s.stage[p, LOAD, T_FREE]), s.feeder[best, F_UNIT]
    key = (at << ORDER_BITS) | u
    if key >= s.pipe[p, P_PENDING]:
        return size
    s.pipe[p, P_PENDING] = key
    sequence = s.feeder[best, F_FRAME] * s.unit[u, U_ACTIVATIONS] + s.feeder[best, F_INDEX]
    return _push(s.heap, size, key, sequence, p << 3 | ADMIT)


@jit
def _admit_first(s: State, p: int, now: int, key: int, size: int) -> int:
    """Take the head that was ready first, ties by order, into a shared pipeline."""
    if key != s.pipe[p, P_PENDING]:
        return size  # a better head came and was taken
    s.pipe[p, P_PENDING] = FAR
    best = np.int64(-1)
    for index in range(s.pipe[p, P_FEEDER0], s.pipe[p, P_FEEDER1]):
        q = s.pipe_feeder[index]
        if _is_ready(s, q) and (best < 0 or s.feeder[q, F_READY] < s.feeder[best, F_READY]):
            best = q
    return _enter(s, best, now, size)


@jit
def _finish(s: State, u: int, sequence: int, end: int) -> None:
    """Count a stored activation and extend the unit's stored prefix."""
    at = end + s.unit[u, U_LATENCY]
    if s.trace.shape[0] > 0:
        s.trace[s.unit[u, U_TRACE] + sequence, 12] = at
    replicas, n = s.unit[u, U_REPLICAS], s.unit[u, U_ACTIVATIONS]
    if replicas == 1:
        _extend(s, u, at)
        return
    first, prefix = s.unit[u, U_FEEDER], FAR
    q = first + sequence % n % replicas
    s.feeder[q, F_UNDONE_INDEX] += replicas
    if s.feeder[q, F_UNDONE_INDEX] >= n:
        s.feeder[q, F_UNDONE_INDEX] = s.feeder[q, F_REPLICA]
        s.feeder[q, F_UNDONE_FRAME] += 1
    for q in range(first, first + min(replicas, n)):
        prefix = min(prefix, s.feeder[q, F_UNDONE_FRAME] * n + s.feeder[q, F_UNDONE_INDEX])
    while s.count[u, C_PREFIX] < prefix:
        _extend(s, u, at)


@jit
def _extend(s: State, u: int, at: int) -> None:
    """Add one activation to the stored prefix of ``u``: occupancy, frames, and who waits for it."""
    unit, count = s.unit, s.count
    s.ring[u, count[u, C_PREFIX] & (s.ring.shape[1] - 1)] = at
    count[u, C_PREFIX] += 1
    windows = min(unit[u, U_PER_ACTIVATION], unit[u, U_WINDOWS] - count[u, C_IN_FRAME])
    count[u, C_DONE] += windows
    count[u, C_IN_FRAME] += windows
    count[u, C_X] += windows
    if count[u, C_X] >= unit[u, U_ROW]:
        while count[u, C_X] >= unit[u, U_ROW]:
            count[u, C_X] -= unit[u, U_ROW]
            count[u, C_Y] += 1
        _release(s, u, at)
    for e in range(unit[u, U_OUT0], unit[u, U_OUT1]):
        held = count[u, C_DONE] * unit[u, U_BLOCK] - s.edge[e, E_FREED]
        s.edge[e, E_PEAK] = max(s.edge[e, E_PEAK], held)
    for w in range(unit[u, U_WATCH0], unit[u, U_WATCH1]):
        q, done = s.watch[w, W_FEEDER], count[u, C_DONE]
        waits = s.unit[s.feeder[q, F_UNIT], U_NEED0] + s.feeder[q, F_CURSOR] == s.watch[w, W_NEED]
        # who waits does so for more than was there before, so it is called exactly once
        if waits and done - windows < s.feeder[q, F_THRESHOLD] <= done:
            s.stack[1 + s.stack[0]] = s.feeder[q, F_PIPE]
            s.stack[0] += 1


@jit
def _release(s: State, u: int, at: int) -> None:
    """Free what the finished map rows of ``u`` held, and close its frame after the last one."""
    for index in range(s.unit[u, U_IN0], s.unit[u, U_IN1]):
        e = s.in_edge[index]
        before = s.count[u, C_FRAME] * s.unit[s.edge[e, E_PRODUCER], U_FRAME]
        s.edge[e, E_FREED] = before + s.table[s.edge[e, E_TABLE] + s.count[u, C_Y]]
    if s.count[u, C_IN_FRAME] == s.unit[u, U_WINDOWS]:
        frame = s.count[u, C_FRAME]
        s.frame[frame, 0] -= 1
        s.frame[frame, 1] = max(s.frame[frame, 1], at)
        s.count[u, C_FRAME] += 1
        s.count[u, C_IN_FRAME] = 0
        s.count[u, C_Y] = 0


@jit
def _push(heap: Ints, size: int, key: int, sequence: int, code: int) -> int:
    """Add an event; returns the new size."""
    index = size
    while index > 0:
        parent = (index - 1) >> 1
        if heap[parent, 0] < key or (heap[parent, 0] == key and heap[parent, 1] <= sequence):
            break
        heap[index, 0] = heap[parent, 0]
        heap[index, 1] = heap[parent, 1]
        heap[index, 2] = heap[parent, 2]
        index = parent
    heap[index, 0] = key
    heap[index, 1] = sequence
    heap[index, 2] = code
    return size + 1


@jit
def _pop(heap: Ints, size: int) -> int:
    """Remove the first event; returns the new size."""
    size -= 1
    key, sequence, code = heap[size, 0], heap[size, 1], heap[size, 2]
    index = 0
    while True:
        child = 2 * index + 1
        if child >= size:
            break
        if child + 1 < size and (
            heap[child + 1, 0] < heap[child, 0]
            or (heap[child + 1, 0] == heap[child, 0] and heap[child + 1, 1] < heap[child, 1])
        ):
            child += 1
        if key < heap[child, 0] or (key == heap[child, 0] and sequence <= heap[child, 1]):
            break
        heap[index, 0] = heap[child, 0]
        heap[index, 1] = heap[child, 1]
        heap[index, 2] = heap[child, 2]
        index = child
    heap[index, 0] = key
    heap[index, 1] = sequence
    heap[index, 2] = code
    return size
