"""The memory of the event loop before cycle 0, laid out from a plan."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary import memory
from cimsim.errors import SimulationError
from cimsim.timing import records as k
from cimsim.timing.dependencies import need_tables, ranges, release_table, whole_tables
from cimsim.timing.plan import Plan, Schedule, Work
from cimsim.timing.routes import Leg, Resource
from cimsim.timing.rules import Services

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Memory:
    """One int64 array and views of its tables.

    Attributes
    ----------
    cells : int64 [...]
        What the event loop works on.
    unit : int64 [units, UNIT]
    feeder : int64 [units x replicas, FEEDER]
        By unit, then by replica.
    edge : int64 [edges, EDGE]
        As in the plan.
    frame : int64 [frames, 2]
    trace : int64 [activations or 0, TRACE]
    log : int64 [legs on resources that others use, too, or 0, GRANT]
        Where the answers stand afterwards.
    """

    cells: Ints
    unit: Ints
    feeder: Ints
    edge: Ints
    frame: Ints
    trace: Ints
    log: Ints


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

    def list_of(self, values: list[int]) -> int:
        """Reserve room for a list of numbers."""
        return self.add(np.array(values, np.int64))

    def cells(self, tail: int) -> Ints:
        """Return the array with ``tail`` more cells of -1 at the end."""
        found = np.zeros(self.size + tail, np.int64)
        for address, table in self.parts:
            found[address : address + table.size] = table.ravel()
        found[self.size :] = -1
        return found


def initial_memory(
    plan: Plan, frames: int, schedule: Schedule, trace: bool, ring: int = 0
) -> Memory:
    """Return the memory of a simulation that has not begun.

    Parameters
    ----------
    plan, frames, schedule, trace
    ring : int
        Least number of stored activations that each unit remembers.

    Raises
    ------
    SimulationError
        If there are more units than the event key has room for.
    """
    works = plan.works
    if len(works) >= 1 << k.ORDER_BITS:
        raise SimulationError(f"{len(works)} units, at most {(1 << k.ORDER_BITS) - 1} are possible")
    layout = _Layout()
    unit = np.zeros((len(works), k.UNIT), np.int64)
    units = layout.add(unit)
    for u, work in enumerate(works):
        _fill_unit(unit[u], u, work)
    feeder = np.zeros((sum(len(work.pipes) for work in works), k.FEEDER), np.int64)
    feeders = layout.add(feeder)
    frame = np.zeros((frames, k.FRAME), np.int64)
    frame[:, 0] = len(works)
    frame_address = layout.add(frame)
    edge = _edges(plan, layout, unit, units)
    edges = layout.add(edge)
    _edge_lists(plan, layout, unit, edge, edges)
    needs = _needs(works, schedule, layout, unit, units)
    pipe, pipes = _pipes(plan, layout)
    _feeders(plan, layout, unit, feeder, (units, feeders, pipes))
    _pipe_feeders(plan, layout, pipe, unit)
    watches = _watches(plan, needs, layout, unit, feeders)
    # what was stored may lie ahead of the event at hand: one per cycle of latency and per replica
    ahead = max((s.latency + 2) * len(w.pipes) + 4 for w in works for s in w.services)
    ring = 1 << max(2 * ahead, ring).bit_length()
    cycles = max(s.latency for w in works for s in w.services)
    memory.check(
        2 * len(works) * ring * 8, f"timing: an activation that lasts {cycles:,} cycles",
        "look at the chip's latencies and times (cimsim hw check), or lower process.clock",
        SimulationError,
    )  # fmt: skip
    for column in (k.U_RING, k.U_ROW_RING):
        unit[:, column] = layout.add(np.zeros((len(works), ring), np.int64))
        unit[:, column] += ring * np.arange(len(works))
    events = sum(8 + sum(len(s.legs) for s in v.stages) for w in works for v in w.services)
    calls = len(plan.pipes) + watches + sum(len(w.pipes) for w in works) * (len(plan.edges) + 1)
    stack = layout.add(np.zeros(calls, np.int64))
    heap = layout.add(np.zeros((events, k.EVENT), np.int64))
    rows = frames * unit[:, k.U_ACTIVATIONS] if trace else np.zeros(len(works), np.int64)
    if trace:
        start = layout.size + k.TRACE * (np.cumsum(rows) - rows)
        feeder[:, k.F_TRACE] = np.repeat(start, [len(work.pipes) for work in works])
    traced = int(rows.sum()) * k.TRACE
    logged = frames * _shared_legs(plan, feeder) if trace else 0
    memory.check(
        8.0 * (layout.size + traced + logged * k.GRANT), "timing: what each unit remembers",
        "take a smaller --size, fewer --frames, or no --trace", SimulationError,
    )  # fmt: skip
    cells = layout.cells(traced + logged * k.GRANT)
    header = {
        k.H_PIPES: pipes, k.H_PIPE_COUNT: len(plan.pipes), k.H_HEAP: heap, k.H_STACK: stack,
        k.H_RING: ring, k.H_FRAMES: frame_address, k.H_FRAME: frames, k.H_UNITS: units,
        k.H_UNIT_COUNT: len(works), k.H_LOG: layout.size + traced if trace else 0,
    }  # fmt: skip
    for cell, value in header.items():
        cells[cell] = value

    def view(address: int, like: Ints) -> Ints:
        return cells[address : address + like.size].reshape(like.shape)

    return Memory(
        cells, view(units, unit), view(feeders, feeder), view(edges, edge),
        view(frame_address, frame),
        cells[layout.size : layout.size + traced].reshape(-1, k.TRACE),
        cells[layout.size + traced :].reshape(-1, k.GRANT),
    )  # fmt: skip


def _shared_legs(plan: Plan, feeder: Ints) -> int:
    """Legs of one frame that the event loop grants one by one, at most."""
    count, number = 0, 0
    for work in plan.works:
        for replica, services in enumerate(work.services):
            legs = feeder[number, k.F_SERVICES :].reshape(7, k.SERVICE)[:, k.V_COUNT]
            each = int(legs[1:6].sum()) + int(max(legs[0], legs[6]))
            count += work.of_replica(replica) * (each + (services.pulses - 1) * int(legs[2]))
            number += 1
    return count


def _fill_unit(row: Ints, order: int, work: Work) -> None:
    unit = work.unit
    block = unit.block[0] * unit.block[1]
    row[k.U_ORDER] = order
    row[k.U_WINDOWS] = unit.windows
    row[k.U_ACTIVATIONS] = work.activations
    row[k.U_ROWS], row[k.U_ROW] = unit.grid
    row[k.U_PER_ACTIVATION] = work.per_activation
    row[k.U_REPLICAS] = len(work.pipes)
    row[k.U_BLOCK] = block
    row[k.U_FRAME] = block * unit.windows


def _edges(plan: Plan, layout: _Layout, unit: Ints, units: int) -> Ints:
    table = np.zeros((len(plan.edges), k.EDGE), np.int64)
    for row, edge in zip(table, plan.edges, strict=True):
        producer, consumer = (plan.works[i].unit for i in (edge.producer, edge.consumer))
        row[k.E_PRODUCER] = units + edge.producer * k.UNIT
        row[k.E_CONSUMER] = units + edge.consumer * k.UNIT
        row[k.E_TABLE] = layout.add(release_table(consumer, producer, edge.needs))
        row[k.E_CAPACITY] = k.NO_LIMIT if edge.capacity is None else edge.capacity
    return table


def _edge_lists(plan: Plan, layout: _Layout, unit: Ints, edge: Ints, edges: int) -> None:
    """Fill the edges from each unit (they are sorted so), into it, and those of its credit."""
    start, unit[:, k.U_OUT_COUNT] = ranges([e.producer for e in plan.edges], len(unit))
    unit[:, k.U_OUT] = edges + start * k.EDGE
    for u, row in enumerate(unit):
        into = [edges + i * k.EDGE for i, e in enumerate(plan.edges) if e.consumer == u]
        limited = [
            i for i, e in enumerate(plan.edges) if e.producer == u and e.capacity is not None
        ]
        for place, i in enumerate(limited):
            edge[i, k.E_PLACE] = place
        row[k.U_IN], row[k.U_IN_COUNT] = layout.list_of(into), len(into)
        credits = layout.list_of([edges + i * k.EDGE for i in limited])
        row[k.U_CREDITS], row[k.U_CREDIT_COUNT] = credits, len(limited)


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
            wanted = [(before, *whole_tables(work.unit, works[before].unit), 0 if u else -1)]
        else:
            wanted = [
                (p, *need_tables(work.unit, works[p].unit, need), -1 if p > u else 0)
                for p, need in work.needs
            ]
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


def _pipes(plan: Plan, layout: _Layout) -> tuple[Ints, int]:
    """Fill the pipelines; returns them and their address."""
    pipe = np.zeros((len(plan.pipes), k.PIPE), np.int64)
    pipes = layout.add(pipe)
    for p, one in enumerate(plan.pipes):
        pipe[p, k.P_PENDING] = k.FAR
        address = pipes + p * k.PIPE + k.P_STAGES
        stage = pipe[p, k.P_STAGES :].reshape(7, k.STAGE)
        stage[:, k.T_SEQUENCE] = k.EMPTY
        stage[:, k.T_END] = k.UNKNOWN
        stage[:, k.T_PIPE] = pipes + p * k.PIPE
        stage[:, k.T_KIND] = np.arange(7)
        order = [k.LOAD, k.DRIVE, k.CONVERT, k.REDUCE, k.POST, k.STORE]
        if plan.works[one.units[0]].unit.kind != "matrix":
            order = [k.LOAD, k.POST, k.STORE]
        for one_stage, following in itertools.pairwise(order):
            stage[one_stage, k.T_NEXT] = address + following * k.STAGE
            stage[following, k.T_BEFORE] = address + one_stage * k.STAGE
    return pipe, pipes


def _feeders(
    plan: Plan, layout: _Layout, unit: Ints, feeder: Ints, addresses: tuple[int, int, int]
) -> None:
    """Fill one feeder for each unit and replica, with its services."""
    units, feeders, pipes = addresses
    uses = plan.uses()
    resources = {name: layout.add(np.zeros(1, np.int64)) for name in uses}
    number = 0
    for u, work in enumerate(plan.works):
        unit[u, k.U_FEEDER] = feeders + number * k.FEEDER
        for replica, (p, services) in enumerate(zip(work.pipes, work.services, strict=True)):
            row = feeder[number]
            row[k.F_UNIT], row[k.F_PIPE] = units + u * k.UNIT, pipes + p * k.PIPE
            row[k.F_REPLICA] = row[k.F_INDEX] = row[k.F_UNDONE_INDEX] = replica
            row[k.F_Y], row[k.F_X] = divmod(replica * work.per_activation, work.unit.grid[1])
            row[k.F_LAST_ROW], row[k.F_WANTED] = -1, k.UNKNOWN
            row[k.F_PULSES], row[k.F_DOUBLE] = services.pulses, services.double
            row[k.F_LATENCY] = services.latency
            _services(services, row[k.F_SERVICES :].reshape(7, k.SERVICE), uses, resources, layout)
            number += 1


def _services(
    services: Services,
    table: Ints,
    uses: dict[Resource, int],
    resources: dict[Resource, int],
    layout: _Layout,
) -> None:
    for row, service in zip(table, services.stages, strict=True):
        row[k.V_ALONE], row[k.V_OWN] = service.alone, service.own
        if all(uses[leg.resource] == 1 for leg in service.legs):
            continue  # nobody else asks: its length is known
        if len(service.legs) >= 1 << k.LEG_BITS:
            raise SimulationError(f"{len(service.legs)} links of one transfer, fewer are possible")
        row[k.V_COUNT] = len(service.legs)
        row[k.V_LEGS] = layout.add(_legs(service.legs, resources, layout))


def _legs(legs: tuple[Leg, ...], resources: dict[Resource, int], layout: _Layout) -> Ints:
    table = np.zeros((len(legs), k.LEG), np.int64)
    for number, (row, leg) in enumerate(zip(table, legs, strict=True)):
        children = [(i, other.delay) for i, other in enumerate(legs) if other.parent == number]
        row[k.L_RESOURCE], row[k.L_CYCLES] = resources[leg.resource], leg.cycles
        row[k.L_ROOT] = leg.parent < 0
        row[k.L_CHILDREN] = layout.list_of([cell for child in children for cell in child])
        row[k.L_CHILD_COUNT] = len(children)
    return table


def _pipe_feeders(plan: Plan, layout: _Layout, pipe: Ints, unit: Ints) -> None:
    mine: list[list[int]] = [[] for _ in plan.pipes]
    for u, work in enumerate(plan.works):
        for replica, p in enumerate(work.pipes):
            mine[p].append(int(unit[u, k.U_FEEDER]) + replica * k.FEEDER)
    for row, found in zip(pipe, mine, strict=True):
        row[k.P_FEEDERS], row[k.P_FEEDER_COUNT] = layout.list_of(found), len(found)


def _watches(plan: Plan, needs: list[list[int]], layout: _Layout, unit: Ints, feeders: int) -> int:
    """Fill who has to be looked at when a unit stores, sorted by that unit; returns how many."""
    rows = sorted(
        (producer, int(unit[u, k.U_FEEDER]) + replica * k.FEEDER, index)
        for u, work in enumerate(plan.works)
        for replica in range(len(work.pipes))
        for index, producer in enumerate(needs[u])
    )
    address = layout.add(np.array([row[1:] for row in rows], np.int64).reshape(len(rows), k.WATCH))
    start, unit[:, k.U_WATCH_COUNT] = ranges([row[0] for row in rows], len(unit))
    unit[:, k.U_WATCHES] = address + start * k.WATCH
    return len(rows)
