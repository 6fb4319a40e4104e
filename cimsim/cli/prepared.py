"""``cimsim run`` before anything long begins: its options, checked, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.clips import (
    VIDEOS,
    ClipOptions,
    FramesOption,
    InputOption,
    NoisyOption,
    ReadingOptions,
    ReferenceOption,
    VideoOption,
)
from cimsim.cli.groups import NetworkOptions, OnAgedChip
from cimsim.cli.options import (
    SCHEDULES,
    DeviceOption,
    MetricOption,
    NoCacheOption,
    OutOption,
    PartialOption,
    PictureOption,
    QuietOption,
    Schedule,
    StrictOption,
    ThreadsOption,
    TraceOption,
    WriterOption,
    check_numbers,
)
from cimsim.cli.question import Question, usual, with_usual
from cimsim.cli.steps import check_file, check_timeline_files
from cimsim.cli.verify import command_of
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cimsim.chip.spec import Chip
    from cimsim.display.doubts import Doubt
    from cimsim.report.run.writers import AbstractWriter
    from cimsim.session.loading import Network
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.tasks.metrics import AbstractMetric


@dataclass(frozen=True)
class RunNetwork(NetworkOptions):
    """The network of a run, and its weights."""

    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming", help="Two-stage networks: reuse the first stage's results of before."
        ),
    ] = False
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Weights: .safetensors or .pth, or shipped ones by name (cimsim models show); "
            "'random' for time and energy only. Default: shipped ones, best those for the chip.",
        ),
    ] = None


@dataclass(frozen=True)
class RunOnChip(OnAgedChip):
    """The chip of a run, what is laid onto it, and how layers follow each other."""

    schedule: Annotated[Schedule, typer.Option(metavar="HOW", help=SCHEDULES)] = Schedule.pipelined


@dataclass(frozen=True)
class _Clips:
    clip: InputOption = None
    noisy: NoisyOption = None
    reference: ReferenceOption = None
    sigma: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Noise added, or that a --noisy clip has, in 8-bit steps (0..255).",
            show_default="15, the programmed chip's, or estimated",
        ),
    ] = None
    frames: FramesOption = None


@dataclass(frozen=True)
class RunClip(ReadingOptions, _Clips):
    """The clip of a run, and its noise."""


@dataclass(frozen=True)
class Draws:
    """What is drawn, how often, and by what."""

    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of noise, programming and reads.",
            show_default="0, or the programmed chip's",
        ),
    ] = None
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            metavar="N",
            help="Energy and power at this frame rate instead of back-to-back frames.",
        ),
    ] = None
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            metavar="N",
            help="Chips that are programmed and read one after another on the same frames: mean "
            "and interval of the PSNR.",
        ),
    ] = 1
    programmed: Annotated[
        Path | None,
        typer.Option(
            "--programmed",
            metavar="FILE",
            help="Run on a chip of cimsim program, with the options it was made with, instead of "
            "programming and calibrating one.",
        ),
    ] = None
    threads: ThreadsOption = None
    device: DeviceOption = None


@dataclass(frozen=True)
class Output:
    """What is measured, written and printed."""

    metric: MetricOption = None
    partial: PartialOption = False
    no_cache: NoCacheOption = False
    out: OutOption = None
    writer: WriterOption = None
    video: VideoOption = None
    trace_file: TraceOption = None
    picture: PictureOption = None
    strict: StrictOption = False
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON instead of the tables.")
    ] = False
    quiet: QuietOption = False


@dataclass(frozen=True)
class Prepared:
    """Options of a run that were checked, and what they stand for.

    Attributes
    ----------
    network, on, clip, draws, question, output
        The options; where words are told apart, what is usual there stands for what was not given.
    chip : Chip
    held : ProgrammedChip or None
        Of ``--programmed``.
    seed : int
        As given, or the programmed chip's.
    reading : ClipOptions
        How the clip is read.
    options : dict
        Of the network.
    target : Path
        The folder; where ``--out`` is not given, it may take the next free name.
    metrics : sequence of type
    writers : sequence of AbstractWriter
    command : dict or None
        See `cimsim.cli.verify.command_of`.
    """

    network: RunNetwork
    on: RunOnChip
    clip: RunClip
    draws: Draws
    question: Question
    output: Output
    chip: Chip
    held: ProgrammedChip | None
    seed: int
    reading: ClipOptions
    options: dict[str, int | str]
    target: Path
    metrics: Sequence[type[AbstractMetric]]
    writers: Sequence[AbstractWriter]
    command: Mapping[str, object] | None

    @property
    def chip_seed(self) -> int:
        """Seed of random weights: those of the programmed chip, where there is one."""
        return self.held.seed if self.held else self.seed


def prepare(
    context: typer.Context, network: RunNetwork, on: RunOnChip, clip: RunClip, draws: Draws,
    question: Question, output: Output,
) -> Prepared:  # fmt: skip
    """Check all that is quickly checked, so that a typo does not cost a long wait.

    Raises
    ------
    CimsimError
        Naming the option.
    """
    from cimsim.display.doubts import refuse
    from cimsim.report.run.trackers import writer_of
    from cimsim.session.doubts import chip_doubts
    from cimsim.session.programmed import ProgrammedChip

    held = ProgrammedChip.load(draws.programmed) if draws.programmed else None
    question = question.of(network.model)
    known = usual(context, question.task)
    network, on, draws = (
        with_usual(network, known), with_usual(on, known), with_usual(draws, known)
    )  # fmt: skip
    _check_question(question, network, clip, draws, output)
    reading = clip.of(clip.frames)
    seed = draws.seed if draws.seed is not None else held.seed if held else 0
    sigma = 15.0 if clip.sigma is None else clip.sigma
    check_numbers(sigma, reading.count or 1, seed, draws.threads)
    if draws.device is not None:
        from cimsim.engine.on_torch import device_of  # and numba, which a served run does without

        device_of(draws.device)
    _check_seeds(draws.seeds, held, clip.noisy is None or clip.reference is not None)
    chip = on.load()
    if output.strict:
        refuse(chip_doubts(chip))
    target = _checked_target(output, network.model)
    return Prepared(
        network, on, clip, draws, question, output, chip=chip, held=held, seed=seed,
        reading=reading, options=network.options, target=target,
        metrics=_metrics(output.metric, question),
        writers=[writer_of(name) for name in output.writer or ()], command=command_of(context),
    )  # fmt: skip


def _check_question(
    question: Question, network: RunNetwork, clip: RunClip, draws: Draws, output: Output
) -> None:
    """Refuse options of denoising where something else is asked."""
    of_clips = {
        "--input": clip.clip, "--noisy": clip.noisy, "--reference": clip.reference,
        "--sigma": clip.sigma, **clip.given(clip.frames), "--video": output.video,
        "--programmed": draws.programmed, "--streaming": network.streaming,
    }  # fmt: skip
    question.check(of_clips if question.asked else {})


def _check_seeds(seeds: int, held: ProgrammedChip | None, has_clean: bool) -> None:
    if seeds < 1 or (seeds > 1 and held is not None):
        what = "at least 1" if held is None else "1 with --programmed, which is one chip"
        raise ConfigError(f"--seeds: expected {what}, got {seeds}")
    if seeds > 1 and not has_clean:
        raise ConfigError("--seeds: the PSNR of several chips needs a clean --reference")


def _checked_target(output: Output, model: str) -> Path:
    """Return the folder to write; refuse it and other files that could not be written."""
    from cimsim.report.run.folder import check_target

    target = output.out or _default_folder(model)
    if output.out is not None or not target.exists():  # else it takes the next free name
        check_target(target)
    check_timeline_files(output.trace_file, output.picture)
    if output.video is not None:
        check_file("--video", output.video, VIDEOS)
    return target


def _default_folder(model: str) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{model.rpartition(':')[2]}"


def _metrics(names: list[str] | None, question: Question) -> Sequence[type[AbstractMetric]]:
    """Return the metrics of that name, so that a typo costs no run."""
    if not names:
        return ()
    from cimsim.tasks.metrics import metrics_of

    if question.asked:
        return metrics_of(names, ("labels", "outputs"), "a task")
    return metrics_of(names, ("frames",), "--task denoising")


def weights_doubts(network: Network, chip: Chip) -> tuple[Doubt, ...]:
    """Doubt weights that were trained for another chip than this one."""
    from cimsim.chip.differences import differences
    from cimsim.display.doubts import Doubt

    trained = trained_for(network)
    other = differences(chip, trained[1]) if trained is not None else []
    if trained is None or not other:
        return ()
    text = f"weights {trained[0]} were trained for {trained[1].name}, this chip differs in "
    return (
        Doubt(
            "trained-for-another",
            text + ", ".join(other),
            "train for this chip (cimsim train --hw), or take weights of no chip (--weights)",
        ),
    )


def trained_for(network: Network) -> tuple[str, Chip] | None:
    """Return the weights' name and the shipped chip in it, ``<network>_<chip>``."""
    from cimsim.chip.load import load_hw, shipped

    stem = Path(str(network.identity["weights"])).stem
    name = next((name for name in shipped() if stem.endswith(f"_{name}")), None)
    return None if name is None else (stem, load_hw(name))
