"""Where the event loop repeats itself line by line, what follows is known without simulating it.

The loop's memory after a line is compared with that a line before (of strided units: after as many
lines as make whole lines of all units). Let ``T`` be the cycles between the two and ``r`` the map
rows that a unit stored meanwhile. If

- every unit stored as many rows as its strides ask for, so none of them waits for a whole map, or
  is done with all frames, so nobody waits for it and its last store is over,
- every cycle in the memory is ``T`` later, or over: earlier than all that are compared with it,
- every row, window, pixel and sequence number has moved on by what ``r`` of its unit makes of it,
- everything else is the same, the events that wait included, and
- the tables of needs and releases rise evenly over the rows that are read,

then the loop does in the next ``T`` cycles what it did in the last ones, ``T`` later and ``r`` rows
on: it adds, compares and takes maxima of cycles with cycles and of rows, windows and pixels of a
unit with such of the same unit only, and addresses the rings of stores by sequence number. By
induction this holds until a unit comes to the end of a frame or to a row where a table does not
rise evenly. All these lines are then written into the memory at once: every cell has moved on by a
multiple of what it moved on by in a line, sums of cycles by a quadratic, and the rings hold the
stores of the last line, later. Nothing is rounded and nothing is an estimate; where any of this
does not hold, the loop goes on by itself. Tests compare all cells with those of the loop alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.timing import records as k
from cimsim.timing.plan import Plan
from cimsim.timing.tables import Memory

Ints = NDArray[np.int64]

WINDOWS = 20_000  # in a line, at least: comparing takes as long as simulating some thousands
LINES = 8  # of a frame, at least
_LAGS = (1, 2, 3)  # lines after which arbitration may come back to where it was
_PATIENCE = 24  # lines without a repetition, after which they are compared less often


def rows_per_line(plan: Plan, windows: int = WINDOWS) -> Ints | None:
    """Return how many map rows each unit has in a line, or None where lines are no notion.

    Parameters
    ----------
    plan : Plan
    windows : int
        Least number of windows of all units in a line.
    """
    if any(len(work.pipes) > 1 for work in plan.works):
        return None  # replicas store out of order
    rates: list[Fraction | None] = [None] * len(plan.works)
    for u, work in enumerate(plan.works):
        if work.unit.grid[1] % work.per_activation:
            return None  # an activation goes over the end of a row
        found = set()
        for producer, need in work.needs:
            before = rates[producer]
            if need.window is None or producer >= u or before is None:
                return None
            block = plan.works[producer].unit.block[0]
            found.add(before * block / need.window.stride[0])
        if len(found) > 1:
            return None
        rates[u] = found.pop() if found else Fraction(1)
    known = [rate for rate in rates if rate is not None]
    whole = lcm(*(rate.denominator for rate in known))
    rows = np.array([int(rate * whole) for rate in known], np.int64)
    rows //= gcd(*rows.tolist())
    in_line = sum(int(n) * work.unit.grid[1] for n, work in zip(rows, plan.works, strict=True))
    rows *= max(1, -(-windows // in_line))
    lines = min(work.unit.grid[0] // int(n) for n, work in zip(rows, plan.works, strict=True))
    return rows if lines >= LINES else None


def run(plan: Plan, memory: Memory, rows: Ints) -> int:
    """Run the event loop to its end, leaping over lines that are proven to repeat.

    Parameters
    ----------
    plan : Plan
    memory : Memory
        That has not begun, without a trace.
    rows : int64 [units]
        From `rows_per_line`.

    Returns
    -------
    int
        Lines that were not simulated.
    """
    from cimsim.timing import kernels

    cells, steady = memory.cells, _Steady(plan, memory, rows)
    unit = int(cells[k.H_UNITS]) + steady.watched * k.UNIT
    held: list[_Shot] = []
    leapt, since, wait = 0, 0, 0
    kernels.begin(cells)
    while kernels.proceed(cells, unit, steady.stored(steady.watched) + int(rows[steady.watched])):
        since += 1
        wait -= 1
        if wait > 0:
            continue
        held = [*held[-2 * _LAGS[-1] :], steady.shot()]
        found = steady.leap(held)
        if found:
            leapt, held, since = leapt + found, [], 0
        elif since > _PATIENCE and since % (2 * _LAGS[-1] + 1) == 0:
            held, wait = [], since
    kernels.end(cells)
    return leapt


@dataclass(frozen=True, slots=True)
class _Shot:
    """The memory after a line, and how far back stores were looked up during it."""

    cells: Ints
    back: int
    rows_back: int


class _Steady:
    """What each cell of the memory means, and how it moves on in a line."""

    def __init__(self, plan: Plan, memory: Memory, rows: Ints) -> None:
        self.plan, self.memory, self.rows, self.cells = plan, memory, rows, memory.cells
        works, cells = plan.works, memory.cells
        self.watched = len(works) - 1
        self.row = np.array([work.unit.grid[1] for work in works], np.int64)
        self.tall = np.array([work.unit.grid[0] for work in works], np.int64)
        self.block = np.array([w.unit.block[0] * w.unit.block[1] for w in works], np.int64)
        self.together = np.array([work.per_activation for work in works], np.int64)
        self.windows = rows * self.row
        self.steps = self.windows // self.together  # activations
        self.pixels = self.windows * self.block
        self.units, self.feeders = int(cells[k.H_UNITS]), int(memory.unit[0, k.U_FEEDER])
        n_pipes = int(cells[k.H_PIPE_COUNT])
        self.unit = self.units + k.UNIT * np.arange(len(works))
        self.feeder = self.feeders + k.FEEDER * np.arange(len(works))
        self.edge = _address(memory, memory.edge) + k.EDGE * np.arange(len(plan.edges))
        self.pipe = int(cells[k.H_PIPES]) + k.PIPE * np.arange(n_pipes)
        stages = self.pipe[:, np.newaxis] + k.P_STAGES + k.STAGE * np.arange(7)
        self.stage = stages.ravel()
        self.of_edge = np.array([[e.producer, e.consumer] for e in plan.edges], np.int64)
        self.of_edge = self.of_edge.reshape(-1, 2)
        self.resources = self._resources()
        self._classify()

    # --- what cells mean --------------------------------------------------------------------

    def _resources(self) -> Ints:
        """Return the addresses of the cycles from which shared resources are free."""
        found = set()
        for feeder in self.memory.feeder:
            for _, _, legs, count in feeder[k.F_SERVICES :].reshape(7, k.SERVICE).tolist():
                found |= {int(self.cells[legs + i * k.LEG + k.L_RESOURCE]) for i in range(count)}
        return np.array(sorted(found), np.int64)

    def _classify(self) -> None:
        """List the cells that change, by how they do; all others of the records stay."""
        works = self.plan.works
        u, q, e, t = self.unit, self.feeder, self.edge, self.stage
        n_rows, steps = self.rows, self.steps
        producer, consumer = self.of_edge[:, 0], self.of_edge[:, 1]
        counts = (
            (u + k.U_PREFIX, steps), (u + k.U_DONE, self.windows), (u + k.U_Y, n_rows),
            (u + k.U_IN_FRAME, self.windows), (q + k.F_INDEX, steps), (q + k.F_Y, n_rows),
            (q + k.F_LAST_ROW, n_rows), (e + k.E_FREED, self.pixels[producer]),
            (e + k.E_WRITTEN, self.pixels[producer]), (e + k.E_GONE, self.pixels[producer]),
            (e + k.E_SEEN, steps[producer]), (e + k.E_ROW, n_rows[consumer]),
        )  # fmt: skip
        self.count = np.concatenate([place for place, _ in counts])
        self.moves = np.concatenate([by for _, by in counts])
        # whose being done stops them; what is released follows from the consumer's rows
        units = np.arange(len(works))
        self.mover = np.concatenate([*[units] * 7, consumer, *[producer] * 4])
        header = np.array([k.H_LATEST, k.H_NOW])
        self.time = np.concatenate([
            header, u + k.U_AT, q + k.F_FED, q + k.F_READY, self.resources,
            *(t + field for field in (k.T_END, k.T_FREE, k.T_BEGAN, k.T_LAST)),
        ])  # fmt: skip
        self.linear = np.concatenate([
            q + field for field in (
                k.F_FIRED, k.F_FIRST, k.F_PULSED, k.F_STARVED, k.F_NO_CREDIT,
                *range(k.F_WAITED, k.F_WAITED + 6),
            )
        ])  # fmt: skip
        sums = (k.F_LEFT_DRIVE, k.F_LEFT_STORE, *range(k.F_ENTERED, k.F_ENTERED + 6))
        self.sum = np.concatenate([q + field for field in sums])
        self.summands = np.tile(steps, len(sums))
        self.sequence, self.wanted = t + k.T_SEQUENCE, q + k.F_WANTED
        self.pending = self.pipe + k.P_PENDING
        apart = np.concatenate([
            self.count, self.time, self.linear, self.sum, self.sequence, self.wanted, self.pending,
            np.array([k.H_BACK, k.H_ROWS_BACK]),
        ])  # fmt: skip
        frame = _address(self.memory, self.memory.frame)
        records = np.concatenate([
            np.arange(k.HEADER), *(start + np.arange(size) for places, size in (
                (u, k.UNIT), (q, k.FEEDER), (e, k.EDGE), (self.pipe, k.PIPE),
                ([frame], self.memory.frame.size),
            ) for start in places),
        ])  # fmt: skip
        self.still = np.setdiff1d(records, apart)

    # --- the memory after a line ------------------------------------------------------------

    def stored(self, u: int) -> int:
        """Return the map rows that a unit has stored, of all frames."""
        row = self.memory.unit[u]
        return int(row[k.U_FRAMES] * row[k.U_ROWS] + row[k.U_Y])

    def shot(self) -> _Shot:
        """Keep the memory, and begin to note anew how far back it is read."""
        found = _Shot(self.cells.copy(), int(self.cells[k.H_BACK]), int(self.cells[k.H_ROWS_BACK]))
        self.cells[k.H_BACK] = self.cells[k.H_ROWS_BACK] = 0
        return found

    def leap(self, held: list[_Shot]) -> int:
        """Move on by as many lines as are proven to repeat; return how many."""
        for lag in _LAGS:
            if len(held) <= 2 * lag:
                break
            before, last, now = held[-1 - 2 * lag], held[-1 - lag], held[-1]
            if now.cells[k.H_NOW] - last.cells[k.H_NOW] != (
                last.cells[k.H_NOW] - before.cells[k.H_NOW]
            ):
                continue
            back = max(shot.back for shot in held[-lag:])
            rows_back = max(shot.rows_back for shot in held[-lag:])
            line = _Line(self, before.cells, last.cells, now.cells, lag, back, rows_back)
            times = line.times() if line.repeats() else 0
            if times > 0:
                line.write(self.cells, times)
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
        self.cycles = int(now[k.H_NOW] - last[k.H_NOW])
        moved = now[steady.time] - last[steady.time]
        self.live = moved == self.cycles
        frames = last[steady.unit + k.U_FRAMES]
        self.active = frames != last[k.H_FRAME]  # others are done with all frames
        self.moves = lag * steady.moves * self.active[steady.mover]

    def repeats(self) -> bool:
        """Whether the last line and the one before are the same but for what moved on."""
        s, last, now = self.s, self.last, self.now
        if self.cycles <= 0 or (now[s.count] - last[s.count] != self.moves).any():
            return False
        done = ~self.active[s.of_edge[:, 0]]
        seen, stored = last[s.edge + k.E_SEEN], last[s.unit[s.of_edge[:, 0]] + k.U_PREFIX]
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
        taken = last != k.EMPTY
        return bool(
            ((now != k.EMPTY) == taken).all()
            and (now - last)[taken].tolist() == self._of_sequences()[taken].tolist()
        )

    def _of_sequences(self) -> Ints:
        """Return what sequence numbers in stages move on by; 0 in empty ones."""
        s = self.s
        feeder = self.last[s.sequence - k.T_SEQUENCE + k.T_FEEDER]
        number = np.where(feeder > 0, (feeder - s.feeders) // k.FEEDER, 0)
        return np.where(self.last[s.sequence] == k.EMPTY, 0, self.lag * s.steps[number])

    def _wants(self) -> bool:
        moved = self.now[self.s.wanted] - self.last[self.s.wanted]
        known = (self.now[self.s.wanted] != k.UNKNOWN) & (self.last[self.s.wanted] != k.UNKNOWN)
        same = self.now[self.s.wanted] == self.last[self.s.wanted]
        return bool(np.where(known, moved == self._of_wants(), same).all())

    def _of_wants(self) -> Ints:
        """Return by what moves on what heads wait for: windows of a producer, or own pixels."""
        s, found = self.s, np.zeros(len(self.s.rows), np.int64)
        for u, work in enumerate(s.plan.works):
            if self.last[s.wanted[u]] == k.UNKNOWN:
                continue
            number = int(self.last[s.feeder[u] + k.F_NEED])
            needs = len(work.needs)
            found[u] = s.windows[work.needs[number][0]] if number < needs else s.pixels[u]
        return self.lag * found

    def _events(self) -> bool:
        """Whether the same events wait, later; pending admissions of shared pipelines, too."""
        later = self.cycles << k.CYCLE
        pending = self.s.pending
        none = self.last[pending] == k.FAR
        moved = self.now[pending] - self.last[pending]
        return bool((moved == np.where(none, 0, later)).all()) and (
            self._heap(self.last, later) == self._heap(self.now, 0)
        )

    @staticmethod
    def _heap(cells: Ints, later: int) -> list[tuple[int, int]]:
        start = int(cells[k.H_HEAP])
        events = cells[start : start + k.EVENT * int(cells[k.H_EVENTS])].reshape(-1, k.EVENT)
        return sorted((key + later, what) for key, what in events.tolist())

    def _rings(self) -> bool:
        """Whether the stores that the last line looked up repeat in it."""
        for u in np.flatnonzero(self.active).tolist():
            for field, end, step, back in self._stores(u):
                index = np.arange(max(0, end - back), end)
                earlier, later = (self._ring(cells, u, field) for cells in (self.last, self.now))
                mask = len(later) - 1
                if (later[(index + step) & mask] != earlier[index & mask] + self.cycles).any():
                    return False
        return True

    def _stores(self, u: int) -> Any:
        """Yield the rings of a unit: field, stores until the last line, of one, how many count."""
        last, row, lag = self.last, self.s.unit[u], self.lag
        rows = int(last[row + k.U_FRAMES] * last[row + k.U_ROWS] + last[row + k.U_Y])
        yield k.U_RING, int(last[row + k.U_PREFIX]), lag * int(self.s.steps[u]), self.back
        yield k.U_ROW_RING, rows, lag * int(self.s.rows[u]), self.rows_back

    def _ring(self, cells: Ints, u: int, field: int) -> Ints:
        start = int(cells[self.s.unit[u] + field])
        return cells[start : start + int(cells[k.H_RING])]

    # --- how often, and what then -----------------------------------------------------------

    def times(self) -> int:
        """Return how often the last line repeats before a unit's frame ends or a table bends."""
        s, lag = self.s, self.lag
        heads = np.maximum(self.now[s.feeder + k.F_Y], self.now[s.unit + k.U_Y])
        found = int(((s.tall - 1 - heads) // (lag * s.rows))[self.active].min())
        for u, work in enumerate(s.plan.works):
            if not self.active[u]:
                continue
            first, head = (int(cells[s.feeder[u] + k.F_Y]) for cells in (self.last, self.now))
            start = int(self.now[s.unit[u] + k.U_NEEDS])
            for number, (producer, _) in enumerate(work.needs):
                if not self.active[producer]:
                    continue
                need = start + number * k.NEED
                table = self._table(int(self.now[need + k.N_ROWS]), int(s.tall[u]))
                cols = self._table(int(self.now[need + k.N_COLS]), int(s.row[u]))
                if table[first] < 0 or cols.min() < 1:
                    return 0
                by = lag * int(s.windows[producer])
                found = min(found, _even(table, lag * int(s.rows[u]), by, first, head))
        for number, (producer, consumer) in enumerate(s.of_edge):
            if not self.active[consumer]:
                continue
            tall, edge = int(s.tall[consumer]), s.edge[number]
            frame = int(self.last[s.unit[consumer] + k.U_FRAMES])
            first, head = (int(cells[s.unit[consumer] + k.U_Y]) for cells in (self.last, self.now))
            if self.active[producer]:
                first = min(first - self.rows_back, int(self.last[edge + k.E_ROW]) - frame * tall)
            if first < 0:
                return 0
            table = self._table(int(self.now[edge + k.E_TABLE]), tall + 1)
            by = lag * int(s.pixels[producer])
            found = min(found, _even(table, lag * int(s.rows[consumer]), by, first, head))
        return found

    def _table(self, start: int, size: int) -> Ints:
        return self.now[start : start + size]

    def write(self, cells: Ints, times: int) -> None:
        """Move the memory on by so many times the last line."""
        s, cycles = self.s, self.cycles
        rise = self.now - self.last
        cells[s.count] += times * self.moves
        cells[s.time[self.live]] += times * cycles
        cells[s.linear] += times * rise[s.linear]
        grown = np.where(rise[s.sum] == 0, 0, self.lag * s.summands * cycles)
        cells[s.sum] += times * rise[s.sum] + times * (times + 1) // 2 * grown
        cells[s.sequence] += times * self._of_sequences()
        known = cells[s.wanted] != k.UNKNOWN
        cells[s.wanted[known]] += times * self._of_wants()[known]
        later = (times * cycles) << k.CYCLE
        pending = s.pending[cells[s.pending] != k.FAR]
        cells[pending] += later
        start = int(cells[k.H_HEAP])
        cells[start : start + k.EVENT * int(cells[k.H_EVENTS]) : k.EVENT] += later
        for u in np.flatnonzero(self.active).tolist():
            for field, end, step, _ in self._stores(u):
                ring = self._ring(cells, u, field)
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
    size, found = len(ring), ring.copy()
    index = end + times * step - 1 - np.arange(size)
    index = index[index >= 0]
    lines = np.maximum(0, -(-(index - end + 1) // step))
    found[index & (size - 1)] = ring[(index - lines * step) & (size - 1)] + lines * cycles
    return found


def _even(table: Ints, step: int, by: int, first: int, head: int) -> int:
    """Return how many times ``step`` rows a reader may go on while a table rises evenly.

    It does from row ``first`` on as long as each row is ``by`` more than that ``step`` rows before.
    """
    bent = np.flatnonzero(table[first + step :] - table[first : len(table) - step] != by)
    last = first + step + int(bent[0]) - 1 if len(bent) else len(table) - 1
    return max(0, (last - head) // step)


def _address(memory: Memory, table: Ints) -> int:
    """Return the place of a table's first cell."""
    return int(table.ctypes.data - memory.cells.ctypes.data) // memory.cells.itemsize
