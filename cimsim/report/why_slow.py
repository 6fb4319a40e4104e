"""Why is it slow: tables of the critical path of a frame and of what would help."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from cimsim.mapping.mapping import Mapping
from cimsim.timing.advice import Change, advice
from cimsim.timing.critical import PathPart, critical_path
from cimsim.timing.plan import Schedule, make_plan
from cimsim.timing.timeline import Timeline

MOST_TRACED = 6_000_000  # activations; a trace takes 104 bytes for each
_ROWS = 8


def activations(mapping: Mapping) -> int:
    """Activations of one frame, of a layer's arrays together."""
    return sum(unit.windows for unit in mapping.units if unit.kind != "input")


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
        table = Table(title="Critical path of the first frame", title_justify="left")
        for name in ("unit", "what it did", "cycles", "ms", "share"):
            table.add_column(name, justify="left" if name[0] in "uw" else "right")
        whole = timeline.cycles_first_frame
        for part in path[:_ROWS]:
            table.add_row(
                part.unit, part.what, f"{part.cycles:,}", f"{1e3 * part.cycles / clock:.3f}",
                f"{part.cycles / whole:.1%}",
            )  # fmt: skip
        rest = sum(part.cycles for part in path[_ROWS:])
        if rest:
            table.add_row(
                f"{len(path) - _ROWS} more", "", f"{rest:,}", f"{1e3 * rest / clock:.3f}",
                f"{rest / whole:.1%}",
            )  # fmt: skip
        console.print(table)
    if not changes:
        console.print("No single change of a component gains 0.1 % or more.")
        return
    table = Table(title="What would help, each simulated alone", title_justify="left")
    for name in ("change", "option", "interval ms", "latency ms", "gain"):
        left = name in ("change", "option")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for change in changes:
        table.add_row(
            change.what, change.option, f"{1e3 * change.interval / clock:.3f}",
            f"{1e3 * change.cycles_first_frame / clock:.3f}", f"{change.gain:.2f} x",
        )  # fmt: skip
    console.print(table)
