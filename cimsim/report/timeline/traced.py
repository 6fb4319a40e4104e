"""A traced simulation read back: what each activation did, waited for, and held in line buffers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import SimulationError
from cimsim.mapping.mapping import Mapping
from cimsim.timing.loop.traces import first_in_row
from cimsim.timing.plan.dependencies import dependency_tables, release_table, whole_tables
from cimsim.timing.plan.plan import Plan, make_plan
from cimsim.timing.spec.rules import Services
from cimsim.timing.spec.stage import Served, Stage
from cimsim.timing.timeline import Grants, Timeline, Trace

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stays:
    """What the activations of one node did, sorted by sequence number.

    A stay in a stage is told in three parts, one after the other: waiting for a shared resource, in
    service, blocked. Waiting that falls between the pulses or the links of one service is put at
    its start, so that the sums are those of `cimsim.timing.timeline.NodeTime`.

    Attributes
    ----------
    replica, frame, activation : int64 [n]
    enter, leave : int64 [n, 6]
        Cycles by stage; -1 where the pipeline has no such stage.
    waiting, busy : int64 [n, 6]
        Cycles of the first two parts; the third lasts until ``leave``.
    stored : int64 [n]
    free : int64 [n]
        Cycle in which LOAD became free for the activation.
    fed : int64 [n]
        Cycle in which all that it needs was stored, 0 if it needs nothing.
    fed_node, fed_sequence : int64 [n]
        Whose activation was stored in that cycle; -1 if it needs nothing.
    """

    replica: Ints
    frame: Ints
    activation: Ints
    enter: Ints
    leave: Ints
    waiting: Ints
    busy: Ints
    stored: Ints
    free: Ints
    fed: Ints
    fed_node: Ints
    fed_sequence: Ints

    @property
    def served(self) -> Ints:
        """Cycles in which the service of each stage is over, int64 [n, 6]."""
        return self.enter + self.waiting + self.busy

    @property
    def starved_until(self) -> Ints:
        """End of the starvation that began at ``free``, int64 [n]; ``free`` if there was none."""
        return np.clip(self.fed, self.free, np.maximum(self.enter[:, Stage.LOAD], self.free))


class TracedRun:
    """Answers questions about one traced simulation, node by node.

    Parameters
    ----------
    mapping : Mapping
        What was simulated.
    timeline : Timeline
        From `cimsim.timing.simulate.simulate` with ``trace=True``.

    Raises
    ------
    SimulationError
        If the timeline has no trace, or is that of another mapping.
    """

    def __init__(self, mapping: Mapping, timeline: Timeline) -> None:
        if timeline.trace is None:
            raise SimulationError("timeline.trace: expected a trace, got none; simulate with trace")
        self.mapping, self.timeline = mapping, timeline
        self.plan: Plan = make_plan(mapping, timeline.spilled)
        if [w.node.name for w in self.plan.jobs] != [u.name for u in timeline.nodes]:
            raise SimulationError("timeline: its nodes are not those of the mapping")
        self.trace: Trace = timeline.trace
        self.resources = tuple(self.plan.uses())
        self._per_frame = np.array([w.activations for w in self.plan.jobs], np.int64)
        rows = timeline.frames * self._per_frame
        self._first = np.cumsum(rows) - rows
        place = self._place(self.trace)
        self._rows = np.empty(len(place), np.int64)
        self._rows[place] = np.arange(len(place))
        self.prefix = cache(self._prefix)

    def _place(self, of: Trace | Grants) -> Ints:
        """Return the row of each entry, if rows stood by node and sequence number."""
        found: Ints = self._first[of.node] + of.frame * self._per_frame[of.node] + of.activation
        return found

    def rows(self, u: int) -> Ints:
        """Rows of the trace that are node ``u``'s, by sequence number."""
        n = self.timeline.frames * int(self._per_frame[u])
        return self._rows[self._first[u] : self._first[u] + n]

    def stays(self, u: int) -> Stays:
        """Return what node ``u`` did."""
        trace, rows, job = self.trace, self.rows(u), self.plan.jobs[u]
        enter, leave = trace.enter[rows], trace.leave[rows]
        waiting, busy = np.zeros_like(enter), np.zeros_like(enter)
        replica = trace.replica[rows]
        first = first_in_row(job, trace.activation[rows])
        grants, place, started = self._grants_of(u)
        for r, services in enumerate(job.services):
            mine = replica == r
            busy[mine] = _busy(services, first[mine])
            for stage in np.flatnonzero((enter >= 0).any(axis=0)).tolist():
                chosen = (grants.replica[started] == r) & (grants.stage[started] == stage)
                asked = started[chosen]
                if len(asked) == 0:
                    continue
                seen = place[chosen]
                if stage == Stage.CONVERT:
                    found = _pulses_waited(services, grants, asked, seen, enter[:, Stage.CONVERT])
                else:
                    found = _waited(services, stage, grants, asked, seen, enter[:, stage], first)
                waiting[mine, stage] = found[mine]
        fed, fed_node, fed_sequence = self._fed(u)
        return Stays(
            replica, trace.frame[rows], trace.activation[rows], enter, leave, waiting, busy,
            trace.stored[rows], self._free(u), fed, fed_node, fed_sequence,
        )  # fmt: skip

    def _grants_of(self, u: int) -> tuple[Grants, Ints, Ints]:
        """Return all grants, sequence numbers of node ``u``'s, and where in the grants they are."""
        grants = self.trace.grants
        mine = np.flatnonzero(grants.node == u)
        sequence = grants.frame[mine] * self._per_frame[u] + grants.activation[mine]
        return grants, sequence, mine

    def _prefix(self, u: int) -> tuple[Ints, Ints]:
        """Cycles in which the stored prefix of ``u`` reached each activation, and by whose store.

        Returns
        -------
        cycles, sequence : int64 [n]
        """
        stored = self.trace.stored[self.rows(u)]
        cycles: Ints = np.maximum.accumulate(stored)
        latest = np.concatenate([[True], stored[1:] > cycles[:-1]])
        return cycles, np.maximum.accumulate(np.where(latest, np.arange(len(stored)), 0))

    def _fed(self, u: int) -> tuple[Ints, Ints, Ints]:
        """Return when each activation's last dependency was stored, of which node, by which one."""
        job, frames = self.plan.jobs[u], self.timeline.frames
        n = frames * job.activations
        cycle, node, sequence = np.zeros(n, np.int64), np.full(n, -1), np.full(n, -1)
        for p, wanted, shift in self._wanted(u):
            producer = self.plan.jobs[p]
            frame = np.repeat(np.arange(frames) + shift, job.activations)
            index = np.tile((wanted - 1) // producer.per_activation, frames)
            needed = (index >= 0) & (frame >= 0)
            at = np.where(needed, frame * producer.activations + index, 0)
            cycles, by = self.prefix(p)
            better = needed & ((cycles[at] > cycle) | (node < 0))
            cycle[better], node[better] = cycles[at][better], p
            sequence[better] = by[at][better]
        return cycle, node, sequence

    def _wanted(self, u: int) -> list[tuple[int, Ints, int]]:
        """Return (producer, windows that each activation of a frame needs, frame shift)."""
        jobs, job = self.plan.jobs, self.plan.jobs[u]
        if self.timeline.schedule == "sequential":
            before = (u - 1) % len(jobs)
            tables = [(before, *whole_tables(job.node, jobs[before].node), 0 if u else -1)]
        else:
            # a load needs nodes after it: those of the frame before
            tables = [
                (p, *dependency_tables(job.node, jobs[p].node, dependency), -1 if p > u else 0)
                for p, dependency in job.dependencies
            ]
        start = np.arange(job.activations) * job.per_activation
        return [
            (p, np.maximum.reduceat((table_y[:, None] + table_x).ravel(), start), shift)
            for p, table_y, table_x, shift in tables
        ]

    def _free(self, u: int) -> Ints:
        """Cycle in which the activation before, of any node on the pipeline, left LOAD."""
        job, rows = self.plan.jobs[u], self.rows(u)
        free = np.zeros(len(rows), np.int64)
        replica = self.trace.replica[rows]
        for r, p in enumerate(job.pipes):
            nodes = self.plan.pipes[p].nodes
            parts = []
            for other in nodes:
                others = self.rows(other)
                parts.append(others[self.trace.replica[others] == r])
            found = np.concatenate(parts)
            enter, leave = self.trace.enter[found, Stage.LOAD], self.trace.leave[found, Stage.LOAD]
            order = np.lexsort((leave, enter))
            before = np.zeros(len(found), np.int64)
            before[order[1:]] = leave[order[:-1]]
            owner = np.repeat(np.asarray(nodes), [len(part) for part in parts])
            free[replica == r] = before[owner == u]
        return free

    def occupancy(self, e: int) -> tuple[Ints, Ints]:
        """Return what a line buffer holds at the ends of cycles in which that changes.

        Parameters
        ----------
        e : int
            Place in `Timeline.edges`.

        Returns
        -------
        cycles, pixels : int64 [n]
            From each cycle to the next; before the first one the buffer is empty. Written pixels of
            the producer's stored prefix, less all that the consumer has released.
        """
        edge, frames = self.plan.edges[e], self.timeline.frames
        producer, consumer = self.plan.jobs[edge.producer], self.plan.jobs[edge.consumer]
        block = producer.node.block[0] * producer.node.block[1]
        written = np.minimum(
            np.arange(1, producer.activations + 1) * producer.per_activation, producer.node.windows
        )
        written = np.tile(np.diff(written, prepend=0) * block, frames)
        rows, per_row = consumer.node.grid
        done = np.arange(frames * rows + 1)  # map rows of the consumer
        table = release_table(consumer.node, producer.node, edge.dependencies)
        released = done // rows * (producer.node.windows * block) + table[done % rows]
        ends = (np.arange(1, rows + 1) * per_row - 1) // consumer.per_activation
        ends = (np.arange(frames)[:, None] * consumer.activations + ends).ravel()
        stored, read = self.prefix(edge.producer)[0], self.prefix(edge.consumer)[0][ends]
        cycles = np.concatenate([stored, read])
        change = np.concatenate([written, -np.diff(released)])
        order = np.argsort(cycles, kind="stable")
        cycles, held = cycles[order], np.cumsum(change[order]) - released[0]
        last = np.append(cycles[1:] > cycles[:-1], True)
        # rows that nobody reads count as released before they are written
        return cycles[last], np.maximum(held[last], 0)


def _busy(services: Services, first: NDArray[np.bool_]) -> Ints:
    """Cycles of service by stage, int64 [n, 6]."""
    each = np.array([services.alone(stage) for stage in range(6)], np.int64)
    each[[Stage.DRIVE, Stage.CONVERT]] *= services.pulses
    found = np.tile(each, (len(first), 1))
    found[~first, Served.LOAD] = services.alone(Served.LOAD_NEXT)
    return found


def _waited(
    services: Services, stage: int, grants: Grants, chosen: Ints, sequence: Ints, enter: Ints,
    first: NDArray[np.bool_],
) -> Ints:  # fmt: skip
    """Cycles that each activation of a replica waited in a stage other than CONVERT."""
    end = np.full(len(enter), -1)
    np.maximum.at(end, sequence, grants.start[chosen] + grants.cycles[chosen])
    service = services.stages[stage]
    own, alone = np.full(len(enter), service.own), np.full(len(enter), service.alone)
    if stage == Stage.LOAD:
        later = services.stages[Served.LOAD_NEXT]
        own, alone = np.where(first, own, later.own), np.where(first, alone, later.alone)
    return np.where(end < 0, 0, end + own - enter - alone)


def _pulses_waited(
    services: Services, grants: Grants, chosen: Ints, sequence: Ints, enter: Ints
) -> Ints:
    """Cycles that the pulses of each activation of a replica waited for shared converters."""
    drive, convert = services.alone(Served.DRIVE), services.alone(Served.CONVERT)
    order = np.lexsort((grants.start[chosen], sequence))
    start = grants.start[chosen][order].reshape(-1, services.pulses)
    who = sequence[order].reshape(-1, services.pulses)[:, 0]
    asked, waited = enter[who], np.zeros(len(who), np.int64)
    for pulse in range(services.pulses):
        waited += start[:, pulse] - asked
        end = start[:, pulse] + convert
        asked = np.maximum(asked + drive, end) if services.double else end + drive
    found = np.zeros(len(enter), np.int64)
    found[who] = waited
    return found
