"""Timing on one page: plan, run the event loop, read the answers off its tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import ConfigError, SimulationError, suggest
from cimsim.mapping.mapping import Mapping
from cimsim.timing.analysis.bounds import least_interval, resource_work
from cimsim.timing.loop.traces import read_trace
from cimsim.timing.plan.plan import Plan, Schedule, make_plan
from cimsim.timing.spec.buffers import Edge
from cimsim.timing.spec.memories import (
    TooSmall,
    check_frames,
    first_memory,
    tell_too_small,
    to_dram,
)
from cimsim.timing.spec.routes import Resource
from cimsim.timing.spec.rules import Services
from cimsim.timing.spec.stage import Served, Stage
from cimsim.timing.timeline import EdgePeak, NodeTime, ResourceTime, Timeline

if TYPE_CHECKING:
    from cimsim.timing.loop.tables import Memory

Ints = NDArray[np.int64]


def simulate(
    mapping: Mapping, frames: int = 3, schedule: Schedule = "pipelined", trace: bool = False
) -> Timeline:
    """Simulate some frames, cycle by cycle, by the rules of `cimsim.timing.spec.rules`.

    Parameters
    ----------
    mapping : Mapping
    frames : int
        Frames that stream in back to back; two or more tell the steady interval.
    schedule : {"pipelined", "sequential"}
        A node starts as soon as its input is there, or node after node and frame after frame.
    trace : bool
        Keep the cycles of every activation (104 bytes each).

    Raises
    ------
    ConfigError
        A wrong schedule or number of frames.
    SimulationError
        A node without windows, or memories that are too small for frames and line buffers: see
        `cimsim.timing.spec.memories`.
    """
    if schedule not in get_args(Schedule):
        raise ConfigError(
            f"timing: schedule '{schedule}' is unknown{suggest(schedule, get_args(Schedule))}"
        )
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ConfigError(f"timing: frames: expected an integer >= 1, got {frames!r}")
    plan, memory, edges = _fitted(mapping, frames, schedule, trace)
    cycles = int(memory.frame.complete.max())
    return Timeline(
        schedule=schedule,
        completions=tuple(int(cycle) for cycle in memory.frame.complete),
        least_interval=least_interval(plan),
        nodes=_node_times(plan, memory, frames),
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
                    plan.jobs[edge.producer].node.name, plan.jobs[edge.consumer].node.name,
                    edge.capacity or 0, pixels, math.ceil(pixels * edge.pixel_bytes),
                )
                for edge, pixels in raised
            ]  # fmt: skip
            tight = tight or small
            if chip.buffer.overflow == "error":
                raise SimulationError(tell_too_small(chip, small))
            spilled |= {(one.producer, one.consumer): first_memory(chip) for one in small}
            continue
        frames_in = {job.node.name for job in plan.jobs if job.node.kind == "input"}
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
    from cimsim.timing.loop import kernels, steady  # numba is slow to import
    from cimsim.timing.loop.tables import initial_memory

    ring = 0
    rows = None if trace or schedule != "pipelined" else steady.rows_per_line(plan)
    while True:
        memory = initial_memory(plan, frames, schedule, trace, ring)
        if rows is None:
            kernels.run(memory.header)
        else:
            steady.run(plan, memory, rows)
        if memory.header.full == 0:
            break
        ring = 4 * max(ring, memory.header.ring)
    if memory.frame.left.any():  # every dependency points backwards: if it happens, say where
        stuck = [
            job.node.name
            for job, done in zip(plan.jobs, memory.node.done, strict=True)
            if done < job.node.windows * frames
        ]
        raise SimulationError(f"timing: deadlock, waiting for ever: {', '.join(stuck)}")
    return memory


def raised_edges(plan: Plan, memory: Memory) -> list[tuple[Edge, int]]:
    """Return the edges that are too small, and the pixels that they need at least."""
    return [
        (edge, int(capacity))
        for edge, capacity in zip(plan.edges, memory.edge.capacity, strict=True)
        if edge.capacity is not None and capacity > edge.capacity
    ]


def _node_times(plan: Plan, memory: Memory, frames: int) -> tuple[NodeTime, ...]:
    start = np.cumsum([0, *(len(job.pipes) for job in plan.jobs)]).tolist()
    return tuple(_node_time(plan, memory, u, start[u], frames) for u in range(len(plan.jobs)))


def _node_time(plan: Plan, memory: Memory, u: int, start: int, frames: int) -> NodeTime:
    """Read the answers of a node, whose queues begin at ``start``."""
    job, replicas = plan.jobs[u], len(plan.jobs[u].pipes)
    mine = slice(start, start + replicas)
    queue, stages = memory.queue, len(Stage)
    busy, pulsed = np.zeros(stages, np.int64), 0
    for number, services in enumerate(job.services, start):
        n = frames * job.of_replica(number - start)
        busy += _busy(services, int(queue.first[number]), n)
        # pulses of arrays that layers share count as one in the event loop
        pulsed += int(queue.pulsed[number]) * job.pulses // services.pulses
    waited = queue.waited[mine].sum(axis=0)
    occupied = _occupied(memory, mine, job.node.kind == "matrix")
    return NodeTime(
        name=job.node.name,
        kind=job.node.kind,
        layer=plan.pipes[job.pipes[0]].name,
        replicas=replicas,
        windows=int(memory.node.done[u]) // job.node.windows * job.answered,
        activations=int(queue.fired[mine].sum()) * job.arrays,
        pulses=pulsed * job.arrays,
        conversions=pulsed * job.columns,
        busy=tuple(busy.tolist()),
        waiting=tuple(waited.tolist()),
        blocked=tuple((occupied - busy - waited).tolist()),
        starved=int(queue.starved[mine].sum()),
        no_credit=int(queue.no_credit[mine].sum()),
    )


def _busy(services: Services, first: int, n: int) -> Ints:
    """Cycles of service by stage of ``n`` activations, ``first`` of them first in a map row."""
    alone = [services.alone(served) for served in Served]
    pulses = n * services.pulses
    times = {Stage.DRIVE: pulses, Stage.CONVERT: pulses}
    busy = np.array([times.get(stage, n) * alone[stage] for stage in Stage], np.int64)
    busy[Stage.LOAD] = first * alone[Served.LOAD] + (n - first) * alone[Served.LOAD_NEXT]
    return busy


def _occupied(memory: Memory, mine: slice, matrix: bool) -> Ints:
    """Cycles between entering and leaving each stage, from sums over all activations."""
    enter: Ints = memory.queue.entered[mine].sum(axis=0)
    leave: Ints = np.append(enter[1:], memory.queue.left_store[mine].sum())
    leave[Stage.DRIVE] = memory.queue.left_drive[mine].sum()
    if not matrix:
        leave[Stage.LOAD] = enter[Stage.POST]
        passed = np.isin(np.arange(len(Stage)), [Stage.LOAD, Stage.POST, Stage.STORE])
        return passed * (leave - enter)
    return leave - enter


def _resource_times(plan: Plan, frames: int, cycles: int) -> tuple[ResourceTime, ...]:
    job = resource_work(plan)
    return tuple(
        ResourceTime(_title(resource), frames * job[resource], frames * job[resource] / cycles)
        for resource in sorted(job)
    )


def _title(resource: Resource) -> str:
    kind, *place = resource
    if kind in ("link", "chips"):
        return f"{kind} {place[-2]}>{place[-1]}" + (f" of chip {place[0]}" if place[:-2] else "")
    return f"{kind} {'.'.join(str(number) for number in place)}"


def _edge_peaks(plan: Plan, memory: Memory) -> tuple[EdgePeak, ...]:
    peaks = []
    for edge, peak in zip(plan.edges, memory.edge.peak.tolist(), strict=True):
        producer, consumer = (plan.jobs[i].node for i in (edge.producer, edge.consumer))
        frame = producer.windows * producer.block[0] * producer.block[1]
        peaks.append(
            EdgePeak(
                producer.name, consumer.name, peak, frame, math.ceil(peak * edge.pixel_bytes),
                edge.capacity, edge.memory,
            )
        )  # fmt: skip
    return tuple(peaks)
