"""The screen of `cimsim ablate`: one row per part, and in words what could go."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cimsim.display.styled import styled
from cimsim.report.screen import compact
from cimsim.studies.contributions import Ablation, Contribution, Costs, Loss
from cimsim.units import format_si

_WIDE = 100  # columns of a terminal that has room for latencies
_LEFT_OUT = {"zero": "left out", "mean": "by its mean", "mixed": "left out or by their means"}


def print_ablation(ablation: Ablation, console: Console) -> None:
    """Print the table, what could go and what a chip would save without it."""
    console.print(
        styled("[bold]{}[/] on [bold]{}[/]: {}", ablation.network, ablation.chip, ablation.measure)
    )
    console.print(_table(ablation, console.width >= _WIDE))
    console.print(
        "each row: what the network loses without that part (± standard error over frames and "
        "programmings), and the layers, arrays, energy and cycles per frame that the chip saves"
    )
    for line in words(ablation):
        console.print(line, highlight=False, markup=False)
    for note in ablation.notes:
        console.print(styled("[yellow]note:[/] {}", note))


def words(ablation: Ablation) -> Iterator[str]:
    """Yield in plain sentences what could go, with what the chip would save."""
    limit = f"{ablation.threshold:g} {ablation.unit}"
    if not ablation.could_go:
        yield f"Nothing could go: each part gives at least {limit} and more than its noise."
        return
    yield f"What could go (gives less than {limit} or than its noise, {ablation.where}):"
    for each in ablation.could_go:
        yield f"- {_sentence(ablation, each)}"
    if ablation.together is not None:
        yield f"All of these together: {_sentence(ablation, ablation.together)}"


def _table(ablation: Ablation, wide: bool) -> Table:
    table = compact()
    on_chip = ablation.chip_score is not None
    table.add_column("part", overflow="fold", min_width=16)
    names = [f"float32\nloss/{ablation.unit}"] + [f"on the chip\nloss/{ablation.unit}"] * on_chip
    for name in (*names, "layers", "arrays", "energy", "cycles", *["latency"] * wide):
        table.add_column(name, justify="right", no_wrap=True)
    kinds: dict[str, list[Contribution]] = {}
    for each in ablation.contributions:
        kinds.setdefault(each.part.kind, []).append(each)
    for kind, members in kinds.items():
        title = {"branch": "branches", "layer": "layers"}[kind]
        table.add_row(Text(title, "bold cyan"))
        for each in members:
            table.add_row(*_cells(ablation, each, on_chip, wide), style=_style(ablation, each))
        table.add_section()
    return table


def _style(ablation: Ablation, each: Contribution) -> str:
    return "yellow" if each.could_go(ablation.threshold) else ""


def _cells(
    ablation: Ablation, each: Contribution, on_chip: bool, wide: bool
) -> Iterator[str | Text]:
    best = each.best
    by_mean = best.instead == "mean" and each.part.kind == "branch"
    yield styled("{}" + " [dim](mean)[/]" * by_mean, each.part.name)
    yield _loss(best.loss, not on_chip)
    if best.chip_loss is not None:
        yield _loss(best.chip_loss, True)
    yield str(len(each.matrices))
    whole, left = ablation.costs, best.costs
    yield str(whole.arrays - left.arrays)
    compared = [
        (whole.energy_j, left.energy_j), (whole.interval_cycles, left.interval_cycles),
        (whole.latency_cycles, left.latency_cycles),
    ]  # fmt: skip
    for before, after in compared if wide else compared[:-1]:
        yield f"{_rounded(100 * (before - after) / before if before else 0.0, 0)} %"


def _loss(loss: Loss, with_noise: bool) -> str:
    noise = f" ±{loss.noise:.3f}" if with_noise and loss.noise is not None else ""
    return f"{_rounded(loss.value, 3)}{noise}"


def _rounded(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _sentence(ablation: Ablation, each: Contribution) -> str:
    loss, whole = each.best.judged, ablation.costs
    noise = "" if loss.noise is None else f" ± {loss.noise:.3f}"
    layers = f"{whole.matrices - each.best.costs.matrices} of {whole.matrices} layers"
    return (
        f"{each.part.label} ({layers}, {_LEFT_OUT[each.best.instead]}) gives "
        f"{_rounded(loss.value, 3)}{noise} {ablation.unit}; "
        f"without it {_costs(whole, each.best.costs)}"
    )


def _costs(whole: Costs, left: Costs) -> str:
    return (
        f"{left.arrays} arrays instead of {whole.arrays}, {format_si(left.energy_j, 'J')} instead "
        f"of {format_si(whole.energy_j, 'J')} a frame, a frame every {left.interval_cycles:,} "
        f"cycles instead of {whole.interval_cycles:,}"
    )
