"""Timing on one page: plan, run the event loop, read the answers off its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from cimsim.errors import ConfigError, SimulationError, suggest
from cimsim.mapping.mapping import Mapping
from cimsim.timing.bounds import least_interval
from cimsim.timing.plan import Plan, Resource, Schedule, make_plan
from cimsim.timing.timeline import EdgePeak, ResourceTime, Timeline, Trace, UnitTime

if TYPE_CHECKING:
    from cimsim.timing.tables import Memory


def simulate(
    mapping: Mapping, frames: int = 3, schedule: Schedule = "pipelined", trace: bool = False
) -> Timeline:
    """Simulate some frames, cycle by cycle, by the rules of `cimsim.timing.rules`.

    Parameters
    ----------
    mapping : Mapping
    frames : int
        Frames that stream in back to back; two or more tell the steady interval.
    schedule : {"pipelined", "sequential"}
        A unit starts as soon as its input is there, or unit after unit and frame after frame.
    trace : bool
        Keep the cycles of every activation (104 bytes each).

    Raises
    ------
    ConfigError
        A wrong schedule or number of frames.
    SimulationError
        A unit without windows.
    """
    from cimsim.timing import kernels  # numba is slow to import
    from cimsim.timing.tables import initial_memory

    if schedule not in get_args(Schedule):
        raise ConfigError(
            f"timing: schedule '{schedule}' is unknown{suggest(schedule, get_args(Schedule))}"
        )
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ConfigError(f"timing: frames: expected an integer >= 1, got {frames!r}")
    plan = make_plan(mapping)
    memory = initial_memory(plan, frames, schedule, trace)
    kernels.run(memory.cells)
    _check_complete(plan, memory)
    return Timeline(
        schedule=schedule,
        completions=tuple(int(cycle) for cycle in memory.frame[:, 1]),
        least_interval=least_interval(plan),
        units=tuple(_unit_time(plan, memory, u) for u in range(len(plan.works))),
        resources=_resource_times(plan, memory),
        edges=_edge_peaks(plan, memory),
        trace=_trace(plan, memory, frames) if trace else None,
    )


def _check_complete(plan: Plan, memory: Memory) -> None:
    """Every dependency points backwards, so this cannot happen; if it does, say where."""
    from cimsim.timing.kernels import U_DONE

    if memory.frame[:, 0].any():
        stuck = [
            work.unit.name
            for work, row in zip(plan.works, memory.unit, strict=True)
            if row[U_DONE] < work.unit.windows * len(memory.frame)
        ]
        raise SimulationError(f"timing: deadlock, waiting for ever: {', '.join(stuck)}")


def _unit_time(plan: Plan, memory: Memory, u: int) -> UnitTime:
    from cimsim.timing import kernels as k

    work, row = plan.works[u], memory.unit[u]
    spent = row[k.U_SPENT :].reshape(6, 3)
    blocked = spent[:, k.OCCUPIED] - spent[:, k.BUSY] - spent[:, k.WAITED]
    pipe = plan.pipes[work.pipes[0]]
    return UnitTime(
        name=work.unit.name,
        kind="vector" if work.unit.kind == "vector" else "matrix",
        layer=pipe.name,
        replicas=len(work.pipes),
        windows=int(row[k.U_DONE]),
        activations=int(row[k.U_FIRED]) * work.arrays,
        pulses=int(row[k.U_PULSED]) * work.arrays,
        conversions=int(row[k.U_PULSED]) * work.columns,
        busy=tuple(spent[:, k.BUSY].tolist()),
        waiting=tuple(spent[:, k.WAITED].tolist()),
        blocked=tuple(blocked.tolist()),
        starved=int(row[k.U_STARVED]),
    )


def _resource_times(plan: Plan, memory: Memory) -> tuple[ResourceTime, ...]:
    cycles = max(1, int(memory.frame[:, 1].max()))
    busy = memory.resource[: len(plan.resources), 1].tolist()
    return tuple(
        ResourceTime(_title(resource), cycle, cycle / cycles)
        for resource, cycle in zip(plan.resources, busy, strict=True)
    )


def _title(resource: Resource) -> str:
    kind, place = resource
    return kind if kind == "interconnect" else f"{kind} {place}"


def _edge_peaks(plan: Plan, memory: Memory) -> tuple[EdgePeak, ...]:
    from cimsim.timing import kernels as k

    found = []
    units = k.HEADER  # address of the first unit
    for edge in memory.edge:
        producer, consumer = (
            plan.works[(edge[i] - units) // k.UNIT].unit for i in (k.E_PRODUCER, k.E_CONSUMER)
        )
        frame = producer.windows * producer.block[0] * producer.block[1]
        found.append(EdgePeak(producer.name, consumer.name, int(edge[k.E_PEAK]), frame))
    return tuple(found)


def _trace(plan: Plan, memory: Memory, frames: int) -> Trace:
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
    )  # fmt: skip
