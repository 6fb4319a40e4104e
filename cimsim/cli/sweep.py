"""``cimsim sweep``: one question with ranges."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.options import Interrupted, OutOption, Schedule, parse_size
from cimsim.cli.steps import Bars
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from cimsim.studies.grid import Plan


def sweep(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY.yaml]", help="A study as a file, instead of options."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUES",
            help="A chip field and its values: adc.bits=4..10, tile.count=40,76, "
            "process.clock=50..150:50 MHz (often).",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME", help="A network, as for cimsim run (often)."),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", metavar="NAME=VALUES", help="An option of the networks: stride=2,4,8 (often)."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(metavar="FILE|NAME", help="Weights (often).")
    ] = None,
    hw: Annotated[
        list[str] | None,
        typer.Option("--hw", metavar="CHIP", help="A shipped chip or a YAML file (often)."),
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A mapping (often).")
    ] = None,
    allocation: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Which arrays layers take (often).")
    ] = None,
    clip: Annotated[
        list[Path] | None,
        typer.Option("--input", "-i", metavar="CLIP", help="A clean clip (often)."),
    ] = None,
    sigma: Annotated[
        str, typer.Option(metavar="VALUES", help="Noise added, in 8-bit steps: 10..30:10.")
    ] = "15",
    frames: Annotated[
        int, typer.Option(metavar="N", help="Frames of each clip; 0: time and energy alone.")
    ] = 5,
    start: Annotated[int, typer.Option(metavar="N", help="First frame of each clip.")] = 0,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Frame size.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of noise, programming and reads.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(metavar="K", help="Chips that are programmed and read on the same frames."),
    ] = 1,
    schedule: Annotated[Schedule, typer.Option(help="How layers follow.")] = Schedule.pipelined,
    fps: Annotated[
        float | None, typer.Option(metavar="RATE", help="Frames per second that come.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes, one thread each.", show_default="all cores"),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither take nor keep results of stages.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run more than 10,000 points.")] = False,
    out: OutOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Run every combination of what is listed; only what changes is worked out.

    Rows are kept as they come: after Ctrl-C or a kill, the same command with the
    same --out goes on, and without --out the store still has what was done.

    \b
    cimsim sweep --set adc.bits=4..10 --seeds 5
    cimsim sweep --arg stride=2,4,8 --set tile.count=76,152 --out runs/strides
    cimsim sweep study.yaml
    cimsim sweep --frames 0 --set process.clock=50..200:50 MHz --mapping im2col --mapping vwsdk
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console

    from cimsim.cli.study import print_table
    from cimsim.studies import grid
    from cimsim.studies.study import Study

    if file is not None:
        given = {"--set": overrides, "--model": model, "--arg": arg, "--weights": weights,
                 "--hw": hw, "--mapping": mapping, "--allocation": allocation, "--input": clip,
                 }  # fmt: skip
        both = [name for name, value in given.items() if value]
        if both:
            raise ConfigError(f"{both[0]}: stands in {file}; give the file or the options")
        plan = grid.read(file)
    else:
        plan = grid.from_data({
            "name": "sweep",
            "networks": _networks(model, arg, weights),
            "chips": hw or ["eflash40nm"],
            "set": _axes("--set", overrides, "adc.bits=4..10"),
            "mappings": mapping or ["im2col"], "allocations": allocation or ["in_order"],
            "clips": [str(one) for one in clip or ()] or [None],
            "sigmas": list(grid.expand(sigma, "--sigma")), "frames": frames, "start": start,
            "size": parse_size(size) if size else None, "seed": seed, "seeds": seeds,
            "schedule": schedule.value, "frame_rate": fps,
        })  # fmt: skip
    console = Console(emoji=False)
    folder = out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{plan.name}"
    plan.check(yes)
    with Bars(console, quiet) as report:
        outcome = Study.of(plan).run(
            folder, workers=workers, cached=not no_cache, confirmed=yes, progress=report
        )
    print_table(outcome.table, console, f"{outcome.name}: {_told(plan, outcome)}")
    console.print(f"study: [bold]{folder}/[/]  (points.csv, table.csv, table.json; cimsim study)")
    if outcome.interrupted:
        console.print("interrupted; the same command with this --out goes on")
        raise Interrupted
    if outcome.errors and len(outcome.errors) == len(outcome.rows):
        raise ConfigError(f"no point could be worked out: {outcome.errors[0]['error']}")


def _told(plan: Plan, outcome: Any) -> str:
    points = f"{len(outcome.rows)} of {len(plan.points())} points"
    errors = f", {len(outcome.errors)} without a result" if outcome.errors else ""
    return f"{points}{errors}"


def _networks(
    model: list[str] | None, arg: list[str] | None, weights: list[str] | None
) -> list[dict[str, Any]]:
    options = _axes("--arg", arg, "stride=2,4,8")
    more = {"weights": list(weights)} if weights else {}
    return [{"model": name, **options, **more} for name in model or ["cimnet"]]


def _axes(option: str, texts: list[str] | None, example: str) -> dict[str, Any]:
    """Return names and values of ``NAME=VALUES``."""
    from cimsim.boundary.limits import shown
    from cimsim.studies.grid import expand

    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals or not name or not values.strip():
            raise ConfigError(f"{option}: expected {example}, got {shown(text)}")
        if name in found:
            raise ConfigError(f"{option}: {name} is given twice; put its values into one list")
        found[name] = list(expand(values, f"{option} {name}"))
    return found
