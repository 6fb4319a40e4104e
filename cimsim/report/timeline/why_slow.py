"""Why is it slow: tables of the critical path of a frame and of what would help."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from cimsim.display.styled import styled
from cimsim.mapping.mapping import Mapping
from cimsim.report.screen import compact, folded
from cimsim.timing.analysis.advice import Change, advice
from cimsim.timing.analysis.critical import PathPart, critical_path
from cimsim.timing.plan.plan import Schedule, make_plan
from cimsim.timing.timeline import Timeline
from cimsim.units import format_si

MOST_TRACED = 6_000_000  # activations; a trace takes 104 bytes for each
_ROWS = 8
_NAME = 32  # columns of a node's name


def activations(mapping: Mapping) -> int:
    """Activations of one frame, of a layer's arrays together."""
    return sum(node.windows for node in mapping.nodes if node.kind != "input")


def why(
    mapping: Mapping,
    timeline: Timeline,
    schedule: Schedule,
    report: Callable[[str, int, int], None],
) -> tuple[tuple[PathPart, ...], tuple[Change, ...]]:
    """Return the critical path of the first frame (if there is a trace), and what would help."""
    path: tuple[PathPart, ...] = ()
    if timeline.trace is not None:
        path = critical_path(make_plan(mapping, timeline.spilled), timeline)
    return path, advice(
        mapping, timeline, schedule, lambda done, total: report("what would help", done, total)
    )


def print_why(
    mapping: Mapping,
    timeline: Timeline,
    path: tuple[PathPart, ...],
    changes: tuple[Change, ...],
    console: Console,
) -> None:
    """Print which parts made up the first frame's latency, and what single changes would gain."""
    clock = mapping.chip.process.clock_hz
    if path:
        table = compact("Critical path of the first frame", style=None)
        for name in ("layer", "what it did", "cycles", "time", "share"):
            table.add_column(name, justify="left" if name[0] in "uw" else "right", no_wrap=True)
        whole = timeline.cycles_first_frame
        for part in path[:_ROWS]:
            table.add_row(
                folded(part.node, _NAME), part.what, f"{part.cycles:,}",
                format_si(part.cycles / clock, "s"),
                f"{part.cycles / whole:.1%}",
            )  # fmt: skip
        rest = sum(part.cycles for part in path[_ROWS:])
        if rest:
            table.add_row(
                f"{len(path) - _ROWS} more", "", f"{rest:,}", format_si(rest / clock, "s"),
                f"{rest / whole:.1%}",
            )  # fmt: skip
        console.print(table)
    if not changes:
        console.print("No single change of a component gains 0.1 % or more.")
        return
    table = compact("What would help, each simulated alone", style=None)
    for name in ("change, and its option", "interval", "latency", "gain"):
        left = name.startswith("change")
        table.add_column(name, justify="left" if left else "right", no_wrap=not left)
    for change in changes:
        option = "\n[dim]{}[/]" if change.option else "{}"
        table.add_row(
            styled("{}" + option, change.what, change.option),
            format_si(change.interval / clock, "s"),
            format_si(change.cycles_first_frame / clock, "s"), f"{change.gain:.2f} x",
        )  # fmt: skip
    console.print(table)
