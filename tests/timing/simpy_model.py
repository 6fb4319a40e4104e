"""The rules of the cycle model once more, as SimPy processes: slow and plain, for comparison.

Written from the docstring of `cimsim.timing.spec.rules` alone; no table of the package is used.

SimPy runs the events of a cycle by priority, then as they were made. Nothing here depends on the
latter: in each cycle, each phase only when nothing of an earlier one is left,

1. services end, activations move on, heads find what they need and enter pipelines of their own
   (no choice anywhere, so any order gives the same),
2. one activation is stored, the one that entered STORE first (ties: order, sequence number),
3. shared pipelines with a free LOAD admit the head that was ready first (ties: order),
4. free resources serve the first of all requests made up to now,
5. line buffers are looked at.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from heapq import heappop, heappush

import simpy

from cimsim.timing.plan.plan import Job, Plan
from cimsim.timing.spec.buffers import Edge
from cimsim.timing.spec.routes import Reservation, Resource, Service
from cimsim.timing.spec.rules import Services
from cimsim.timing.spec.stage import STAGES, Served, Stage
from tests.timing.line_buffers import needed_windows, released_pixels, windows_up_to

STORED, ADMIT, GRANT, MEASURE = 2, 3, 4, 5  # phases; SimPy's own events have priorities 0 and 1
Process = Generator[simpy.Event, object, None]


@dataclass
class Record:
    """Cycles of one activation; -1: there is no such stage."""

    enter: list[int] = field(default_factory=lambda: [-1] * len(STAGES))
    leave: list[int] = field(default_factory=lambda: [-1] * len(STAGES))
    stored: int = -1


@dataclass(frozen=True)
class Result:
    """What happened.

    ``trace`` is by (place of the node, frame, activation); DRIVE is left with the last pulse,
    CONVERT entered with the first. ``completions`` is by frame, the others by edge.
    """

    trace: dict[tuple[int, int, int], Record]
    completions: tuple[int, ...]
    peaks: tuple[int, ...]
    capacities: tuple[int | None, ...]
    raised: tuple[bool, ...]


def simulate(
    plan: Plan, frames: int, schedule: str = "pipelined", env: simpy.Environment | None = None
) -> Result:
    """Run ``frames`` frames; ``schedule`` is pipelined or sequential, ``env`` a fresh one."""
    return _Model(plan, frames, schedule, env or simpy.Environment()).run()


class _Phase(simpy.Event):
    """An event of a cycle that waits for all of lower priority (cf. `simpy.Timeout`)."""

    def __init__(self, env: simpy.Environment, phase: int, action, delay: int = 0) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        self.callbacks.append(lambda _: action())
        env.schedule(self, phase, delay)


class _Stage:
    """Holds one activation (DRIVE and CONVERT: a pulse)."""

    def __init__(self, env: simpy.Environment, choice: bool = False) -> None:
        self.env, self.choice = env, choice
        self.taken = False
        self.waiting: list[tuple[int, int, simpy.Event]] = []

    def take(self, order: int = 0) -> simpy.Event:
        event = self.env.event()
        heappush(self.waiting, (self.env.now, order, event))
        self._offer()
        return event

    def free(self) -> None:
        self.taken = False
        self._offer()

    def _offer(self) -> None:
        if self.choice:
            _Phase(self.env, ADMIT, self._admit)
        else:
            self._admit()

    def _admit(self) -> None:
        if self.waiting and not self.taken:
            self.taken = True
            heappop(self.waiting)[-1].succeed()


class _Server:
    """A shared resource: one request at a time, in the order of their keys."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env, self.free_at = env, 0
        self.waiting: list[tuple[tuple[int, ...], simpy.Event, int]] = []

    def ask(self, key: tuple[int, ...], began: simpy.Event, cycles: int) -> None:
        heappush(self.waiting, ((self.env.now, *key), began, cycles))
        _Phase(self.env, GRANT, self._grant)

    def _grant(self) -> None:
        if self.waiting and self.env.now >= self.free_at:
            _, began, cycles = heappop(self.waiting)
            self.free_at = self.env.now + cycles
            began.succeed()
            _Phase(self.env, GRANT, self._grant, cycles)


class _Prefix:
    """Windows 0, 1, ... that a node has stored without a gap, through all frames."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done: set[int] = set()
        self.activations = 0

    def add(self, sequence: int) -> bool:
        """Count an activation; whether the prefix has grown."""
        self.done.add(sequence)
        before = self.activations
        while self.activations in self.done:
            self.done.remove(self.activations)
            self.activations += 1
        return self.activations > before

    @property
    def windows(self) -> int:
        return windows_up_to(self.job, self.activations)


class _Model:
    """All state of one simulation."""

    def __init__(self, plan: Plan, frames: int, schedule: str, env: simpy.Environment) -> None:
        if schedule not in ("pipelined", "sequential"):
            raise ValueError(f"schedule: expected pipelined or sequential, got '{schedule}'")
        self.jobs, self.edges, self.frames = plan.jobs, plan.edges, frames
        self.sequential = schedule == "sequential"
        self.env = env
        self.stages = [
            [
                _Stage(env, stage == Stage.LOAD and len(pipe.nodes) > 1)
                for stage in range(len(STAGES))
            ]
            for pipe in plan.pipes
        ]
        self.servers: dict[Resource, _Server] = {}
        self.prefixes = [_Prefix(job) for job in self.jobs]
        self.entered = [[0] * len(job.pipes) for job in self.jobs]
        self.news = [env.event() for _ in self.jobs]
        self.storing: list[tuple[int, int, int]] = []
        self.trace: dict[tuple[int, int, int], Record] = {}
        self.left = [sum(job.activations for job in self.jobs)] * frames
        self.completions = [-1] * frames
        self.last_stored = 0
        self.capacities = [edge.capacity for edge in self.edges]
        self.raised = [False] * len(self.edges)
        self.peaks = [0] * len(self.edges)
        self.wanted = [
            [
                (p, needed_windows(job.node, self.jobs[p].node, dependency))
                for p, dependency in job.dependencies
            ]
            for job in self.jobs
        ]
        self.freed = []
        self.into: list[list[int]] = [[] for _ in self.jobs]
        self.out: list[list[int]] = [[] for _ in self.jobs]
        for e, edge in enumerate(self.edges):
            consumer, producer = self.jobs[edge.consumer].node, self.jobs[edge.producer].node
            self.into[edge.consumer].append(e)
            self.out[edge.producer].append(e)
            self.freed.append(
                [
                    released_pixels(consumer, producer, edge.dependencies, rows)
                    for rows in range(consumer.grid[0] + 1)
                ]
            )

    @property
    def all(self) -> range:
        """Places of all nodes."""
        return range(len(self.jobs))

    def run(self) -> Result:
        for u in self.all:
            for replica in range(len(self.jobs[u].pipes)):
                self.env.process(self.feed(u, replica))
        self.env.run()
        while -1 in self.completions:
            self.enlarge()
            self.env.run()
        return Result(
            self.trace, tuple(self.completions), tuple(self.peaks), tuple(self.capacities),
            tuple(self.raised),
        )  # fmt: skip

    # --- admission

    def sequence(self, u: int, replica: int, place: int) -> int | None:
        """Sequence number of a replica's activation number ``place``; None: there is none."""
        job = self.jobs[u]
        each = job.of_replica(replica)
        if each == 0 or place >= each * self.frames:
            return None
        frame, index = divmod(place, each)
        return frame * job.activations + replica + index * len(job.pipes)

    def feed(self, u: int, replica: int) -> Process:
        """Admit the activations of a node and replica one after another."""
        pipe = self.jobs[u].pipes[replica]
        while (number := self.sequence(u, replica, self.entered[u][replica])) is not None:
            while not self.has_dependencies(u, number) or self.lacking(u, number):
                yield self.news[u]
            yield self.stages[pipe][Served.LOAD].take(u)
            self.entered[u][replica] += 1
            matrix = self.jobs[u].node.kind == "matrix"
            self.env.process((self.matrix if matrix else self.other)(_Activation(self, u, number)))

    def has_dependencies(self, u: int, number: int) -> bool:
        """(b): all that the activation reads is in the stored prefixes."""
        return not self.missing(u, number)

    def missing(self, u: int, number: int) -> list[int]:
        """Producers whose pixels an activation lacks."""
        job = self.jobs[u]
        frame, g = divmod(number, job.activations)
        if self.sequential:
            before, whole = (u - 1, frame + 1) if u else (len(self.jobs) - 1, frame)
            stored = self.prefixes[before].activations >= whole * self.jobs[before].activations
            return [] if stored else [before]
        first = g * job.per_activation
        mine = slice(first, min(first + job.per_activation, job.node.windows))
        # what stands later in the order is needed as it was one frame earlier (programming)
        return [
            p
            for p, counts in self.wanted[u]
            if self.prefixes[p].windows
            < (frame - (p >= u)) * self.jobs[p].node.windows + max(counts[mine])
        ]

    def lacking(self, u: int, number: int) -> dict[int, int]:
        """(c): edges without room for the activation, and the capacity that each would need."""
        written = windows_up_to(self.jobs[u], number + 1)
        block = self.jobs[u].node.block
        needed = {e: written * block[0] * block[1] - self.released(e) for e in self.out[u]}
        return {
            e: pixels
            for e, pixels in needed.items()
            if self.capacities[e] is not None and pixels > self.capacities[e]
        }

    def released(self, e: int) -> int:
        """Pixels that an edge's consumer has let go, through all frames."""
        edge: Edge = self.edges[e]
        grid = self.jobs[edge.consumer].node.grid
        frame, windows = divmod(self.prefixes[edge.consumer].windows, grid[0] * grid[1])
        return frame * self.freed[e][-1] + self.freed[e][windows // grid[1]]

    def enlarge(self) -> None:
        """Give credit to a node that lacks nothing else: nothing can happen any more."""
        assert self.env.now == self.last_stored
        following = {u: n for u in self.all if (n := self.following(u)) is not None}
        awaited = {p for u, n in following.items() for p in self.missing(u, n)}
        u = min(
            (u for u, n in following.items() if not self.missing(u, n)),
            key=lambda u: (u not in awaited, following[u] // self.jobs[u].activations, -u),
        )
        for e, pixels in self.lacking(u, following[u]).items():
            self.capacities[e], self.raised[e] = pixels, True
        self.tell(u)

    def following(self, u: int) -> int | None:
        """Sequence number of a node's next activation, of all replicas."""
        heads = [self.sequence(u, r, place) for r, place in enumerate(self.entered[u])]
        return min((n for n in heads if n is not None), default=None)

    # --- one activation

    def matrix(self, act: _Activation) -> Process:
        """LOAD, DRIVE, CONVERT, REDUCE, POST, STORE."""
        _, drive, convert, *_ = act.stages
        double = act.services.double
        yield from act.serve(Served.LOAD if act.opens_row else Served.LOAD_NEXT)
        yield from act.move(Stage.LOAD, Stage.DRIVE)
        for pulse in range(act.services.pulses):
            yield from act.serve(Stage.DRIVE)
            yield convert.take()
            if pulse == 0:
                act.record.enter[Stage.CONVERT] = self.env.now
            if pulse < act.services.pulses - 1:
                conversion = self.env.process(self.conversion(act))
                if not double:
                    yield conversion
        if double:
            act.record.leave[Stage.DRIVE] = self.env.now
            drive.free()
        yield from act.serve(Stage.CONVERT)
        yield from act.move(Stage.CONVERT, Stage.REDUCE)
        if not double:
            act.record.leave[Stage.DRIVE] = self.env.now
            drive.free()
        yield from act.serve(Stage.REDUCE)
        yield from act.move(Stage.REDUCE, Stage.POST)
        yield from self.finish(act)

    def conversion(self, act: _Activation) -> Process:
        """CONVERT of a pulse that another one follows."""
        yield from act.serve(Stage.CONVERT)
        act.stages[Served.CONVERT].free()

    def other(self, act: _Activation) -> Process:
        """LOAD, POST, STORE."""
        yield from act.serve(Served.LOAD if act.opens_row else Served.LOAD_NEXT)
        yield from act.move(Stage.LOAD, Stage.POST)
        yield from self.finish(act)

    def finish(self, act: _Activation) -> Process:
        yield from act.serve(Stage.POST)
        yield from act.move(Stage.POST, Stage.STORE)
        yield from act.serve(Stage.STORE)
        act.record.leave[Stage.STORE] = self.env.now
        act.stages[Served.STORE].free()
        if act.services.latency:
            yield self.env.timeout(act.services.latency)
        heappush(self.storing, (act.record.enter[Stage.STORE], act.node, act.number))
        _Phase(self.env, STORED, self.store)

    def store(self) -> None:
        """Count one activation that is stored in this cycle."""
        _, u, number = heappop(self.storing)
        job, now = self.jobs[u], self.env.now
        frame, g = divmod(number, job.activations)
        self.trace[u, frame, g].stored = self.last_stored = now
        self.left[frame] -= 1
        if self.left[frame] == 0:
            self.completions[frame] = now
        if not self.prefixes[u].add(number):
            return
        _Phase(self.env, MEASURE, lambda: self.measure(u))
        near = {v for v in self.all if any(p == u for p, _ in self.jobs[v].dependencies)}
        near |= {self.edges[e].producer for e in self.into[u]}
        for other in self.all if self.sequential else sorted(near):
            self.tell(other)

    def measure(self, u: int) -> None:
        """Look at the line buffers behind a node at the end of a cycle."""
        block = self.jobs[u].node.block
        written = self.prefixes[u].windows * block[0] * block[1]
        for e in self.out[u]:
            self.peaks[e] = max(self.peaks[e], written - self.released(e))

    def tell(self, u: int) -> None:
        """Let the heads of a node look again."""
        if self.news[u].callbacks:
            event, self.news[u] = self.news[u], self.env.event()
            event.succeed()


class _Activation:
    """One activation on its way, just admitted to LOAD."""

    def __init__(self, model: _Model, u: int, number: int) -> None:
        job = model.jobs[u]
        frame, g = divmod(number, job.activations)
        replica = g % len(job.pipes)
        self.model, self.env, self.node, self.number = model, model.env, u, number
        self.services: Services = job.services[replica]
        self.stages = model.stages[job.pipes[replica]]
        self.record = model.trace[u, frame, g] = Record()
        self.record.enter[Stage.LOAD] = self.env.now
        row, before = (a * job.per_activation // job.node.grid[1] for a in (g, g - len(job.pipes)))
        self.opens_row = row != before  # a place before the first one is in no row, or in row -1

    def move(self, stage: int, following: int) -> Process:
        """Wait until the next stage is free, enter it and leave this one."""
        yield self.stages[following].take()
        self.record.leave[stage] = self.record.enter[following] = self.env.now
        self.stages[stage].free()

    def serve(self, stage: int) -> Process:
        """Wait until the service of a stage is over."""
        service: Service = self.services.stages[stage]
        began = [self.env.event() for _ in service.reservations]
        reservations = [
            self.occupy(number, reservation, began)
            for number, reservation in enumerate(service.reservations)
        ]
        if len(reservations) == 1:
            yield from reservations[0]
        elif reservations:
            yield self.env.all_of([self.env.process(reservation) for reservation in reservations])
        if service.own:
            yield self.env.timeout(service.own)

    def occupy(self, number: int, reservation: Reservation, began: list[simpy.Event]) -> Process:
        """Ask for a reservation's resource and keep it."""
        if reservation.parent >= 0:
            yield began[reservation.parent]
            yield self.env.timeout(reservation.delay)
        server = self.model.servers.setdefault(reservation.resource, _Server(self.env))
        server.ask((self.node, self.number, number), began[number], reservation.cycles)
        yield began[number]
        yield self.env.timeout(reservation.cycles)
