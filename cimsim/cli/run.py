"""``cimsim run``: quality, cycles and energy of a network on a chip."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import (
    AllocationOption,
    ArgOption,
    HwOption,
    InnerOption,
    MappingOption,
    ModelOption,
    OutOption,
    PerFrameOption,
    PictureOption,
    ReprogramOption,
    Schedule,
    SetOption,
    SizeOption,
    StagesOption,
    StrideOption,
    TemperatureOption,
    TimeOption,
    TraceOption,
    WidthOption,
    check_numbers,
    model_options,
    parse_size,
    with_conditions,
)
from cimsim.cli.steps import Bars, check_timeline_files, clean_frames, trace, write_timeline
from cimsim.cli.verify import command_of
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.doubts import Doubt
    from cimsim.loading import Network


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
    schedule: Annotated[
        Schedule, typer.Option(help="Layers overlap, or run one after another.")
    ] = Schedule.pipelined,
    clip: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            metavar="CLIP",
            help="Clean video file or image folder; noise is added. Default: the embedded clip.",
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Noise added, in 8-bit steps (0..255).",
            show_default="15, or the programmed chip's",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(metavar="N", help="Frames to denoise.")] = 5,
    size: SizeOption = None,
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
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Worker threads; never changes a result.")
    ] = None,
    out: OutOption = None,
    trace_file: TraceOption = None,
    picture: PictureOption = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse operations that have no cost rule, and make errors of doubts."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Denoise a clip on a chip: PSNR on the chip, cycles and energy per frame.

    The same mapping is executed (quality), timed (cycles) and charged (energy).
    Tables go to the screen, everything else to runs/<time>-<model>/.

    \b
    cimsim run
    cimsim run --model fastdvdnet-block --input clip.mp4 --sigma 25 --frames 10
    cimsim run --model fastdvdnet --weights model.pth --streaming
    cimsim run --model cimnet --hw my_chip.yaml --set adc.bits=6 --set tile.count=40
    cimsim run --set device.kind=pcm --time 30d
    cimsim run --seeds 5
    cimsim program --out chip.safetensors && cimsim run --programmed chip.safetensors
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console

    import cimsim
    from cimsim import placing
    from cimsim.arrays.faults import fault_map
    from cimsim.chip.cells import device_of
    from cimsim.chip.load import load_hw
    from cimsim.doubts import refuse
    from cimsim.loading import load_network, weights_hash
    from cimsim.report.contributions import doubts, with_contributions
    from cimsim.report.doubts import chip_doubts
    from cimsim.report.folder import check_target
    from cimsim.report.tables import print_result

    # what is quickly checked comes first, so that a typo does not cost a long wait
    held = cimsim.ProgrammedChip.load(programmed) if programmed else None
    sigma = sigma if sigma is not None else held.sigma if held else 15.0
    seed = seed if seed is not None else held.seed if held else 0
    check_numbers(sigma, frames, seed, threads)
    if seeds < 1 or (seeds > 1 and held is not None):
        what = "at least 1" if held is None else "1 with --programmed, which is one chip"
        raise ConfigError(f"--seeds: expected {what}, got {seeds}")
    chip = load_hw(hw, with_conditions(overrides, time, temperature, reprogram))
    placing.check(mapping, allocation)
    device_of(chip, hw)
    fault_map(chip)
    if strict:
        refuse(chip_doubts(chip))
    target = out or _default_folder(model)
    if out is not None or not target.exists():  # else it takes the next free name
        check_target(target)
    check_timeline_files(trace_file, picture)
    clean = clean_frames(clip, frames, parse_size(size) if size else None)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    # random weights are those of the programmed chip
    network = load_network(model, options, weights, held.seed if held else seed, chip.name)
    networks = [network.streaming(), network] if streaming else [network]
    network = networks[0]
    console = Console(emoji=False)  # package.module:Class is no emoji
    with Bars(console, quiet) as report:
        placed = []
        for done, traced in enumerate(networks):
            report("tracing", done, len(networks))
            graph = trace(traced, clean.shape[1:3], strict)
            placed.append(cimsim.map_graph(graph, chip, mapping, allocation))
        report("tracing", 1, 1)
        doubted, card = _weights_doubts(network, chip) + network.doubts(sigma), network.card
        if card is not None:
            doubted += doubts(placed[0].graph, card.contributions, card.contributions_on)
        identity = network.identity | {"hash": weights_hash(network.module)}
        result = cimsim.simulate(
            placed[0], clean, noise_sigma=sigma, seed=seed, schedule=schedule.value,
            title=network.title, identity=identity, threads=threads, progress=report,
            notes=_notes(network, chip), doubts=doubted,
            as_written=placed[1] if streaming else None,
            programmed=held, frame_rate_hz=fps, programmings=seeds,
            command=command_of(context),
        )  # fmt: skip
        if card is not None:
            result = with_contributions(result, card.contributions)
        report("writing", 0, 1)
        try:
            folder = result.to_dir(target, unique=out is None)
        except InputError:
            print_result(result, console)  # a full disk must not take the numbers along
            raise
        report("writing", 1, 1)
        height, columns = clean.shape[1:3]
        written = write_timeline(
            placed[0], schedule.value, f"{network.title}, {columns} x {height}", trace_file,
            picture, report,
        )  # fmt: skip
    print_result(result, console)
    console.print(
        f"report: [bold]{folder}/[/]  (before_after.png, plots/, layers.csv, result.json)"
    )
    for line in written:
        console.print(line)
    if strict:
        refuse(result.doubts)


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
    from cimsim.doubts import Doubt

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
