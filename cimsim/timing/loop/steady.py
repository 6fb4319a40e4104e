"""Where the event loop repeats itself line by line, what follows is known without simulating it.

The loop's memory after a line is compared with that a line before (of strided nodes: after as many
lines as make whole lines of all nodes). Let ``T`` be the cycles between the two and ``r`` the map
rows that a node stored meanwhile. If

- every node stored as many rows as its strides ask for, so none of them waits for a whole map, or
  is done with all frames, so nobody waits for it and its last store is over,
- every cycle in the memory is ``T`` later, or over: earlier than all that are compared with it,
- every row, window, pixel and sequence number has moved on by what ``r`` of its node makes of it,
- everything else is the same, the events that wait included, and
- the tables of dependencies and releases rise evenly over the rows that are read,

then the loop does in the next ``T`` cycles what it did in the last ones, ``T`` later and ``r`` rows
on: it adds, compares and takes maxima of cycles with cycles and of rows, windows and pixels of a
node with such of the same node only, and addresses the rings of stores by sequence number. By
induction this holds until a node comes to the end of a frame or to a row where a table does not
rise evenly. All these lines are then written into the memory at once: every word has moved on by a
multiple of what it moved on by in a line, sums of cycles by a quadratic, and the rings hold the
stores of the last line, later. Nothing is rounded and nothing is an estimate; where any of this
does not hold, the loop goes on by itself. Tests compare all words with those of the loop alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from cimsim.timing.loop.layout import Columns
from cimsim.timing.loop.records import CYCLE, EMPTY, FAR, UNKNOWN, Edge, Event, Header, Node, Queue
from cimsim.timing.loop.schema import Numbers
from cimsim.timing.loop.tables import Memory
from cimsim.timing.plan.plan import Plan

Ints = NDArray[np.int64]

WINDOWS = 20_000  # in a line, at least: comparing takes as long as simulating some thousands
LINES = 8  # of a frame, at least
_LAGS = (1, 2, 3)  # lines after which arbitration may come back to where it was
_PATIENCE = 24  # lines without a repetition, after which they are compared less often


def rows_per_line(plan: Plan, windows: int = WINDOWS) -> Ints | None:
    """Return how many map rows each node has in a line, or None where lines are no notion.

    Parameters
    ----------
    plan : Plan
    windows : int
        Least number of windows of all nodes in a line.
    """
    if any(len(job.pipes) > 1 for job in plan.jobs):
        return None  # replicas store out of order
    rates: list[Fraction | None] = [None] * len(plan.jobs)
    for u, job in enumerate(plan.jobs):
        if job.node.grid[1] % job.per_activation:
            return None  # an activation goes over the end of a row
        counts = set()
        for producer, dependency in job.dependencies:
            before = rates[producer]
            if dependency.window is None or producer >= u or before is None:
                return None
            block = plan.jobs[producer].node.block[0]
            counts.add(before * block / dependency.window.stride[0])
        if len(counts) > 1:
            return None
        rates[u] = counts.pop() if counts else Fraction(1)
    known = [rate for rate in rates if rate is not None]
    whole = lcm(*(rate.denominator for rate in known))
    rows = np.array([int(rate * whole) for rate in known], np.int64)
    rows //= gcd(*rows.tolist())
    in_line = sum(int(n) * job.node.grid[1] for n, job in zip(rows, plan.jobs, strict=True))
    rows *= max(1, -(-windows // in_line))
    lines = min(job.node.grid[0] // int(n) for n, job in zip(rows, plan.jobs, strict=True))
    return rows if lines >= LINES else None


def run(plan: Plan, memory: Memory, rows: Ints) -> int:
    """Run the event loop to its end, leaping over lines that are proven to repeat.

    Parameters
    ----------
    plan : Plan
    memory : Memory
        That has not begun, without a trace.
    rows : int64 [nodes]
        From `rows_per_line`.

    Returns
    -------
    int
        Lines that were not simulated.
    """
    from cimsim.timing.loop import kernels

    header, steady = memory.header, _Steady(plan, memory, rows)
    node = header.nodes[steady.watched]
    held: list[_Shot] = []
    leapt, since, wait = 0, 0, 0
    kernels.begin(header)
    while kernels.proceed(header, node, steady.stored(steady.watched) + int(rows[steady.watched])):
        since += 1
        wait -= 1
        if wait > 0:
            continue
        held = [*held[-2 * _LAGS[-1] :], steady.shot()]
        repeats = steady.leap(held)
        if repeats:
            leapt, held, since = leapt + repeats, [], 0
        elif since > _PATIENCE and since % (2 * _LAGS[-1] + 1) == 0:
            held, wait = [], since
    kernels.end(header)
    return leapt


@dataclass(frozen=True, slots=True)
class _Shot:
    """The memory after a line, and how far back stores were looked up during it."""

    words: Ints
    back: int
    rows_back: int


class _Steady:
    """What each word of the memory means, and how it moves on in a line."""

    def __init__(self, plan: Plan, memory: Memory, rows: Ints) -> None:
        self.plan, self.memory, self.rows, self.words = plan, memory, rows, memory.words
        jobs = plan.jobs
        self.watched = len(jobs) - 1
        self.row = np.array([job.node.grid[1] for job in jobs], np.int64)
        self.tall = np.array([job.node.grid[0] for job in jobs], np.int64)
        self.block = np.array([w.node.block[0] * w.node.block[1] for w in jobs], np.int64)
        self.together = np.array([job.per_activation for job in jobs], np.int64)
        self.windows = rows * self.row
        self.steps = self.windows // self.together  # activations
        self.pixels = self.windows * self.block
        self.node, self.queue, self.edge = memory.node, memory.queue, memory.edge
        self.stages = memory.pipe.inner("stages")
        self.of_edge = np.array([[e.producer, e.consumer] for e in plan.edges], np.int64)
        self.of_edge = self.of_edge.reshape(-1, 2)
        header = Columns(Header, memory.words[: Header.size].reshape(1, -1), 0)
        self.now, self.heap = (int(header.places(name)[0]) for name in ("now", "heap"))
        self.events, self.frames = Header.fields["events"].offset, len(memory.frame)
        self._classify(header)

    # --- what words mean --------------------------------------------------------------------

    def _classify(self, header: Columns[Header]) -> None:
        """List the words that change, by how they do; all others of the records stay."""
        u, q, e = self.node, self.queue, self.edge
        n_rows, steps = self.rows, self.steps
        producer, consumer = self.of_edge[:, 0], self.of_edge[:, 1]
        counts = (
            (u.places("prefix"), steps), (u.places("done"), self.windows), (u.places("y"), n_rows),
            (u.places("in_frame"), self.windows), (q.places("index"), steps),
            (q.places("y"), n_rows), (q.places("last_row"), n_rows),
            (e.places("freed"), self.pixels[producer]),
            (e.places("written"), self.pixels[producer]),
            (e.places("gone"), self.pixels[producer]), (e.places("seen"), steps[producer]),
            (e.places("row"), n_rows[consumer]),
        )  # fmt: skip
        self.count = np.concatenate([place for place, _ in counts])
        self.moves = np.concatenate([by for _, by in counts])
        # whose being done stops them; what is released follows from the consumer's rows
        nodes = np.arange(len(self.plan.jobs))
        self.mover = np.concatenate([*[nodes] * 7, consumer, *[producer] * 4])
        self.time = np.concatenate([
            header.places("latest"), header.places("now"), u.places("at"), q.places("fed"),
            q.places("ready"), self.memory.resource.places("free"),
            *(self._of_stages(name) for name in ("end", "free", "began", "last")),
        ])  # fmt: skip
        self.linear = np.concatenate([
            *(q.places(name) for name in ("fired", "first", "pulsed", "starved", "no_credit")),
            q.places("waited").ravel(),
        ])  # fmt: skip
        sums = [q.places("left_drive"), q.places("left_store"), *q.places("entered").T]
        self.sum = np.concatenate(sums)
        self.summands = np.tile(steps, len(sums))
        self.sequence, self.wanted = self._of_stages("sequence"), q.places("wanted")
        self.in_stage = self._of_stages("queue")
        self.pending = self.memory.pipe.places("pending")
        apart = np.concatenate([
            self.count, self.time, self.linear, self.sum, self.sequence, self.wanted, self.pending,
            header.places("back"), header.places("rows_back"),
        ])  # fmt: skip
        tables = (header, u, q, e, self.memory.pipe, self.memory.frame)
        records = np.concatenate([t.address + np.arange(t.table.size) for t in tables])
        self.still = np.setdiff1d(records, apart)

    def _of_stages(self, name: str) -> Ints:
        """Return the words of a field of all stages of all pipelines."""
        return np.concatenate([stage.places(name) for stage in self.stages])

    # --- the memory after a line ------------------------------------------------------------

    def stored(self, u: int) -> int:
        """Return the map rows that a node has stored, of all frames."""
        node = self.node
        return int(node.frame[u] * node.rows[u] + node.y[u])

    def shot(self) -> _Shot:
        """Keep the memory, and begin to note anew how far back it is read."""
        header = self.memory.header
        shot = _Shot(self.words.copy(), header.back, header.rows_back)
        header.back = header.rows_back = 0
        return shot

    def leap(self, held: list[_Shot]) -> int:
        """Move on by as many lines as are proven to repeat; return how many."""
        for lag in _LAGS:
            if len(held) <= 2 * lag:
                break
            before, last, now = held[-1 - 2 * lag], held[-1 - lag], held[-1]
            cycles = [int(shot.words[self.now]) for shot in (before, last, now)]
            if cycles[2] - cycles[1] != cycles[1] - cycles[0]:
                continue
            back = max(shot.back for shot in held[-lag:])
            rows_back = max(shot.rows_back for shot in held[-lag:])
            line = _Line(self, before.words, last.words, now.words, lag, back, rows_back)
            times = line.times() if line.repeats() else 0
            if times > 0:
                line.write(self.words, times)
                return times * lag
        return 0


class _Line:
    """Three memories, each a line (or ``lag`` of them) after the one before."""

    def __init__(
        self, steady: _Steady, before: Ints, last: Ints, now: Ints, lag: int, back: int,
        rows_back: int,
    ) -> None:  # fmt: skip
        self.s, self.before, self.last, self.now = steady, before, last, now
        self.lag, self.back, self.rows_back = lag, back, rows_back
        self.cycles = int(now[steady.now] - last[steady.now])
        moved = now[steady.time] - last[steady.time]
        self.live = moved == self.cycles
        # others are done with all frames
        self.active = last[steady.node.places("frame")] != steady.frames
        self.moves = lag * steady.moves * self.active[steady.mover]

    def repeats(self) -> bool:
        """Whether the last line and the one before are the same but for what moved on."""
        s, last, now = self.s, self.last, self.now
        if self.cycles <= 0 or (now[s.count] - last[s.count] != self.moves).any():
            return False
        done = ~self.active[s.of_edge[:, 0]]
        seen = last[s.edge.places("seen")]
        stored = last[s.node.places("prefix")[s.of_edge[:, 0]]]
        if (seen[done] != stored[done]).any():
            return False  # its stores are still being looked at
        return (
            bool((now[s.still] == last[s.still]).all()) and self._times() and self._sums()
            and self._sequences() and self._wants() and self._events() and self._rings()
        )  # fmt: skip

    def _times(self) -> bool:
        """Whether cycles moved on, or are over: earlier than all that did."""
        place = self.s.time
        first = self.last[place][self.live].min()
        over = place[~self.live]
        return bool(((self.now[over] == self.last[over]) & (self.last[over] < first)).all())

    def _sums(self) -> bool:
        """Whether totals rise evenly, and sums of cycles by what their summands moved on."""
        s = self.s
        rise = self.now - self.last
        earlier = self.last - self.before
        if (rise[s.linear] != earlier[s.linear]).any():
            return False
        grown = rise[s.sum] - earlier[s.sum]
        idle = (rise[s.sum] == 0) & (grown == 0)
        return bool((idle | (grown == self.lag * s.summands * self.cycles)).all())

    def _sequences(self) -> bool:
        last, now = self.last[self.s.sequence], self.now[self.s.sequence]
        taken = last != EMPTY
        return bool(
            ((now != EMPTY) == taken).all()
            and (now - last)[taken].tolist() == self._of_sequences()[taken].tolist()
        )

    def _of_sequences(self) -> Ints:
        """Return what sequence numbers in stages move on by; 0 in empty ones."""
        s = self.s
        queue = self.last[s.in_stage]
        number = np.where(queue > 0, (queue - s.queue.address) // Queue.size, 0)
        return np.where(self.last[s.sequence] == EMPTY, 0, self.lag * s.steps[number])

    def _wants(self) -> bool:
        moved = self.now[self.s.wanted] - self.last[self.s.wanted]
        known = (self.now[self.s.wanted] != UNKNOWN) & (self.last[self.s.wanted] != UNKNOWN)
        same = self.now[self.s.wanted] == self.last[self.s.wanted]
        return bool(np.where(known, moved == self._of_wants(), same).all())

    def _of_wants(self) -> Ints:
        """Return by what moves on what heads wait for: windows of a producer, or own pixels."""
        s, wants = self.s, np.zeros(len(self.s.rows), np.int64)
        heads = self.last[s.queue.places("dependency")]
        for u, job in enumerate(s.plan.jobs):
            if self.last[s.wanted[u]] == UNKNOWN:
                continue
            number, dependencies = int(heads[u]), len(job.dependencies)
            wants[u] = (
                s.windows[job.dependencies[number][0]] if number < dependencies else s.pixels[u]
            )
        return self.lag * wants

    def _events(self) -> bool:
        """Whether the same events wait, later; pending admissions of shared pipelines, too."""
        later = self.cycles << CYCLE
        pending = self.s.pending
        none = self.last[pending] == FAR
        moved = self.now[pending] - self.last[pending]
        return bool((moved == np.where(none, 0, later)).all()) and (
            self._heap(self.last, later) == self._heap(self.now, 0)
        )

    def _heap(self, words: Ints, later: int) -> list[tuple[int, int]]:
        start = int(words[self.s.heap])
        events = words[start : start + Event.size * int(words[self.s.events])]
        events = events.reshape(-1, Event.size)
        return sorted((key + later, what) for key, what in events.tolist())

    def _rings(self) -> bool:
        """Whether the stores that the last line looked up repeat in it."""
        for u in np.flatnonzero(self.active).tolist():
            for field, end, step, back in self._stores(u):
                index = np.arange(max(0, end - back), end)
                earlier, later = (self._ring(words, u, field) for words in (self.last, self.now))
                mask = len(later) - 1
                if (later[(index + step) & mask] != earlier[index & mask] + self.cycles).any():
                    return False
        return True

    def _stores(self, u: int) -> Iterator[tuple[str, int, int, int]]:
        """Yield the rings of a node: field, stores until the last line, of one, how many count."""
        last, node, lag = self.last, self.s.node, self.lag
        frame, y, prefix = (int(last[node.places(name)[u]]) for name in ("frame", "y", "prefix"))
        yield "stores", prefix, lag * int(self.s.steps[u]), self.back
        rows = frame * int(self.s.tall[u]) + y
        yield "row_stores", rows, lag * int(self.s.rows[u]), self.rows_back

    def _ring(self, words: Ints, u: int, field: str) -> Ints:
        address, count = self.s.node.table[u, self.s.node.place(field)]
        return words[address : address + count]

    # --- how often, and what then -----------------------------------------------------------

    def times(self) -> int:
        """Return how often the last line repeats before a node's frame ends or a table bends."""
        s, lag = self.s, self.lag
        head, stored = s.queue.places("y"), s.node.places("y")
        heads = np.maximum(self.now[head], self.now[stored])
        times = int(((s.tall - 1 - heads) // (lag * s.rows))[self.active].min())
        for u, job in enumerate(s.plan.jobs):
            if not self.active[u]:
                continue
            first, last = (int(words[head[u]]) for words in (self.last, self.now))
            dependencies = self._node(u).dependencies
            for number, (producer, _) in enumerate(job.dependencies):
                if not self.active[producer]:
                    continue
                rows, cols = (
                    _table(self.now, t)
                    for t in (dependencies[number].rows, dependencies[number].cols)
                )
                if rows[first] < 0 or cols.min() < 1:
                    return 0
                by = lag * int(s.windows[producer])
                times = min(times, _even(rows, lag * int(s.rows[u]), by, first, last))
        for number, (producer, consumer) in enumerate(s.of_edge):
            if not self.active[consumer]:
                continue
            first, last = (int(words[stored[consumer]]) for words in (self.last, self.now))
            if self.active[producer]:
                frame = int(self.last[s.node.places("frame")[consumer]])
                row = int(self.last[s.edge.places("row")[number]])
                first = min(first - self.rows_back, row - frame * int(s.tall[consumer]))
            if first < 0:
                return 0
            edge = Edge(self.now, int(s.edge.addresses()[number]))
            table = _table(self.now, edge.released)
            by = lag * int(s.pixels[producer])
            times = min(times, _even(table, lag * int(s.rows[consumer]), by, first, last))
        return times

    def _node(self, u: int) -> Node:
        return Node(self.now, int(self.s.node.addresses()[u]))

    def write(self, words: Ints, times: int) -> None:
        """Move the memory on by so many times the last line."""
        s, cycles = self.s, self.cycles
        rise = self.now - self.last
        words[s.count] += times * self.moves
        words[s.time[self.live]] += times * cycles
        words[s.linear] += times * rise[s.linear]
        grown = np.where(rise[s.sum] == 0, 0, self.lag * s.summands * cycles)
        words[s.sum] += times * rise[s.sum] + times * (times + 1) // 2 * grown
        words[s.sequence] += times * self._of_sequences()
        known = words[s.wanted] != UNKNOWN
        words[s.wanted[known]] += times * self._of_wants()[known]
        later = (times * cycles) << CYCLE
        pending = s.pending[words[s.pending] != FAR]
        words[pending] += later
        start = int(words[s.heap])
        words[start : start + Event.size * int(words[s.events]) : Event.size] += later
        for u in np.flatnonzero(self.active).tolist():
            for field, end, step, _ in self._stores(u):
                ring = self._ring(words, u, field)
                ring[:] = _continued(ring, end + step, step, times, cycles)


def _continued(ring: Ints, end: int, step: int, times: int, cycles: int) -> Ints:
    """Return a ring of stores after some more lines.

    Parameters
    ----------
    ring : int64 [a power of two]
    end, step : int
        Stores so far, and those of a line.
    times, cycles : int
        Further lines, and the length of one.
    """
    size, continued = len(ring), ring.copy()
    index = end + times * step - 1 - np.arange(size)
    index = index[index >= 0]
    lines = np.maximum(0, -(-(index - end + 1) // step))
    continued[index & (size - 1)] = ring[(index - lines * step) & (size - 1)] + lines * cycles
    return continued


def _even(table: Ints, step: int, by: int, first: int, head: int) -> int:
    """Return how many times ``step`` rows a reader may go on while a table rises evenly.

    It does from row ``first`` on as long as each row is ``by`` more than that ``step`` rows before.
    """
    bent = np.flatnonzero(table[first + step :] - table[first : len(table) - step] != by)
    last = first + step + int(bent[0]) - 1 if len(bent) else len(table) - 1
    return max(0, (last - head) // step)


def _table(words: Ints, table: Numbers) -> Ints:
    """Return the elements of a table."""
    return words[table.address : table.address + table.count]
