"""The memory of the event loop before cycle 0, laid out from a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import SimulationError
from cimsim.timing import kernels as k
from cimsim.timing.plan import (
    Plan,
    Schedule,
    Work,
    bus_cycles,
    need_tables,
    ranges,
    release_table,
    whole_tables,
)

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Memory:
    """One int64 array and views of its tables.

    Attributes
    ----------
    cells : int64 [...]
        What the event loop works on.
    unit : int64 [units, UNIT]
    resource : int64 [resources + 1, RESOURCE]
        The last one stands for none.
    edge : int64 [edges, EDGE]
    frame : int64 [frames, 2]
    trace : int64 [activations or 0, TRACE]
        Where the answers stand afterwards.
    """

    cells: Ints
    unit: Ints
    resource: Ints
    edge: Ints
    frame: Ints
    trace: Ints


class _Layout:
    """Hands out addresses, then makes the array."""

    def __init__(self) -> None:
        self.size = k.HEADER
        self.parts: list[tuple[int, Ints]] = []

    def add(self, table: Ints) -> int:
        """Reserve room for ``table``, whose values may still change; returns its address."""
        address = self.size
        self.parts.append((address, table))
        self.size += table.size
        return address

    def cells(self, tail: int) -> Ints:
        """Return the array with ``tail`` more cells of -1 at the end."""
        found = np.zeros(self.size + tail, np.int64)
        for address, table in self.parts:
            found[address : address + table.size] = table.ravel()
        found[self.size :] = -1
        return found


def initial_memory(plan: Plan, frames: int, schedule: Schedule, trace: bool) -> Memory:
    """Return the memory of a simulation that has not begun.

    Raises
    ------
    SimulationError
        If there are more units than the event key has room for.
    """
    works = plan.works
    if len(works) >= 1 << k.ORDER_BITS:
        raise SimulationError(f"{len(works)} units, at most {(1 << k.ORDER_BITS) - 1} are possible")
    layout = _Layout()
    unit = _units(works)
    units = layout.add(unit)
    resource = np.zeros((len(plan.resources) + 1, k.RESOURCE), np.int64)
    resources = layout.add(resource)
    frame = np.zeros((frames, k.FRAME), np.int64)
    frame[:, 0] = len(works)
    frame_address = layout.add(frame)
    edge = _edges(works, layout, unit, units)
    edges = int(unit[0, k.U_OUT])
    needs = _needs(works, schedule, layout, unit, units)
    feeders, pipes = _pipes(plan, layout, unit, units, resources)
    watches = _watches(feeders, needs, layout, unit, units)
    # what was stored may lie ahead of the event at hand: one per cycle of latency and per replica
    ahead = int(unit[:, k.U_LATENCY].max()) + int(unit[:, k.U_REPLICAS].max())
    ring = 1 << (ahead + 4).bit_length()
    unit[:, k.U_RING] = layout.add(np.zeros((len(works), ring), np.int64))
    unit[:, k.U_RING] += ring * np.arange(len(works))
    capacity = 8 * len(plan.pipes) + 2 * len(feeders) + watches
    stack = layout.add(np.zeros(capacity, np.int64))
    heap = layout.add(np.zeros((capacity, k.EVENT), np.int64))
    rows = frames * unit[:, k.U_ACTIVATIONS] if trace else np.zeros(len(works), np.int64)
    if trace:
        unit[:, k.U_TRACE] = layout.size + k.TRACE * (np.cumsum(rows) - rows)
    cells = layout.cells(int(rows.sum()) * k.TRACE)
    header = {
        k.H_PIPES: pipes, k.H_PIPE_COUNT: len(plan.pipes), k.H_HEAP: heap, k.H_STACK: stack,
        k.H_RING: ring, k.H_FRAMES: frame_address, k.H_FRAME: frames,
    }  # fmt: skip
    for cell, value in header.items():
        cells[cell] = value

    def view(address: int, like: Ints) -> Ints:
        return cells[address : address + like.size].reshape(like.shape)

    return Memory(
        cells, view(units, unit), view(resources, resource), view(edges, edge),
        view(frame_address, frame), cells[layout.size :].reshape(-1, k.TRACE),
    )  # fmt: skip


def _units(works: tuple[Work, ...]) -> Ints:
    table = np.zeros((len(works), k.UNIT), np.int64)
    for u, work in enumerate(works):
        cycles, block = work.cycles, work.unit.block[0] * work.unit.block[1]
        table[u, k.U_ORDER] = u
        table[u, k.U_WINDOWS] = work.unit.windows
        table[u, k.U_ACTIVATIONS] = work.activations
        table[u, k.U_ROW] = work.unit.grid[1]
        table[u, k.U_PER_ACTIVATION] = work.per_activation
        table[u, k.U_REPLICAS] = len(work.pipes)
        table[u, k.U_LOAD_NEXT] = cycles.load_next
        table[u, k.U_PULSES] = cycles.pulses
        table[u, k.U_DOUBLE] = cycles.double
        table[u, k.U_LATENCY] = cycles.latency
        table[u, k.U_BLOCK] = block
        table[u, k.U_FRAME] = block * work.unit.windows
        table[u, k.U_CYCLES : k.U_CYCLES + 6] = bus_cycles(cycles)
        table[u, k.U_OWN + k.DRIVE] = cycles.drive
        table[u, k.U_OWN + k.REDUCE] = cycles.reduce_own
    return table


def _edges(works: tuple[Work, ...], layout: _Layout, unit: Ints, units: int) -> Ints:
    """Fill the edges between units, sorted by producer, and their addresses sorted by consumer."""
    rows = sorted(
        (producer, u, layout.add(release))
        for u, work in enumerate(works)
        for producer, release in _releases(works, work).items()
    )
    table = np.zeros((len(rows), k.EDGE), np.int64)
    for e, (producer, consumer, release) in enumerate(rows):
        table[e, k.E_PRODUCER] = units + producer * k.UNIT
        table[e, k.E_CONSUMER] = units + consumer * k.UNIT
        table[e, k.E_TABLE] = release
    address = layout.add(table)
    by_consumer = sorted(range(len(rows)), key=lambda e: rows[e][1])
    listed = layout.add(np.array([address + e * k.EDGE for e in by_consumer], np.int64))
    start, unit[:, k.U_OUT_COUNT] = ranges([row[0] for row in rows], len(works))
    unit[:, k.U_OUT] = address + start * k.EDGE
    start, unit[:, k.U_IN_COUNT] = ranges([row[1] for row in rows], len(works))
    unit[:, k.U_IN] = listed + start
    return table


def _releases(works: tuple[Work, ...], work: Work) -> dict[int, Ints]:
    """Return for each producer the pixels that ``work`` has released after 0, 1, ... rows."""
    found: dict[int, Ints] = {}
    for producer, need in work.needs:
        freed = release_table(work, works[producer], need)
        found[producer] = np.minimum(found[producer], freed) if producer in found else freed
    return found


def _needs(
    works: tuple[Work, ...], schedule: Schedule, layout: _Layout, unit: Ints, units: int
) -> list[list[int]]:
    """Fill the dependencies and return the producers' indices by unit.

    In a sequential schedule each unit waits for the whole one before.
    """
    rows: list[tuple[int, int, int, int]] = []
    producers: list[list[int]] = []
    for u, work in enumerate(works):
        if schedule == "sequential":
            before = (u - 1) % len(works)
            wanted = [(before, *whole_tables(work, works[before]), 0 if u else -1)]
        else:
            wanted = [(p, *need_tables(work, works[p], need), 0) for p, need in work.needs]
        producers.append([row[0] for row in wanted])
        rows += [
            (units + p * k.UNIT, layout.add(table_y), layout.add(table_x), frame)
            for p, table_y, table_x, frame in wanted
        ]
    address = layout.add(np.array(rows, np.int64).reshape(len(rows), k.NEED))
    start, unit[:, k.U_NEED_COUNT] = ranges(
        [u for u, found in enumerate(producers) for _ in found], len(works)
    )
    unit[:, k.U_NEEDS] = address + start * k.NEED
    return producers


def _pipes(
    plan: Plan, layout: _Layout, unit: Ints, units: int, resources: int
) -> tuple[list[tuple[int, int]], int]:
    """Fill pipelines and one feeder for each unit and replica.

    Returns
    -------
    list of (unit, address)
        All feeders, by unit.
    int
        Address of the pipelines.
    """
    feeder = np.zeros((sum(len(work.pipes) for work in plan.works), k.FEEDER), np.int64)
    pipe = np.zeros((len(plan.pipes), k.PIPE), np.int64)
    pipes = layout.add(pipe)
    address = layout.add(feeder)
    found: list[tuple[int, int]] = []
    for u, work in enumerate(plan.works):
        unit[u, k.U_FEEDER] = address + len(found) * k.FEEDER
        for replica, p in enumerate(work.pipes):
            row = feeder[len(found)]
            row[k.F_UNIT], row[k.F_PIPE] = units + u * k.UNIT, pipes + p * k.PIPE
            row[k.F_REPLICA] = row[k.F_INDEX] = row[k.F_UNDONE_INDEX] = replica
            row[k.F_Y], row[k.F_X] = divmod(replica * work.per_activation, work.unit.grid[1])
            row[k.F_LAST_ROW], row[k.F_WANTED] = -1, k.UNKNOWN
            found.append((u, address + len(found) * k.FEEDER))
    users = plan.shared()
    number = {name: r for r, name in enumerate(plan.resources)}
    for p, one in enumerate(plan.pipes):
        mine = [
            row
            for (u, row), f in zip(found, feeder, strict=True)
            if f[k.F_PIPE] == pipes + p * k.PIPE
        ]
        pipe[p, k.P_FEEDERS], pipe[p, k.P_FEEDER_COUNT] = (
            layout.add(np.array(mine, np.int64)),
            len(mine),
        )
        pipe[p, k.P_PENDING] = k.FAR
        stage = pipe[p, k.P_STAGES :].reshape(6, k.STAGE)
        stage[:, k.T_SEQUENCE] = k.EMPTY
        stage[:, k.T_RESOURCE] = resources + len(number) * k.RESOURCE
        stage[:, k.T_NEXT] = np.arange(1, 7)
        if plan.works[one.units[0]].unit.kind == "vector":
            stage[k.LOAD, k.T_NEXT] = k.POST
        for s, name in one.resources.items():
            stage[s, k.T_RESOURCE] = resources + number[name] * k.RESOURCE
            stage[s, k.T_SHARED] = users[name] > 1
    return found, pipes


def _watches(
    feeders: list[tuple[int, int]], needs: list[list[int]], layout: _Layout, unit: Ints, units: int
) -> int:
    """Fill who has to be looked at when a unit stores, sorted by that unit; returns how many."""
    rows = sorted(
        (producer, address, index)
        for u, address in feeders
        for index, producer in enumerate(needs[u])
    )
    address = layout.add(np.array([row[1:] for row in rows], np.int64).reshape(len(rows), k.WATCH))
    start, unit[:, k.U_WATCH_COUNT] = ranges([row[0] for row in rows], len(unit))
    unit[:, k.U_WATCHES] = address + start * k.WATCH
    return len(rows)
