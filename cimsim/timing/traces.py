"""What happened when, read off the tables of a traced simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.timing import records as k
from cimsim.timing.plan import Plan, Work
from cimsim.timing.routes import Service
from cimsim.timing.rules import CONVERT, DRIVE, LOAD, LOAD_NEXT, Services
from cimsim.timing.timeline import Grants, Trace

if TYPE_CHECKING:
    from cimsim.timing.tables import Memory

Ints = NDArray[np.int64]


def read_trace(plan: Plan, memory: Memory, frames: int) -> Trace:
    """Return the trace of a simulation that was run with one."""
    parts = [
        np.stack(
            [
                np.full(frames * work.activations, u),
                np.tile(np.arange(work.activations) % len(work.pipes), frames),
                np.repeat(np.arange(frames), work.activations),
                np.tile(np.arange(work.activations), frames),
            ]
        )
        for u, work in enumerate(plan.works)
    ]
    unit, replica, frame, activation = np.concatenate(parts, axis=1)
    return Trace(
        unit, replica, frame, activation,
        memory.trace[:, :6], memory.trace[:, 6:12], memory.trace[:, 12],
        _grants(plan, memory, frames),
    )  # fmt: skip


def _grants(plan: Plan, memory: Memory, frames: int) -> Grants:
    """Return the logged legs, and those that nobody could disturb, whose cycles follow."""
    number = {name: i for i, name in enumerate(plan.uses())}
    log = memory.log[: int(memory.cells[k.H_LOGGED])]
    stage_of, leg_of = log[:, k.G_LEG] >> k.LEG_BITS, log[:, k.G_LEG] & ((1 << k.LEG_BITS) - 1)
    parts: list[Ints] = []
    row, first_row, start = 0, 0, _feeders_start(memory)
    for u, work in enumerate(plan.works):
        n = frames * work.activations
        trace = memory.trace[first_row : first_row + n]
        first_row += n
        for replica, services in enumerate(work.services):
            legs = memory.feeder[row, k.F_SERVICES :].reshape(7, k.SERVICE)[:, k.V_COUNT]
            mine = log[:, k.G_FEEDER] == start + row * k.FEEDER
            sequence = np.arange(n)[np.arange(n) % work.activations % len(work.pipes) == replica]
            first = first_in_row(work, sequence)
            for stage, service in enumerate(services.stages):
                kind = stage % LOAD_NEXT
                rows = sequence
                if kind == LOAD:
                    rows = sequence[first == (stage == LOAD)]
                for leg, one in enumerate(service.legs):
                    if legs[stage]:
                        chosen = mine & (stage_of == kind) & (leg_of == leg)
                        found = log[chosen][:, [k.G_SEQUENCE, k.G_START]]
                        if kind == LOAD:
                            found = found[np.isin(found[:, 0], rows)]
                    else:
                        found = _undisturbed(trace, rows, services, stage, leg)
                    fixed = [number[one.resource], u, replica, kind, one.cycles]
                    parts.append(np.column_stack([found, np.tile(fixed, (len(found), 1))]))
            row += 1
    all_rows = np.concatenate(parts) if parts else np.zeros((0, 7), np.int64)
    sequence, begin, resource, unit, replicas, kinds, cycles = all_rows.T
    per_frame = np.array([work.activations for work in plan.works], np.int64)[unit]
    return Grants(
        resource, unit, replicas, sequence // per_frame, sequence % per_frame, kinds, begin, cycles
    )


def _feeders_start(memory: Memory) -> int:
    """Address of the first feeder."""
    return int(memory.unit[0, k.U_FEEDER])


def first_in_row(work: Work, sequence: Ints) -> NDArray[np.bool_]:
    """Whether activations are their replica's first in a map row."""
    g = sequence % work.activations
    row = g * work.per_activation // work.unit.grid[1]
    before = g - len(work.pipes)
    same = before * work.per_activation // work.unit.grid[1] == row
    found: NDArray[np.bool_] = (before < 0) | ~same
    return found


def _undisturbed(trace: Ints, sequence: Ints, services: Services, stage: int, leg: int) -> Ints:
    """Sequence numbers and cycles in which a leg begins that meets nobody."""
    service, begin = services.stages[stage], trace[sequence, stage % LOAD_NEXT]
    begin = begin + _delay(service, leg)
    if stage == CONVERT and services.pulses > 1:
        drive, convert = services.alone(DRIVE), services.alone(CONVERT)
        step = max(drive, convert) if services.double else drive + convert
        begin = (begin[:, None] + step * np.arange(services.pulses)).ravel()
        sequence = np.repeat(sequence, services.pulses)
    return np.column_stack([sequence, begin])


def _delay(service: Service, leg: int) -> int:
    """Cycles from entering the stage to the start of a leg, if nobody is there."""
    one = service.legs[leg]
    return one.delay + (_delay(service, one.parent) if one.parent >= 0 else 0)
