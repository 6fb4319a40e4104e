"""Checks a trace against the rules, equation by equation.

The rules fix each cycle of a trace by the others: a stage is left when its service is over and the
next stage is free, a service starts when its resource has served everybody before it, and so on.
The event loop may find the cycles in any way; here every single equation is looked up again, slowly
and from the trace alone. Because causes come before effects, only one trace satisfies all of them.
"""

from collections import defaultdict

from cimsim.timing.plan import bus_cycles, make_plan
from cimsim.timing.rules import STAGES

LOAD, DRIVE, CONVERT, REDUCE, POST, STORE = range(6)


class Replay:
    """One trace, activation by activation."""

    def __init__(self, mapping, timeline):
        self.plan, self.timeline = make_plan(mapping), timeline
        trace = timeline.trace
        self.rows = []
        for row in range(len(trace.unit)):
            u, g, f = int(trace.unit[row]), int(trace.activation[row]), int(trace.frame[row])
            work = self.plan.works[u]
            assert g % len(work.pipes) == trace.replica[row]
            self.rows.append(
                {
                    "unit": u, "frame": f, "g": g, "sequence": f * work.activations + g,
                    "pipe": work.pipes[g % len(work.pipes)], "enter": trace.enter[row].tolist(),
                    "leave": trace.leave[row].tolist(), "stored": int(trace.stored[row]),
                }
            )  # fmt: skip
        self.by_pipe = defaultdict(list)
        # a pipeline keeps its order; zero-cycle stages let several pass in one cycle
        for row in sorted(self.rows, key=lambda r: (r["enter"], r["unit"], r["sequence"])):
            self.by_pipe[row["pipe"]].append(row)
        self._services()

    def stages(self, row):
        vector = self.plan.works[row["unit"]].unit.kind == "vector"
        return (LOAD, POST, STORE) if vector else range(6)

    def load_cycles(self, row):
        work, replicas = self.plan.works[row["unit"]], len(self.plan.works[row["unit"]].pipes)
        per_row, wpa = work.unit.grid[1], work.per_activation
        y, before = row["g"] * wpa // per_row, row["g"] - replicas
        same = before >= 0 and before * wpa // per_row == y
        return work.cycles.load_next if same else work.cycles.load_first

    def _services(self):
        """End of service of each row and stage, every resource served in the order of the rules."""
        requests, self.end = defaultdict(list), {}
        users = self.plan.shared()
        for index, row in enumerate(self.rows):
            cycles = self.plan.works[row["unit"]].cycles
            bus = list(bus_cycles(cycles))
            bus[LOAD] = self.load_cycles(row)
            for k in self.stages(row):
                resource = self.plan.pipes[row["pipe"]].resources.get(k)
                own = {REDUCE: cycles.reduce_own}.get(k, 0)
                if k in (DRIVE, CONVERT):
                    continue
                if resource is None or users.get(resource, 0) < 2 or bus[k] == 0:
                    self.end[index, k] = row["enter"][k] + bus[k] + own
                else:
                    key = (row["enter"][k], row["unit"], row["sequence"])
                    requests[resource].append((key, index, k, bus[k], own))
            self._analog(index, row, cycles, requests, users)
        for queue in requests.values():
            self._serve(queue)

    def _analog(self, index, row, cycles, requests, users):
        if CONVERT not in self.stages(row):
            return
        resource = self.plan.pipes[row["pipe"]].resources.get(CONVERT)
        if resource is not None and users.get(resource, 0) > 1:
            key = (row["enter"][CONVERT], row["unit"], row["sequence"])
            requests[resource].append((key, index, CONVERT, cycles.convert, 0))
            return
        driven = row["enter"][CONVERT]  # the first pulse is taken over here
        for _ in range(cycles.pulses - 1):
            ready = driven + cycles.drive
            converted = driven + cycles.convert
            driven = max(ready, converted) if cycles.double else converted + cycles.drive
        self.end[index, CONVERT] = driven + cycles.convert
        self.end[index, DRIVE] = driven

    def _serve(self, queue):
        """A single server; the pulses of an activation ask one after another."""
        pulse, free = defaultdict(int), 0
        waiting = list(queue)
        while waiting:
            waiting.sort(key=lambda request: request[0])
            (at, *rest), index, k, cycles, own = waiting.pop(0)
            free = max(at, free) + cycles
            self.end[index, k] = free + own
            if k != CONVERT:
                continue
            work = self.plan.works[self.rows[index]["unit"]].cycles
            self.end[index, DRIVE] = at
            pulse[index] += 1
            if pulse[index] < work.pulses:
                driven = (at if work.double else free) + work.drive
                waiting.append(((max(driven, free), *rest), index, k, cycles, own))

    # the equations

    def check(self):
        self._check_stages()
        self._check_admission()
        self._check_completion()
        return self

    def _check_stages(self):
        index_of = {id(row): index for index, row in enumerate(self.rows)}
        for rows in self.by_pipe.values():
            before = dict.fromkeys(range(6), 0)  # when the one before has left stage k
            for row in rows:
                index, stages = index_of[id(row)], list(self.stages(row))
                for k, after in zip(stages, [*stages[1:], None], strict=True):
                    where = f"{row} {STAGES[k]}"
                    assert row["enter"][k] >= before[k], f"two in a stage: {where}"
                    end = self.end.get((index, k))
                    if k == DRIVE:
                        self._check_drive(row, index, before, where)
                        continue
                    free = 0 if after is None else before[after]
                    assert row["leave"][k] == max(end, free), where
                    if after is not None:
                        assert row["enter"][after] == row["leave"][k], where
                before |= {k: row["leave"][k] for k in stages}

    def _check_drive(self, row, index, before, where):
        cycles = self.plan.works[row["unit"]].cycles
        first = row["enter"][DRIVE] + cycles.drive
        assert row["enter"][CONVERT] == max(first, before[CONVERT]), where
        left = self.end[index, DRIVE] if cycles.double else row["leave"][CONVERT]
        assert row["leave"][DRIVE] == left, where

    def _prefixes(self):
        """Cycle in which the stored prefix of each unit reached 1, 2, ... windows."""
        found = {}
        for u, work in enumerate(self.plan.works):
            mine = sorted((r for r in self.rows if r["unit"] == u), key=lambda r: r["sequence"])
            latest, reached = 0, []
            for row in mine:
                latest = max(latest, row["stored"])
                first = row["g"] * work.per_activation
                reached += [latest] * min(work.per_activation, work.unit.windows - first)
            found[u] = reached
        return found

    def _check_admission(self):
        stored, ready = self._prefixes(), {}
        entered = {(r["unit"], r["sequence"]): r["enter"][LOAD] for r in self.rows}
        for row in self.rows:
            work = self.plan.works[row["unit"]]
            key, r = (row["unit"], row["sequence"]), len(work.pipes)
            last = row["g"] - r  # the one before on this replica
            if last < 0:
                last = max((g for g in range(row["g"] % r, work.activations, r)), default=0)
                last -= work.activations
            sequence = row["sequence"] - row["g"] + last
            ready[key] = max(entered.get((row["unit"], sequence), 0), self._inputs(row, stored))
            assert row["enter"][LOAD] >= ready[key], f"started too early: {row}"
        for rows in self.by_pipe.values():
            free = 0
            for position, row in enumerate(rows):
                mine = ready[row["unit"], row["sequence"]]
                assert row["enter"][LOAD] == max(mine, free), f"idle without a reason: {row}"
                for other in rows[position + 1 :]:
                    if other["unit"] != row["unit"]:
                        theirs = ready[other["unit"], other["sequence"]]
                        assert (mine, row["unit"]) <= (theirs, other["unit"])
                free = row["leave"][LOAD]

    def _inputs(self, row, stored):
        work = self.plan.works[row["unit"]]
        if self.timeline.schedule == "sequential":
            u, frame = (row["unit"] - 1) % len(self.plan.works), row["frame"]
            frame -= row["unit"] == 0
            n = self.plan.works[u].unit.windows
            return stored[u][(frame + 1) * n - 1] if frame >= 0 else 0
        first, latest = row["g"] * work.per_activation, 0
        for w in range(first, min(first + work.per_activation, work.unit.windows)):
            y, x = divmod(w, work.unit.grid[1])
            for producer, need in work.needs:
                other = self.plan.works[producer].unit
                wanted = _last_window(need.window, y, x, other)
                if wanted >= 0:
                    latest = max(latest, stored[producer][row["frame"] * other.windows + wanted])
        return latest

    def _check_completion(self):
        for row in self.rows:
            latency = self.plan.works[row["unit"]].cycles.latency
            assert row["stored"] == row["leave"][STORE] + latency
        done = [
            max(row["stored"] for row in self.rows if row["frame"] == frame)
            for frame in range(self.timeline.frames)
        ]
        assert list(self.timeline.completions) == done


def _last_window(window, y, x, producer):
    """Raster number of the producer's window that wrote the last pixel needed; -1 if none is."""
    if window is None:
        return producer.windows - 1
    last = []
    for axis, position in enumerate((y, x)):
        pixel = position * window.stride[axis] - window.padding[2 * axis] + window.extent[axis] - 1
        last.append(min(pixel, producer.grid[axis] * producer.block[axis] - 1))
    if min(last) < 0:
        return -1
    return last[0] // producer.block[0] * producer.grid[1] + last[1] // producer.block[1]
