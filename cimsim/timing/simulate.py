"""Timing on one page: plan, run the event loop, read the answers off its tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import ConfigError, SimulationError, suggest
from cimsim.mapping.mapping import Mapping
from cimsim.timing import records as k
from cimsim.timing.bounds import least_interval, resource_work
from cimsim.timing.buffers import Edge
from cimsim.timing.memories import TooSmall, check_frames, first_memory, tell_too_small, to_dram
from cimsim.timing.plan import Plan, Schedule, make_plan
from cimsim.timing.routes import Resource
from cimsim.timing.rules import CONVERT, DRIVE, LOAD, LOAD_NEXT, POST, REDUCE, STORE, Services
from cimsim.timing.timeline import EdgePeak, ResourceTime, Timeline, UnitTime
from cimsim.timing.traces import read_trace

if TYPE_CHECKING:
    from cimsim.timing.tables import Memory

Ints = NDArray[np.int64]


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
        A unit without windows, or memories that are too small for frames and line buffers: see
        `cimsim.timing.memories`.
    """
    if schedule not in get_args(Schedule):
        raise ConfigError(
            f"timing: schedule '{schedule}' is unknown{suggest(schedule, get_args(Schedule))}"
        )
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ConfigError(f"timing: frames: expected an integer >= 1, got {frames!r}")
    plan, memory, edges = _fitted(mapping, frames, schedule, trace)
    cycles = int(memory.frame[:, 1].max())
    return Timeline(
        schedule=schedule,
        completions=tuple(int(cycle) for cycle in memory.frame[:, 1]),
        least_interval=least_interval(plan),
        units=tuple(_unit_time(plan, memory, u, frames) for u in range(len(plan.works))),
        resources=_resource_times(plan, frames, cycles),
        edges=edges,
        trace=read_trace(plan, memory, frames) if trace else None,
    )


def _fitted(
    mapping: Mapping, frames: int, schedule: Schedule, trace: bool
) -> tuple[Plan, Memory, tuple[EdgePeak, ...]]:
    """Run until every line buffer has a place that holds it."""
    check_frames(mapping)
    chip, spilled, tight = mapping.chip, dict[tuple[str, str], str](), list[TooSmall]()
    while True:
        plan = make_plan(mapping, spilled)
        memory = run_plan(plan, frames, schedule, trace)
        edges = _edge_peaks(plan, memory)
        raised = raised_edges(plan, memory)
        if raised:
            small = [
                TooSmall(
                    plan.works[edge.producer].unit.name, plan.works[edge.consumer].unit.name,
                    edge.capacity or 0, pixels, math.ceil(pixels * edge.pixel_bytes),
                )
                for edge, pixels in raised
            ]  # fmt: skip
            tight = tight or small
            if chip.buffer.overflow == "error":
                raise SimulationError(tell_too_small(chip, small))
            spilled |= {(one.producer, one.consumer): first_memory(chip) for one in small}
            continue
        frames_in = {work.unit.name for work in plan.works if work.unit.kind == "input"}
        held = {
            (e.producer, e.consumer): e.n_bytes
            for e in edges
            if e.memory == "global_buffer" and e.producer not in frames_in
        }
        moved = to_dram(mapping, held, tight)
        if not moved:
            return plan, memory, edges
        spilled |= dict.fromkeys(moved, "dram")


def run_plan(plan: Plan, frames: int, schedule: Schedule, trace: bool = False) -> Memory:
    """Run the event loop once; returns its memory with all frames complete.

    Capacities of line buffers that are too small stand raised in it.
    """
    from cimsim.timing import kernels, steady  # numba is slow to import
    from cimsim.timing.tables import initial_memory

    ring = 0
    rows = None if trace or schedule != "pipelined" else steady.rows_per_line(plan)
    while True:
        memory = initial_memory(plan, frames, schedule, trace, ring)
        if rows is None:
            kernels.run(memory.cells)
        else:
            steady.run(plan, memory, rows)
        if memory.cells[k.H_FULL] == 0:
            break
        ring = 4 * max(ring, int(memory.cells[k.H_RING]))
    if memory.frame[:, 0].any():  # every dependency points backwards: if it happens, say where
        stuck = [
            work.unit.name
            for work, row in zip(plan.works, memory.unit, strict=True)
            if row[k.U_DONE] < work.unit.windows * frames
        ]
        raise SimulationError(f"timing: deadlock, waiting for ever: {', '.join(stuck)}")
    return memory


def raised_edges(plan: Plan, memory: Memory) -> list[tuple[Edge, int]]:
    """Return the edges that are too small, and the pixels that they need at least."""
    return [
        (edge, int(row[k.E_CAPACITY]))
        for edge, row in zip(plan.edges, memory.edge, strict=True)
        if edge.capacity is not None and row[k.E_CAPACITY] > edge.capacity
    ]


def _unit_time(plan: Plan, memory: Memory, u: int, frames: int) -> UnitTime:
    work, replicas = plan.works[u], len(plan.works[u].pipes)
    start = sum(len(other.pipes) for other in plan.works[:u])
    busy, waited, occupied = (np.zeros(6, np.int64) for _ in range(3))
    pulsed = 0
    rows = memory.feeder[start : start + replicas]
    for replica, (row, services) in enumerate(zip(rows, work.services, strict=True)):
        busy += _busy(services, int(row[k.F_FIRST]), frames * work.of_replica(replica))
        waited += row[k.F_WAITED : k.F_WAITED + 6]
        occupied += _occupied(row, work.unit.kind == "matrix")
        # pulses of arrays that layers share count as one in the event loop
        pulsed += int(row[k.F_PULSED]) * work.pulses // services.pulses
    return UnitTime(
        name=work.unit.name,
        kind=work.unit.kind,
        layer=plan.pipes[work.pipes[0]].name,
        replicas=replicas,
        windows=int(memory.unit[u, k.U_DONE]) // work.unit.windows * work.answered,
        activations=int(rows[:, k.F_FIRED].sum()) * work.arrays,
        pulses=pulsed * work.arrays,
        conversions=pulsed * work.columns,
        busy=tuple(busy.tolist()),
        waiting=tuple(waited.tolist()),
        blocked=tuple((occupied - busy - waited).tolist()),
        starved=int(rows[:, k.F_STARVED].sum()),
        no_credit=int(rows[:, k.F_NO_CREDIT].sum()),
    )


def _busy(services: Services, first: int, n: int) -> Ints:
    """Cycles of service by stage of ``n`` activations, ``first`` of them first in a map row."""
    alone = [services.alone(stage) for stage in range(7)]
    pulses = n * services.pulses
    return np.array(
        [
            first * alone[LOAD] + (n - first) * alone[LOAD_NEXT], pulses * alone[DRIVE],
            pulses * alone[CONVERT], n * alone[REDUCE], n * alone[POST], n * alone[STORE],
        ], np.int64,
    )  # fmt: skip


def _occupied(row: Ints, matrix: bool) -> Ints:
    """Cycles between entering and leaving each stage, from sums over all activations."""
    enter = row[k.F_ENTERED : k.F_ENTERED + 6]
    leave = np.append(enter[1:], row[k.F_LEFT_STORE])
    leave[DRIVE] = row[k.F_LEFT_DRIVE]
    if not matrix:
        leave[LOAD] = enter[POST]
        return np.where(np.isin(np.arange(6), [LOAD, POST, STORE]), leave - enter, 0)
    return leave - enter


def _resource_times(plan: Plan, frames: int, cycles: int) -> tuple[ResourceTime, ...]:
    work = resource_work(plan)
    return tuple(
        ResourceTime(_title(resource), frames * work[resource], frames * work[resource] / cycles)
        for resource in sorted(work)
    )


def _title(resource: Resource) -> str:
    kind, *place = resource
    if kind in ("link", "chips"):
        return f"{kind} {place[-2]}>{place[-1]}" + (f" of chip {place[0]}" if place[:-2] else "")
    return f"{kind} {'.'.join(str(number) for number in place)}"


def _edge_peaks(plan: Plan, memory: Memory) -> tuple[EdgePeak, ...]:
    found = []
    for edge, row in zip(plan.edges, memory.edge, strict=True):
        producer, consumer = (plan.works[i].unit for i in (edge.producer, edge.consumer))
        frame = producer.windows * producer.block[0] * producer.block[1]
        peak = int(row[k.E_PEAK])
        found.append(
            EdgePeak(
                producer.name, consumer.name, peak, frame, math.ceil(peak * edge.pixel_bytes),
                edge.capacity, edge.memory,
            )
        )  # fmt: skip
    return tuple(found)
