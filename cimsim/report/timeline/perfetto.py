"""A traced simulation as a file for the Perfetto viewer (ui.perfetto.dev, chrome://tracing).

Trace Event Format, JSON object form, gzip. Times are the chip's own, in microseconds, to a
nanosecond or better; each slice has its exact ``cycle`` and ``cycles`` as arguments. Each tile is
a process with a track for each stage of its pipelines, each kind of shared resource a process with
a track for each resource; line buffers are counters, and an arrow leads from the store that a
starving activation waited for.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import InputError
from cimsim.files import replacing
from cimsim.mapping.dataflow import Node
from cimsim.mapping.mapping import Mapping
from cimsim.report.timeline.bins import largest_in_bins
from cimsim.report.timeline.traced import Stays, TracedRun
from cimsim.timing.spec.routes import Reservation
from cimsim.timing.spec.stage import STAGES, Stage
from cimsim.timing.timeline import Timeline
from cimsim.units import format_si

Ints = NDArray[np.int64]

MAX_EVENTS = 500_000
_GROUPS = {
    "interconnect": "interconnect", "link": "interconnect", "chips": "interconnect",
    "adc": "shared ADCs", "array": "shared arrays", "vector": "vector units",
    "matmul": "matmul units", "buffer": "buffer ports", "global_buffer": "global buffer and DRAM",
    "dram": "global buffer and DRAM",
}  # fmt: skip
_THIN = 1000  # samples of a counter outside of the stretches that are kept


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a run is in a trace file.

    Attributes
    ----------
    events : int
        Written, names of tracks not counted.
    activations, of : int
        Activations written, and all.
    stretches : tuple of (int, int)
        Activations that entered their pipeline in these cycles (the end left out) are there, whole.
    """

    events: int
    activations: int
    of: int
    stretches: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        if self.activations == self.of:
            return f"all {self.of:,} activations"
        where = " and ".join(f"{start:,} .. {stop - 1:,}" for start, stop in self.stretches)
        return (
            f"{self.activations:,} of {self.of:,} activations: those that began in cycles {where}"
        )


def write_trace(
    mapping: Mapping, timeline: Timeline, path: str | Path, max_events: int = MAX_EVENTS
) -> Kept:
    """Write a traced timeline as gzipped Trace Event JSON.

    Of a long run a stretch from cycle 0 on and one around the middle of the first frame are kept,
    where all layers are at work; the counters of line buffers go on outside of them, thinned.

    Parameters
    ----------
    mapping, timeline
        Simulated with ``trace=True``.
    path : str or Path
        An earlier file is replaced when the new one is complete.
    max_events : int
        About how many events to write; 500,000 take some 5 MB and open in seconds.

    Raises
    ------
    SimulationError
        The timeline has no trace.
    InputError
        The file cannot be written, or ``max_events`` is less than 1.
    """
    if max_events < 1:
        raise InputError(f"max_events: expected at least 1, got {max_events}")
    path, run = Path(path), TracedRun(mapping, timeline)
    stretches = choose_stretches(run, max_events)
    try:
        with replacing(path) as scratch, gzip.open(scratch, "wt", 6, encoding="ascii") as file:
            return _Writer(file, run, stretches).write()
    except OSError as error:
        raise InputError(f"--trace: cannot write '{path}': {error.strerror or error}") from None


def choose_stretches(run: TracedRun, max_events: int) -> tuple[tuple[int, int], ...]:
    """Return the stretches of cycles whose activations make up about ``max_events`` events."""
    enter, nodes = run.trace.enter[:, Stage.LOAD], run.trace.node
    each = np.array([_events_each(run, u) for u in range(len(run.plan.jobs))])
    end = int(enter.max()) + 1
    if each[nodes].sum() <= max_events:
        return ((0, end),)
    order = np.argsort(enter, kind="stable")
    times, events = enter[order], np.cumsum(each[nodes[order]])

    def time_of(count: float) -> int:
        """Cycle before which ``count`` events began, as near as may be."""
        return int(times[min(int(np.searchsorted(events, count, "right")), len(times) - 1)])

    middle = int(np.searchsorted(times, run.timeline.cycles_first_frame // 2))
    at = float(events[min(middle, len(events) - 1)])
    first, start, stop = (time_of(n) for n in (max_events / 2, at - max_events / 4,
                                               at + max_events / 4))  # fmt: skip
    if start <= first:
        return ((0, max(1, time_of(max_events))),)
    return (0, max(1, first)), (start, max(start + 1, stop))


def _events_each(run: TracedRun, u: int) -> float:
    """About how many events one activation of node ``u`` becomes."""
    job = run.plan.jobs[u]
    services = job.services[0]
    stages = sum(services.alone(stage) > 0 for stage in range(6))
    grants = sum(len(service.reservations) for service in services.stages[:6]) + services.pulses - 1
    counters = sum(edge.producer == u for edge in run.plan.edges)
    return 1.5 * stages + grants + counters + 1


class _Tracks:
    """Hands out process and thread numbers and keeps their names."""

    def __init__(self) -> None:
        self.processes: dict[str, int] = {}
        self.threads: dict[tuple[int, str], int] = {}

    def process(self, name: str) -> int:
        return self.processes.setdefault(name, len(self.processes) + 1)

    def thread(self, process: str, name: str) -> str:
        """Return the fields of an event on this track."""
        pid = self.process(process)
        tid = self.threads.setdefault((pid, name), len(self.threads) + 1)
        return f'"pid":{pid},"tid":{tid}'

    def metadata(self) -> Iterator[str]:
        """Yield the events that name all tracks and put them in order."""
        for name, pid in self.processes.items():
            yield _named("process_name", f'"pid":{pid},"tid":0', "name", name)
            yield _named("process_sort_index", f'"pid":{pid},"tid":0', "sort_index", pid)
        for (pid, name), tid in self.threads.items():
            place = f'"pid":{pid},"tid":{tid}'
            yield _named("thread_name", place, "name", name)
            yield _named("thread_sort_index", place, "sort_index", tid)


def _named(what: str, place: str, key: str, value: str | int) -> str:
    return f'{{"name":"{what}","ph":"M","ts":0,{place},"args":{{"{key}":{json.dumps(value)}}}}}'


class _Writer:
    """Writes one file, event by event."""

    def __init__(
        self, file: TextIO, run: TracedRun, stretches: tuple[tuple[int, int], ...]
    ) -> None:
        self.file, self.run, self.stretches = file, run, stretches
        clock = Fraction(run.mapping.chip.process.clock_hz)
        # a nanosecond, and a quarter of a cycle, are larger than the unit of time
        self.bits = max(10, math.ceil(math.log2(4e-6 * clock)))
        self.unit = Fraction(10**6 * 2**self.bits) / clock  # units in a cycle
        self.tracks = _Tracks()
        self.events = self.activations = 0
        self.separator = ""
        self.names = [json.dumps(job.node.name) for job in run.plan.jobs]
        self.stage_track = cache(self._stage_track)

    def write(self) -> Kept:
        """Write everything; returns what was kept."""
        run = self.run
        of = len(run.trace.node)
        self._declare()
        names = list(self.tracks.metadata())
        kept = [
            self._kept(run.trace.enter[run.rows(u), Stage.LOAD]) for u in range(len(self.names))
        ]
        self.activations = sum(int(mine.sum()) for mine in kept)
        self.file.write(
            f'{{"displayTimeUnit":"ms","otherData":{json.dumps(self._about())},"traceEvents":['
        )
        for name in names:
            self._put(name)
        self.events = 0
        self._frames()
        arrows: list[Ints] = []
        for u in range(len(self.names)):
            stays = run.stays(u)
            self._stays(u, stays, np.flatnonzero(kept[u]))
            starved = kept[u] & (stays.starved_until > stays.free)
            at = np.flatnonzero(starved & (stays.fed_node >= 0))
            arrows.append(
                np.stack([np.full(len(at), u), at, stays.fed_node[at], stays.fed_sequence[at]])
            )
        self._grants(kept)
        self._arrows(np.concatenate(arrows, axis=1), kept)
        self._counters()
        self.file.write("\n]}\n")
        return Kept(self.events, self.activations, of, self.stretches)

    def _us(self, start: int, stop: int | None = None) -> str:
        """Return a cycle's time, or what lies between two, in microseconds.

        Both ends are rounded for themselves to a binary fraction, of which viewers' float64 sums
        are exact: what follows each other in cycles never overlaps in time.
        """
        nodes = self._nodes(start) if stop is None else self._nodes(stop) - self._nodes(start)
        return repr(nodes / 2**self.bits)

    def _nodes(self, cycle: int) -> int:
        whole = self.unit
        return (2 * cycle * whole.numerator + whole.denominator) // (2 * whole.denominator)

    def _put(self, event: str) -> None:
        self.file.write(f"{self.separator}\n{event}")
        self.separator = ","
        self.events += 1

    def _about(self) -> dict[str, str]:
        mapping, timeline = self.run.mapping, self.run.timeline
        clock = mapping.chip.process.clock_hz
        kept = Kept(0, self.activations, len(self.run.trace.node), self.stretches)
        return {
            "network": mapping.graph.name,
            "chip": mapping.chip.label,
            "schedule": timeline.schedule,
            "time": f"real time; a cycle is {format_si(1 / clock, 's')}, the clock "
            f"{format_si(clock, 'Hz')}; exact cycles are arguments of each slice",
            "frame_interval_us": self._us(timeline.interval),
            "kept": str(kept),
            "parts": "a stay in a stage is waiting for a resource, then in service (the layer's "
            "name), then blocked by the next stage; LOAD tracks show starved and no credit, too",
            "arrows": "from the store that a starving activation waited for last",
        }

    def _kept(self, cycles: Ints) -> NDArray[np.bool_]:
        found = np.zeros(len(cycles), np.bool_)
        for start, stop in self.stretches:
            found |= (cycles >= start) & (cycles < stop)
        return found

    def _stage_track(self, p: int, stage: int) -> str:
        pipes, pipe = self.run.plan.pipes, self.run.plan.pipes[p]
        here = list(dict.fromkeys(other.name for other in pipes if other.home == pipe.home))
        more = " ..." if len(here) > 2 else ""
        copies = sum(other.name == pipe.name for other in pipes)
        replica = f", replica {pipe.replica}" if copies > 1 else ""
        return self.tracks.thread(
            f"tile {pipe.home}: {', '.join(here[:2])}{more}",
            f"{stage + 1} {STAGES[stage]} of {pipe.name}{replica}",
        )

    def _resource_track(self, r: int) -> str:
        kind = self.run.resources[r][0]
        return self.tracks.thread(
            _GROUPS.get(kind, kind), self.run.timeline.resources[r].name.replace("_", " ")
        )

    def _declare(self) -> None:
        """Give every track its number, in the order in which the viewer shall show them."""
        run = self.run
        for frame in range(run.timeline.frames):
            self.tracks.thread("frames", f"frame {frame}")
        for p, pipe in enumerate(run.plan.pipes):
            for stage in _stages(run.plan.jobs[pipe.nodes[0]].node):
                self.stage_track(p, stage)
        for r in range(len(run.resources)):
            self._resource_track(r)
        if run.plan.edges:
            self.tracks.process("line buffers")

    def _frames(self) -> None:
        trace = self.run.trace
        for frame, end in enumerate(self.run.timeline.completions):
            begin = int(trace.enter[trace.frame == frame, Stage.LOAD].min())
            self._slice(
                self.tracks.thread("frames", f"frame {frame}"), f'"frame {frame}"', "frame", begin,
                end, f'"frame":{frame}',
            )  # fmt: skip

    def _slice(
        self, track: str, name: str, category: str, start: int, stop: int, args: str
    ) -> None:
        if stop > start:
            self._put(
                f'{{"name":{name},"cat":"{category}","ph":"X","ts":{self._us(start)},'
                f'"dur":{self._us(start, stop)},{track},'
                f'"args":{{{args},"cycle":{start},"cycles":{stop - start}}}}}'
            )

    def _stays(self, u: int, stays: Stays, kept: Ints) -> None:
        job = self.run.plan.jobs[u]
        stages = _stages(job.node)
        tracks = [{s: self.stage_track(p, s) for s in stages} for p in job.pipes]
        waits = [
            [_waiting_for(v.reservations) for v in services.stages] for services in job.services
        ]
        blockers = {s: f'"blocked by {STAGES[after]}"' for s, after in pairwise(stages)}
        rows = zip(
            kept.tolist(), stays.replica[kept].tolist(), stays.frame[kept].tolist(),
            stays.activation[kept].tolist(), stays.enter[kept].tolist(),
            stays.waiting[kept].tolist(), stays.busy[kept].tolist(), stays.leave[kept].tolist(),
            strict=True,
        )  # fmt: skip
        free, until = stays.free.tolist(), stays.starved_until.tolist()
        for row, replica, frame, activation, enter, waiting, busy, leave in rows:
            first = activation * job.per_activation
            last = min(first + job.per_activation, job.node.windows) - 1
            about = (
                f'"layer":{self.names[u]},"frame":{frame},"replica":{replica},'
                f'"first_window":{first},"last_window":{last}'
            )
            track = tracks[replica]
            self._slice(track[Stage.LOAD], '"starved"', "starved", free[row], until[row], about)
            self._slice(
                track[Stage.LOAD], '"no credit"', "no credit", until[row], enter[Stage.LOAD], about
            )
            for s in stages:
                begin, served = enter[s] + waiting[s], enter[s] + waiting[s] + busy[s]
                args = f'{about},"stage":"{STAGES[s]}"'
                self._slice(track[s], waits[replica][s], "waiting", enter[s], begin, args)
                self._slice(track[s], self.names[u], "service", begin, served, args)
                if s in blockers:
                    self._slice(track[s], blockers[s], "blocked", served, leave[s], args)

    def _grants(self, kept: list[NDArray[np.bool_]]) -> None:
        run, grants = self.run, self.run.trace.grants
        per_frame = np.array([job.activations for job in run.plan.jobs])
        first = np.cumsum(per_frame) - per_frame
        frames = run.timeline.frames
        chosen = np.concatenate(kept)[
            frames * first[grants.node] + grants.frame * per_frame[grants.node] + grants.activation
        ]
        tracks = [self._resource_track(r) for r in range(len(run.resources))]
        columns = (
            grants.resource, grants.node, grants.frame, grants.replica, grants.activation,
            grants.stage, grants.start, grants.cycles,
        )  # fmt: skip
        for r, u, frame, replica, activation, stage, start, cycles in zip(
            *(column[chosen].tolist() for column in columns), strict=True
        ):
            job = run.plan.jobs[u]
            window = activation * job.per_activation
            self._slice(
                tracks[r], self.names[u], "resource", start, start + cycles,
                f'"layer":{self.names[u]},"frame":{frame},"replica":{replica},'
                f'"first_window":{window},"stage":"{STAGES[stage]}"',
            )  # fmt: skip

    def _arrows(self, arrows: Ints, kept: list[NDArray[np.bool_]]) -> None:
        """Write flows from the last slice of a producer to the first one in service of a reader."""
        number = 0
        for u, row, p, by in arrows.T.tolist():
            source = self._ends(p, by, last=True) if kept[p][by] else None
            target = self._ends(u, row, last=False)
            if source is None or target is None:
                continue
            number += 1
            name = f'"name":"feeds","cat":"needs","id":{number}'
            self._put(f'{{{name},"ph":"s","ts":{self._us(source[1])},{source[0]}}}')
            self._put(f'{{{name},"ph":"f","bp":"e","ts":{self._us(target[1])},{target[0]}}}')

    def _ends(self, u: int, sequence: int, last: bool) -> tuple[str, int] | None:
        """Return the track and a cycle inside the first or last stay that takes time."""
        run = self.run
        row = run.rows(u)[sequence]
        enter, leave = run.trace.enter[row], run.trace.leave[row]
        took = np.flatnonzero(leave > enter)
        if len(took) == 0:
            return None
        stage = int(took[-1] if last else took[0])
        p = run.plan.jobs[u].pipes[int(run.trace.replica[row])]
        return self.stage_track(p, stage), int(leave[stage] - 1 if last else enter[stage])

    def _counters(self) -> None:
        run = self.run
        end = run.timeline.cycles
        for e, edge in enumerate(run.timeline.edges):
            cycles, pixels = run.occupancy(e)
            share = run.plan.edges[e].pixel_bytes
            room = "" if edge.capacity is None else f", room for {edge.capacity:,} pixels"
            name = json.dumps(
                f"{edge.producer} > {edge.consumer}{room}{', spilled' if edge.spilled else ''}"
            )
            pid = self.tracks.process("line buffers")
            for cycle, held in _samples(cycles, pixels, self.stretches, end):
                n_bytes = -(-held * share.numerator // share.denominator)
                self._put(
                    f'{{"name":{name},"ph":"C","ts":{self._us(cycle)},"pid":{pid},"tid":0,'
                    f'"args":{{"bytes":{n_bytes}}}}}'
                )


def _stages(node: Node) -> tuple[int, ...]:
    return tuple(range(6)) if node.kind == "matrix" else (Stage.LOAD, Stage.POST, Stage.STORE)


def _waiting_for(reservations: Iterable[Reservation]) -> str:
    named = ", ".join(
        dict.fromkeys(
            _GROUPS.get(reservation.resource[0], "others") for reservation in reservations
        )
    )
    return json.dumps(f"waiting for {named}")


def _samples(
    cycles: Ints, pixels: Ints, stretches: tuple[tuple[int, int], ...], end: int
) -> Iterator[tuple[int, int]]:
    """Yield (cycle, pixels): all changes inside the stretches, the largest of bins outside."""
    if len(cycles) <= _THIN:
        yield from zip(cycles.tolist(), pixels.tolist(), strict=True)
        return
    inside = np.zeros(len(cycles), np.bool_)
    for start, stop in stretches:
        inside |= (cycles >= start) & (cycles < stop)
    edges = np.linspace(0, end, _THIN + 1).astype(np.int64)
    thinned, starts = largest_in_bins(cycles, pixels, edges), edges[:-1]
    outside = np.ones(len(starts), np.bool_)
    for start, stop in stretches:
        outside &= (edges[1:] <= start) | (starts >= stop)
    times = np.concatenate([cycles[inside], starts[outside], cycles[-1:]])
    values = np.concatenate([pixels[inside], thinned[outside], pixels[-1:]])
    _, first = np.unique(times, return_index=True)
    yield from zip(times[first].tolist(), values[first].tolist(), strict=True)
