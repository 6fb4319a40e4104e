"""The tables of docs/tasks.md and docs/validation.md."""

from __future__ import annotations

from benchmarks.paper import document
from benchmarks.tasks.cases import CASES, Case
from benchmarks.tasks.record import Found, Loss
from cimsim.units import format_si
from cimsim.zoo.weights import named_card

TASKS = document.PATH.with_name("tasks.md")
VALIDATION = document.PATH.with_name("validation.md")


def accuracy(found: Found) -> str:
    """Return the table of losses beside published ones."""
    lines = [
        "| row | network | chip | samples x chips | float | on chip, mean | lost, points | "
        "published: software | on chip | lost | status | source | assumed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in CASES:
        chips = found.chips(one.row)
        if chips:
            lines.append(_row(one, Loss.of(chips)))
    return "\n".join(lines)


def costs(found: Found) -> str:
    """Return the table of time and energy."""
    lines = [
        "| row | network | chip | weights' training | MACs | arrays | latency | energy | of it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in CASES:
        mine = [cost for cost in found.costs if cost.row == one.row]
        if not mine:
            continue
        cost = mine[-1]
        of = "back to back" if one.per_second is None else f"one each {1 / one.per_second:g} s"
        energy, low, high = (format_si(e, "J") for e in (cost.energy_j, cost.low_j, cost.high_j))
        lines.append(
            f"| {one.row} | {one.network} | {one.hardware} | {_trained(cost.weights)} "
            f"| {cost.macs:,} | {cost.arrays} | {format_si(cost.latency_s, 's')} "
            f"| {energy} ({low} .. {high}) | {of} |"
        )
    return "\n".join(lines)


def write(found: Found) -> None:
    """Write the tables into the documents."""
    table = accuracy(found)
    document.rewrite(TASKS, {"tasks-accuracy": table, "tasks-costs": costs(found)})
    document.rewrite(VALIDATION, {"accuracy": table})


def _row(one: Case, loss: Loss) -> str:
    published = one.published
    software, chip = (_percent(value) for value in (published.software, published.chip))
    theirs = "–"
    if published.software is not None and published.chip is not None:
        theirs = f"{published.software - published.chip:.2f}"
    interval = "" if loss.interval is None else " ({:.2f} .. {:.2f})".format(*loss.interval)
    status = "prediction" if one.is_verified else "not comparable"
    return (
        f"| {one.row} | {one.network} | {one.hardware} | {loss.samples} x {len(loss.chips)} "
        f"| {loss.reference:.2f} % | {loss.on_chip:.2f} % | {loss.lost:.2f}{interval} "
        f"| {software} | {chip} | {theirs} | {status} | {published.source} | {one.assumed} |"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:g} %"


def _trained(weights: str) -> str:
    card = named_card(weights.removesuffix(".safetensors"))
    return "?" if card is None else f"{card.minutes:.0f} min of one core, {card.steps} steps"
