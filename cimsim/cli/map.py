"""``cimsim map``: where each layer sits on the chip, in numbers and as a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.boundary import json_text
from cimsim.cli.groups import NetworkOptions, OnChip, grouped
from cimsim.cli.options import InputShapeOption, NoCacheOption, PartialOption, parse_size
from cimsim.cli.steps import exported, size_of
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cimsim.chip.spec import Chip
    from cimsim.display.doubts import Doubt
    from cimsim.graph.coverage import Coverage
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping
    from cimsim.placing.search import Point
    from cimsim.session.loading import Network
    from cimsim.timing.timeline import Timeline


class Goal(StrEnum):
    """What the search makes small first."""

    latency = "latency"
    energy = "energy"
    arrays = "arrays"


@dataclass(frozen=True)
class MappedNetwork(NetworkOptions):
    """The network, as it is written or streaming, and its weights."""

    streaming: Annotated[
        bool, typer.Option("--streaming", help="Two-stage networks: as cimsim run --streaming.")
    ] = False
    weights: Annotated[
        str, typer.Option(metavar="FILE|NAME", help="Only orders of lines look at weights.")
    ] = "random"


@dataclass(frozen=True)
class Wanted:
    """What is searched, written and printed."""

    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Frame size.")] = "256x256"
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Write the mapping (.yaml, .json), to edit and to give to --mapping.",
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the floor plan (.png, .svg) and the numbers.",
            show_default="runs/<time>-<model>-map",
        ),
    ] = None
    optimize: Annotated[
        Goal | None,
        typer.Option(
            "--optimize",
            metavar="GOAL",
            help="Search strategies and replicas instead: the Pareto set, best for this first: "
            "latency, energy or arrays.",
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Doubts about the chip are errors: exit code 2.")
    ] = False
    input_shape: InputShapeOption = None
    partial: PartialOption = False
    no_cache: NoCacheOption = False
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else; no folder.")
    ] = False


@dataclass(frozen=True)
class _Placed:
    """A mapping with its timeline, what is doubtful about it, and the points of a search."""

    mapping: Mapping
    timeline: Timeline
    coverage: Coverage
    doubts: Sequence[Doubt]
    points: Sequence[Point]

    def to_data(self) -> dict[str, object]:
        """Return plain data for JSON."""
        from cimsim.report.chip import pareto, placement

        data = placement.to_data(self.mapping, self.timeline)
        if self.points:
            data |= {"pareto": [pareto.to_data(point) for point in self.points]}
        data["coverage"] = self.coverage.to_dict()
        data["doubts"] = [asdict(doubt) for doubt in self.doubts]
        return data


@grouped
def map_(network: MappedNetwork, on: OnChip, wanted: Wanted) -> None:
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
    from cimsim.graph.coverage import coverage
    from cimsim.mapping.files import save_mapping
    from cimsim.timing.simulate import simulate

    chip, frame, doubts = _checked(on, wanted)
    made, graph = _traced(network, wanted, chip, frame)
    covered = coverage(graph, chip)
    points, mapping = _mapped(graph, chip, on, wanted.optimize)
    placed = _Placed(mapping, simulate(mapping), covered, doubts, points)
    if wanted.save is not None:
        save_mapping(mapping, wanted.save)
    if wanted.as_json:
        typer.echo(json_text.dump(placed.to_data()))
        return
    folder = _write(placed, network.model, wanted)
    what = size_of(made, frame) if made.inputs else f"frames of {wanted.size}"
    _print(placed, what, folder, wanted.save)


def _checked(on: OnChip, wanted: Wanted) -> tuple[Chip, tuple[int, int], Sequence[Doubt]]:
    """Check what is quickly checked, so that a typo does not cost a long wait."""
    from cimsim.display.doubts import refuse
    from cimsim.mapping.files import check_name
    from cimsim.placing import by_name
    from cimsim.session.doubts import chip_doubts

    if wanted.optimize is not None and (on.mapping, on.allocation) != ("im2col", "in_order"):
        raise ConfigError("--optimize chooses both: leave out --mapping and --allocation")
    chip, frame = on.load(), parse_size(wanted.size)
    by_name.check(on.mapping, on.allocation)
    doubts = chip_doubts(chip, on.hw)
    if wanted.strict:
        refuse(doubts)
    if wanted.save is not None:
        check_name(wanted.save)
    return chip, frame, doubts


def _traced(
    network: MappedNetwork, wanted: Wanted, chip: Chip, frame: tuple[int, int]
) -> tuple[Network, LayerGraph]:
    from cimsim.session.loading import load_network
    from cimsim.studies.graphs import KeptGraph
    from cimsim.studies.points import Network as Net

    options, weights = network.options, network.weights
    made = load_network(network.model, options, weights, hw=chip.name)
    made = (made.streaming() if network.streaming else made).taking(wanted.input_shape)
    net = Net.of(network.model, options, weights, network.streaming, wanted.input_shape)
    kept = KeptGraph.of(net, frame, chip, 0, not wanted.no_cache)
    return made, exported(made, frame, partial=wanted.partial, chip=chip, kept=kept)


def _mapped(
    graph: LayerGraph, chip: Chip, on: OnChip, goal: Goal | None
) -> tuple[Sequence[Point], Mapping]:
    """Return the points of a search, if one was asked for, and the mapping to show."""
    import cimsim
    from cimsim.placing.search import search

    if goal is None:
        return (), cimsim.map_graph(graph, chip, on.mapping, on.allocation)
    points = search(graph, chip, goal.value)
    return points, points[0].mapping


def _write(placed: _Placed, model: str, wanted: Wanted) -> Path:
    """Write the folder and return its name."""
    from cimsim import folders
    from cimsim.report.chip import pareto

    folder = wanted.out or _default_folder(model)
    with folders.new_folder(folder, unique=wanted.out is None, beside=True) as made:
        _write_files(placed.mapping, placed.timeline, made)
        if placed.points:
            files = [made / "pareto.png", made / "pareto.svg"]
            pareto.draw(placed.points, str(wanted.optimize), files)
    return folder.with_name(folders.placed(made).name) if wanted.out is None else folder


def _print(placed: _Placed, what: str, folder: Path, save: Path | None) -> None:
    from cimsim.display.styled import Screen, styled
    from cimsim.report.screen import print_coverage, print_doubts

    console, mapping = Screen(), placed.mapping
    if placed.points:
        _print_points(placed.points, console)
    console.print(
        styled("[bold]{}[/] on [bold]{}[/], {}", mapping.graph.name, mapping.chip.label, what)
    )
    console.print(_table(mapping, console.width))
    for line in _summary(mapping, placed.timeline):
        console.print(line, highlight=False)
    print_doubts(placed.doubts, console)
    print_coverage(placed.coverage, console)
    files = "floorplan.png, floorplan.svg, mapping.json"
    console.print(styled("floor plan: [bold]{}/[/]  ({})", folder, files))
    if save is not None:
        told = "mapping: [bold]{}[/]  (edit it, then cimsim run --mapping {} ...)"
        console.print(styled(told, save, save))


def _default_folder(model: str) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{model.rpartition(':')[2]}-map"


def _write_files(mapping: Mapping, timeline: Timeline, folder: Path) -> None:
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

    from cimsim.display.styled import styled
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
    console.print(styled("[bold]1[/] in full:"))


_WIDE, _LABEL = 118, 28  # columns of a terminal with room for everything; of a name in others


def _table(mapping: Mapping, width: int) -> Table:
    from rich.table import Table

    from cimsim.display.styled import styled
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
        cells: list[str | Text] = [
            str(row.number), styled("{}" + uses, folded(row.layer, label)), f"{row.windows:,}",
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
