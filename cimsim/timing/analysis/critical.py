"""The critical path of a frame: the services and waits that, one after another, are its latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import SimulationError
from cimsim.jit import jit
from cimsim.timing.loop.traces import first_in_row
from cimsim.timing.plan.plan import Plan
from cimsim.timing.spec.stage import STAGES, Served, Stage
from cimsim.timing.timeline import Timeline, Trace

Ints = NDArray[np.int64]
WAITING, TRANSFER = len(STAGES), len(STAGES) + 1
PARTS = (*STAGES, "waiting", "transfer")


@dataclass(frozen=True, slots=True)
class PathPart:
    """Cycles of a critical path that one node spent in one way.

    Attributes
    ----------
    node : str
    what : str
        A stage (in service), ``waiting`` for a shared resource, or ``transfer``: stored, but still
        on its way.
    cycles : int
    """

    node: str
    what: str
    cycles: int


def critical_path(plan: Plan, timeline: Timeline, frame: int = 0) -> tuple[PathPart, ...]:
    """Walk back from the completion of a frame to cycle 0, always to what came last.

    An activation that could not leave a stage is followed to the one that held the next stage; one
    that entered LOAD late to the one that left LOAD, or to the store that it waited for (of pixels
    that it reads, or by a reader that let go of rows; sequential: by the node before). So the parts
    add up to the completion cycle. Of causes that end in the same cycle any one is taken.

    An activation's cycles in a stage are service as far as it lasts alone; the rest is ``waiting``,
    unless the next stage was held. Each pulse is driven and converted for itself: one that entered
    CONVERT is followed to its drive or, if that was over before, to the conversion that it waited
    for.

    Parameters
    ----------
    plan : Plan
        Of the same mapping, with the same line buffers spilled.
    timeline : Timeline
        With a trace.
    frame : int

    Returns
    -------
    tuple of PathPart
        The largest first.

    Raises
    ------
    SimulationError
        If the timeline has no trace.
    """
    trace = timeline.trace
    if trace is None:
        raise SimulationError("critical path: the simulation kept no trace, run it with trace=True")
    near, near_start = _neighbours(plan)
    by_store = np.lexsort((trace.stored, trace.node))
    mine = np.flatnonzero(trace.frame == frame)
    spent = np.zeros((len(plan.jobs), len(PARTS)), np.int64)
    start = np.searchsorted(trace.node, np.arange(len(plan.jobs) + 1))
    alone, counts, double = _served(plan, trace, start)
    _walk(
        spent, trace.node, np.ascontiguousarray(trace.enter), np.ascontiguousarray(trace.leave),
        np.ascontiguousarray(trace.stored), alone, (counts, double, *_begun(plan, trace, start)),
        _before(plan, trace), by_store, trace.stored[by_store], start, near, near_start,
        int(mine[np.argmax(trace.stored[mine])]),
    )  # fmt: skip
    parts = [
        PathPart(plan.jobs[u].node.name, PARTS[part], int(spent[u, part]))
        for u, part in zip(*np.nonzero(spent), strict=True)
    ]
    return tuple(sorted(parts, key=lambda one: -one.cycles))


def _neighbours(plan: Plan) -> tuple[Ints, Ints]:
    """List for each node those whose stores it may wait for, and where each list starts."""
    lists: list[set[int]] = [set() for _ in plan.jobs]
    for edge in plan.edges:
        lists[edge.consumer].add(edge.producer)
        lists[edge.producer].add(edge.consumer)
    for u, job in enumerate(plan.jobs):
        lists[u] |= {producer for producer, _ in job.dependencies}
        lists[u].add(u - 1 if u else len(lists) - 1)  # sequential: the node before
    start = np.cumsum([0, *(len(one) for one in lists)])
    return np.array([v for one in lists for v in sorted(one)], np.int64), start.astype(np.int64)


def _served(plan: Plan, trace: Trace, start: Ints) -> tuple[Ints, Ints, Ints]:
    """Say how each activation is served.

    Returns
    -------
    alone : int64 [rows, 6]
        Cycles of service in each stage; DRIVE, CONVERT: of one pulse.
    counts, double : int64 [rows]
        Pulses; whether they are driven while the one before is converted.
    """
    alone = np.zeros((len(trace.node), len(Stage)), np.int64)
    counts, double = np.ones((2, len(trace.node)), np.int64)
    for u, job in enumerate(plan.jobs):
        replicas = trace.replica[start[u] : start[u + 1]]
        for replica, services in enumerate(job.services):
            rows = start[u] + np.flatnonzero(replicas == replica)
            alone[rows] = [services.alone(stage) for stage in Stage]
            later = ~first_in_row(job, trace.activation[rows])
            alone[rows[later], Stage.LOAD] = services.alone(Served.LOAD_NEXT)
            counts[rows], double[rows] = services.pulses, services.double
    return alone, counts, double


def _begun(plan: Plan, trace: Trace, start: Ints) -> tuple[Ints, Ints]:
    """Say when shared converters began with the pulses of each activation.

    Returns
    -------
    first : int64 [rows + 1]
        Where the cycles of an activation begin in the next.
    begun : int64 [n]
        Sorted; none for converters that nobody shares.
    """
    grants = trace.grants
    per_frame = np.array([job.activations for job in plan.jobs], np.int64)
    chosen = np.flatnonzero(grants.stage == Stage.CONVERT)
    node = grants.node[chosen]
    row = start[node] + grants.frame[chosen] * per_frame[node] + grants.activation[chosen]
    order = np.lexsort((grants.start[chosen], row))
    first = np.searchsorted(row[order], np.arange(len(trace.node) + 1))
    return first.astype(np.int64), grants.start[chosen][order]


def _before(plan: Plan, trace: Trace) -> Ints:
    """Activation that entered the same pipeline before each one; -1: none."""
    pipe = np.zeros(len(trace.node), np.int64)
    for u, job in enumerate(plan.jobs):
        rows = trace.node == u
        pipe[rows] = np.array(job.pipes)[trace.replica[rows]]
    order = np.lexsort(
        (trace.node, trace.activation, trace.frame, trace.enter[:, Stage.LOAD], pipe)
    )
    before = np.full(len(order), -1, np.int64)
    same = pipe[order[1:]] == pipe[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    return before


@jit
def _walk(
    spent: Ints,
    node: Ints,
    enter: Ints,
    leave: Ints,
    stored: Ints,
    alone: Ints,
    pulses: tuple[Ints, Ints, Ints, Ints],
    before: Ints,
    by_store: Ints,
    store_times: Ints,
    start: Ints,
    near: Ints,
    near_start: Ints,
    row: int,
) -> None:  # fmt: skip
    counts, double, first, begun = pulses
    entered, converted = np.empty((2, counts.max()), np.int64)
    stage, at = Stage.STORE.value, leave[row, Stage.STORE]
    spent[node[row], TRANSFER] += stored[row] - at
    while True:  # activation ``row`` leaves ``stage`` in cycle ``at``
        u, previous = node[row], before[row]
        if stage == Stage.DRIVE or stage == Stage.CONVERT:
            mine = begun[first[row] : first[row + 1]]
            _times(row, counts, double, enter, alone, mine, entered, converted)
            last = counts[row] - 1
            is_converted = stage == Stage.CONVERT or not double[row]
            if is_converted and converted[last] < at:
                if previous >= 0 and leave[previous, Stage.REDUCE] == at:
                    row, stage = previous, Stage.REDUCE.value
                    continue
                spent[u, WAITING] += at - converted[last]
            _count_pulses(spent[u], last, is_converted, double[row], alone[row], entered, converted)
            stage, at = Stage.DRIVE.value, entered[0]
        begin, is_matrix = enter[row, stage], enter[row, Stage.DRIVE] >= 0
        following = stage + 1
        if stage == Stage.LOAD and not is_matrix:
            following = Stage.POST.value
        late = at - begin > alone[row, stage]
        if late and stage < Stage.STORE and previous >= 0 and leave[previous, following] == at:
            row, stage = previous, following
            continue
        waited = max(0, at - begin - alone[row, stage])
        spent[u, WAITING] += waited
        spent[u, stage] += at - begin - waited
        at = begin
        if stage > Stage.LOAD:
            stage = Stage.LOAD.value if stage == Stage.POST and not is_matrix else stage - 1
        elif at == 0:
            return
        elif previous >= 0 and leave[previous, Stage.LOAD] == at:
            row = previous
        else:
            row = _store_at(u, at, by_store, store_times, start, near, near_start)
            if row < 0:
                return
            stage = Stage.STORE.value
            spent[node[row], TRANSFER] += at - leave[row, stage]
            at = leave[row, stage]


@jit
def _times(
    row: int,
    counts: Ints,
    double: Ints,
    enter: Ints,
    alone: Ints,
    begun: Ints,
    entered: Ints,
    converted: Ints,
) -> None:
    """Fill in when each pulse of an activation entered CONVERT and was converted."""
    at = enter[row, Stage.CONVERT]
    for p in range(counts[row]):
        entered[p] = at
        converted[p] = (begun[p] if len(begun) > 0 else at) + alone[row, Stage.CONVERT]
        at = converted[p]
        if not double[row]:
            at += alone[row, Stage.DRIVE]
        elif entered[p] + alone[row, Stage.DRIVE] > at:
            at = entered[p] + alone[row, Stage.DRIVE]


@jit
def _count_pulses(
    spent: Ints,
    p: int,
    is_converted: bool,
    double: int,
    alone: Ints,
    entered: Ints,
    converted: Ints,
) -> None:
    """Go back from pulse ``p``, converted or only in CONVERT, until the first one enters it."""
    while is_converted or p > 0:
        if is_converted:
            spent[Stage.CONVERT] += alone[Stage.CONVERT]
            spent[WAITING] += converted[p] - entered[p] - alone[Stage.CONVERT]
            is_converted = False
            continue
        p -= 1
        if not double or entered[p] + alone[Stage.DRIVE] == entered[p + 1]:
            spent[Stage.DRIVE] += alone[Stage.DRIVE]
        # driven behind the conversion (single), or waiting for it (double)
        is_converted = not double or entered[p] + alone[Stage.DRIVE] != entered[p + 1]


@jit
def _store_at(
    u: int, at: int, by_store: Ints, store_times: Ints, start: Ints, near: Ints, near_start: Ints
) -> int:
    """Find an activation of a neighbour of ``u`` that was stored in cycle ``at``; -1: none."""
    for index in range(near_start[u], near_start[u + 1]):
        low, high = start[near[index]], start[near[index] + 1]
        place = low + np.searchsorted(store_times[low:high], at)
        if place < high and store_times[place] == at:
            return int(by_store[place])
    return -1
