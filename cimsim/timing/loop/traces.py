"""What happened when, read off the tables of a traced simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.timing.loop.records import RESERVATION_BITS
from cimsim.timing.plan.plan import Job, Plan
from cimsim.timing.spec.routes import Service
from cimsim.timing.spec.rules import Services
from cimsim.timing.spec.stage import Served, Stage
from cimsim.timing.timeline import Grants, Trace

if TYPE_CHECKING:
    from cimsim.timing.loop.tables import Memory

Ints = NDArray[np.int64]


def read_trace(plan: Plan, memory: Memory, frames: int) -> Trace:
    """Return the trace of a simulation that was run with one."""
    parts = [
        np.stack(
            [
                np.full(frames * job.activations, u),
                np.tile(np.arange(job.activations) % len(job.pipes), frames),
                np.repeat(np.arange(frames), job.activations),
                np.tile(np.arange(job.activations), frames),
            ]
        )
        for u, job in enumerate(plan.jobs)
    ]
    node, replica, frame, activation = np.concatenate(parts, axis=1)
    return Trace(
        node, replica, frame, activation,
        memory.trace.enter, memory.trace.leave, memory.trace.stored,
        _grants(plan, memory, frames),
    )  # fmt: skip


def _grants(plan: Plan, memory: Memory, frames: int) -> Grants:
    """Return the logged reservations, and those that nobody could disturb, whose cycles follow."""
    number = {name: i for i, name in enumerate(plan.uses())}
    parts: list[Ints] = []
    log, row, first_row = _Log(memory), 0, 0
    for u, job in enumerate(plan.jobs):
        n = frames * job.activations
        enter = memory.trace.enter[first_row : first_row + n]
        first_row += n
        for replica, services in enumerate(job.services):
            mine = log.of_queue(row)
            sequence = np.arange(n)[np.arange(n) % job.activations % len(job.pipes) == replica]
            first = first_in_row(job, sequence)
            for served in Served:
                rows, service = sequence, services.stages[served]
                if served.stage == Stage.LOAD:
                    rows = sequence[first == (served == Served.LOAD)]
                for reservation, one in enumerate(service.reservations):
                    if log.shared[row, served]:
                        granted = log.of_reservation(mine, served.stage, reservation)
                        if served.stage == Stage.LOAD:
                            granted = granted[np.isin(granted[:, 0], rows)]
                    else:
                        granted = _undisturbed(enter, rows, services, served, reservation)
                    fixed = [number[one.resource], u, replica, served.stage, one.cycles]
                    parts.append(np.column_stack([granted, np.tile(fixed, (len(granted), 1))]))
            row += 1
    all_rows = np.concatenate(parts) if parts else np.zeros((0, 7), np.int64)
    sequence, begin, resource, node, replicas, kinds, cycles = all_rows.T
    per_frame = np.array([job.activations for job in plan.jobs], np.int64)[node]
    return Grants(
        resource, node, replicas, sequence // per_frame, sequence % per_frame, kinds, begin, cycles
    )


class _Log:
    """The services of shared resources that the event loop wrote down."""

    def __init__(self, memory: Memory) -> None:
        n, log = memory.header.logged, memory.log
        self.queue, self.sequence, self.start = log.queue[:n], log.sequence[:n], log.start[:n]
        self.stage, self.reservation = (
            log.reservation[:n] >> RESERVATION_BITS,
            log.reservation[:n] & ((1 << RESERVATION_BITS) - 1),
        )
        self.queues = memory.queue.addresses()
        # whether the reservations of a service [queues, services] were granted one by one
        self.shared = (
            np.array([s.count("reservations") for s in memory.queue.inner("services")]) > 0
        )

    def of_queue(self, number: int) -> Ints:
        """Return the rows of one queue."""
        return np.flatnonzero(self.queue == self.queues[number])

    def of_reservation(self, rows: Ints, stage: Stage, reservation: int) -> Ints:
        """Return sequence numbers and cycles [n, 2] of one reservation."""
        chosen = rows[(self.stage[rows] == stage) & (self.reservation[rows] == reservation)]
        return np.column_stack([self.sequence[chosen], self.start[chosen]])


def first_in_row(job: Job, sequence: Ints) -> NDArray[np.bool_]:
    """Whether activations are their replica's first in a map row."""
    g = sequence % job.activations
    row = g * job.per_activation // job.node.grid[1]
    before = g - len(job.pipes)
    same = before * job.per_activation // job.node.grid[1] == row
    first: NDArray[np.bool_] = (before < 0) | ~same
    return first


def _undisturbed(
    enter: Ints, sequence: Ints, services: Services, served: Served, reservation: int
) -> Ints:
    """Sequence numbers and cycles in which a reservation begins that meets nobody."""
    begin = enter[sequence, served.stage] + _delay(services.stages[served], reservation)
    if served == Served.CONVERT and services.pulses > 1:
        drive, convert = services.alone(Served.DRIVE), services.alone(Served.CONVERT)
        step = max(drive, convert) if services.double else drive + convert
        begin = (begin[:, None] + step * np.arange(services.pulses)).ravel()
        sequence = np.repeat(sequence, services.pulses)
    return np.column_stack([sequence, begin])


def _delay(service: Service, reservation: int) -> int:
    """Cycles from entering the stage to the start of a reservation, if nobody is there."""
    one = service.reservations[reservation]
    return one.delay + (_delay(service, one.parent) if one.parent >= 0 else 0)
