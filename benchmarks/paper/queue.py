"""Train a queue of networks while the machine has nothing better to do.

python -m benchmarks.paper.queue --data clips --out out/queue
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.paper.console import make_console, print_table, run_command, stopped
from benchmarks.paper.pids import listed
from benchmarks.paper.progress import train_all
from benchmarks.paper.queue_file import DEFAULT, load_queue, select
from benchmarks.paper.queue_status import Status, look
from benchmarks.paper.runner import Outcome, Runner
from cimsim.errors import ConfigError


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets one folder for each entry.")],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An entry or a pattern, with what it starts from."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; the next call goes on.")
    ] = None,
    slice_minutes: Annotated[
        float | None, typer.Option(min=0, help="Take turns: so long an entry, then the next one.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,2", help="Instead of the seeds of the file.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", "--status", help="Show what is done and what is next; stop.")
    ] = False,
    queue: Annotated[Path, typer.Option(metavar="FILE", help="The queue.")] = DEFAULT,
    device: Annotated[str, typer.Option(help="cpu (one core) or cuda.")] = "cpu",
    nice: Annotated[
        int,
        typer.Option(
            min=0, max=19, help="Priority; without a terminal its whole session steps back as far."
        ),
    ] = 19,
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 autocast; default: where it is faster."),
    ] = None,
) -> None:
    """Train the entries of a queue in their order, each in its own folder of --out.

    The same command goes on after anything: what is done is skipped, what was begun goes on from
    its checkpoint, a larger budget adds time. The best weights of each entry are what is saved.
    Several such processes may share one --out: each takes another entry. OUT/queue.pid names them,
    and kill $(cat OUT/queue.pid) lets each save and end. Exit code 1: an entry failed; 130, 143:
    stopped by Ctrl-C, by SIGTERM.

    \b
    python -m benchmarks.paper.queue --data clips --out out/queue --status
    python -m benchmarks.paper.queue --data clips --out out/queue --minutes 120 --slice-minutes 20
    python -m benchmarks.paper.queue --data clips --out out/queue --only 'foldnet_*' --seeds 0,1,2
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    console = make_console()
    jobs = select(load_queue(queue).jobs(_seeds(seeds)), only or ())
    runner = Runner(data, out, device, bf16)
    if plan:
        _show(console, look(runner, jobs))
        return
    _step_back(device, nice)
    with listed(out):
        outcomes = train_all(console, runner, jobs, minutes=minutes, slice_minutes=slice_minutes)
    _show(console, look(runner, jobs))
    _end(console, outcomes)


def _seeds(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: expected numbers such as 0,1,2, got '{text}'") from None


def _step_back(device: str, nice: int) -> None:
    """Leave the machine to everybody else: a low priority, one core."""
    os.nice(nice)
    if nice and not _has_terminal():
        # Linux weighs whole sessions against each other, and a nice value only inside of one: in
        # one of its own, since others of this one would be slowed down, too
        with suppress(OSError):
            if os.getsid(0) != os.getpid():
                os.setsid()
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")
    if device != "cpu":
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _has_terminal() -> bool:
    """Whether somebody works in this session, who would be slowed down with it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _end(console: Console, outcomes: Sequence[Outcome]) -> None:
    states = {outcome.state for outcome in outcomes}
    if "interrupted" in states:
        console.print("interrupted: the same command goes on from here")
        raise stopped()
    if states & {"failed", "waiting"}:
        raise typer.Exit(1)


def _show(console: Console, lines: Sequence[Status]) -> None:
    rows = [
        (
            line.name, line.state, f"{line.minutes / 60:.2f} h", line.budget,
            "" if line.best_db is None else f"{line.best_db:.2f}", "next" if line.next else "",
        )
        for line in lines
    ]  # fmt: skip
    columns = ("entry", "state", "spent", "budget", "best / dB", "")
    print_table(console, "Queue, validation on held-out scenes", columns, rows)
    hours = sum(line.minutes for line in lines) / 60
    done = sum(line.done for line in lines)
    console.print(f"{done} of {len(lines)} done, {hours:.1f} hours spent", highlight=False)


if __name__ == "__main__":
    run_command(main)
