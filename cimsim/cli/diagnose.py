"""``cimsim diagnose``: which layer hurts on the chip, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cimsim.cli.clips import InputOption, ReadingOptions, clip_notes
from cimsim.cli.groups import OnAgedChip, TrainedNetwork, grouped
from cimsim.cli.options import (
    PartialOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    check_numbers,
)
from cimsim.cli.question import Question, usual, with_usual
from cimsim.cli.steps import Bars, check_file, exported, write_out
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.chip.spec import Chip
    from cimsim.mapping.mapping import Mapping
    from cimsim.report.timeline.slow import SlowData
    from cimsim.session.loading import Network
    from cimsim.studies.diagnosis_result import Diagnosis

_FILES = (".json", ".csv", ".html")


@dataclass(frozen=True)
class _Clip:
    clip: InputOption = None
    sigma: Annotated[
        float | None,
        typer.Option(metavar="N", help="Noise added, in 8-bit steps (0..255).", show_default="15"),
    ] = None
    frames: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Frames of the clip.", show_default="3"),
    ] = None


@dataclass(frozen=True)
class DiagnosedClip(ReadingOptions, _Clip):
    """The clip, and its noise."""

    @property
    def noise(self) -> float:
        """Noise added, in 8-bit steps."""
        return 15.0 if self.sigma is None else self.sigma


@dataclass(frozen=True)
class DiagnosedQuestion(Question):
    """What else is asked; told in fewer words than by `cimsim run`."""

    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="As for cimsim run: classification, keywords, tensors."),
    ] = None
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Of other tasks, as for cimsim run.")
    ] = None
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples of --data; default: all.")
    ] = None
    calibration: Annotated[
        int | None,
        typer.Option(metavar="N", help="Samples to calibrate the chip on.", show_default="32"),
    ] = None
    normalize: Annotated[
        str | None, typer.Option(metavar="MEAN/STD", help="As for cimsim run.")
    ] = None


@dataclass(frozen=True)
class HowDiagnosed:
    """How long it is looked, and what is printed and written."""

    partial: PartialOption = False
    seed: SeedOption = 0
    detailed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Frames or samples, evenly spread, on which causes are told apart; layers are "
            "told apart on all.",
        ),
    ] = 8
    switch: Annotated[
        bool,
        typer.Option(
            "--switch",
            help="Beside it run the whole chip with each cause switched off, and with it alone: "
            "slow, two runs for each.",
        ),
    ] = False
    top: Annotated[int, typer.Option(metavar="N", help="Pairs of layer and cause to print.")] = 10
    threads: ThreadsOption = None
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write everything (.json, .csv, .html)."),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of the tables.")
    ] = False
    quiet: QuietOption = False


@grouped
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
    *,
    network: TrainedNetwork,
    on: OnAgedChip,
    clip: DiagnosedClip,
    question: DiagnosedQuestion,
    how: HowDiagnosed,
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
    import cimsim
    from cimsim.display.styled import Screen, styled
    from cimsim.report.timeline.slow import slow_data
    from cimsim.session.loading import load_network
    from cimsim.studies.diagnosis_screen import print_diagnosis

    if run is not None:
        _again(context, run)
        return
    asked = question.of(network.model)
    known = usual(context, asked.task)
    network, on = with_usual(network, known), with_usual(on, known)
    chip = _checked(on, clip, asked, how)
    made = load_network(network.model, network.options, network.weights, how.seed, chip.name)
    console = Screen(stderr=how.as_json)
    looked = _looked_at(asked, clip, made, how.seed)
    with Bars(console, how.quiet) as report:
        report("tracing", 0, 1)
        graph = exported(looked.network, looked.extent, False, how.partial, chip)
        report("tracing", 1, 1)
        placed = cimsim.map_graph(graph, chip, on.mapping, on.allocation)
        found = _found(placed, looked, how, report)
        slow = None if context.obj is None else slow_data(placed, context.obj[1], report)
    notes = (*looked.notes, *(["random weights: quality means nothing"] * made.random_weights))
    for note in notes:
        console.print(styled("[yellow]note:[/] {}", note))
    if how.as_json:
        typer.echo(found.to_json())
    else:
        print_diagnosis(found, console, how.top)
    if how.out is not None:
        _write(found, how.out, console)
    if slow is not None:
        _write_slow(slow, context.obj[0], console)


def _checked(on: OnAgedChip, clip: DiagnosedClip, question: Question, how: HowDiagnosed) -> Chip:
    """Check what is quickly checked, and return the chip."""
    of_clips = {"--input": clip.clip, "--sigma": clip.sigma, **clip.given(clip.frames)}
    question.check(of_clips if question.asked else {})
    check_numbers(clip.noise, 1, how.seed, how.threads)
    if how.detailed < 1:
        raise ConfigError(f"--detailed: expected at least 1, got {how.detailed}")
    chip = on.load()
    if how.out is not None:
        check_file("--out", how.out, _FILES)
    return chip


@dataclass(frozen=True)
class _LookedAt:
    """What a diagnosis looks at: arguments of `cimsim.diagnose`, and the size of a frame."""

    network: Network
    extent: tuple[int, int]
    asked: dict[str, Any]
    notes: tuple[str, ...] = ()


def _looked_at(question: Question, clip: DiagnosedClip, network: Network, seed: int) -> _LookedAt:
    import numpy as np

    if question.asked:
        task, shapes = question.pose(network, seed)
        return _LookedAt(network.taking(shapes), (1, 1), {"task": task})
    opened = clip.of(clip.frames or "3").opened(clip.clip)
    notes = clip_notes(opened, None)
    name = "embedded clip" if clip.clip is None else clip.clip.stem
    asked = {"clip": np.asarray(opened), "noise_sigma": clip.noise, "name": name}
    return _LookedAt(network, opened.size, asked, notes)


def _found(placed: Mapping, looked: _LookedAt, how: HowDiagnosed, report: Bars) -> Diagnosis:
    import cimsim
    from cimsim.studies.switching import switched

    found = cimsim.diagnose(
        placed, **looked.asked, seed=how.seed, detailed=how.detailed, title=looked.network.title,
        threads=how.threads, progress=report,
    )  # fmt: skip
    if not how.switch:
        return found
    return switched(
        found, placed, **looked.asked, seed=how.seed, threads=how.threads, progress=report
    )


def _write_slow(slow: SlowData, folder: Path, console: Console) -> None:
    from cimsim.boundary import json_text
    from cimsim.display.styled import styled
    from cimsim.files import replacing
    from cimsim.report.timeline.slow import FILE

    place = folder / FILE
    with replacing(place) as scratch:
        scratch.write_text(json_text.dump(slow), encoding="utf-8")
    console.print(styled("timeline: [bold]{}[/]  (cimsim report shows both)", place))


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
    from cimsim.display.styled import styled

    suffix = out.suffix.lower()
    if suffix == ".html":
        from cimsim.report.run.page.diagnosed import DiagnosisData, diagnosis_page

        text = diagnosis_page(cast("DiagnosisData", found.as_dict()))
    else:
        text = found.to_json() if suffix == ".json" else found.to_csv()
    write_out(out, text)
    console.print(styled("diagnosis: [bold]{}[/]", out))
