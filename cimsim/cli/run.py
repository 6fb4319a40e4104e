"""``cimsim run``: quality, cycles and energy of a network on a chip."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.ask import Question, ask, show_result
from cimsim.cli.clips import (
    VIDEOS,
    BlackOption,
    ClipOptions,
    FramesOption,
    InputOption,
    NoisyOption,
    ReferenceOption,
    StartOption,
    TolerateOption,
    VideoOption,
    WhiteOption,
    clip_notes,
    pair,
    write_video,
)
from cimsim.cli.options import (
    SCHEDULES,
    AllocationOption,
    ArgOption,
    CalibrationDataOption,
    DeviceOption,
    HwOption,
    InnerOption,
    InputShapeOption,
    MappingOption,
    MetricOption,
    ModelOption,
    NoCacheOption,
    OutOption,
    PartialOption,
    PerFrameOption,
    PictureOption,
    QuietOption,
    ReprogramOption,
    Schedule,
    SetOption,
    SizeOption,
    StagesOption,
    StrictOption,
    StrideOption,
    TemperatureOption,
    ThreadsOption,
    TimeOption,
    TraceOption,
    WidthOption,
    WriterOption,
    check_numbers,
    model_options,
    parse_size,
    was_given,
    with_conditions,
)
from cimsim.cli.steps import Bars, check_file, check_timeline_files, trace, write_timeline
from cimsim.cli.verify import command_of
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cimsim.chip.spec import Chip
    from cimsim.display.doubts import Doubt
    from cimsim.session.loading import Network
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.session.result import Result
    from cimsim.tasks.metrics import AbstractMetric
    from cimsim.video.clip import Clip


def run(
    context: typer.Context,
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
            "--streaming", help="Two-stage networks: reuse the first stage's results of before."
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Weights: .safetensors or .pth, or shipped ones by name (cimsim models show); "
            "'random' for time and energy only. Default: shipped ones, best those for the chip.",
        ),
    ] = None,
    hw: HwOption = "eflash40nm",
    overrides: SetOption = None,
    time: TimeOption = None,
    temperature: TemperatureOption = None,
    mapping: MappingOption = "im2col",
    allocation: AllocationOption = "in_order",
    reprogram: ReprogramOption = False,
    schedule: Annotated[Schedule, typer.Option(metavar="HOW", help=SCHEDULES)] = Schedule.pipelined,
    clip: InputOption = None,
    noisy: NoisyOption = None,
    reference: ReferenceOption = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Noise added, or that a --noisy clip has, in 8-bit steps (0..255).",
            show_default="15, the programmed chip's, or estimated",
        ),
    ] = None,
    frames: FramesOption = None,
    start: StartOption = 0,
    size: SizeOption = None,
    black: BlackOption = None,
    white: WhiteOption = None,
    tolerate_damage: TolerateOption = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of noise, programming and reads.",
            show_default="0, or the programmed chip's",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            metavar="N",
            help="Energy and power at this frame rate instead of back-to-back frames.",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            metavar="N",
            help="Chips that are programmed and read one after another on the same frames: mean "
            "and interval of the PSNR.",
        ),
    ] = 1,
    programmed: Annotated[
        Path | None,
        typer.Option(
            "--programmed",
            metavar="FILE",
            help="Run on a chip of cimsim program, with the options it was made with, instead of "
            "programming and calibrating one.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="denoising (a clip), classification (top-1 of data with labels), keywords (spoken "
            "digits, some are shipped), tensors (any network against its float self), or "
            "package.module:Class of your own.",
            show_default="denoising, or tensors where --data or --input-shape is given",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Of other tasks: .npy, .npz (labels as y), a folder of images or of one for each "
            "class, package.module:callable of a torch dataset, or random; of keywords: a folder "
            "of recordings.",
        ),
    ] = None,
    input_shape: InputShapeOption = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples of --data to judge; default: all.")
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Samples to calibrate the chip on; they are not judged.",
            show_default="32",
        ),
    ] = None,
    calibration_data: CalibrationDataOption = None,
    normalize: Annotated[
        str | None,
        typer.Option(
            metavar="MEAN/STD",
            help="(x - mean) / std of the first input, by channel: 0.49,0.48,0.45/0.25,0.24,0.26.",
        ),
    ] = None,
    metric: MetricOption = None,
    partial: PartialOption = False,
    no_cache: NoCacheOption = False,
    out: OutOption = None,
    writer: WriterOption = None,
    video: VideoOption = None,
    trace_file: TraceOption = None,
    picture: PictureOption = None,
    strict: StrictOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON instead of the tables.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run a network on a chip: quality, cycles and energy per frame. Default: denoise a clip.

    The same mapping is executed (quality), timed (cycles) and charged (energy).
    Tables go to the screen, everything else to runs/<time>-<model>/.

    \b
    cimsim run
    cimsim run --model fastdvdnet-block --input clip.mp4 --sigma 25 --frames 10
    cimsim run --model fastdvdnet --weights model.pth --streaming
    cimsim run --model cimnet --hw my_chip.yaml --set adc.bits=6 --set tile.count=40
    cimsim run --noisy night.mp4 --start 100 --frames all --video denoised.mp4
    cimsim run --set device.kind=pcm --time 30d
    cimsim run --seeds 5
    cimsim run --model mynets:LeNet --weights lenet.pt --task classification --data digits.npz
    cimsim run --model mynets:Keywords --arg classes=12 --input-shape 1x98x40
    cimsim run --task keywords --hw wtm2101 --model keyword-lstm
    cimsim program --out chip.safetensors && cimsim run --programmed chip.safetensors
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console

    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.chip.load import load_hw
    from cimsim.crossbar.faults import fault_map
    from cimsim.display.doubts import refuse
    from cimsim.engine.on_torch import device_of as device_on_torch
    from cimsim.placing import by_name
    from cimsim.report.run.contributions import doubts, with_contributions
    from cimsim.report.run.folder import check_target, write
    from cimsim.report.run.tables import print_result
    from cimsim.report.run.trackers import writer_of
    from cimsim.session.doubts import chip_doubts
    from cimsim.session.loading import load_network, weights_hash
    from cimsim.studies.graphs import KeptGraph
    from cimsim.studies.points import Network as Net
    from cimsim.studies.whole import Asked, Whole

    # what is quickly checked comes first, so that a typo does not cost a long wait
    held = cimsim.ProgrammedChip.load(programmed) if programmed else None
    task = task or task_of(model)
    model, hw, allocation, seeds, fps = of_words(context, task, model, hw, allocation, seeds, fps)
    question = Question(
        task=task, data=data, calibration_data=calibration_data, shapes=tuple(input_shape or ()),
        samples=samples, calibration=calibration, normalize=normalize, seed=seed or 0,
    )  # fmt: skip
    question.check(
        {"--input": clip, "--noisy": noisy, "--reference": reference, "--sigma": sigma,
         "--size": size, "--frames": frames, "--start": start or None, "--black": black,
         "--white": white, "--tolerate-damage": tolerate_damage, "--video": video,
         "--programmed": programmed, "--streaming": streaming} if question.asked else {}
    )  # fmt: skip
    settings = ClipOptions(
        frames, start, parse_size(size) if size else None, black, white, tolerate_damage
    )
    seed = seed if seed is not None else held.seed if held else 0
    check_numbers(15.0 if sigma is None else sigma, settings.count or 1, seed, threads)
    if device is not None:
        device_on_torch(device)
    _check_seeds(seeds, held, noisy is None or reference is not None)
    chip = load_hw(hw, with_conditions(overrides, time, temperature, reprogram))
    by_name.check(mapping, allocation)
    device_of(chip, hw)
    fault_map(chip)
    if strict:
        refuse(chip_doubts(chip))
    target = out or _default_folder(model)
    if out is not None or not target.exists():  # else it takes the next free name
        check_target(target)
    check_timeline_files(trace_file, picture)
    if video is not None:
        check_file("--video", video, VIDEOS)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    metrics, writers = _metrics(metric, question), [writer_of(name) for name in writer or ()]
    if question.asked:
        network = load_network(model, options, weights, seed, chip.name)
        ask(
            question, network, chip, doubts=_weights_doubts(network, chip), mapping=mapping,
            allocation=allocation, schedule=schedule.value, seed=seed, seeds=seeds, fps=fps,
            threads=threads, strict=strict, partial=partial, quiet=quiet, out=out, target=target,
            device=device, metrics=metrics, writers=writers, trace_file=trace_file, picture=picture,
            command=command_of(context), as_json=as_json,
        )  # fmt: skip
        return
    # package.module:Class is no emoji; JSON has the output for itself
    console = Console(emoji=False, stderr=as_json)
    command = command_of(context)
    asked = Asked(
        Net.of(model, options, weights, streaming), chip, hw, mapping,
        allocation, held.seed if held else seed, [c for c in (clip, noisy, reference) if c],
        [programmed] if programmed else [],
    )  # fmt: skip
    # files that stand elsewhere are made anew, and code of the user's own may have changed
    apart = trace_file or picture or video or metrics or writers or device
    whole = Whole.of(asked, command, not no_cache and not apart, strict=strict)
    again = whole.written(target, unique=out is None)
    if again is not None:
        _print(*again, [], console, strict, as_json)
        return
    frames_in, judge = pair(settings, clip, noisy, reference)
    sigma, told = _sigma(sigma, held, frames_in, noisy is not None)
    # random weights are those of the programmed chip
    network = load_network(model, options, weights, held.seed if held else seed, chip.name)
    networks = [network.streaming(), network] if streaming else [network]
    network = networks[0]
    with Bars(console, quiet) as report:
        placed = []
        for done, traced in enumerate(networks):
            report("tracing", done, len(networks))
            net = replace(asked.network, streaming=streaming and done == 0)
            kept = KeptGraph.of(net, frames_in.size, chip, asked.seed, not no_cache)
            graph = trace(traced, frames_in.size, strict, partial, chip, kept)
            placed.append(cimsim.map_graph(graph, chip, mapping, allocation))
        report("tracing", 1, 1)
        doubted, card = _weights_doubts(network, chip) + network.doubts(sigma), network.card
        if card is not None:
            doubted += doubts(placed[0].graph, card.contributions, card.contributions_on)
        identity = network.identity | {"hash": weights_hash(network.module)}
        result = cimsim.simulate(
            placed[0], frames_in, noise_sigma=sigma, seed=seed, schedule=schedule.value,
            title=network.title, identity=identity, threads=threads, progress=report,
            notes=(*_notes(network, chip), *clip_notes(frames_in, judge), *told), doubts=doubted,
            as_written=placed[1] if streaming else None,
            programmed=held, frame_rate_hz=fps, programmings=seeds, noisy=noisy is not None,
            reference=judge, command=command, metrics=metrics, device=device,
        )  # fmt: skip
        if card is not None:
            result = with_contributions(result, card.contributions)
        report("writing", 0, 1)
        written: list[str] = []
        try:
            folder = write(result, target, unique=out is None, writers=writers, say=written.append)
        except InputError:
            print_result(result, console)  # a full disk must not take the numbers along
            raise
        report("writing", 1, 1)
        whole.keep(folder, whole=result.frame[0] == len(frames_in))
        height, columns = frames_in.size
        written += write_timeline(
            placed[0], schedule.value, f"{network.title}, {columns} x {height}", trace_file,
            picture, report,
        )  # fmt: skip
        if video is not None:
            write_video(video, result, frames_in.fps)
            written.append(f"video: [bold]{video}[/]")
    _print(result, folder, written, console, strict, as_json)


def _print(
    result: Result, folder: Path, written: Sequence[str], console: Console, strict: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show a result and say where it stands."""
    from cimsim.display.doubts import refuse

    show_result(result, console, as_json)
    console.print(
        f"report: [bold]{folder}/[/]  (before_after.png, plots/, layers.csv, result.json)"
    )
    for line in written:
        console.print(line)
    if strict:
        refuse(result.doubts)


def _metrics(names: list[str] | None, question: Question) -> Sequence[type[AbstractMetric]]:
    """Return the metrics of that name, so that a typo costs no run."""
    if not names:
        return ()
    from cimsim.tasks.metrics import metrics_of

    if question.asked:
        return metrics_of(names, ("labels", "outputs"), "a task")
    return metrics_of(names, ("frames",), "--task denoising")


def task_of(model: str) -> str | None:
    """Return what a network of the zoo is asked that is no denoiser."""
    from cimsim.zoo.registry import CLASSIFIERS

    return CLASSIFIERS[model].task if model in CLASSIFIERS else None


def of_words(
    context: typer.Context,
    task: str | None,
    model: str,
    hw: str,
    allocation: str,
    seeds: int,
    fps: float | None,
) -> tuple[str, str, str, int, float | None]:
    """Return what stands for options that were not given where words are told apart.

    The chip is small, so layers share its arrays; a word lasts a second; chips differ, so several
    are asked.
    """
    if task != "keywords":
        return model, hw, allocation, seeds, fps
    from cimsim.tasks.keywords import CHIP, MODEL, PROGRAMMINGS, WORDS_PER_S

    words = ("model", "hw", "allocation", "seeds", "fps")
    given = {name for name in words if was_given(context, name)}
    return (
        model if "model" in given else MODEL,
        hw if "hw" in given else CHIP,
        allocation if "allocation" in given else "packed",
        seeds if "seeds" in given else PROGRAMMINGS,
        fps if "fps" in given else WORDS_PER_S,
    )


def _sigma(
    sigma: float | None, held: ProgrammedChip | None, clip: Clip, noisy: bool
) -> tuple[float, tuple[str, ...]]:
    """Return the noise as given, as the programmed chip knows it, or as the clip has it."""
    from cimsim.session.simulation import estimated_sigma

    if sigma is not None:
        return sigma, ()
    if noisy:
        return estimated_sigma(clip)
    return held.sigma if held else 15.0, ()


def _check_seeds(seeds: int, held: ProgrammedChip | None, has_clean: bool) -> None:
    if seeds < 1 or (seeds > 1 and held is not None):
        what = "at least 1" if held is None else "1 with --programmed, which is one chip"
        raise ConfigError(f"--seeds: expected {what}, got {seeds}")
    if seeds > 1 and not has_clean:
        raise ConfigError("--seeds: the PSNR of several chips needs a clean --reference")


def _notes(network: Network, chip: Chip) -> tuple[str, ...]:
    from cimsim.chip.differences import differences

    found = []
    trained = _trained_for(network)
    if trained is not None and not differences(chip, trained[1]):
        found.append(f"weights {trained[0]}: trained for this chip (--weights takes others)")
    if network.random_weights:
        found.append("random weights: PSNR means nothing")
    if network.is_cascade:
        found.append(
            "the network runs as written; with --streaming it reuses results of its first stage"
        )
    return tuple(found)


def _weights_doubts(network: Network, chip: Chip) -> tuple[Doubt, ...]:
    """Doubt weights that were trained for another chip than this one."""
    from cimsim.chip.differences import differences
    from cimsim.display.doubts import Doubt

    trained = _trained_for(network)
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


def _trained_for(network: Network) -> tuple[str, Chip] | None:
    """Return the weights' name and the shipped chip in it, ``<network>_<chip>``."""
    from cimsim.chip.load import load_hw, shipped

    stem = Path(network.identity["weights"]).stem
    name = next((name for name in shipped() if stem.endswith(f"_{name}")), None)
    return None if name is None else (stem, load_hw(name))


def _default_folder(model: str) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{model.rpartition(':')[2]}"
