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
        A unit without windows, or line buffers that are too small (``buffer.overflow: error``; with
        ``global_buffer``: all together).
    """
    if schedule not in get_args(Schedule):
        raise ConfigError(
            f"timing: schedule '{schedule}' is unknown{suggest(schedule, get_args(Schedule))}"
        )
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ConfigError(f"timing: frames: expected an integer >= 1, got {frames!r}")
    spilled: set[tuple[str, str]] = set()
    while True:
        plan = make_plan(mapping, spilled)
        memory = run_plan(plan, frames, schedule, trace)
        raised = raised_edges(plan, memory)
        if not raised:
            break
        if mapping.chip.buffer.overflow == "error":
            raise SimulationError(_too_small(mapping, plan, raised))
        spilled |= {
            (plan.works[edge.producer].unit.name, plan.works[edge.consumer].unit.name)
            for edge, _ in raised
        }
    edges = _edge_peaks(plan, memory)
    _check_global_buffer(mapping, edges)
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


def run_plan(plan: Plan, frames: int, schedule: Schedule, trace: bool = False) -> Memory:
    """Run the event loop once; returns its memory with all frames complete.

    Capacities of line buffers that are too small stand raised in it.
    """
    from cimsim.timing import kernels  # numba is slow to import
    from cimsim.timing.tables import initial_memory

    ring = 0
    while True:
        memory = initial_memory(plan, frames, schedule, trace, ring)
        kernels.run(memory.cells)
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


def _too_small(mapping: Mapping, plan: Plan, raised: list[tuple[Edge, int]]) -> str:
    chip, told, factor = mapping.chip, [], 1.0
    for edge, needed in raised:
        names = [plan.works[i].unit.name for i in (edge.producer, edge.consumer)]
        told.append(
            f"{names[0]} -> {names[1]} holds {edge.capacity} pixels "
            f"and needs {needed} ({math.ceil(needed * edge.pixel_bytes)} B)"
        )
        factor = max(factor, (needed + 1) / max(edge.capacity or 0, 0.5))
    size = math.ceil(chip.buffer.size_b * factor / 1024)
    more = f"; and {len(told) - 4} more" if len(told) > 4 else ""
    return (
        f"buffer.size: line buffers are too small, the network would stop for ever: "
        f"{'; '.join(told[:4])}{more}. Ways out: --set buffer.size={size}KiB; spill them with "
        "--set buffer.overflow=global_buffer (or dram); smaller frames"
    )


def _check_global_buffer(mapping: Mapping, edges: tuple[EdgePeak, ...]) -> None:
    chip = mapping.chip
    held = sum(edge.n_bytes for edge in edges if edge.spilled)
    if chip.buffer.overflow == "global_buffer" and held > chip.global_buffer.size_b:
        raise SimulationError(
            f"global_buffer.size: line buffers that spill take up to {held:,} B, the global buffer "
            f"has {int(chip.global_buffer.size_b):,} B. Ways out: a larger one; --set "
            "buffer.overflow=dram with a section dram; smaller frames"
        )


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
                edge.capacity, edge.spilled,
            )
        )  # fmt: skip
    return tuple(found)
