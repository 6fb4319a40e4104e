"""``cimsim sweep``: one question with ranges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.groups import grouped
from cimsim.cli.options import Interrupted, JsonOption, NoCacheOption, OutOption, QuietOption
from cimsim.cli.planned import CrewOptions, FileArgument, StudyOptions
from cimsim.cli.steps import Bars, print_json
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from cimsim.studies.grid import Plan
    from cimsim.studies.study import Outcome


@dataclass(frozen=True)
class Running:
    """How many points are run, and what is kept and printed."""

    no_cache: NoCacheOption = False
    yes: Annotated[bool, typer.Option("--yes", help="Run more than 10,000 points.")] = False
    out: OutOption = None
    as_json: JsonOption = False
    quiet: QuietOption = False


@grouped
def sweep(
    context: typer.Context, file: FileArgument = None, *, asked: StudyOptions,
    workers: CrewOptions, how: Running,
) -> None:  # fmt: skip
    """Run every combination of what is listed; only what changes is worked out.

    Rows are kept as they come: after Ctrl-C or a kill, the same command with the
    same --out goes on, and without --out the store still has what was done.

    \b
    cimsim sweep --set adc.bits=4..10 --seeds 5
    cimsim sweep --arg stride=2,4,8 --set tile.count=76,152 --out runs/strides
    cimsim sweep study.yaml
    cimsim sweep --frames 0 --set process.clock=50..200:50 MHz --mapping im2col --mapping vwsdk
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.cli.study import print_table, study_data
    from cimsim.display.styled import Screen, styled
    from cimsim.studies.study import Study

    plan = asked.plan(context, file)
    console = Screen(stderr=how.as_json)
    folder = how.out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{plan.name}"
    plan.check(how.yes)
    crew = workers.crew()
    with Bars(console, how.quiet) as report:
        outcome = Study.of(plan).run(
            folder, crew=crew, cached=not how.no_cache, confirmed=how.yes, progress=report
        )
    if how.as_json:
        print_json(study_data(outcome, outcome.table) | {"folder": str(folder)})
    else:
        print_table(outcome.table, console, f"{outcome.name}: {_told(plan, outcome)}")
    files = "points.csv, table.csv, table.json; cimsim study"
    console.print(styled("study: [bold]{}/[/]  ({})", folder, files))
    if outcome.interrupted:
        console.print("interrupted; the same command with this --out goes on")
        raise Interrupted
    if outcome.errors and len(outcome.errors) == len(outcome.rows):
        raise ConfigError(f"no point could be worked out: {outcome.errors[0]['error']}")


def _told(plan: Plan, outcome: Outcome) -> str:
    points = f"{len(outcome.rows)} of {len(plan.points())} points"
    errors = f", {len(outcome.errors)} without a result" if outcome.errors else ""
    return f"{points}{errors}"
