"""The event loop of `cimsim.timing.rules`, compiled.

Three kinds of events, handled in the order (cycle, kind, order of the unit, sequence number, leg):
an activation enters a STORE that no other uses; a pipeline that several units share takes its next
activation; a leg asks for a resource that others use, too. Everything between two events follows
at once, because a stage is left at ``max(end of service, cycle in which the next stage is free)``:
`_advance` moves each activation as far as those two are known, even if that lies in the future.
Whatever is computed while the event of cycle t is handled lies at t or later, what follows from a
grant later than t, so no later event can change it. An activation that waits for pixels or for
credit is moved on when the unit that it waits for stores or lets go of them (`_extend`).

Memory: all records lie in one int64 array, to which ``m`` points. A record is known by the
*address* of its first cell, its fields by the names below: ``get(m, u + U_WINDOWS)``. That keeps
the compiled functions small and fast. `cimsim.timing.tables` lays it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.timing.admission import admit, admit_first
from cimsim.timing.heap import pop
from cimsim.timing.memory import add, get, pointer, put
from cimsim.timing.records import *
from cimsim.timing.stages import ask, ask_all, leave, leave_drive, may_leave, move
from cimsim.timing.stores import finish, measure_all, widen

Ints = NDArray[np.int64]


@jit
def run(cells: Ints) -> None:
    """Simulate until all frames are complete, or H_FULL says that a ring was too short."""
    m = pointer(cells)
    _begin(m)
    _proceed(m, get(m, H_UNITS), FAR)
    _end(m)


@jit
def begin(cells: Ints) -> None:
    """Have all pipelines looked at."""
    _begin(pointer(cells))


@jit
def proceed(cells: Ints, unit: int, rows: int) -> bool:
    """Go on until a unit, by its address, has stored so many map rows of all frames.

    Whether it has; else nothing can happen any more, or a ring was too short.
    """
    return _proceed(pointer(cells), unit, rows)


@jit
def end(cells: Ints) -> None:
    """Look for the peaks of the last stores."""
    _end(pointer(cells))


@jit
def _begin(m: int) -> None:
    for index in range(get(m, H_PIPE_COUNT)):
        put(m, get(m, H_STACK) + index, get(m, H_PIPES) + index * PIPE)
    put(m, H_CALLS, get(m, H_PIPE_COUNT))


@jit
def _proceed(m: int, u: int, rows: int) -> bool:
    while get(m, H_FULL) == 0:
        while get(m, H_CALLS) > 0:
            admit(m, get(m, get(m, H_STACK) + add(m, H_CALLS, -1)))
        if get(m, u + U_FRAMES) * get(m, u + U_ROWS) + get(m, u + U_Y) >= rows:
            return True
        if get(m, H_EVENTS) == 0:
            if not widen(m):
                break
            continue
        event = get(m, H_HEAP)
        key, what = get(m, event + X_KEY), get(m, event + X_WHAT)
        pop(m)
        now, t = key >> CYCLE, what >> LEG_BITS
        put(m, H_NOW, now)
        kind = get(m, t + T_KIND)
        if kind == ADMIT:
            entered = admit_first(m, get(m, t + T_PIPE), key)
            if entered != 0:
                _advance(m, entered)
        elif key & (3 << ORDER_BITS) == STORED:
            _stored(m, t, now + get(m, get(m, t + T_SERVICE) + V_ALONE))
        else:
            _grant(m, t, kind, what & ((1 << LEG_BITS) - 1), now)
    return False


@jit
def _end(m: int) -> None:
    put(m, H_NOW, FAR)
    for place in range(get(m, H_UNIT_COUNT)):
        measure_all(m, get(m, H_UNITS) + place * UNIT)


@jit
def _grant(m: int, t: int, kind: int, leg: int, now: int) -> None:
    """Serve a leg as soon as its resource is free; the last one ends the service."""
    service = get(m, t + T_SERVICE)
    x = get(m, service + V_LEGS) + leg * LEG
    r, cycles = get(m, x + L_RESOURCE), get(m, x + L_CYCLES)
    start = max(now, get(m, r))
    put(m, r, start + cycles)
    if get(m, H_LOG) > 0:
        row = get(m, H_LOG) + (add(m, H_LOGGED, 1) - 1) * GRANT
        put(m, row + G_LEG, (kind << LEG_BITS) | leg)
        put(m, row + G_FEEDER, get(m, t + T_FEEDER))
        put(m, row + G_SEQUENCE, get(m, t + T_SEQUENCE))
        put(m, row + G_START, start)
    put(m, t + T_LAST, max(get(m, t + T_LAST), start + cycles))
    for index in range(get(m, x + L_CHILD_COUNT)):
        child = get(m, x + L_CHILDREN) + 2 * index
        ask(m, t, get(m, child), start + get(m, child + 1))
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
        while may_leave(m, at):
            at = move(m, at)
        if get(m, t + T_SEQUENCE) != EMPTY:
            return
        t = get(m, t + T_BEFORE)
    admit(m, p)


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
    ask_all(m, t, at)
    if double and pulse == last:
        d = get(m, t + T_BEFORE)
        leave_drive(m, d, q, get(m, t + T_SEQUENCE), at)
        _advance(m, get(m, d + T_BEFORE))


@jit
def _stored(m: int, t: int, end: int) -> None:
    """Leave STORE, count the activation and see what may follow."""
    q, sequence = get(m, t + T_FEEDER), get(m, t + T_SEQUENCE)
    leave(m, t, q, sequence, STORE, end)
    add(m, q + F_LEFT_STORE, end)
    finish(m, q, sequence, end + get(m, q + F_LATENCY))
    _advance(m, get(m, t + T_BEFORE))
