"""``cimsim time``: cycles of a network on a chip, layer by layer; no weights needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import (
    SCHEDULES,
    AllocationOption,
    ArgOption,
    HwOption,
    InnerOption,
    InputShapeOption,
    MappingOption,
    ModelOption,
    NoCacheOption,
    PartialOption,
    PerFrameOption,
    PictureOption,
    QuietOption,
    ReprogramOption,
    Schedule,
    SetOption,
    StagesOption,
    StrictOption,
    StrideOption,
    TraceOption,
    WidthOption,
    check_frames,
    model_options,
    parse_size,
    with_conditions,
)
from cimsim.cli.steps import Bars, check_timeline_files, size_of, trace, write_timeline

if TYPE_CHECKING:
    from cimsim.session.loading import Network


def time(
    model: ModelOption = "cimnet",
    stride: StrideOption = None,
    stages: StagesOption = None,
    width: WidthOption = None,
    per_frame: PerFrameOption = None,
    inner: InnerOption = None,
    arg: ArgOption = None,
    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming", help="Two-stage networks: one new frame, as cimsim run has it."
        ),
    ] = False,
    hw: HwOption = "eflash40nm",
    overrides: SetOption = None,
    mapping: MappingOption = "im2col",
    allocation: AllocationOption = "in_order",
    reprogram: ReprogramOption = False,
    schedule: Annotated[Schedule, typer.Option(metavar="HOW", help=SCHEDULES)] = Schedule.pipelined,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Frame size.")] = "256x256",
    frames: Annotated[
        int, typer.Option(metavar="N", help="Frames that stream in; 2 or more tell the interval.")
    ] = 3,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Why is it slow: critical path, gains of single changes, the least line buffers.",
        ),
    ] = False,
    trace_file: TraceOption = None,
    picture: PictureOption = None,
    strict: StrictOption = False,
    input_shape: InputShapeOption = None,
    partial: PartialOption = False,
    no_cache: NoCacheOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else instead of the tables.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Simulate the cycles of a network on a chip, and show who is slow and who waits.

    Weights do not matter. A trace opens in ui.perfetto.dev: every window in every stage, every
    shared resource, what each line buffer holds; a picture shows the same in bins of time.

    \b
    cimsim time --model cimnet --stride 8 --size 960x540
    cimsim time --model fastdvdnet-block --size 480x270 --picture timeline.png
    cimsim time --set interconnect.kind=mesh --trace trace.json.gz --schedule sequential
    cimsim time --model cimnet --stride 8 --allocation replicated --explain
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from dataclasses import asdict

    from rich.console import Console

    import cimsim
    from cimsim.boundary import json_text
    from cimsim.chip.load import load_hw
    from cimsim.display.doubts import refuse
    from cimsim.graph.coverage import coverage
    from cimsim.placing.by_name import check
    from cimsim.report.screen import print_coverage, print_doubts
    from cimsim.report.timeline.tables import print_timeline, times_data
    from cimsim.report.timeline.why_slow import MOST_TRACED, activations, print_why, why
    from cimsim.session.doubts import chip_doubts
    from cimsim.session.loading import RANDOM
    from cimsim.studies.graphs import KeptGraph
    from cimsim.studies.points import Network as Net
    from cimsim.timing.analysis.least_buffers import least_buffers
    from cimsim.timing.simulate import simulate

    # what is quickly checked comes first, so that a typo does not cost a long wait
    check_frames(frames)
    chip = load_hw(hw, with_conditions(overrides, reprogram=reprogram))
    frame = parse_size(size)
    check(mapping, allocation)
    check_timeline_files(trace_file, picture)
    doubts = chip_doubts(chip, hw)
    if strict:
        refuse(doubts)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    # package.module:Class is no emoji; JSON has the output for itself
    console = Console(emoji=False, stderr=as_json)
    with Bars(console, quiet) as report:
        report("tracing", 0, 1)
        network = _network(model, options, streaming).taking(input_shape)
        net = Net.of(model, options, RANDOM, streaming, input_shape)
        kept = KeptGraph.of(net, frame, chip, 0, not no_cache)
        graph = trace(network, frame, strict, partial, chip, kept)
        report("tracing", 1, 1)
        report("mapping", 0, 1)
        placed = cimsim.map_graph(graph, chip, mapping, allocation)
        report("mapping", 1, 1)
        report("timing", 0, 1)
        traced = bool(trace_file or picture) or (explain and activations(placed) <= MOST_TRACED)
        timeline = simulate(placed, frames, schedule.value, trace=traced)
        report("timing", 1, 1)
        least = least_buffers(placed, schedule.value) if explain else ()
        found = why(placed, timeline, schedule.value, report) if explain else None
        title = f"{network.title}, {size_of(network, frame)}"
        written = write_timeline(placed, timeline, title, trace_file, picture, report)
    if as_json:
        data = times_data(placed, timeline, least, found)
        typer.echo(json_text.dump(data | {"doubts": [asdict(one) for one in doubts]}))
        return
    print_timeline(placed, timeline, console, title, least)
    if found is not None:
        if not traced:
            console.print(
                f"No critical path: more than {MOST_TRACED:,} activations; take a smaller --size."
            )
        print_why(placed, timeline, *found, console)
    print_doubts(doubts, console)
    print_coverage(coverage(graph, chip), console)
    for line in written:
        console.print(line)


def _network(model: str, options: dict[str, int | str], streaming: bool) -> Network:
    from cimsim.session.loading import load_outline

    network = load_outline(model, options)
    return network.streaming() if streaming else network
