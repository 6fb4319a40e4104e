"""Train every network of the figures under one equal budget.

python -m benchmarks.paper.train --data clips --out out/paper --budget-minutes 30
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.paper.console import make_console, print_table, run_command, stopped
from benchmarks.paper.job import Budget
from benchmarks.paper.progress import train_all
from benchmarks.paper.recipe import DEFAULT, Entry, Recipe, load_recipe
from benchmarks.paper.runner import Outcome, Runner


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
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each network, in OUT/seed0, OUT/seed1, ...")
    ] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 autocast; default: where it is faster."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done and stop.")] = False,
) -> None:
    """Train the networks of a recipe one after the other, all of one seed before the next.

    Each trains in its own folder of --out; the same command skips those that have used up their
    budget and goes on with the others, also after a kill. Several commands with different --only
    may share one --out. Exit code 1: a network failed; 130, 143: stopped.
    """
    console = make_console()
    read = load_recipe(recipe)
    entries = read.select(only or (), everything=everything)
    budget = Budget(budget_minutes, budget_steps)
    failed = False
    for seed in range(seeds):
        seeded = read.seeded(read.common.seed + seed)
        folder = out / f"seed{seeded.common.seed}" if seeds > 1 else out
        runner = Runner(data, folder, device, bf16)
        if plan:
            _show_plan(console, runner, seeded, entries, budget)
            continue
        outcomes = train_all(console, runner, [seeded.job(entry, budget) for entry in entries])
        _show_outcomes(console, outcomes)
        if any(outcome.state == "interrupted" for outcome in outcomes):
            console.print("interrupted: the same command goes on from here")
            raise stopped()
        failed |= any(outcome.state == "failed" for outcome in outcomes)
    if failed:
        raise typer.Exit(1)


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


def _show_plan(
    console: Console, runner: Runner, recipe: Recipe, entries: Sequence[Entry], budget: Budget
) -> None:
    rows = []
    for entry in entries:
        job = recipe.job(entry, budget)
        runner.config(job)  # says what is wrong before hours are spent
        own = ", ".join(f"{key} {value}" for key, value in entry.overrides.given().items())
        state = "done" if runner.finished(job) else "to do"
        rows.append((entry.stem, state, own or "-"))
    common = ", ".join(f"{key} {value}" for key, value in recipe.common.given().items())
    print_table(console, "Plan", ("network", "state", "own settings"), rows)
    console.print(f"common: {common}", highlight=False)
    left = sum(row[1] == "to do" for row in rows)
    if budget.minutes is not None:
        console.print(f"at most {left * budget.minutes:g} minutes")


if __name__ == "__main__":
    run_command(main)
