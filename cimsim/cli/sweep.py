"""``cimsim sweep``: one question with ranges."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.options import (
    SCHEDULES,
    Interrupted,
    JsonOption,
    NoCacheOption,
    OutOption,
    QuietOption,
    Schedule,
    SeedOption,
    parse_size,
    was_given,
)
from cimsim.cli.steps import Bars, print_json
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from cimsim.studies.engine import Crew
    from cimsim.studies.grid import Plan

# options of which a study is made -> their keys in a file
_KEYS = {
    "overrides": "set", "model": "networks", "arg": "networks", "weights": "networks",
    "hw": "chips", "mapping": "mappings", "allocation": "allocations", "clip": "clips",
    "sigma": "sigmas", "frames": "frames", "start": "start", "size": "size", "seed": "seed",
    "seeds": "seeds", "schedule": "schedule", "fps": "frame_rate",
}  # fmt: skip

FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="STUDY.yaml", help="A study as a file, instead of options."),
]
FieldsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUES",
        help="A chip field and its values: adc.bits=4..10, tile.count=40,76, "
        "process.clock=50..150:50 MHz (often).",
    ),
]
NetworksOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="NAME", help="A network, as for cimsim run (often)."),
]
ArgsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arg", metavar="NAME=VALUES", help="An option of the networks: stride=2,4,8 (often)."
    ),
]
WeightsOption = Annotated[
    list[str] | None, typer.Option(metavar="FILE|NAME", help="Weights (often).")
]
ChipsOption = Annotated[
    list[str] | None,
    typer.Option("--hw", metavar="CHIP", help="A shipped chip or a YAML file (often)."),
]
MappingsOption = Annotated[
    list[str] | None, typer.Option("--mapping", metavar="NAME", help="A mapping (often).")
]
AllocationsOption = Annotated[
    list[str] | None,
    typer.Option("--allocation", metavar="NAME", help="Which arrays layers take (often)."),
]
ClipsOption = Annotated[
    list[Path] | None,
    typer.Option("--input", "-i", metavar="CLIP", help="A clean clip (often)."),
]
SigmasOption = Annotated[
    str, typer.Option("--sigma", metavar="VALUES", help="Noise added, in 8-bit steps: 10..30:10.")
]
FramesOption = Annotated[
    int,
    typer.Option("--frames", metavar="N", help="Frames of each clip; 0: time and energy alone."),
]
StartOption = Annotated[int, typer.Option("--start", metavar="N", help="First frame of each clip.")]
SizeOption = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Frame size.")]
SeedsOption = Annotated[
    int,
    typer.Option(
        "--seeds", metavar="K", help="Chips that are programmed and read on the same frames."
    ),
]
ScheduleOption = Annotated[Schedule, typer.Option("--schedule", metavar="HOW", help=SCHEDULES)]
RateOption = Annotated[
    float | None, typer.Option("--fps", metavar="RATE", help="Frames per second that come.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Processes, one thread each.",
                 show_default="all cores"),
]  # fmt: skip
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="tcp://HOST:8786", help="Workers of a dask scheduler."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", metavar="local|ssh|slurm", help="Start --workers there."),
]
HostsOption = Annotated[
    str | None, typer.Option("--hosts", metavar="A,B", help="Machines, with --cluster ssh.")
]


def sweep(
    context: typer.Context,
    file: FileArgument = None,
    overrides: FieldsOption = None,
    model: NetworksOption = None,
    arg: ArgsOption = None,
    weights: WeightsOption = None,
    hw: ChipsOption = None,
    mapping: MappingsOption = None,
    allocation: AllocationsOption = None,
    clip: ClipsOption = None,
    sigma: SigmasOption = "15",
    frames: FramesOption = 5,
    start: StartOption = 0,
    size: SizeOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    schedule: ScheduleOption = Schedule.pipelined,
    fps: RateOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    hosts: HostsOption = None,
    no_cache: NoCacheOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run more than 10,000 points.")] = False,
    out: OutOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
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

    from cimsim.cli.study import print_table, study_data
    from cimsim.studies.study import Study

    plan = plan_of(context, file, {
        "--set": overrides, "--model": model, "--arg": arg, "--weights": weights, "--hw": hw,
        "--mapping": mapping, "--allocation": allocation, "--input": clip, "--sigma": sigma,
        "frames": frames, "start": start, "size": size, "seed": seed, "seeds": seeds,
        "schedule": schedule.value, "frame_rate": fps,
    })  # fmt: skip
    console = Console(emoji=False, stderr=as_json)
    folder = out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{plan.name}"
    plan.check(yes)
    crew = crew_of(workers, scheduler, cluster, hosts)
    with Bars(console, quiet) as report:
        outcome = Study.of(plan).run(
            folder, crew=crew, cached=not no_cache, confirmed=yes, progress=report
        )
    if as_json:
        print_json(study_data(outcome, outcome.table) | {"folder": str(folder)})
    else:
        print_table(outcome.table, console, f"{outcome.name}: {_told(plan, outcome)}")
    console.print(f"study: [bold]{folder}/[/]  (points.csv, table.csv, table.json; cimsim study)")
    if outcome.interrupted:
        console.print("interrupted; the same command with this --out goes on")
        raise Interrupted
    if outcome.errors and len(outcome.errors) == len(outcome.rows):
        raise ConfigError(f"no point could be worked out: {outcome.errors[0]['error']}")


def crew_of(
    workers: int | None, scheduler: str | None, cluster: str | None, hosts: str | None
) -> Crew:
    """Return what works points out: processes here, or workers of a cluster.

    Raises
    ------
    CimsimError
        Options that exclude each other, or a cluster that cannot be had.
    """
    from cimsim.studies import engine

    if scheduler is not None and (cluster is not None or workers is not None):
        other = "--cluster" if cluster is not None else "--workers"
        raise ConfigError(f"{other}: the workers of --scheduler are there already; leave one out")
    listed = [host.strip() for host in (hosts or "").split(",") if host.strip()]
    if scheduler is None and cluster is None:
        if listed:
            raise ConfigError("--hosts: goes with --cluster ssh")
        return engine.crew(engine.check_workers(workers))
    from cimsim.studies import cluster as clusters

    if scheduler is not None:
        return clusters.connected(scheduler)
    return clusters.started(str(cluster), engine.check_workers(workers), listed)


def plan_of(context: typer.Context, file: Path | None, given: dict[str, Any]) -> Plan:
    """Return the study of a file, or of options by their names.

    Raises
    ------
    ConfigError
        An option that a study is made of is given beside a file, or a value that is wrong.
    """
    from cimsim.studies import grid

    if file is not None:
        _refuse_beside(file, context)
        return grid.read(file)
    plain = {key: value for key, value in given.items() if not key.startswith("--")}
    size = given["size"]
    return grid.from_data({
        "name": context.info_name, **plain,
        "networks": _networks(given["--model"], given["--arg"], given["--weights"]),
        "chips": given["--hw"] or ["eflash40nm"],
        "set": _axes("--set", given["--set"], "adc.bits=4..10"),
        "mappings": given["--mapping"] or ["im2col"],
        "allocations": given["--allocation"] or ["in_order"],
        "clips": [str(one) for one in given["--input"] or ()] or [None],
        "sigmas": list(grid.expand(given["--sigma"], "--sigma")),
        "size": parse_size(size) if size else None,
    })  # fmt: skip


def _refuse_beside(file: Path, context: typer.Context) -> None:
    """Refuse options that a file says itself: which of the two counts would be a guess."""
    for option in context.command.params:
        name = str(option.name)
        if name in _KEYS and was_given(context, name):
            raise ConfigError(
                f"{option.opts[0]}: {file} says what runs; put it there as '{_KEYS[name]}', or "
                "leave the file out and give options alone"
            )


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
