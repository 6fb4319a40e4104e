"""What ``cimsim sweep`` and ``cimsim search`` share: options of a study, and who works at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import (
    SCHEDULES,
    Schedule,
    SeedOption,
    parse_size,
    was_given,
)
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


@dataclass(frozen=True)
class StudyOptions:
    """A study as options: each with its values."""

    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUES",
            help="A chip field and its values: adc.bits=4..10, tile.count=40,76, "
            "process.clock=50..150:50 MHz (often).",
        ),
    ] = None
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME", help="A network, as for cimsim run (often)."),
    ] = None
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", metavar="NAME=VALUES", help="An option of the networks: stride=2,4,8 (often)."
        ),
    ] = None
    weights: Annotated[
        list[str] | None, typer.Option(metavar="FILE|NAME", help="Weights (often).")
    ] = None
    hw: Annotated[
        list[str] | None,
        typer.Option("--hw", metavar="CHIP", help="A shipped chip or a YAML file (often)."),
    ] = None
    mapping: Annotated[
        list[str] | None, typer.Option("--mapping", metavar="NAME", help="A mapping (often).")
    ] = None
    allocation: Annotated[
        list[str] | None,
        typer.Option("--allocation", metavar="NAME", help="Which arrays layers take (often)."),
    ] = None
    clip: Annotated[
        list[Path] | None,
        typer.Option("--input", "-i", metavar="CLIP", help="A clean clip (often)."),
    ] = None
    sigma: Annotated[
        str,
        typer.Option("--sigma", metavar="VALUES", help="Noise added, in 8-bit steps: 10..30:10."),
    ] = "15"
    frames: Annotated[
        int,
        typer.Option(
            "--frames", metavar="N", help="Frames of each clip; 0: time and energy alone."
        ),
    ] = 5
    start: Annotated[
        int, typer.Option("--start", metavar="N", help="First frame of each clip.")
    ] = 0
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="Frame size.")] = None
    seed: SeedOption = 0
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="K", help="Chips that are programmed and read on the same frames."
        ),
    ] = 1
    schedule: Annotated[Schedule, typer.Option("--schedule", metavar="HOW", help=SCHEDULES)] = (
        Schedule.pipelined
    )
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="RATE", help="Frames per second that come.")
    ] = None

    def plan(self, context: typer.Context, file: Path | None) -> Plan:
        """Return the study of a file, or of the options.

        Raises
        ------
        ConfigError
            An option that a study is made of is given beside a file, or a value that is wrong.
        """
        from cimsim.studies import grid

        if file is not None:
            _refuse_beside(file, context)
            return grid.read(file)
        return grid.from_data({
            "name": context.info_name, "frames": self.frames, "start": self.start,
            "seed": self.seed, "seeds": self.seeds, "schedule": self.schedule.value,
            "frame_rate": self.fps,
            "networks": _networks(self.model, self.arg, self.weights),
            "chips": self.hw or ["eflash40nm"],
            "set": _axes("--set", self.overrides, "adc.bits=4..10"),
            "mappings": self.mapping or ["im2col"],
            "allocations": self.allocation or ["in_order"],
            "clips": [str(one) for one in self.clip or ()] or [None],
            "sigmas": list(grid.expand(self.sigma, "--sigma")),
            "size": parse_size(self.size) if self.size else None,
        })  # fmt: skip


@dataclass(frozen=True)
class CrewOptions:
    """Who works at the points of a study."""

    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Processes, one thread each.",
                     show_default="all cores"),
    ] = None  # fmt: skip
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:8786", help="Workers of a dask scheduler."),
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="local|ssh|slurm", help="Start --workers there."),
    ] = None
    hosts: Annotated[
        str | None, typer.Option("--hosts", metavar="A,B", help="Machines, with --cluster ssh.")
    ] = None

    def crew(self) -> Crew:
        """Return processes here, or workers of a cluster.

        Raises
        ------
        CimsimError
            Options that exclude each other, or a cluster that cannot be had.
        """
        from cimsim.studies import engine

        workers, scheduler, cluster = self.workers, self.scheduler, self.cluster
        if scheduler is not None and (cluster is not None or workers is not None):
            other = "--cluster" if cluster is not None else "--workers"
            raise ConfigError(
                f"{other}: the workers of --scheduler are there already; leave one out"
            )
        listed = [host.strip() for host in (self.hosts or "").split(",") if host.strip()]
        if scheduler is None and cluster is None:
            if listed:
                raise ConfigError("--hosts: goes with --cluster ssh")
            return engine.crew(engine.check_workers(workers))
        from cimsim.studies import cluster as clusters

        if scheduler is not None:
            return clusters.connected(scheduler)
        return clusters.started(str(cluster), engine.check_workers(workers), listed)


def _refuse_beside(file: Path, context: typer.Context) -> None:
    """Refuse options that a file says itself: which of the two counts would be a guess."""
    for option in context.command.params:
        name = str(option.name)
        if name in _KEYS and was_given(context, name):
            raise ConfigError(
                f"{option.opts[0]}: {file} says what runs; put it there as '{_KEYS[name]}', or "
                "leave the file out and give options alone"
            )


def _networks(
    model: list[str] | None, arg: list[str] | None, weights: list[str] | None
) -> list[dict[str, object]]:
    options = _axes("--arg", arg, "stride=2,4,8")
    more = {"weights": list(weights)} if weights else {}
    return [{"model": name, **options, **more} for name in model or ["cimnet"]]


def _axes(option: str, texts: list[str] | None, example: str) -> dict[str, object]:
    """Return names and values of ``NAME=VALUES``."""
    from cimsim.boundary.limits import shown
    from cimsim.studies.grid import expand

    found: dict[str, object] = {}
    for text in texts or ():
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals or not name or not values.strip():
            raise ConfigError(f"{option}: expected {example}, got {shown(text)}")
        if name in found:
            raise ConfigError(f"{option}: {name} is given twice; put its values into one list")
        found[name] = list(expand(values, f"{option} {name}"))
    return found
