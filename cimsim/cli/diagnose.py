"""``cimsim diagnose``: which layer hurts on the chip, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.ask import Question
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
    CalibrationDataOption,
    HwOption,
    InnerOption,
    InputShapeOption,
    MappingOption,
    ModelOption,
    PartialOption,
    PerFrameOption,
    QuietOption,
    ReprogramOption,
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
from cimsim.cli.run import of_words, task_of
from cimsim.cli.steps import Bars, check_file, trace, write_out
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.studies.diagnosis_result import Diagnosis

_FILES = (".json", ".csv", ".html")


def diagnose(
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="A folder of cimsim run: diagnose that run, and put what is found, with why it is "
            "not faster, into the folder for cimsim report.",
        ),
    ] = None,
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
    reprogram: ReprogramOption = False,
    clip: InputOption = None,
    sigma: Annotated[
        float | None,
        typer.Option(metavar="N", help="Noise added, in 8-bit steps (0..255).", show_default="15"),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Frames of the clip.", show_default="3"),
    ] = None,
    start: StartOption = 0,
    size: SizeOption = None,
    black: BlackOption = None,
    white: WhiteOption = None,
    tolerate_damage: TolerateOption = False,
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="As for cimsim run: classification, keywords, tensors."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Of other tasks, as for cimsim run.")
    ] = None,
    input_shape: InputShapeOption = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples of --data; default: all.")
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(metavar="N", help="Samples to calibrate the chip on.", show_default="32"),
    ] = None,
    calibration_data: CalibrationDataOption = None,
    normalize: Annotated[
        str | None, typer.Option(metavar="MEAN/STD", help="As for cimsim run.")
    ] = None,
    partial: PartialOption = False,
    seed: SeedOption = 0,
    detailed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Frames or samples, evenly spread, on which causes are told apart; layers are "
            "told apart on all.",
        ),
    ] = 8,
    switch: Annotated[
        bool,
        typer.Option(
            "--switch",
            help="Beside it run the whole chip with each cause switched off, and with it alone: "
            "slow, two runs for each.",
        ),
    ] = False,
    top: Annotated[int, typer.Option(metavar="N", help="Pairs of layer and cause to print.")] = 10,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write everything (.json, .csv, .html)."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of the tables.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Find out which layer hurts on the chip, and by what: bits, cells, wires, converters.

    For each layer: its signal-to-error ratio (SNR) with its input taken as exact and with the
    errors of all layers before it; both cut into causes; and what of the loss at the output, in dB
    or in points of accuracy, comes from each layer and cause. These add up to the loss.

    \b
    cimsim diagnose
    cimsim diagnose --model cimnet --weights cimnet_s8
    cimsim diagnose --task keywords --hw wtm2101 --model keyword-lstm
    cimsim diagnose --set adc.bits=6 --switch --out why.html
    cimsim run --out o && cimsim diagnose o && cimsim report o --open
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console

    import cimsim
    from cimsim.boundary import json_text
    from cimsim.chip.cells import device_of
    from cimsim.chip.load import load_hw
    from cimsim.crossbar.faults import fault_map
    from cimsim.files import replacing
    from cimsim.placing import by_name
    from cimsim.report.timeline.slow import FILE, slow_data
    from cimsim.session.loading import load_network
    from cimsim.studies.diagnosis import diagnose as find
    from cimsim.studies.diagnosis_screen import print_diagnosis
    from cimsim.studies.switching import switched

    if run is not None:
        _again(context, run)
        return
    task = task or task_of(model)
    model, hw, allocation, _, _ = of_words(context, task, model, hw, allocation, 1, None)
    question = Question(
        task=task, data=data, calibration_data=calibration_data, shapes=tuple(input_shape or ()),
        samples=samples, calibration=calibration, normalize=normalize, seed=seed,
    )  # fmt: skip
    question.check(
        {"--input": clip, "--sigma": sigma, "--size": size, "--frames": frames,
         "--start": start or None, "--black": black, "--white": white,
         "--tolerate-damage": tolerate_damage} if question.asked else {}
    )  # fmt: skip
    check_numbers(15.0 if sigma is None else sigma, 1, seed, threads)
    if detailed < 1:
        raise ConfigError(f"--detailed: expected at least 1, got {detailed}")
    chip = load_hw(hw, with_conditions(overrides, time, temperature, reprogram))
    by_name.check(mapping, allocation)
    device_of(chip, hw)
    fault_map(chip)
    if out is not None:
        check_file("--out", out, _FILES)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    network = load_network(model, options, weights, seed, chip.name)
    console = Console(emoji=False, stderr=as_json)
    notes: tuple[str, ...] = ()
    asked: dict[str, Any]
    if question.asked:
        posed, shapes = question.pose(network)
        network, extent = network.taking(shapes), (1, 1)
        asked = {"task": posed}
    else:
        opened = ClipOptions(
            frames or "3", start, parse_size(size) if size else None, black, white, tolerate_damage
        ).opened(clip)
        extent, notes = opened.size, clip_notes(opened, None)
        asked = {"clip": _frames(opened), "noise_sigma": 15.0 if sigma is None else sigma,
                 "name": "embedded clip" if clip is None else clip.stem}  # fmt: skip
    with Bars(console, quiet) as report:
        report("tracing", 0, 1)
        graph = trace(network, extent, False, partial, chip)
        report("tracing", 1, 1)
        placed = cimsim.map_graph(graph, chip, mapping, allocation)
        found = find(
            placed, **asked, seed=seed, detailed=detailed, title=network.title, threads=threads,
            progress=report,
        )  # fmt: skip
        if switch:
            found = switched(found, placed, **asked, seed=seed, threads=threads, progress=report)
        slow = None if context.obj is None else slow_data(placed, context.obj[1], report)
    for note in (*notes, *(["random weights: quality means nothing"] * network.random_weights)):
        console.print(f"[yellow]note:[/] {note}", highlight=False)
    if as_json:
        typer.echo(found.to_json())
    else:
        print_diagnosis(found, console, top)
    if out is not None:
        _write(found, out, console)
    if slow is not None:
        place = context.obj[0] / FILE
        with replacing(place) as scratch:
            scratch.write_text(json_text.dump(slow), encoding="utf-8")
        console.print(f"timeline: [bold]{place}[/]  (cimsim report shows both)")


def _frames(opened: Any) -> Any:
    import numpy as np

    return np.asarray(opened)


def _again(context: typer.Context, folder: Path) -> None:
    """Diagnose with the options of a run's command; what is found goes into its folder."""
    from cimsim.cli.verify import arguments_of
    from cimsim.report.run.page.diagnosed import FILE
    from cimsim.session.result import Result

    held = Result.load(folder)
    if held.command is None:
        raise InputError(
            f"{folder}: made by cimsim.simulate, not by a command; call cimsim.diagnose on the "
            "same mapping and clip"
        )
    options = dict(held.command.get("options", {}))
    dropped = ("seeds", "fps", "schedule")  # of energy, time and further chips
    refused = [n for n in ("noisy", "reference", "programmed", "streaming") if options.get(n)]
    if refused:
        raise InputError(f"{folder}: made with --{refused[0]}, which cimsim diagnose does not take")
    given = {name: value for name, value in options.items() if name not in dropped}
    words = arguments_of({"name": "run", "options": given}, context)[1:]
    own = ["--quiet"] if context.params["quiet"] else []
    own += ["--json"] if context.params["as_json"] else []
    own += ["--switch"] if context.params["switch"] else []
    own += [f"--detailed={context.params['detailed']}", f"--top={context.params['top']}"]
    place = folder if folder.is_dir() else folder.parent
    command: Any = context.command
    parts = [*words, *own, f"--out={place / FILE}"]
    kept = place, str(options.get("schedule", "pipelined"))
    with command.make_context("diagnose", parts, parent=context.parent, obj=kept) as again:
        command.invoke(again)


def _write(found: Diagnosis, out: Path, console: Console) -> None:
    suffix = out.suffix.lower()
    if suffix == ".html":
        from cimsim.report.run.page.diagnosed import diagnosis_page

        text = diagnosis_page(found.as_dict())
    else:
        text = found.to_json() if suffix == ".json" else found.to_csv()
    write_out(out, text)
    console.print(f"diagnosis: [bold]{out}[/]")
