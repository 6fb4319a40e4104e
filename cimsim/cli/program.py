"""``cimsim program``: write and calibrate a chip once, for many runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.groups import NetworkOptions, OnAgedChip, grouped
from cimsim.cli.options import (
    JsonOption,
    QuietOption,
    ThreadsOption,
    WeightsOption,
    check_numbers,
    parse_size,
)
from cimsim.cli.steps import Bars, exported, print_json

if TYPE_CHECKING:
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network
    from cimsim.session.programmed import ProgrammedChip


@dataclass(frozen=True)
class WrittenNetwork(NetworkOptions):
    """The network that is written, and its weights."""

    streaming: Annotated[
        bool, typer.Option("--streaming", help="For cimsim run --streaming of a two-stage network.")
    ] = False
    weights: WeightsOption = None


@dataclass(frozen=True)
class Calibrated:
    """What the chip is calibrated on, which one it is, and where it is kept."""

    sigma: Annotated[
        float,
        typer.Option(metavar="N", help="Noise on the calibration frames, in 8-bit steps (0..255)."),
    ] = 15.0
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size of the runs to come.")
    ] = "256x256"
    seed: Annotated[
        int, typer.Option(metavar="N", help="Which chip: of programming and mismatch.")
    ] = 0
    threads: ThreadsOption = None
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="File to write (.safetensors).")
    ] = Path("chip.safetensors")
    as_json: JsonOption = False
    quiet: QuietOption = False


@grouped
def program(network: WrittenNetwork, on: OnAgedChip, how: Calibrated) -> None:
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
    import cimsim
    from cimsim.display.styled import Screen, styled
    from cimsim.session.loading import load_network
    from cimsim.session.programmed import check_file

    # what is quickly checked comes first, so that a typo does not cost a long wait
    check_numbers(how.sigma, 1, how.seed, how.threads)
    chip = on.load()
    target, frame = check_file(how.out), parse_size(how.size)
    made = load_network(network.model, network.options, network.weights, how.seed, chip.name)
    made = made.streaming() if network.streaming else made
    console = Screen(stderr=how.as_json)
    with Bars(console, how.quiet) as report:
        report("tracing", 0, 1)
        placed = cimsim.map_graph(exported(made, frame), chip, on.mapping, on.allocation)
        report("tracing", 1, 1)
        written = _written(placed, made, how, report)
        report("writing", 0, 1)
        written = written.save(target)
        report("writing", 1, 1)
    if how.as_json:
        print_json({
            "network": made.title, "chip": chip.name,
            "frame": {"height": frame[0], "width": frame[1]}, "arrays": placed.arrays_used,
            **written.provenance, "file": str(target), "bytes": target.stat().st_size,
        })  # fmt: skip
        return
    console.print(
        f"{made.title} on {chip.name}, frames of {frame[1]} x {frame[0]}, seed {how.seed}: "
        f"{placed.arrays_used} arrays written and calibrated"
    )
    told = f"{written.hash[:12]}, {_megabytes(target)} MB"
    console.print(styled("chip: [bold]{}[/]  ({})", target, told))
    console.print(f"use it with the same options: cimsim run --programmed {target} ...")


def _written(placed: Mapping, network: Network, how: Calibrated, report: Bars) -> ProgrammedChip:
    import cimsim
    from cimsim.session.loading import weights_hash

    identity = network.identity | {"hash": weights_hash(network.module)}
    return cimsim.program(
        placed, noise_sigma=how.sigma, seed=how.seed, title=network.title, identity=identity,
        threads=how.threads, progress=report,
    )  # fmt: skip


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f}"
