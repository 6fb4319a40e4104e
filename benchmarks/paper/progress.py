"""Bars and lines that tell how a long training of many networks goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.paper.job import Job
from benchmarks.paper.runner import Outcome, Runner

if TYPE_CHECKING:
    from cimsim.training.train import Progress


def train_all(
    console: Console,
    runner: Runner,
    jobs: Sequence[Job],
    *,
    minutes: float | None = None,
    slice_minutes: float | None = None,
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Train jobs as `Runner.run` does and tell how it goes; return the last outcome of each.

    ``done`` is called with every outcome as soon as it is there.
    """
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, speed_estimate_period=600,
    )  # fmt: skip
    outcomes: dict[str, Outcome] = {}
    with bars:
        overall = bars.add_task("networks", total=len(jobs))
        current = bars.add_task("reading clips", total=1.0)

        def ended() -> int:
            return sum(outcome.state != "paused" for outcome in outcomes.values())

        def show(job: Job, report: Progress) -> None:
            fraction = min(1.0, report.fraction)
            text = f"{job.name}  step {report.step}  loss {report.loss:.5f}"
            bars.update(current, description=text, completed=fraction)
            bars.update(overall, completed=ended() + fraction)
            if report.psnr_db is not None:
                console.print(
                    f"{job.name}: {report.minutes:.1f} min, step {report.step}: "
                    f"validation {report.psnr_db:.2f} dB",
                    highlight=False,
                )

        turns = runner.run(jobs, show, minutes=minutes, slice_minutes=slice_minutes)
        for outcome in turns:
            outcomes[outcome.network] = outcome
            if done is not None:
                done(outcome)
            bars.reset(current, total=1.0, description="")
            bars.update(overall, completed=ended())
            announce(console, outcome)
    return list(outcomes.values())


def announce(console: Console, outcome: Outcome) -> None:
    """Say in one line what became of a network."""
    text = f"{outcome.network}: {outcome.state}"
    if outcome.done is not None:
        text += f", {outcome.done.psnr_db:.2f} dB after {outcome.done.minutes:.1f} min"
    if outcome.error:
        text += f": {outcome.error}"
    style = "red" if outcome.state == "failed" else None
    console.print(text, style=style, markup=False, highlight=False)
