"""``cimsim search``: the best points of a study, by several objectives and with constraints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.groups import grouped
from cimsim.cli.options import (
    Interrupted,
    JsonOption,
    NoCacheOption,
    OutOption,
    QuietOption,
)
from cimsim.cli.planned import CrewOptions, FileArgument, StudyOptions
from cimsim.cli.steps import Bars, print_json

if TYPE_CHECKING:
    from cimsim.studies.optimise import SearchResult


class Sampler(StrEnum):
    """What proposes points."""

    tpe = "tpe"
    nsga2 = "nsga2"
    random = "random"


@dataclass(frozen=True)
class Goals:
    """What is looked for, how long, and by what."""

    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective", metavar="GOAL", help="'max psnr', 'min energy', or psnr (often)."
        ),
    ] = None
    constraint: Annotated[
        list[str] | None,
        typer.Option("--constraint", metavar="LIMIT", help="'fps>=30' (SI units, often)."),
    ] = None
    trials: Annotated[
        int, typer.Option(metavar="N", help="Different points that are looked at.")
    ] = 100
    minutes: Annotated[
        float | None, typer.Option(metavar="T", help="After them no further round begins.")
    ] = None
    sampler: Annotated[Sampler, typer.Option(help="What proposes points.")] = Sampler.tpe
    search_seed: Annotated[
        int, typer.Option("--search-seed", metavar="N", help="Of the sampler.")
    ] = 0


@dataclass(frozen=True)
class Running:
    """What is kept and printed."""

    no_cache: NoCacheOption = False
    out: OutOption = None
    as_json: JsonOption = False
    quiet: QuietOption = False


@grouped
def search(
    context: typer.Context, file: FileArgument = None, *, goals: Goals, asked: StudyOptions,
    workers: CrewOptions, how: Running,
) -> None:  # fmt: skip
    """Look for the points that no other one beats, without running all of them.

    What is known before a frame runs (cycles, arrays, area) sifts points first; the rest is
    executed. The folder is that of a study; the same command with the same --out goes on after a
    kill, and a larger --trials adds to it. Needs optuna: pip install 'cimsim[search]'.

    \b
    cimsim search --objective psnr --objective energy --constraint 'fps>=30' \\
      --set adc.bits=4..10 --set adc.count=16..128:16 --set process.clock='50..150:25 MHz'
    cimsim search space.yaml --objective 'min area' --objective 'min latency' --trials 500
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.cli.study import print_table
    from cimsim.display.styled import Screen, styled
    from cimsim.errors import ConfigError
    from cimsim.studies.optimise import Search
    from cimsim.studies.study import Study
    from cimsim.studies.table import Table

    plan = asked.plan(context, file)
    looked = Search(
        Study.of(plan), goals.objective or (), goals.constraint or (), trials=goals.trials,
        minutes=goals.minutes, sampler=goals.sampler.value, seed=goals.search_seed,
    )  # fmt: skip
    crew = workers.crew()
    console = Screen(stderr=how.as_json)
    folder = how.out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{plan.name}"
    with Bars(console, how.quiet) as report:
        found = looked.run(folder, crew=crew, cached=not how.no_cache, progress=report)
    title = f"{plan.name}: {found.summary}, of {looked.space.size:,} points"
    if how.as_json:
        print_json(_numbers(found) | {"folder": str(folder)})
    elif found.front:
        print_table(Table(found.front), console, title)
    else:
        console.print(f"{title}; none keeps all constraints", highlight=False)
    pareto = " ".join(f"--pareto '{goal}'" for goal in looked.aim.objectives)
    console.print(styled("study: [bold]{}/[/]  (cimsim study show|table|plot {})", folder, pareto))
    if found.outcome.interrupted:
        console.print("interrupted; the same command with this --out goes on")
        raise Interrupted
    if found.trials and all(trial.misses[-1] > 0 for trial in found.trials):
        raise ConfigError(f"no point could be worked out: {found.trials[0].rows[0]['error']}")


def _numbers(found: SearchResult) -> dict[str, object]:
    """Return what a search gave as plain data in SI units."""
    from cimsim.studies.table import Table

    return {
        "trials": len(found.trials), "feasible": sum(one.feasible for one in found.trials),
        "sifted": sum(one.sifted for one in found.trials),
        "without_a_result": sum(one.misses[-1] > 0 for one in found.trials),
        "interrupted": found.outcome.interrupted, "front": Table(found.front).to_data(),
    }  # fmt: skip
