"""``cimsim program``: write and calibrate a chip once, for many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import (
    AllocationOption,
    ArgOption,
    HwOption,
    InnerOption,
    JsonOption,
    MappingOption,
    ModelOption,
    PerFrameOption,
    QuietOption,
    ReprogramOption,
    SetOption,
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
from cimsim.cli.steps import Bars, print_json, trace


def program(
    model: ModelOption = "cimnet",
    stride: StrideOption = None,
    stages: StagesOption = None,
    width: WidthOption = None,
    per_frame: PerFrameOption = None,
    inner: InnerOption = None,
    arg: ArgOption = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="For cimsim run --streaming of a two-stage network.")
    ] = False,
    weights: WeightsOption = None,
    hw: HwOption = "eflash40nm",
    overrides: SetOption = None,
    time: TimeOption = None,
    temperature: TemperatureOption = None,
    mapping: MappingOption = "im2col",
    allocation: AllocationOption = "in_order",
    reprogram: ReprogramOption = False,
    sigma: Annotated[
        float,
        typer.Option(metavar="N", help="Noise on the calibration frames, in 8-bit steps (0..255)."),
    ] = 15.0,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size of the runs to come.")
    ] = "256x256",
    seed: Annotated[
        int, typer.Option(metavar="N", help="Which chip: of programming and mismatch.")
    ] = 0,
    threads: ThreadsOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="File to write (.safetensors).")
    ] = Path("chip.safetensors"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write and calibrate a chip and keep it in a file, so that runs need not.

    The file holds what a run would find out first: cells as they were written, mismatch of
    converters, integer weights, input codes, converter ranges, column corrections.
    `cimsim run --programmed FILE` with the same network, chip, mapping and frame size
    has the bits and the hash of a run without the file. With another --seed or --sigma
    the chip stays the same one: other reads, other noise on the clip. A file that
    does not fit is refused, and the message says what differs. The same --seed with
    --time 30d makes the same cells, a month older.

    \b
    cimsim program --out chip.safetensors
    cimsim run --programmed chip.safetensors
    cimsim run --programmed chip.safetensors --seed 7 --input clips/a --size 256x256
    cimsim program --model fastdvdnet-block --hw my_chip.yaml --seed 3 --out chip3.safetensors
    cimsim program --set wires.model=exact --set wires.r_word="1 ohm" --out wired.safetensors
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console

    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.chip.load import load_hw
    from cimsim.crossbar.faults import fault_map
    from cimsim.placing import by_name
    from cimsim.session.loading import load_network, weights_hash
    from cimsim.session.programmed import check_file

    # what is quickly checked comes first, so that a typo does not cost a long wait
    check_numbers(sigma, 1, seed, threads)
    chip = load_hw(hw, with_conditions(overrides, time, temperature, reprogram))
    by_name.check(mapping, allocation)
    device_of(chip, hw)
    fault_map(chip)
    target, frame = check_file(out), parse_size(size)
    options = model_options(
        arg, stride=stride, stages=stages, width=width, per_frame=per_frame, inner=inner
    )
    network = load_network(model, options, weights, seed, chip.name)
    network = network.streaming() if streaming else network
    console = Console(emoji=False, stderr=as_json)  # package.module:Class is no emoji
    with Bars(console, quiet) as report:
        report("tracing", 0, 1)
        placed = cimsim.map_graph(trace(network, frame), chip, mapping, allocation)
        report("tracing", 1, 1)
        identity = network.identity | {"hash": weights_hash(network.module)}
        made = cimsim.program(
            placed, noise_sigma=sigma, seed=seed, title=network.title, identity=identity,
            threads=threads, progress=report,
        )  # fmt: skip
        report("writing", 0, 1)
        made = made.save(target)
        report("writing", 1, 1)
    if as_json:
        print_json({
            "network": network.title, "chip": chip.name,
            "frame": {"height": frame[0], "width": frame[1]}, "arrays": placed.arrays_used,
            **made.told, "file": str(target), "bytes": target.stat().st_size,
        })  # fmt: skip
        return
    console.print(
        f"{network.title} on {chip.name}, frames of {frame[1]} x {frame[0]}, seed {seed}: "
        f"{placed.arrays_used} arrays written and calibrated"
    )
    console.print(f"chip: [bold]{target}[/]  ({made.hash[:12]}, {_megabytes(target)} MB)")
    console.print(f"use it with the same options: cimsim run --programmed {target} ...")


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f}"
