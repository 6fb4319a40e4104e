"""``cimsim time``: cycles of a network on a chip, layer by layer; no weights needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.groups import NetworkOptions, OnChip, grouped
from cimsim.cli.options import (
    SCHEDULES,
    InputShapeOption,
    NoCacheOption,
    PartialOption,
    PictureOption,
    QuietOption,
    Schedule,
    StrictOption,
    TraceOption,
    check_frames,
    parse_size,
)
from cimsim.cli.steps import Bars, check_timeline_files, exported, size_of, write_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cimsim.chip.spec import Chip
    from cimsim.display.doubts import Doubt
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network
    from cimsim.studies.graphs import KeptGraph
    from cimsim.timing.analysis.advice import Change
    from cimsim.timing.analysis.critical import PathPart
    from cimsim.timing.analysis.least_buffers import LeastBuffer
    from cimsim.timing.timeline import Timeline


@dataclass(frozen=True)
class TimedNetwork(NetworkOptions):
    """The network, as it is written or streaming, and the file that may have made it narrower."""

    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming", help="Two-stage networks: one new frame, as cimsim run has it."
        ),
    ] = False
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME", help="Only shapes count: a file of cimsim prune is narrower."
        ),
    ] = "random"


@dataclass(frozen=True)
class TimedOnChip(OnChip):
    """The chip, what is laid onto it, and how layers follow each other."""

    schedule: Annotated[Schedule, typer.Option(metavar="HOW", help=SCHEDULES)] = Schedule.pipelined


@dataclass(frozen=True)
class Looking:
    """What is looked at, printed and written."""

    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Frame size.")] = "256x256"
    frames: Annotated[
        int, typer.Option(metavar="N", help="Frames that stream in; 2 or more tell the interval.")
    ] = 3
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Why is it slow: critical path, gains of single changes, the least line buffers.",
        ),
    ] = False
    trace_file: TraceOption = None
    picture: PictureOption = None
    strict: StrictOption = False
    input_shape: InputShapeOption = None
    partial: PartialOption = False
    no_cache: NoCacheOption = False
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else instead of the tables.")
    ] = False
    quiet: QuietOption = False


@dataclass(frozen=True)
class _Timed:
    """A timeline, and why it is not shorter where that was asked."""

    timeline: Timeline
    is_traced: bool
    least: tuple[LeastBuffer, ...]
    why: tuple[tuple[PathPart, ...], tuple[Change, ...]] | None


@grouped
def time(network: TimedNetwork, on: TimedOnChip, look: Looking) -> None:
    """Simulate the cycles of a network on a chip, and show who is slow and who waits.

    Values of weights do not matter. A trace opens in ui.perfetto.dev: every window in every stage,
    every shared resource, what each line buffer holds; a picture shows the same in bins of time.

    \b
    cimsim time --model cimnet --stride 8 --size 960x540
    cimsim time --model fastdvdnet-block --size 480x270 --picture timeline.png
    cimsim time --set interconnect.kind=mesh --trace trace.json.gz --schedule sequential
    cimsim time --model cimnet --stride 8 --allocation replicated --explain
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    import cimsim
    from cimsim.boundary import json_text
    from cimsim.display.styled import Screen
    from cimsim.graph.coverage import coverage
    from cimsim.report.screen import print_coverage, print_doubts
    from cimsim.report.timeline.tables import times_data

    chip, frame, doubts = _checked(on, look)
    # JSON has the output for itself
    console = Screen(stderr=look.as_json)
    with Bars(console, look.quiet) as report:
        report("tracing", 0, 1)
        made = _network(network).taking(look.input_shape)
        kept = _kept(network, look, chip, frame)
        graph = exported(made, frame, look.strict, look.partial, chip, kept)
        report("tracing", 1, 1)
        report("mapping", 0, 1)
        placed = cimsim.map_graph(graph, chip, on.mapping, on.allocation)
        report("mapping", 1, 1)
        timed = _timed(placed, on.schedule, look, report)
        title = f"{made.title}, {size_of(made, frame)}"
        written = write_timeline(
            placed, timed.timeline, title, look.trace_file, look.picture, report
        )  # fmt: skip
    if look.as_json:
        data = times_data(placed, timed.timeline, timed.least, timed.why)
        typer.echo(json_text.dump(data | {"doubts": [asdict(one) for one in doubts]}))
        return
    _print(placed, timed, title, console)
    print_doubts(doubts, console)
    print_coverage(coverage(graph, chip), console)
    for line in written:
        console.print(line)


def _checked(on: TimedOnChip, look: Looking) -> tuple[Chip, tuple[int, int], Sequence[Doubt]]:
    """Check what is quickly checked, so that a typo does not cost a long wait."""
    from cimsim.display.doubts import refuse
    from cimsim.placing.by_name import check
    from cimsim.session.doubts import chip_doubts

    check_frames(look.frames)
    chip, frame = on.load(), parse_size(look.size)
    check(on.mapping, on.allocation)
    check_timeline_files(look.trace_file, look.picture)
    doubts = chip_doubts(chip, on.hw)
    if look.strict:
        refuse(doubts)
    return chip, frame, doubts


def _kept(network: TimedNetwork, look: Looking, chip: Chip, frame: tuple[int, int]) -> KeptGraph:
    from cimsim.studies.graphs import KeptGraph
    from cimsim.studies.points import Network as Net

    options, weights = network.options, network.weights
    net = Net.of(network.model, options, weights, network.streaming, look.input_shape)
    return KeptGraph.of(net, frame, chip, 0, not look.no_cache)


def _timed(placed: Mapping, schedule: Schedule, look: Looking, report: Bars) -> _Timed:
    from cimsim.report.timeline.why_slow import MOST_TRACED, activations, why
    from cimsim.timing.analysis.least_buffers import least_buffers
    from cimsim.timing.simulate import simulate

    report("timing", 0, 1)
    is_asked = bool(look.trace_file or look.picture)
    traced = is_asked or (look.explain and activations(placed) <= MOST_TRACED)
    timeline = simulate(placed, look.frames, schedule.value, trace=traced)
    report("timing", 1, 1)
    if not look.explain:
        return _Timed(timeline, traced, (), None)
    least = least_buffers(placed, schedule.value)
    return _Timed(timeline, traced, least, why(placed, timeline, schedule.value, report))


def _print(placed: Mapping, timed: _Timed, title: str, console: Console) -> None:
    from cimsim.report.timeline.tables import print_timeline
    from cimsim.report.timeline.why_slow import MOST_TRACED, print_why

    print_timeline(placed, timed.timeline, console, title, timed.least)
    if timed.why is None:
        return
    if not timed.is_traced:
        console.print(
            f"No critical path: more than {MOST_TRACED:,} activations; take a smaller --size."
        )
    print_why(placed, timed.timeline, *timed.why, console)


def _network(asked: TimedNetwork) -> Network:
    from cimsim.session.loading import RANDOM, load_network, load_outline

    if asked.weights == RANDOM:
        network = load_outline(asked.model, asked.options)
    else:
        network = load_network(asked.model, asked.options, asked.weights)
    return network.streaming() if asked.streaming else network
