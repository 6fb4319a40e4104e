"""Levers before mapping: pruning, distillation, training for few bits; a figure for each.

python -m benchmarks.levers --data clips --test test                 # about 40 minutes of a core
python -m benchmarks.levers --data clips --test test --quick         # does it run? 3 minutes
python -m benchmarks.levers --data clips --test test --share 0.25    # a quarter of all steps

Stopped at any time the same command goes on; figures show what is there so far.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.levers import draw
from benchmarks.levers.plan import Budget, jobs, without_training
from benchmarks.levers.work import Work, read_clips
from benchmarks.paper.console import make_console, run_command
from cimsim.cli.options import Interrupted, parse_size
from cimsim.errors import ConfigError


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips to train on, with manifest.csv.")],
    test: Annotated[Path, typer.Option(help="Folder of clips to measure on.")],
    out: Annotated[Path, typer.Option(help="Weights, results and figures.")] = Path("out/levers"),
    share: Annotated[float, typer.Option(help="Share of all optimiser steps.")] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few steps and one small clip: whether it runs.")
    ] = False,
    size: Annotated[str, typer.Option(help="Cut of the test frames.")] = "480x256",
    frames: Annotated[int, typer.Option(help="Frames of each test clip.")] = 3,
    only: Annotated[str, typer.Option(help="pruning, distillation, bits: a part of it.")] = "",
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Only what needs no training: shipped weights.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="List the jobs and do nothing.")] = False,
) -> None:
    """Train, prune, measure and draw; what is done is kept."""
    console = make_console()
    if not 0 < share <= 100:
        raise ConfigError(f"--share: expected 0..100, got {share:g}")
    budget = Budget().scaled(0.005 if quick else share)
    todo = without_training(jobs(budget, only)) if untrained else jobs(budget, only)
    if plan:
        for job in todo:
            console.print(f"{type(job).__name__.lower()} {job.name}", highlight=False)
        return
    clips = read_clips(test, 1 if quick else frames, parse_size("128x96" if quick else size),
                       1 if quick else 99)  # fmt: skip

    def say(line: str) -> None:
        console.print(line, highlight=False)

    work = Work(out, data, clips, budget, say)
    stopped = False
    try:
        for done, job in enumerate(todo):
            if work.do(job):
                say(f"[{done + 1}/{len(todo)}] {job.name}".replace("[", "\\["))
    except KeyboardInterrupt:
        stopped = True
        say("interrupted; the same command goes on from here")
    for path in draw.figures(work.results, work.protocol, out):
        say(f"figure: {path}")
    if stopped:
        raise Interrupted


if __name__ == "__main__":
    run_command(main)
