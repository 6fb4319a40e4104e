"""What activations do in the stages of a pipeline: enter, ask for resources, leave."""

from __future__ import annotations

from cimsim.jit import jit, jit_inline
from cimsim.timing.loop.accessors import kept_apart
from cimsim.timing.loop.heap import push
from cimsim.timing.loop.places import header_of
from cimsim.timing.loop.records import (
    CYCLE,
    EMPTY,
    ORDER_BITS,
    RESERVATION_BITS,
    UNKNOWN,
    Phase,
    Queue,
    StageState,
)
from cimsim.timing.spec.stage import Served, Stage


@jit
def may_leave(stage: StageState) -> bool:
    """Whether the activation in a stage is there, done, and the next stage free."""
    if stage.sequence == EMPTY or stage.end == UNKNOWN:
        return False
    return stage.after.sequence == EMPTY


@jit
def ask_all(stage: StageState, at: int) -> None:
    """Ask for the resources of all reservations that need not wait for others."""
    kept_apart()
    reservations = stage.service.reservations
    stage.end = UNKNOWN
    stage.began = at
    stage.last = 0
    stage.reservations = len(reservations)
    for reservation in range(len(reservations)):
        if reservations[reservation].root == 1:
            ask(stage, reservation, at)


@jit
def ask(stage: StageState, reservation: int, at: int) -> None:
    """Ask for the resource of one reservation."""
    what = (stage.address << RESERVATION_BITS) | reservation
    push(header_of(stage), event_key(stage.queue, at, Phase.ASKED), what)


@jit
def event_key(queue: Queue, at: int, phase: int) -> int:
    """Return the place of an event in time."""
    return (at << CYCLE) | (phase << ORDER_BITS) | queue.node.order


@jit_inline
def leave(stage: StageState, at: int) -> None:
    """Leave a stage, which is free from ``at`` on."""
    if len(stage.queue.trace) > 0:
        stage.queue.trace[stage.sequence].leave[stage.kind] = at
    stage.sequence = EMPTY
    stage.free = at


@jit_inline
def leave_drive(drive: StageState, at: int) -> None:
    """Leave DRIVE when its last pulse has gone."""
    leave(drive, at)
    drive.queue.left_drive += at


@jit_inline
def begin(stage: StageState, at: int) -> None:
    """Start the service of an activation that has entered a stage (not CONVERT), or ask for it."""
    queue, service, kind = stage.queue, stage.service, stage.kind
    queue.entered[kind] += at
    if len(queue.trace) > 0:
        queue.trace[stage.sequence].enter[kind] = at
    if len(service.reservations) > 0:
        ask_all(stage, at)
    elif kind == Stage.STORE:
        stage.end = UNKNOWN
        push(
            header_of(stage), event_key(queue, at, Phase.STORED), stage.address << RESERVATION_BITS
        )
    else:
        stage.end = at + service.alone


@jit_inline
def _begin_pulses(drive: StageState, stage: StageState, at: int) -> None:
    """Enter CONVERT with the first pulse; DRIVE goes on with the others."""
    queue = stage.queue
    driven, convert = queue.services[Served.DRIVE].alone, stage.service.alone
    further, double = queue.pulses - 1, queue.double == 1
    drive.end = UNKNOWN
    queue.entered[Stage.CONVERT] += at
    queue.fired += 1
    if len(queue.trace) > 0:
        queue.trace[stage.sequence].enter[Stage.CONVERT] = at
    if len(stage.service.reservations) > 0:
        stage.pipe.pulse = 0
        if further == 0 and double:
            leave_drive(drive, at)
        ask_all(stage, at)
        return
    queue.pulsed += further + 1
    if double:
        last = at + further * max(driven, convert)
        leave_drive(drive, last)
        stage.end = last + convert
    else:
        stage.end = at + convert + further * (driven + convert)


@jit
def move(stage: StageState) -> StageState:
    """Move an activation to the next stage, which is free; returns that stage."""
    after, queue = stage.after, stage.queue
    at = max(stage.end, after.free)
    after.queue = queue
    after.sequence = stage.sequence
    after.service = queue.services[after.kind]
    if stage.kind == Stage.DRIVE:
        _begin_pulses(stage, after, at)
        return after
    leave(stage, at)
    if stage.kind == Stage.CONVERT and queue.double == 0:
        leave_drive(stage.before, at)
    begin(after, at)
    return after
