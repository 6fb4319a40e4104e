"""``cimsim map``: where each layer sits on the chip, in numbers and as a picture."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.boundary import json_text
from cimsim.cli.options import (
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
    ReprogramOption,
    SetOption,
    StagesOption,
    StrideOption,
    WidthOption,
    model_options,
    parse_size,
    with_conditions,
)
from cimsim.cli.steps import size_of, trace
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from cimsim.mapping.mapping import Mapping
    from cimsim.placing.search import Point
    from cimsim.timing.timeline import Timeline


class Goal(StrEnum):
    """What the search makes small first."""

    latency = "latency"
    energy = "energy"
    arrays = "arrays"


def map_(
    model: ModelOption = "cimnet",
    stride: StrideOption = None,
    stages: StagesOption = None,
    width: WidthOption = None,
    per_frame: PerFrameOption = None,
    inner: InnerOption = None,
    arg: ArgOption = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Two-stage networks: as cimsim run --streaming.")
    ] = False,
    weights: Annotated[
        str, typer.Option(metavar="FILE|NAME", help="Only orders of lines look at weights.")
    ] = "random",
    hw: HwOption = "eflash40nm",
    overrides: SetOption = None,
    mapping: MappingOption = "im2col",
    allocation: AllocationOption = "in_order",
    reprogram: ReprogramOption = False,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Frame size.")] = "256x256",
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Write the mapping (.yaml, .json), to edit and to give to --mapping.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the floor plan (.png, .svg) and the numbers.",
            show_default="runs/<time>-<model>-map",
        ),
    ] = None,
    optimize: Annotated[
        Goal | None,
        typer.Option(
            "--optimize",
            metavar="GOAL",
            help="Search strategies and replicas instead: the Pareto set, best for this first: "
            "latency, energy or arrays.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Doubts about the chip are errors: exit code 2.")
    ] = False,
    input_shape: InputShapeOption = None,
    partial: PartialOption = False,
    no_cache: NoCacheOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else; no folder.")
    ] = False,
) -> None:
    """Place a network on a chip: a table per layer and the floor plan of every used array.

    No weights are needed. --mapping says how matrices are cut, --allocation which arrays
    the pieces take; a file of --save, edited or not, stands for both.

    \b
    cimsim map
    cimsim map --model fastdvdnet-block --hw wtm2101 --allocation packed
    cimsim map --model fastdvdnet-block --allocation replicated --save m.yaml
    cimsim run --model fastdvdnet-block --mapping m.yaml
    cimsim map --mapping mypkg.maps:MyStrategy --json
    cimsim map --model fastdvdnet-block --optimize latency --save best.yaml
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from dataclasses import asdict

    from rich.console import Console

    import cimsim
    from cimsim import folders
    from cimsim.chip.load import load_hw
    from cimsim.display.doubts import refuse
    from cimsim.graph.coverage import coverage
    from cimsim.mapping.files import check_name, save_mapping
    from cimsim.placing import by_name
    from cimsim.placing.search import search
    from cimsim.report.chip import pareto, placement
    from cimsim.report.screen import print_coverage, print_doubts
    from cimsim.session.doubts import chip_doubts
    from cimsim.session.loading import load_network
    from cimsim.studies.graphs import KeptGraph
    from cimsim.studies.points import Network as Net
    from cimsim.timing.simulate import simulate

    if optimize is not None and (mapping, allocation) != ("im2col", "in_order"):
        raise ConfigError("--optimize chooses both: leave out --mapping and --allocation")
    chip, frame = load_hw(hw, with_conditions(overrides, reprogram=reprogram)), parse_size(size)
    by_name.check(mapping, allocation)
    doubts = chip_doubts(chip, hw)
    if strict:
        refuse(doubts)
    if save is not None:
        check_name(save)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    network = load_network(model, options, weights, hw=chip.name)
    network = (network.streaming() if streaming else network).taking(input_shape)
    net = Net.of(model, options, weights, streaming, input_shape)
    kept = KeptGraph.of(net, frame, chip, 0, not no_cache)
    graph = trace(network, frame, partial=partial, chip=chip, kept=kept)
    covered = coverage(graph, chip)
    points: Sequence[Point] = ()
    if optimize is None:
        placed = cimsim.map_graph(graph, chip, mapping, allocation)
    else:
        points = search(graph, chip, optimize.value)
        placed = points[0].mapping
    timeline = simulate(placed)
    if save is not None:
        save_mapping(placed, save)
    if as_json:
        data = placement.to_data(placed, timeline)
        data |= {"pareto": [pareto.to_data(point) for point in points]} if points else {}
        data["coverage"] = covered.to_dict()
        data["doubts"] = [asdict(doubt) for doubt in doubts]
        typer.echo(json_text.dump(data))
        return
    folder = out or _default_folder(model)
    with folders.new_folder(folder, unique=out is None, beside=True) as made:
        _write(placed, timeline, made)
        if points:
            pareto.draw(points, str(optimize), [made / "pareto.png", made / "pareto.svg"])
    folder = folder.with_name(folders.placed(made).name) if out is None else folder
    console = Console(emoji=False)
    if points:
        _print_points(points, console)
    what = size_of(network, frame) if network.inputs else f"frames of {size}"
    console.print(f"[bold]{placed.graph.name}[/] on [bold]{chip.label}[/], {what}")
    console.print(_table(placed, console.width))
    for line in _summary(placed, timeline):
        console.print(line, highlight=False)
    print_doubts(doubts, console)
    print_coverage(covered, console)
    console.print(f"floor plan: [bold]{folder}/[/]  (floorplan.png, floorplan.svg, mapping.json)")
    if save is not None:
        console.print(f"mapping: [bold]{save}[/]  (edit it, then cimsim run --mapping {save} ...)")


def _default_folder(model: str) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{model.rpartition(':')[2]}-map"


def _write(mapping: Mapping, timeline: Timeline, folder: Path) -> None:
    from cimsim.errors import InputError
    from cimsim.report.chip import placement
    from cimsim.report.chip.floorplan import draw_floorplan

    draw_floorplan(mapping, [folder / "floorplan.png", folder / "floorplan.svg"])
    try:
        text = json_text.dump(placement.to_data(mapping, timeline))
        (folder / "mapping.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: cannot write '{folder}': {error}") from None


def _print_points(points: Sequence[Point], console: Console) -> None:
    from rich.table import Table

    from cimsim.units import format_si

    table = Table(title="Pareto set", title_justify="left", title_style="bold cyan")
    for name in ("", "arrays", "interval", "latency", "energy per frame", "strategies"):
        table.add_column(name, justify="left" if name == "strategies" else "right")
    clock = points[0].mapping.chip.process.clock_hz
    for number, p in enumerate(points, 1):
        used = ", ".join(f"{name} {n}" for name, n in sorted(p.strategies.items()))
        table.add_row(
            str(number), str(p.arrays), format_si(p.interval_cycles / clock, "s"),
            format_si(p.latency_cycles / clock, "s"), format_si(p.energy_j, "J"),
            f"{used} ({p.mapping.allocation})", style="bold" if number == 1 else "",
        )  # fmt: skip
    console.print(table)
    console.print("[bold]1[/] in full:", highlight=False)


_WIDE, _LABEL = 118, 28  # columns of a terminal with room for everything; of a name in others


def _table(mapping: Mapping, width: int) -> Table:
    from rich.table import Table

    from cimsim.report.chip.placement import layer_rows
    from cimsim.report.screen import compact, folded

    rows, wide = layer_rows(mapping), width >= _WIDE
    table = Table(title_justify="left")
    if not wide:
        table = compact()
    gap = " " if wide else "\n"
    columns = ["", "layer", "windows", "matrix", "arrays", f"cells{gap}used"]
    columns += ["activations"] * wide
    several = any(row.windows_per_activation > 1 for row in rows)
    copies = any(row.replicas > 1 for row in rows)
    shared = any(row.shared for row in rows)
    columns += ["windows\nat once"] * several + ["replicas"] * copies + ["shared\nwith"] * shared
    for name in columns:
        left = name == "layer"
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    label = 60 if wide else max(16, _LABEL - 9 * (several + copies + shared))
    for row in rows:
        uses = f" [dim]x {row.uses}[/]" if row.uses > 1 else ""
        cells: list[Any] = [
            str(row.number), folded(row.layer, label) + uses, f"{row.windows:,}",
            f"{row.rows} x {row.cols}", str(row.arrays), f"{100 * row.utilisation:.1f} %",
            *[f"{row.activations:,}"] * wide,
        ]  # fmt: skip
        cells += [str(row.windows_per_activation)] * several + [str(row.replicas)] * copies
        cells += [f"{row.shared}{gap}layer{'' if row.shared == 1 else 's'}"] * shared
        table.add_row(*cells)
    return table


def _summary(mapping: Mapping, timeline: Timeline) -> list[str]:
    from cimsim.report.chip.placement import chip_lines
    from cimsim.units import format_si

    chip, total, worst = mapping.chip, mapping.total, timeline.bottleneck
    several = sum(owner == mapping.turns.get((worst.name, 0)) for owner in mapping.turns.values())
    taking = f" (one of {several} that take turns)" if several > 1 else ""
    seconds = format_si(timeline.interval_s(chip.process.clock_hz), "s")
    return [
        f"{mapping.strategy}, {mapping.allocation}: {mapping.arrays_used} of {chip.n_arrays} "
        f"arrays of {chip.array.rows} x {chip.weight_cols} weights, "
        f"{100 * mapping.utilisation:.1f} % of their cells used",
        f"per frame: {total.windows:,} windows, {total.activations:,} array activations, "
        f"{total.conversions:,} ADC conversions",
        f"steady interval: {timeline.interval:,} cycles ({seconds}), busiest: {worst.name} "
        f"{worst.stage}{taking}",
        *chip_lines(mapping),
    ]
