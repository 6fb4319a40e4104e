"""What activations do in the stages of a pipeline: enter, ask for resources, leave."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.heap import push
from cimsim.timing.memory import add, get, put
from cimsim.timing.records import *


@jit
def may_leave(m: int, t: int) -> bool:
    """Whether the activation in stage ``t`` is there, done, and the next stage free."""
    if get(m, t + T_SEQUENCE) == EMPTY or get(m, t + T_END) == UNKNOWN:
        return False
    return bool(get(m, get(m, t + T_NEXT) + T_SEQUENCE) == EMPTY)


@jit
def move(m: int, t: int) -> int:
    """Move an activation to the next stage, which is free; returns that stage."""
    after, kind = get(m, t + T_NEXT), get(m, t + T_KIND)
    q, sequence = get(m, t + T_FEEDER), get(m, t + T_SEQUENCE)
    at = max(get(m, t + T_END), get(m, after + T_FREE))
    if kind == DRIVE:
        _begin_pulses(m, t, after, q, sequence, at)
        return after
    leave(m, t, q, sequence, kind, at)
    if kind == CONVERT and get(m, q + F_DOUBLE) == 0:
        leave(m, get(m, t + T_BEFORE), q, sequence, DRIVE, at)
        add(m, q + F_LEFT_DRIVE, at)
    following = get(m, after + T_KIND)
    begin(m, after, q, sequence, following, at, q + F_SERVICES + following * SERVICE)
    return after


@jit
def begin(
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
        ask_all(m, t, at)
    elif kind == STORE:
        put(m, t + T_END, UNKNOWN)
        push(m, event_key(m, q, at, STORED), t << LEG_BITS)
    else:
        put(m, t + T_END, at + get(m, service + V_ALONE))


@jit
def ask_all(m: int, t: int, at: int) -> None:
    """Ask for the resources of all legs that need not wait for others."""
    service = get(m, t + T_SERVICE)
    put(m, t + T_END, UNKNOWN)
    put(m, t + T_BEGAN, at)
    put(m, t + T_LAST, 0)
    put(m, t + T_LEGS, get(m, service + V_COUNT))
    for leg in range(get(m, service + V_COUNT)):
        if get(m, get(m, service + V_LEGS) + leg * LEG + L_ROOT) == 1:
            ask(m, t, leg, at)


@jit
def ask(m: int, t: int, leg: int, at: int) -> None:
    """Ask for the resource of one leg."""
    push(m, event_key(m, get(m, t + T_FEEDER), at, ASKED), (t << LEG_BITS) | leg)


@jit
def event_key(m: int, q: int, at: int, kind: int) -> int:
    """Return the place of an event in time."""
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
            leave_drive(m, d, q, sequence, at)
        ask_all(m, t, at)
        return
    convert = get(m, service + V_ALONE)
    add(m, q + F_PULSED, further + 1)
    if double:
        last = at + further * max(drive, convert)
        leave_drive(m, d, q, sequence, last)
        put(m, t + T_END, last + convert)
    else:
        put(m, t + T_END, at + convert + further * (drive + convert))


@jit
def leave_drive(m: int, d: int, q: int, sequence: int, at: int) -> None:
    """Leave DRIVE when its last pulse has gone."""
    leave(m, d, q, sequence, DRIVE, at)
    add(m, q + F_LEFT_DRIVE, at)


@jit
def leave(m: int, t: int, q: int, sequence: int, kind: int, at: int) -> None:
    """Leave stage ``t``, which is free from ``at`` on."""
    if get(m, q + F_TRACE) > 0:
        put(m, get(m, q + F_TRACE) + sequence * TRACE + 6 + kind, at)
    put(m, t + T_SEQUENCE, EMPTY)
    put(m, t + T_FREE, at)
