"""``cimsim prune``: take channels from a network until it keeps a chip's arrays or an energy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.groups import ChipOptions, NetworkOptions, grouped
from cimsim.cli.options import JsonOption, ModelOption, QuietOption, check_numbers, parse_size
from cimsim.cli.steps import Bars, exported, print_json
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from cimsim.chip.spec import Chip
    from cimsim.pruning.budget import Budget
    from cimsim.pruning.prune import Pruned
    from cimsim.session.loading import Network
    from cimsim.zoo.weights import Card


@dataclass(frozen=True)
class PrunedNetwork(NetworkOptions):
    """The network, and the weights to prune."""

    model: ModelOption = "fastdvdnet-block"
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME", help="Weights to prune, as for cimsim run. Default: shipped ones."
        ),
    ] = None


@dataclass(frozen=True)
class _Limits:
    arrays: Annotated[
        int | None,
        typer.Option(metavar="N", help="Arrays that the network may take, a layer to an array."),
    ] = None
    energy: Annotated[
        str | None,
        typer.Option(metavar="E", help="Or energy per frame, such as '0.5 mJ', at --size."),
    ] = None


@dataclass(frozen=True)
class Limits(ChipOptions, _Limits):
    """What the network may take of which chip."""

    mapping: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How matrices are cut, as for cimsim run: arrays and energy are counted with it.",
        ),
    ] = "im2col"
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size that energy counts for.")
    ] = "256x256"

    def budget(self, chip: Chip) -> Budget:
        """Return the budget.

        Raises
        ------
        ConfigError
            None or two of them, or one that is no positive number.
        """
        from cimsim.pruning.budget import Arrays, Energy
        from cimsim.units import parse_quantity

        if (self.arrays is None) == (self.energy is None):
            raise ConfigError("pruning: give either --arrays N or --energy '0.5 mJ'")
        if self.energy is not None:
            try:
                limit = parse_quantity(self.energy, "J")
            except ValueError as error:
                raise ConfigError(f"--energy: {error}") from None
            if not limit > 0:
                raise ConfigError(f"--energy: expected more than 0 J, got '{self.energy}'")
            return Energy(limit, chip, self.mapping)
        if self.arrays is None or self.arrays < 1:
            raise ConfigError(f"--arrays: expected at least 1, got {self.arrays}")
        return Arrays(self.arrays, chip, self.mapping)

    @property
    def command(self) -> str:
        """The command, for the card of the weights."""
        what = f"--arrays {self.arrays}" if self.energy is None else f"--energy '{self.energy}'"
        return f"cimsim prune {what} --hw {Path(self.hw).name} --mapping {self.mapping}"


@dataclass(frozen=True)
class Losses:
    """How it is estimated what a channel is worth."""

    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Clips to estimate losses on, as for cimsim train. Default: embedded scenes.",
        ),
    ] = None
    saliency: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="What a channel is worth: output (how far the output moves without it), taylor, "
            "bn or l2.",
        ),
    ] = "output"
    crops: Annotated[int, typer.Option(metavar="N", help="Crops to estimate losses on.")] = 64
    sigma: Annotated[float, typer.Option(metavar="N", help="Their noise, in 8-bit steps.")] = 15.0
    seed: Annotated[int, typer.Option(metavar="N", help="Of crops and estimates.")] = 0


@dataclass(frozen=True)
class _Done:
    """What was pruned: the network before, the one after, and the PSNR of both on the crops."""

    network: Network
    pruned: Pruned
    budget: Budget
    psnr: tuple[float, float]


@grouped
def prune(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Weight file to write (.safetensors).")
    ],
    network: PrunedNetwork,
    limits: Limits,
    losses: Losses,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Prune a trained network to a chip: whole columns and the rows that read them.

    A channel that saves no array is not cut: the mapping is counted anew for every cut, and
    the one with the least loss per array (or joule) saved is made. The file that is written
    holds a narrower network; `run`, `map`, `time`, `program` and `train --init` take it with
    the same --model. Fine-tune it: pruning alone costs quality.

    \b
    cimsim prune --model fastdvdnet-block --arrays 17 --out pruned.safetensors
    cimsim prune --model fastdvdnet-block --set array.rows=256 --set array.cols=256 \\
        --arrays 27 --data clips --out pruned.safetensors
    cimsim prune --model foldnet --stride 2 --weights f.safetensors --energy '60 uJ' --out p.safetensors
    cimsim train --model fastdvdnet-block --init pruned.safetensors --data clips --out out/pruned \\
        --minutes 10 --teacher fastdvdnet-block
    cimsim run --model fastdvdnet-block --weights out/pruned/fastdvdnet-block_pruned.safetensors
    """  # noqa: D301, E501 - \b keeps typer from re-flowing the examples
    from cimsim.chip.load import load_hw
    from cimsim.display.styled import Screen, styled
    from cimsim.mapping.custom import find_strategy
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.weights import save_weights

    check_numbers(losses.sigma, 1, losses.seed, None)
    _check_out(out)
    chip = load_hw(limits.hw, limits.overrides)
    find_strategy(limits.mapping)
    budget = limits.budget(chip)
    made = _loaded(network)
    console = Screen(stderr=as_json)
    with Bars(console, quiet) as report:
        done = _pruned(made, budget, limits, losses, report)
    card = _card(done, network.model, network.options, losses.sigma, limits.command)
    try:
        save_weights(done.pruned.model, out, card)
    except ZooError as error:
        raise InputError(str(error)) from None
    if as_json:
        print_json({
            "network": made.title, "chip": chip.name, "weights": str(out), **_numbers(done)
        })  # fmt: skip
        return
    _print(console, done, chip)
    model = network.model
    console.print(
        styled("weights: [bold]{}[/]  ", out)
        + f"(cimsim train --model {model} --init {out} fine-tunes them, "
        f"cimsim run --model {model} --weights {out} runs them)"
    )


def _loaded(asked: PrunedNetwork) -> Network:
    from cimsim.session.loading import load_network

    network = load_network(asked.model, asked.options, asked.weights)
    if not network.noise_map or network.random_weights:
        why = "has random weights" if network.random_weights else "takes no noise map"
        raise InputError(f"pruning: {network.title} {why}; give a trained denoiser (--weights)")
    return network


def _pruned(
    network: Network, budget: Budget, limits: Limits, losses: Losses, report: Bars
) -> _Done:
    """Estimate losses on crops, and prune."""
    from cimsim.pruning.prune import crops as draw
    from cimsim.pruning.prune import prune as prune_network
    from cimsim.training.data import load_dataset
    from cimsim.training.train import mean_psnr

    dataset = None
    if losses.data is not None:
        report("reading clips", 0, 1)
        dataset = load_dataset(losses.data)
        report("reading clips", 1, 1)
    batches = draw(
        dataset, n_frames=network.n_frames, count=losses.crops, sigma=losses.sigma,
        seed=losses.seed,
    )  # fmt: skip
    graph = exported(network, parse_size(limits.size))
    pruned = prune_network(
        network.module, graph, budget, batches, kind=losses.saliency, seed=losses.seed,
        progress=report,
    )  # fmt: skip
    before, after = (
        sum(mean_psnr(part, *batch) for batch in batches) / len(batches)
        for part in (network.module, pruned.model)
    )
    return _Done(network, pruned, budget, (before, after))


def _check_out(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise InputError(f"--out: expected a name that ends in .safetensors, got '{out}'")
    if out.is_dir():
        raise InputError(f"--out: cannot write '{out}': it is a folder")


def _card(
    done: _Done, model: str, options: dict[str, int | str], sigma: float, command: str
) -> Card:
    """Return the card: that of the weights that were pruned, with one more stage."""
    from cimsim import __version__
    from cimsim.zoo import registry
    from cimsim.zoo.weights import Card, named_card

    source = str(done.network.identity["weights"])
    is_file = Path(source).is_file()
    old = None if is_file else named_card(Path(source).stem)
    if is_file and (beside := Path(source).with_suffix(".json")).is_file():
        old = Card.read(beside)
    resolved = options if ":" in model else registry.info(model).resolve(options)
    return Card(
        model=model, options=resolved,
        data=old.data if old else "unknown", licence=old.licence if old else "unknown",
        steps=old.steps if old else 0, minutes=old.minutes if old else 0.0,
        device=old.device if old else "cpu", seed=old.seed if old else 0,
        sigma=old.sigma if old else (sigma, sigma),
        psnr_db={
            "crops it was pruned on, before": round(done.psnr[0], 2),
            "... after": round(done.psnr[1], 2),
        },
        command=f"{old.command if old else source} && {command}", code_version=__version__,
    )  # fmt: skip


def _print(console: Console, done: _Done, chip: Chip) -> None:
    from rich.table import Table

    from cimsim.display.styled import styled

    pruned, budget, psnr = done.pruned, done.budget, done.psnr
    table = Table(title=f"{done.network.title} for {chip.name}", title_justify="left")
    for name in ("layer", "rows", "columns", "weights kept"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for row in pruned.rows:
        share = (row.rows[1] * row.cols[1]) / (row.rows[0] * row.cols[0])
        table.add_row(row.matrix, _change(row.rows), _change(row.cols), f"{100 * share:.0f} %")
    console.print(table)
    units = pruned.kept
    before, after = budget.shown(pruned.before), budget.shown(pruned.after)
    rows: list[str | Text] = [
        styled("{} before, [bold]{}[/] after", before, after),
        f"{int((~units).sum())} of {len(units)} channels cut; on the crops {psnr[0]:.2f} dB "
        f"before, {psnr[1]:.2f} dB after, without fine-tuning",
    ]
    if units.all():
        rows.append("nothing was cut: the network keeps the budget as it is")
    for line in rows:
        console.print(line, highlight=False)


def _numbers(done: _Done) -> dict[str, object]:
    """Return what the table tells as plain data; the budget's numbers in arrays or J."""
    from cimsim.pruning.budget import Arrays

    pruned, budget, psnr = done.pruned, done.budget, done.psnr
    return {
        "budget": {
            "unit": "arrays" if isinstance(budget, Arrays) else "J", "limit": budget.limit,
            "before": float(pruned.before), "after": float(pruned.after),
        },
        "channels": len(pruned.kept), "channels_cut": int((~pruned.kept).sum()),
        "psnr_before_db": float(psnr[0]), "psnr_after_db": float(psnr[1]),
        "layers": [
            {"layer": row.matrix, "rows_before": row.rows[0], "rows_after": row.rows[1],
             "columns_before": row.cols[0], "columns_after": row.cols[1],
             "weights_kept": (row.rows[1] * row.cols[1]) / (row.rows[0] * row.cols[0])}
            for row in pruned.rows
        ],
    }  # fmt: skip


def _change(pair: tuple[int, int]) -> str:
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"
