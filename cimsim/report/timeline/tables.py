"""The screen of `cimsim time`: how long, who is the slowest, who waits for whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from cimsim.display.styled import styled
from cimsim.mapping.mapping import Mapping
from cimsim.report.numbers import rate
from cimsim.report.screen import folded
from cimsim.session.collect import timing
from cimsim.timing.analysis.advice import Change
from cimsim.timing.analysis.critical import PathPart
from cimsim.timing.analysis.least_buffers import LeastBuffer
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.spec.memories import doubt
from cimsim.timing.spec.stage import STAGES
from cimsim.timing.timeline import NodeTime, Timeline
from cimsim.units import format_si

_TOP = 8  # rows of resources and of line buffers


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Where the time of one node goes.

    All shares are of all cycles, mean over replicas, and add up to at most 1; the rest is the time
    after its last activation.

    Attributes
    ----------
    name : str
    replicas : int
    activations : int
        Of one frame.
    interval : int
        Cycles between two activations of the slowest replica that nobody disturbs.
    stage : str
        The stage that is longest in service.
    busy, waiting, blocked : float
        Of that stage: in service, waiting for a shared resource, done but held up by the next one.
    no_credit, starved : float
        LOAD is free and a reader's line buffer is full, or the input not stored yet; as far as that
        left the slowest stage empty.
    """

    name: str
    replicas: int
    activations: int
    interval: int
    stage: str
    busy: float
    waiting: float
    blocked: float
    no_credit: float
    starved: float


def layer_times(mapping: Mapping, timeline: Timeline) -> tuple[LayerTime, ...]:
    """Return where the time of each node goes, in execution order."""
    found = []
    for job, node in zip(make_plan(mapping, timeline.spilled).jobs, timeline.nodes, strict=True):
        stage = max(range(len(STAGES)), key=lambda s: node.busy[s])
        interval = max(services.interval for services in job.services)
        found.append(_layer_time(node, stage, job.activations, interval, timeline.cycles))
    return tuple(found)


def _layer_time(
    node: NodeTime, stage: int, activations: int, interval: int, cycles: int
) -> LayerTime:
    whole = cycles * node.replicas
    taken = node.busy[stage] + node.waiting[stage] + node.blocked[stage]
    no_credit = min(node.no_credit, whole - taken)
    starved = min(node.starved, whole - taken - no_credit)
    return LayerTime(
        node.name, node.replicas, activations, interval, STAGES[stage], node.busy[stage] / whole,
        node.waiting[stage] / whole, node.blocked[stage] / whole, no_credit / whole,
        starved / whole,
    )  # fmt: skip


def times_data(
    mapping: Mapping,
    timeline: Timeline,
    least: tuple[LeastBuffer, ...] = (),
    why: tuple[Sequence[PathPart], Sequence[Change]] | None = None,
) -> dict[str, object]:
    """Return what `print_timeline` prints as plain data; times in seconds.

    Parameters
    ----------
    mapping, timeline, least
        See `print_timeline`.
    why : (path, changes), optional
        See `cimsim.report.timeline.why_slow.why`.
    """
    clock, told = mapping.chip.process.clock_hz, timing(mapping, timeline)
    data: dict[str, object] = {
        "network": mapping.graph.name, "chip": mapping.chip.label, "clock_hz": clock,
        "schedule": timeline.schedule, "frames": timeline.frames,
        "latency_cycles": timeline.cycles_first_frame, "interval_cycles": timeline.interval,
        "latency_s": timeline.cycles_first_frame / clock, "interval_s": timeline.interval / clock,
        "frames_per_second": timeline.frames_per_second(clock),
        "bottleneck": told.bottleneck, "bottleneck_busy": told.bottleneck_busy,
        "layers": [asdict(row) for row in layer_times(mapping, timeline)],
        "resources": [{"name": r.name, "busy_cycles": r.busy, "share": r.share}
                      for r in timeline.resources if r.busy],
    }  # fmt: skip
    if least:
        data["least_buffers"] = [asdict(one) for one in least]
    if why is not None:
        path, changes = why
        data["critical_path"] = [asdict(one) for one in path]
        data["would_help"] = [asdict(one) for one in changes]
    return data


def print_timeline(
    mapping: Mapping,
    timeline: Timeline,
    console: Console,
    title: str,
    least: tuple[LeastBuffer, ...] = (),
) -> None:
    """Print times, layers, shared resources and line buffers of a timeline.

    Parameters
    ----------
    mapping, timeline
    console : rich.console.Console
    title : str
        Network and frame size.
    least : tuple of LeastBuffer
        What line buffers need at least; shown where it is known.
    """
    frames = timeline.frames
    console.print(
        styled("[bold]{}[/] on [bold]{}[/], ", title, mapping.chip.label)
        + f"{timeline.schedule}, {frames} frame{'' if frames == 1 else 's'} simulated"
    )
    told = doubt(mapping.chip, max((edge.n_bytes for edge in timeline.edges), default=0))
    if told:
        console.print(styled("[yellow]note:[/] {}", told))
    console.print(_summary(mapping, timeline))
    worst = timeline.bottleneck
    what = "" if worst.stage == "resource" else f" {worst.stage}"
    first = {layer.name: layer.ops[0] for layer in mapping.layers}
    named = first.get(worst.name, worst.name) if what else worst.name.replace("_", " ")
    # of the steady interval, as the result of a run says it; of all cycles where that differs
    steady = timing(mapping, timeline).bottleneck_busy
    filling = "" if abs(steady - worst.share) < 0.005 else (
        f" ({100 * worst.share:.0f} % of all cycles, filling and draining included)"
    )  # fmt: skip
    console.print(
        styled("bottleneck: [bold]{}{}[/], ", named, what) + f"{100 * steady:.0f} % busy{filling}\n"
    )
    rows = layer_times(mapping, timeline)
    console.print(_layers(rows, console.width >= 118))
    console.print(_legend(rows), style="dim", highlight=False)
    console.print()
    rest = [_resources(timeline), _buffers(mapping, timeline, least)]
    if console.width >= 118:
        row = Table.grid(padding=(0, 2))
        row.add_row(*rest)
        console.print(row)
        return
    for table in rest:
        console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold cyan")
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    table.caption_justify = "left"
    return table


def _summary(mapping: Mapping, timeline: Timeline) -> Table:
    clock = mapping.chip.process.clock_hz
    table = _table(f"Time ({format_si(clock, 'Hz')})", "", "cycles", "time")
    rows = (
        ("latency, first frame", timeline.cycles_first_frame),
        ("per frame, steady", timeline.interval),
        ("all frames" if timeline.frames > 1 else "whole run", timeline.cycles),
    )
    for name, cycles in rows:
        table.add_row(name, f"{cycles:,}", format_si(cycles / clock, "s"))
    table.add_row("frames per second", "", rate(timeline.frames_per_second(clock)))
    return table


def _layers(rows: tuple[LayerTime, ...], wide: bool) -> Table:
    """Make the table of layers; columns in which nothing stands are left out."""
    shares = {"busy": "busy", "waiting": "waiting" if wide else "waits", "blocked": "blocked",
              "no_credit": "no credit" if wide else "credit", "starved": "starved"}  # fmt: skip
    shown = [name for name in shares if name == "busy" or any(getattr(row, name) for row in rows)]
    copies = any(row.replicas > 1 for row in rows)
    table = _table("Layers", "layer", *(["copies"] if copies else []), "activations", "each",
                   "slowest", *(shares[name] for name in shown))  # fmt: skip
    if not wide:
        table.box = None
        table.padding = (0, 1, 0, 0)
        table.columns[-len(shown) - 3].header = "activ."
    slowest = max(row.busy for row in rows)
    for row in rows:
        cells = [str(row.replicas)] if copies else []
        table.add_row(
            row.name if wide else folded(row.name, 24), *cells, f"{row.activations:,}",
            f"{row.interval:,}", row.stage,
            *(_percent(getattr(row, name)) for name in shown),
            style="bold" if row.busy == slowest else None,
        )  # fmt: skip
    return table


def _legend(rows: tuple[LayerTime, ...]) -> str:
    """Say what the columns mean that are shown."""
    meaning = {
        "waiting": "waiting for a shared resource",
        "blocked": "blocked by the next one",
        "no_credit": "without credit (a reader's buffer is full)",
        "starved": "starved (the input is not stored yet)",
    }
    told = [text for name, text in meaning.items() if any(getattr(row, name) for row in rows)]
    return (
        "Activations of a frame and cycles of each; share of all cycles in which the stage that "
        f"is slowest was {', '.join(['busy', *told])}."
    )


def _percent(share: float) -> str:
    if share == 0:
        return "-"
    return f"{100 * share:.1f} %" if share < 0.9995 else "100 %"


def _resources(timeline: Timeline) -> Table:
    found = sorted(timeline.resources, key=lambda one: -one.busy)
    found = [one for one in found if one.busy]
    table = _table("Shared resources", "resource", "cycles per frame", "busy")
    for one in found[:_TOP]:
        table.add_row(
            one.name.replace("_", " "), f"{one.busy // timeline.frames:,}", _percent(one.share)
        )
    if len(found) > _TOP:
        table.caption = f"and {len(found) - _TOP} that are less busy"
    return table


def _buffers(mapping: Mapping, timeline: Timeline, least: tuple[LeastBuffer, ...]) -> Table:
    found = sorted(timeline.edges, key=lambda edge: -edge.n_bytes)
    limited = any(edge.capacity is not None for edge in found)
    spilled = any(edge.spilled for edge in found)
    heads = (*(["room"] if limited else []), *(["kept in"] if spilled else []))
    needs = {(one.producer, one.consumer): one.n_bytes for one in least}
    asked = ("needs",) if least else ()
    table = _table("Line buffers", "from > to", *asked, "peak", *heads)
    for edge in found[:_TOP]:
        need = needs.get((edge.producer, edge.consumer))
        told = ["-" if need is None else _bytes(need)] if least else []
        cells = [f"{folded(edge.producer, 26)} > {edge.consumer}"]
        if len(cells[0].rpartition("\n")[2]) > 30:  # the reader on a line of its own
            cells = [f"{folded(edge.producer, 26)}\n> {folded(edge.consumer, 26)}"]
        cells += [*told, _bytes(edge.n_bytes)]
        if limited:
            room = edge.capacity
            # an edge may never have held a pixel
            unknown = room is None or not edge.pixels
            cells.append("-" if unknown else _bytes((room or 0) * edge.n_bytes // edge.pixels))
        if spilled:
            cells.append(edge.memory.replace("_", " ") or "tile")
        table.add_row(*cells)
    total = sum(edge.n_bytes for edge in found)
    more = f"and {len(found) - _TOP} smaller ones; " if len(found) > _TOP else ""
    table.caption = f"{more}all peaks together: {_bytes(total)}"
    if least:
        on_tile: dict[int, int] = defaultdict(int)
        for one in least:
            on_tile[one.tile] += one.n_bytes
        table.caption = (
            f"{more}needs: the least to run at all, together {_bytes(sum(needs.values()))}, on one "
            f"tile up to {_bytes(max(on_tile.values()))} of {_bytes(mapping.chip.buffer.size_b)}; "
            f"all peaks together: {_bytes(total)}"
        )
    return table


def _bytes(n_bytes: float) -> str:
    """Write a number of bytes for people: ``_bytes(2048) == "2 KiB"``."""
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}" if n_bytes < 1000 * size else (
                f"{n_bytes / size:,.0f} {unit}"
            )  # fmt: skip
    return f"{n_bytes:,.0f} B"
