"""How far a queue is, read from what lies in its folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.paper.job import Job
from benchmarks.paper.runner import Done, Runner


@dataclass(frozen=True, slots=True)
class Status:
    """One job.

    Attributes
    ----------
    name, state, budget : str
        ``done``, ``running``, ``begun``, ``to do``, ``after NAME`` ...
    minutes : float
        Spent so far.
    best_db : float, optional
        The best PSNR on the held-out crops: with a chip in the loop the one on the chip.
    done : bool
    next : bool
        Whether the queue takes this one next.
    """

    name: str
    state: str
    budget: str
    minutes: float
    best_db: float | None
    done: bool = False
    next: bool = False


def look(runner: Runner, jobs: Sequence[Job]) -> list[Status]:
    """Return how far each job is.

    Raises
    ------
    ConfigError
        For a damaged note, or settings that the trainer does not take.
    """
    lines = [_look(runner, job) for job in jobs]
    for number, line in enumerate(lines):
        if line.state in ("to do", "begun"):
            lines[number] = replace(line, next=True)
            break
    return lines


def _look(runner: Runner, job: Job) -> Status:
    from cimsim.training.checkpoint import CHECKPOINT, LOG

    runner.config(job)  # says what is wrong before hours are spent
    folder = runner.out / job.name
    minutes, best = _logged(folder / LOG)
    done = runner.finished(job)
    if done is not None:
        best = done.psnr_db if done.judged_db is None else done.judged_db
        text = "done" + _outdated(runner, job)
        return Status(job.name, text, str(job.budget), done.minutes, best, done=True)
    if runner.busy(job):
        state = "running"
    elif job.after is not None and runner.finished(job.after) is None:
        state = f"after {job.after.name}"
    else:
        state = "begun" if (folder / CHECKPOINT).is_file() else "to do"
    return Status(job.name, state, str(job.budget), minutes, best)


def _outdated(runner: Runner, job: Job) -> str:
    """Tell when what a job started from was trained further since."""
    from cimsim.zoo.weights import Card

    card = runner.weights(job).with_suffix(".json")
    if job.after is None or not card.is_file():
        return ""
    before = Done.read(runner.out / job.after.name)
    stages = Card.read(card).stages
    same = before is None or len(stages) < 2 or stages[-2].sha256 == before.sha256
    return "" if same else f", from older weights of {job.after.name}"


def _logged(path: Path) -> tuple[float, float | None]:
    """Return minutes and best PSNR so far from a run's log."""
    minutes, best = 0.0, None
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for entry in text.splitlines():
        try:
            line = json.loads(entry)
        except ValueError:
            continue  # a kill can leave half a line
        minutes = line["minutes"]
        judged = line.get("chip_db", line["psnr_db"])
        if judged is not None:
            best = judged if best is None else max(best, judged)
    return minutes, best
