"""Train every network of the figures under one equal budget.

python -m benchmarks.paper.train --data clips --out out/paper --budget-minutes 30
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.recipe import DEFAULT, Entry, load_recipe
from benchmarks.paper.runner import Budget, Outcome, Runner

if TYPE_CHECKING:
    from cimsim.training.train import Progress


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets one folder for each network.")],
    budget_minutes: Annotated[
        float | None,
        typer.Option(help="Minutes for each network; more than last time goes on from there."),
    ] = None,
    budget_steps: Annotated[
        int | None, typer.Option(help="Steps for each network: the same on every machine.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="cimnet_s8, 'cimnet_*' or cimnet; several times."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The optional networks of the recipe too.")
    ] = False,
    recipe: Annotated[Path, typer.Option(metavar="FILE", help="The recipe.")] = DEFAULT,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 autocast; default: where it is faster."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done and stop.")] = False,
) -> None:
    """Train the networks of a recipe one after the other.

    Each trains in its own folder of --out; the same command skips those that have used up their
    budget and goes on with the others, also after a kill. Several commands with different --only
    may share one --out. Exit code 1: a network failed; 130: interrupted.
    """
    console = make_console()
    read = load_recipe(recipe)
    entries = read.select(only or (), everything=everything)
    runner = Runner(read, data, out, Budget(budget_minutes, budget_steps), device, bf16)
    if plan:
        _show_plan(console, runner, entries)
        return
    outcomes = follow(console, runner, entries)
    _show_outcomes(console, outcomes)
    if any(outcome.state == "interrupted" for outcome in outcomes):
        console.print("interrupted: the same command goes on from here")
        raise typer.Exit(130)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def follow(
    console: Console,
    runner: Runner,
    entries: Sequence[Entry],
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Train networks with bars and a line for each; ``done`` is called after each of them."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, speed_estimate_period=600,
    )  # fmt: skip
    outcomes: list[Outcome] = []
    with bars:
        overall = bars.add_task("networks", total=len(entries))
        current = bars.add_task("reading clips", total=1.0)

        def show(entry: Entry, report: Progress) -> None:
            fraction = min(1.0, report.fraction)
            text = f"{entry.stem}  step {report.step}  loss {report.loss:.5f}"
            bars.update(current, description=text, completed=fraction)
            bars.update(overall, completed=len(outcomes) + fraction)
            if report.psnr_db is not None:
                console.print(
                    f"{entry.stem}: {report.minutes:.1f} min, step {report.step}: "
                    f"validation {report.psnr_db:.2f} dB",
                    highlight=False,
                )

        for outcome in runner.run(entries, show):
            outcomes.append(outcome)
            if done is not None:
                done(outcome)
            bars.reset(current, total=1.0, description="")
            bars.update(overall, completed=len(outcomes))
            _announce(console, outcome)
    return outcomes


def _announce(console: Console, outcome: Outcome) -> None:
    text = f"{outcome.network}: {outcome.state}"
    if outcome.done is not None:
        text += f", {outcome.done.psnr_db:.2f} dB after {outcome.done.minutes:.1f} min"
    if outcome.error:
        text += f": {outcome.error}"
    style = "red" if outcome.state == "failed" else None
    console.print(text, style=style, markup=False, highlight=False)


def _show_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        done = outcome.done
        values = ("", "", "", "", "")
        if done is not None:
            values = (
                f"{done.minutes:.1f}", f"{done.steps}", f"{done.crops}", f"{done.psnr_db:.2f}",
                f"{done.psnr_db - done.noisy_db:+.2f}",
            )  # fmt: skip
        rows.append((outcome.network, outcome.state, *values))
    columns = ("network", "state", "minutes", "steps", "crops", "PSNR / dB", "gain / dB")
    print_table(console, "Validation on held-out scenes", columns, rows)


def _show_plan(console: Console, runner: Runner, entries: Sequence[Entry]) -> None:
    rows = []
    for entry in entries:
        runner.config(entry)  # says what is wrong before hours are spent
        own = ", ".join(f"{key} {value}" for key, value in entry.overrides.given().items())
        state = "done" if runner.finished(entry) else "to do"
        rows.append((entry.stem, state, own or "-"))
    common = ", ".join(f"{key} {value}" for key, value in runner.recipe.common.given().items())
    print_table(console, "Plan", ("network", "state", "own settings"), rows)
    console.print(f"common: {common}", highlight=False)
    budget, left = runner.budget, sum(row[1] == "to do" for row in rows)
    if budget.minutes is not None:
        console.print(f"at most {left * budget.minutes:g} minutes")


if __name__ == "__main__":
    run_command(main)
