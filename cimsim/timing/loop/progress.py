"""What follows when a service ends: further reservations and pulses, the next stage, the store."""

from __future__ import annotations

from cimsim.jit import jit
from cimsim.timing.loop.admission import admit
from cimsim.timing.loop.places import header_of
from cimsim.timing.loop.records import EMPTY, RESERVATION_BITS, StageState
from cimsim.timing.loop.stages import ask, ask_all, leave, leave_drive, may_leave, move
from cimsim.timing.loop.stores import finish
from cimsim.timing.spec.stage import Served, Stage


@jit
def grant(stage: StageState, number: int, now: int) -> None:
    """Serve a reservation as soon as its resource is free; the last one ends the service."""
    queue, service, kind = stage.queue, stage.service, stage.kind
    reservation = service.reservations[number]
    start = max(now, reservation.resource.free)
    reservation.resource.free = start + reservation.cycles
    _log(stage, (kind << RESERVATION_BITS) | number, start)
    stage.last = max(stage.last, start + reservation.cycles)
    for index in range(len(reservation.children)):
        child = reservation.children[index]
        ask(stage, child.reservation, start + child.delay)
    stage.reservations -= 1
    if stage.reservations > 0:
        return
    end = stage.last + service.own
    queue.waited[kind] += end - stage.began - service.alone
    if kind == Stage.STORE:
        store(stage, end)
    elif kind == Stage.CONVERT:
        _convert(stage, end)
    else:
        stage.end = end
        advance(stage)


@jit
def _log(stage: StageState, reservation: int, start: int) -> None:
    """Write down when a resource began to serve a reservation."""
    header = header_of(stage)
    if len(header.log) > 0:
        row = header.log[header.logged]
        header.logged += 1
        row.reservation, row.queue = reservation, stage.queue
        row.sequence, row.start = stage.sequence, start


@jit
def advance(stage: StageState) -> None:
    """Move the activation in a stage on, then those behind it, then let others in.

    Called when its service ends or the next stage has become free.
    """
    if stage.sequence == EMPTY:
        return
    pipe = stage.pipe
    while stage:
        at = stage
        while may_leave(at):
            at = move(at)
        if stage.sequence != EMPTY:
            return
        stage = stage.before
    admit(pipe)


@jit
def _convert(stage: StageState, end: int) -> None:
    """Take the next pulse to shared converters, or the activation on after the last one."""
    queue, pipe = stage.queue, stage.pipe
    double, last = queue.double == 1, queue.pulses - 1
    queue.pulsed += 1
    if pipe.pulse == last:
        stage.end = end
        advance(stage)
        return
    pipe.pulse += 1
    began = stage.began if double else end
    at = max(began + queue.services[Served.DRIVE].alone, end)
    ask_all(stage, at)
    if double and pipe.pulse == last:
        drive = stage.before
        leave_drive(drive, at)
        advance(drive.before)


@jit
def store(stage: StageState, end: int) -> None:
    """Leave STORE, count the activation and see what may follow."""
    queue, sequence = stage.queue, stage.sequence
    leave(stage, end)
    queue.left_store += end
    finish(queue, sequence, end + queue.latency)
    advance(stage.before)
