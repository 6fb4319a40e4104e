"""Train readings of CIM-NET and measure what the coarse path gives in each.

python -m benchmarks.paper.variants --data clips --out out/variants --budget-steps 600 --seeds 3
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.paper.console import make_console, run_command
from benchmarks.paper.recipe import Recipe, load_recipe
from benchmarks.paper.runner import Budget, Runner

RECIPE = Path(__file__).with_name("variants.yaml")


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets a folder for each run.")],
    budget_minutes: Annotated[float | None, typer.Option(help="Minutes for each.")] = None,
    budget_steps: Annotated[int | None, typer.Option(help="Steps for each.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 3,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME")] = None,
    recipe: Annotated[Path, typer.Option(metavar="FILE")] = RECIPE,
) -> None:
    from cimsim.training.data import load_dataset

    console = make_console()
    read = load_recipe(recipe)
    budget = Budget(budget_minutes, budget_steps)
    name = f"{budget_steps}steps" if budget_steps else f"{budget_minutes:g}min"
    dataset = load_dataset(data, validation_scenes=read.common.validation_scenes)
    for seed in range(seeds):
        seeded = read.model_copy(update={"common": read.common.model_copy(update={"seed": seed})})
        runner = Runner(seeded, data, out / name / f"seed{seed}", budget, dataset=dataset)
        for outcome in runner.run(seeded.select(only or ())):
            text = f"seed {seed} {outcome.network}: {outcome.state} {outcome.error}"
            if outcome.done is not None:
                text += f" {outcome.done.psnr_db:.3f} dB, {outcome.done.minutes:.1f} min"
            console.print(text, markup=False, highlight=False)


if __name__ == "__main__":
    run_command(main)
