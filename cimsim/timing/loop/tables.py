"""The memory of the event loop before cycle 0, laid out from a plan."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary import memory
from cimsim.errors import SimulationError
from cimsim.timing.loop.layout import Columns, Layout
from cimsim.timing.loop.records import (
    EMPTY,
    FAR,
    NO_LIMIT,
    ORDER_BITS,
    RESERVATION_BITS,
    UNKNOWN,
    Child,
    Dependency,
    Edge,
    Event,
    Frame,
    Grant,
    Header,
    Node,
    Passage,
    Pipe,
    Queue,
    Reservation,
    Resource,
    Watch,
)
from cimsim.timing.loop.schema import CHECKED, R
from cimsim.timing.plan.dependencies import dependency_tables, ranges, release_table, whole_tables
from cimsim.timing.plan.plan import Plan, Schedule
from cimsim.timing.spec.routes import Reservation as PlannedReservation
from cimsim.timing.spec.stage import Served, Stage

Ints = NDArray[np.int64]
_MATRIX = tuple(Stage)
_OTHERS = (Stage.LOAD, Stage.POST, Stage.STORE)


@dataclass(frozen=True, slots=True)
class Memory:
    """One int64 array, and views of its records.

    Attributes
    ----------
    words : int64 [...]
        What the event loop works on.
    header : Header
        What the event loop is called with.
    node, pipe, resource, frame : Columns
    queue : Columns
        By node, then by replica.
    edge : Columns
        As in the plan.
    trace : Columns
        By node, then by activation; empty without a trace.
    log : Columns
        Room for all services of resources that others use, too; empty without a trace.
    """

    words: Ints
    header: Header
    node: Columns[Node]
    pipe: Columns[Pipe]
    resource: Columns[Resource]
    frame: Columns[Frame]
    queue: Columns[Queue]
    edge: Columns[Edge]
    trace: Columns[Passage]
    log: Columns[Grant]


def initial_memory(
    plan: Plan, frames: int, schedule: Schedule, trace: bool, ring: int = 0
) -> Memory:
    """Return the memory of a simulation that has not begun.

    Parameters
    ----------
    plan, frames, schedule, trace
    ring : int
        Least number of stored activations that each node remembers.

    Raises
    ------
    SimulationError
        If there are more nodes than the event key has room for, or too little memory.
    """
    if len(plan.jobs) >= 1 << ORDER_BITS:
        raise SimulationError(
            f"{len(plan.jobs)} nodes, at most {(1 << ORDER_BITS) - 1} are possible"
        )
    tables = _Tables(plan, frames)
    tables.fill_nodes()
    tables.fill_pipes()
    tables.fill_queues()
    tables.fill_edges()
    tables.fill_dependencies(schedule)
    tables.fill_rings(ring)
    tables.fill_header()
    trace_rows, log_rows = tables.add_trace(trace)
    words = tables.layout.words()
    return Memory(
        words, Header(words, 0), tables.node.inside(words), tables.pipe.inside(words),
        tables.resource.inside(words), tables.frame.inside(words), tables.queue.inside(words),
        tables.edge.inside(words), trace_rows.inside(words), log_rows.inside(words),
    )  # fmt: skip


class _Tables:
    """The records of a plan, filled one kind after the other."""

    def __init__(self, plan: Plan, frames: int) -> None:
        self.plan, self.jobs, self.frames = plan, plan.jobs, frames
        self.replicas = np.array([len(job.pipes) for job in plan.jobs], np.int64)
        self.layout = layout = Layout(Header, CHECKED)
        self.node = layout.rows(Node, len(plan.jobs))
        self.queue = layout.rows(Queue, int(self.replicas.sum()))
        self.frame = layout.rows(Frame, frames)
        self.edge = layout.rows(Edge, len(plan.edges))
        self.pipe = layout.rows(Pipe, len(plan.pipes))
        self.uses = plan.uses()
        self.resource = layout.rows(Resource, len(self.uses))
        self.address_of = dict(zip(self.uses, self.resource.addresses().tolist(), strict=True))
        self.watches = 0

    def fill_nodes(self) -> None:
        """Fill what the plan says of each node, and the frames."""
        node, planned = self.node, [job.node for job in self.jobs]
        node.order[:] = np.arange(len(planned))
        node.windows[:] = [one.windows for one in planned]
        node.activations[:] = [job.activations for job in self.jobs]
        node.rows[:] = [one.grid[0] for one in planned]
        node.row[:] = [one.grid[1] for one in planned]
        node.per_activation[:] = [job.per_activation for job in self.jobs]
        node.block[:] = [one.block[0] * one.block[1] for one in planned]
        node.pixels[:] = node.block * node.windows
        first = np.cumsum(self.replicas) - self.replicas
        node.link("queues", self.queue.address + Queue.size * first, self.replicas)
        self.frame.left[:] = len(planned)

    def fill_pipes(self) -> None:
        """Fill the pipelines, their stages and who uses them."""
        self.pipe.pending[:] = FAR
        addresses, queues = self.pipe.addresses(), self.queue.addresses()
        users: list[list[int]] = [[] for _ in self.plan.pipes]
        numbers = [p for job in self.jobs for p in job.pipes]
        for p, queue in zip(numbers, queues.tolist(), strict=True):
            users[p].append(queue)
        for p, stage in enumerate(self.pipe.inner("stages")):
            stage.sequence[:], stage.end[:] = EMPTY, UNKNOWN
            stage.pipe[:], stage.kind[:] = addresses[p], np.arange(len(stage))
            node, place = self.jobs[self.plan.pipes[p].nodes[0]].node, stage.addresses()
            order = _MATRIX if node.kind == "matrix" else _OTHERS
            for one, following in itertools.pairwise(order):
                stage.after[one], stage.before[following] = place[following], place[one]
            self._list(self.pipe, p, "queues", users[p])

    def fill_queues(self) -> None:
        """Fill one queue for each node and replica, with its services."""
        queue, number = self.queue, 0
        nodes, pipes = self.node.addresses(), self.pipe.addresses()
        queue.last_row[:], queue.wanted[:] = -1, UNKNOWN
        services_of = queue.inner("services")
        for u, job in enumerate(self.jobs):
            for replica, (p, services) in enumerate(zip(job.pipes, job.services, strict=True)):
                queue.node[number], queue.pipe[number] = nodes[u], pipes[p]
                queue.replica[number] = replica
                queue.y[number], queue.x[number] = divmod(
                    replica * job.per_activation, job.node.grid[1]
                )
                queue.pulses[number], queue.double[number] = services.pulses, services.double
                queue.latency[number] = services.latency
                row = services_of[number]
                row.alone[:] = [service.alone for service in services.stages]
                row.own[:] = [service.own for service in services.stages]
                for served, service in zip(Served, services.stages, strict=True):
                    if any(
                        self.uses[reservation.resource] > 1 for reservation in service.reservations
                    ):
                        reservations = self._reservations(
                            service.reservations
                        )  # else its length is known
                        row.table[served, row.place("reservations")] = (
                            reservations,
                            len(service.reservations),
                        )
                number += 1
        queue.index[:] = queue.undone_index[:] = queue.replica

    def _reservations(self, planned: tuple[PlannedReservation, ...]) -> int:
        """Fill the reservations of a service; returns their address."""
        if len(planned) >= 1 << RESERVATION_BITS:
            raise SimulationError(f"{len(planned)} links of one transfer, fewer are possible")
        reservations = self.layout.rows(Reservation, len(planned))
        after: list[list[tuple[int, int]]] = [[] for _ in planned]
        reservations.resource[:] = [
            self.address_of[reservation.resource] for reservation in planned
        ]
        for number, reservation in enumerate(planned):
            if reservation.parent >= 0:
                after[reservation.parent].append((number, reservation.delay))
        reservations.cycles[:] = [reservation.cycles for reservation in planned]
        reservations.root[:] = [reservation.parent < 0 for reservation in planned]
        children = self.layout.rows(Child, sum(len(mine) for mine in after))
        children.table[:] = np.array([one for mine in after for one in mine]).reshape(-1, 2)
        count = np.array([len(mine) for mine in after], np.int64)
        reservations.link(
            "children", children.address + Child.size * (np.cumsum(count) - count), count
        )
        return reservations.address

    def fill_edges(self) -> None:
        """Fill the edges, those from each node (they are sorted so), into it, of its credit."""
        edge, nodes = self.edge, self.node.addresses()
        planned, places = self.plan.edges, self.edge.addresses()
        for number, one in enumerate(planned):
            producer, consumer = (self.jobs[u].node for u in (one.producer, one.consumer))
            edge.producer[number] = nodes[one.producer]
            edge.consumer[number] = nodes[one.consumer]
            table = release_table(consumer, producer, one.dependencies)
            released = self.layout.numbers(table, Edge.fields["released"])
            edge.table[number, edge.place("released")] = released, len(table)
            edge.capacity[number] = NO_LIMIT if one.capacity is None else one.capacity
        start, count = ranges([one.producer for one in planned], len(self.jobs))
        self.node.link("out", edge.address + start * Edge.size, count)
        into: list[list[int]] = [[] for _ in self.jobs]
        limited: list[list[int]] = [[] for _ in self.jobs]
        for number, one in enumerate(planned):
            into[one.consumer].append(int(places[number]))
            if one.capacity is not None:
                edge.credit[number] = len(limited[one.producer])
                limited[one.producer].append(int(places[number]))
        for u in range(len(self.jobs)):
            self._list(self.node, u, "into", into[u])
            self._list(self.node, u, "credits", limited[u])

    def fill_dependencies(self, schedule: Schedule) -> None:
        """Fill what each node waits for, and whom its stores may set free.

        In a sequential schedule each node waits for the whole one before.
        """
        jobs, layout, nodes = self.jobs, self.layout, self.node.addresses()
        wanted: list[tuple[int, int, Ints, Ints, int]] = []
        for u, job in enumerate(jobs):
            if schedule == "sequential":
                before = (u - 1) % len(jobs)
                tables = whole_tables(job.node, jobs[before].node)
                wanted.append((u, before, *tables, 0 if u else -1))
            else:
                wanted += [
                    (
                        u,
                        p,
                        *dependency_tables(job.node, jobs[p].node, dependency),
                        -1 if p > u else 0,
                    )
                    for p, dependency in job.dependencies
                ]
        dependencies = layout.rows(Dependency, len(wanted))
        for number, (_, p, rows, cols, frame) in enumerate(wanted):
            dependencies.producer[number], dependencies.frame[number] = nodes[p], frame
            for name, table in (("rows", rows), ("cols", cols)):
                address = layout.numbers(table, Dependency.fields[name])
                dependencies.table[number, dependencies.place(name)] = address, len(table)
        start, count = ranges([one[0] for one in wanted], len(jobs))
        self.node.link("dependencies", dependencies.address + start * Dependency.size, count)
        self._watches(wanted, start)

    def _watches(self, wanted: list[tuple[int, int, Ints, Ints, int]], start: Ints) -> None:
        queues = self.queue.addresses()
        first = np.cumsum(self.replicas) - self.replicas
        rows = sorted(
            (producer, int(queues[first[u] + replica]), number - int(start[u]))
            for number, (u, producer, *_) in enumerate(wanted)
            for replica in range(self.replicas[u])
        )
        watches = self.layout.rows(Watch, len(rows))
        watches.queue[:] = [row[1] for row in rows]
        watches.dependency[:] = [row[2] for row in rows]
        begin, count = ranges([row[0] for row in rows], len(self.jobs))
        self.node.link("watches", watches.address + begin * Watch.size, count)
        self.watches = len(rows)

    def fill_rings(self, least: int) -> None:
        """Make room for the last stores of each node."""
        # what was stored may lie ahead of the event at hand: one per cycle of latency and replica
        ahead = max((s.latency + 2) * len(w.pipes) + 4 for w in self.jobs for s in w.services)
        ring = 1 << max(2 * ahead, least).bit_length()
        cycles = max(s.latency for w in self.jobs for s in w.services)
        memory.check(
            2 * len(self.jobs) * ring * 8, f"timing: an activation that lasts {cycles:,} cycles",
            "look at the chip's latencies and times (cimsim hw check), or lower process.clock",
            SimulationError,
        )  # fmt: skip
        self.layout.header.ring[:] = ring
        for name in ("stores", "row_stores"):
            table = np.zeros((len(self.jobs), ring), np.int64)
            address = self.layout.numbers(table, Node.fields[name])
            self.node.link(name, address + ring * np.arange(len(self.jobs)), ring)

    def fill_header(self) -> None:
        """Make room for events and calls, and say where all records are."""
        header, layout, jobs = self.layout.header, self.layout, self.jobs
        events = sum(
            8 + sum(len(s.reservations) for s in v.stages) for w in jobs for v in w.services
        )
        calls = len(self.pipe) + self.watches + len(self.queue) * (len(self.edge) + 1)
        stack = layout.numbers(np.zeros(calls, np.int64), Header.fields["stack"])
        header.link("stack", stack, calls)
        heap = layout.rows(Event, events)
        for name, table in (
            ("pipes", self.pipe), ("heap", heap), ("frames", self.frame), ("nodes", self.node),
        ):  # fmt: skip
            header.link(name, table.address, len(table))

    def add_trace(self, trace: bool) -> tuple[Columns[Passage], Columns[Grant]]:
        """Make room for all activations and services of shared resources, if there is a trace."""
        rows = np.zeros(len(self.jobs), np.int64)
        if trace:
            rows = self.frames * self.node.activations
        logged = self.frames * self._shared_reservations() if trace else 0
        memory.check(
            8.0 * (self.layout.size + int(rows.sum()) * Passage.size + logged * Grant.size),
            "timing: what each node remembers",
            "take a smaller --size, fewer --frames, or no --trace", SimulationError,
        )  # fmt: skip
        passages = self.layout.blank(Passage, int(rows.sum()))
        grants = self.layout.blank(Grant, logged)
        start = passages.address + Passage.size * (np.cumsum(rows) - rows)
        self.queue.link("trace", np.repeat(start, self.replicas), np.repeat(rows, self.replicas))
        self.layout.header.link("log", grants.address, logged)
        return passages, grants

    def _shared_reservations(self) -> int:
        """Reservations of one frame that the event loop grants one by one, at most."""
        count, number = 0, 0
        services_of = self.queue.inner("services")
        for job in self.jobs:
            for replica, services in enumerate(job.services):
                reservations = services_of[number].count("reservations")
                each = int(reservations[Served.DRIVE : Served.STORE + 1].sum())
                each += int(max(reservations[Served.LOAD], reservations[Served.LOAD_NEXT]))
                each += (services.pulses - 1) * int(reservations[Served.CONVERT])
                count += job.of_replica(replica) * each
                number += 1
        return count

    def _list(self, table: Columns[R], row: int, name: str, addresses: list[int]) -> None:
        """Let a field of a record be a list of references."""
        field = table.record.fields[name]
        address = self.layout.numbers(np.array(addresses, np.int64), field)
        table.table[row, table.place(name)] = address, len(addresses)
