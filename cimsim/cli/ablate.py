"""``cimsim ablate``: what each layer and each branch of a network gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.clips import InputOption, ReadingOptions, clip_notes
from cimsim.cli.groups import AgedChipOptions, PlacingOptions, TrainedNetwork, grouped
from cimsim.cli.options import (
    Interrupted,
    QuietOption,
    SeedOption,
    ThreadsOption,
    check_numbers,
    with_conditions,
)
from cimsim.cli.steps import Bars, check_file, exported, write_out
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.console import Console

    from cimsim.chip.spec import Chip
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network
    from cimsim.studies.contributions import Ablation


@dataclass(frozen=True)
class WholeChip(PlacingOptions, AgedChipOptions):
    """A chip that holds the whole network, and what is laid onto it."""

    def load(self) -> Chip:
        """Load the chip and check all of it."""
        from cimsim.chip.cells import device_of
        from cimsim.chip.load import load_hw
        from cimsim.crossbar.faults import fault_map

        chip = load_hw(self.hw, with_conditions(self.overrides, self.time, self.temperature))
        device_of(chip, self.hw)
        fault_map(chip)
        return chip


@dataclass(frozen=True)
class _Clip:
    clip: InputOption = None
    sigma: Annotated[
        float, typer.Option(metavar="N", help="Noise added, in 8-bit steps (0..255).")
    ] = 15.0
    frames: Annotated[int, typer.Option(metavar="N", help="Frames to denoise.")] = 3


@dataclass(frozen=True)
class AblatedClip(ReadingOptions, _Clip):
    """The clip, and its noise."""


@dataclass(frozen=True)
class HowAblated:
    """On how many chips it is measured, and what is printed and written."""

    seed: SeedOption = 0
    seeds: Annotated[
        int, typer.Option(metavar="K", help="Chips that are programmed, from --seed on.")
    ] = 1
    chip: Annotated[
        bool, typer.Option("--chip/--no-chip", help="Measure on the chip, too; or float32 alone.")
    ] = True
    threshold: Annotated[
        float | None,
        typer.Option(metavar="DB", help="What gives less could go.", show_default="0.02"),
    ] = None
    threads: ThreadsOption = None
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table (.csv).")
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of the table.")
    ] = False
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Write what the parts give into the weights' card, so that cimsim run can tell.",
        ),
    ] = False
    quiet: QuietOption = False


@grouped
def ablate(
    network: TrainedNetwork,
    on: WholeChip,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            metavar="NAME",
            help="Only this layer or branch, or all inside of a module (often). Default: all.",
        ),
    ] = None,
    *,
    clip: AblatedClip,
    how: HowAblated,
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

    from cimsim.display.styled import Screen, styled
    from cimsim.graph.cutting import find
    from cimsim.session.loading import load_network
    from cimsim.studies.ablation_screen import print_ablation
    from cimsim.tasks.contract import Contract

    # what is quickly checked comes first, so that a typo does not cost a long wait
    check_numbers(clip.sigma, clip.frames, how.seed, how.threads)
    _check(how.seeds, how.threshold, on.mapping, on.allocation)
    chip = on.load()
    if how.out is not None:
        check_file("--out", how.out, (".csv",))
    opened = clip.of(str(clip.frames)).opened(clip.clip)
    clean = np.asarray(opened)
    made = load_network(network.model, network.options, network.weights, how.seed, chip.name)
    if how.record:
        _check_record(made, part)
    console = Screen(stderr=how.as_json)
    with Bars(console, how.quiet) as report:
        report("tracing", 0, 1)
        graph = exported(made, clean.shape[1:3])
        Contract.of(graph)
        find(graph, part or ())
        report("tracing", 1, 1)
        found = _found(graph, on, chip, clip, clean, part, how, report)
    for note in clip_notes(opened, None):
        console.print(styled("[yellow]note:[/] {}", note))
    if made.random_weights:
        console.print(styled("[yellow]note:[/] random weights: what a part gives means nothing"))
    if how.as_json:
        typer.echo(found.to_json())
    else:
        print_ablation(found, console)
    _keep(found, made, how.out, how.record, console)
    if found.interrupted:
        raise Interrupted


def _found(
    graph: LayerGraph, on: WholeChip, chip: Chip, clip: AblatedClip, clean: npt.NDArray[np.uint8],
    part: list[str] | None, how: HowAblated, report: Bars,
) -> Ablation:  # fmt: skip
    import cimsim
    from cimsim.report.run.contributions import THRESHOLD

    def place(left: LayerGraph) -> Mapping:
        return cimsim.map_graph(left, chip, on.mapping, on.allocation)

    return cimsim.ablate(
        graph, chip, clean, noise_sigma=clip.sigma, seed=how.seed,
        programmings=how.seeds, on_chip=how.chip, only=part or (),
        threshold=THRESHOLD if how.threshold is None else how.threshold, place=place,
        threads=how.threads, progress=report,
        clip_name="embedded clip" if clip.clip is None else clip.clip.stem,
    )  # fmt: skip


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
    from cimsim.display.styled import styled
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.weights import record as write_card

    if out is not None:
        write_out(out, found.to_csv())
        console.print(styled("table: [bold]{}[/]", out))
    card: Any = network.card
    if record and found.interrupted:
        console.print("the card is left as it was: only whole runs are recorded")
    elif record:
        try:
            path = write_card(card, found.recorded(), f"{found.measure}, {found.where}")
        except ZooError as error:
            raise InputError(f"--record: {error}") from None
        console.print(styled("card: [bold]{}[/]", path))
