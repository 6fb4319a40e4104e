"""``cimsim ablate``: what each layer and each branch of a network gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.clips import (
    BlackOption,
    ClipOptions,
    InputOption,
    StartOption,
    TolerateOption,
    WhiteOption,
    clip_notes,
)
from cimsim.cli.options import (
    AllocationOption,
    ArgOption,
    HwOption,
    InnerOption,
    Interrupted,
    MappingOption,
    ModelOption,
    PerFrameOption,
    QuietOption,
    SeedOption,
    SetOption,
    SizeOption,
    StagesOption,
    StrideOption,
    TemperatureOption,
    ThreadsOption,
    TimeOption,
    WeightsOption,
    WidthOption,
    check_numbers,
    model_options,
    parse_size,
    with_conditions,
)
from cimsim.cli.steps import Bars, check_file, trace, write_out
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.session.loading import Network
    from cimsim.studies.contributions import Ablation


def ablate(
    model: ModelOption = "cimnet",
    stride: StrideOption = None,
    stages: StagesOption = None,
    width: WidthOption = None,
    per_frame: PerFrameOption = None,
    inner: InnerOption = None,
    arg: ArgOption = None,
    weights: WeightsOption = None,
    hw: HwOption = "eflash40nm",
    overrides: SetOption = None,
    time: TimeOption = None,
    temperature: TemperatureOption = None,
    mapping: MappingOption = "im2col",
    allocation: AllocationOption = "in_order",
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            metavar="NAME",
            help="Only this layer or branch, or all inside of a module (often). Default: all.",
        ),
    ] = None,
    clip: InputOption = None,
    sigma: Annotated[
        float, typer.Option(metavar="N", help="Noise added, in 8-bit steps (0..255).")
    ] = 15.0,
    frames: Annotated[int, typer.Option(metavar="N", help="Frames to denoise.")] = 3,
    start: StartOption = 0,
    size: SizeOption = None,
    black: BlackOption = None,
    white: WhiteOption = None,
    tolerate_damage: TolerateOption = False,
    seed: SeedOption = 0,
    seeds: Annotated[
        int, typer.Option(metavar="K", help="Chips that are programmed, from --seed on.")
    ] = 1,
    chip: Annotated[
        bool, typer.Option("--chip/--no-chip", help="Measure on the chip, too; or float32 alone.")
    ] = True,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="DB", help="What gives less could go.", show_default="0.02"),
    ] = None,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table (.csv).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of the table.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Write what the parts give into the weights' card, so that cimsim run can tell.",
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Take away every layer and every branch in turn: what is lost, what the chip saves.

    A layer is replaced by its mean per channel over the calibration scenes. A
    branch (an operand of an addition, with all that serves it alone) is left
    out or replaced by its mean, whichever loses less. Losses are PSNR, in
    float32 and on the chip; savings are those of the network that is left,
    mapped anew. Ctrl-C keeps the frames that are done.

    \b
    cimsim ablate --model cimnet --stride 8
    cimsim ablate --seeds 3 --input clip.mp4 --size 480x256 --out parts.csv
    cimsim ablate --model fastdvdnet-block --no-chip --part upc1 --part upc2
    cimsim ablate --weights mine.safetensors --record
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    import numpy as np
    from rich.console import Console

    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.chip.load import load_hw
    from cimsim.crossbar.faults import fault_map
    from cimsim.graph.cutting import find
    from cimsim.report.run.contributions import THRESHOLD
    from cimsim.session.loading import load_network
    from cimsim.studies.ablation_screen import print_ablation
    from cimsim.tasks.contract import Contract

    # what is quickly checked comes first, so that a typo does not cost a long wait
    check_numbers(sigma, frames, seed, threads)
    _check(seeds, threshold, mapping, allocation)
    description = load_hw(hw, with_conditions(overrides, time, temperature))
    device_of(description, hw)
    fault_map(description)
    if out is not None:
        check_file("--out", out, (".csv",))
    cut = parse_size(size) if size else None
    opened = ClipOptions(str(frames), start, cut, black, white, tolerate_damage).opened(clip)
    clean = np.asarray(opened)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    network = load_network(model, options, weights, seed, description.name)
    if record:
        _check_record(network, part)
    console = Console(emoji=False, stderr=as_json)  # package.module:Class is no emoji
    with Bars(console, quiet) as report:
        report("tracing", 0, 1)
        graph = trace(network, clean.shape[1:3])
        Contract.of(graph)
        find(graph, part or ())
        report("tracing", 1, 1)
        found = cimsim.ablate(
            graph, description, clean, noise_sigma=sigma, seed=seed, programmings=seeds,
            on_chip=chip, only=part or (), threshold=THRESHOLD if threshold is None else threshold,
            place=lambda left: cimsim.map_graph(left, description, mapping, allocation),
            threads=threads, progress=report,
            clip_name="embedded clip" if clip is None else clip.stem,
        )  # fmt: skip
    for note in clip_notes(opened, None):
        console.print(f"[yellow]note:[/] {note}", highlight=False)
    if network.random_weights:
        console.print("[yellow]note:[/] random weights: what a part gives means nothing")
    if as_json:
        typer.echo(found.to_json())
    else:
        print_ablation(found, console)
    _keep(found, network, out, record, console)
    if found.interrupted:
        raise Interrupted


def _check(seeds: int, threshold: float | None, mapping: str, allocation: str) -> None:
    from cimsim.mapping.files import is_file
    from cimsim.placing import by_name

    if seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1, got {seeds}")
    if threshold is not None and not 0 <= threshold < float("inf"):
        raise ConfigError(f"--threshold: expected 0 dB or more, got {threshold:g}")
    by_name.check(mapping, allocation)
    if is_file(mapping):
        raise ConfigError(
            f"--mapping {mapping}: a mapping file places all layers, but the network that is left "
            "has fewer; give the name of a mapping, such as im2col"
        )


def _check_record(network: Network, part: list[str] | None) -> None:
    if part:
        raise ConfigError("--record: a card has all parts of a network; leave out --part")
    if network.card is None:
        raise ConfigError(
            f"--record: the weights {network.identity['weights']} have no card (a .json file "
            "beside them, as cimsim train writes it) to record anything in"
        )


def _keep(
    found: Ablation, network: Network, out: Path | None, record: bool, console: Console
) -> None:
    """Write the table and the card, where asked."""
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.weights import record as write_card

    if out is not None:
        write_out(out, found.to_csv())
        console.print(f"table: [bold]{out}[/]")
    card: Any = network.card
    if record and found.interrupted:
        console.print("the card is left as it was: only whole runs are recorded")
    elif record:
        try:
            path = write_card(card, found.recorded(), f"{found.measure}, {found.where}")
        except ZooError as error:
            raise InputError(f"--record: {error}") from None
        console.print(f"card: [bold]{path}[/]")
