"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cimsim.boundary.arguments import whole_of_text
from cimsim.boundary.limits import DIGITS, FRAMES, PIXELS, SIDE, shown
from cimsim.errors import ConfigError

MOST_THREADS = 4096
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON in SI units and nothing else.")
]


class Schedule(StrEnum):
    """How layers follow each other."""

    pipelined = "pipelined"
    sequential = "sequential"


SCHEDULES = "pipelined: layers overlap; sequential: they run one after another."


class Interrupted(SystemExit):
    """End of a command that was interrupted and has itself said what it kept."""

    def __init__(self) -> None:
        super().__init__(130)


ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="NAME",
        help="A network of the zoo (cimsim models list), or package.module:Class of your own.",
    ),
]  # fmt: skip
StrideOption = Annotated[
    int | None, typer.Option("--stride", metavar="S", help="Stride of the strided networks.")
]
StagesOption = Annotated[
    int | None, typer.Option("--stages", metavar="N", help="1 or 2 stages (CIM-NET).")
]
WidthOption = Annotated[
    int | None, typer.Option("--width", metavar="N", help="Channels at full size (FastDVDnet: 32).")
]
PerFrameOption = Annotated[
    int | None,
    typer.Option(
        "--per-frame",
        metavar="N",
        help="Channels per frame in the input block (FastDVDnet, baseline o2: 30).",
    ),
]
InnerOption = Annotated[
    int | None,
    typer.Option(
        "--inner", metavar="N", help="Channels inside the last smoothing module (baseline o2: 32)."
    ),
]
ArgOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="NAME=VALUE",
        help="Any option of the network, as cimsim models show NAME lists them: --arg tiles=2 "
        "(often).",
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", metavar="FILE|NAME", help="Weights, as for cimsim run.")
]
HwOption = Annotated[
    str,
    typer.Option(
        "--hw", metavar="CHIP",
        help="A shipped chip (cimsim hw list) or the path of a YAML file.",
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one field of the chip: --set adc.bits=6 (often).",
    ),
]
TimeOption = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="Time since programming, such as 30d: --set conditions.time=30d.",
    ),
]
TemperatureOption = Annotated[
    str | None,
    typer.Option(
        "--temperature",
        metavar="TEMP",
        help="Of the cells when they are read, such as 85C: --set conditions.temperature=85C.",
    ),
]
MappingOption = Annotated[
    str,
    typer.Option(
        "--mapping",
        metavar="NAME",
        help="How matrices are cut: im2col, smd, sdk, vwsdk, omm, multipoint, with a parameter "
        "(omm:3); package.module:Class; or a file of cimsim map --save.",
    ),
]
AllocationOption = Annotated[
    str,
    typer.Option(
        "--allocation",
        metavar="NAME",
        help="Which arrays layers take: in_order, packed (they share arrays), packed_idle (those "
        "share that work least, as far as needed), replicated (spare arrays hold copies: "
        "whole_copies or shared, whichever is faster), by_chip, short_wires, around_faults (rows "
        "and columns where the faults of a tested chip do least harm), package.module:Class.",
    ),
]
ReprogramOption = Annotated[
    bool,
    typer.Option(
        "--allow-reprogram",
        help="Write a chip that is too small load after load in each frame: --set "
        "programming.reload=allow.",
    ),
]
SizeOption = Annotated[
    str | None, typer.Option("--size", metavar="WxH", help="Frame size, such as 960x540.")
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="CLASS",
        help="A further metric of the frames or answers: package.module:Class, or one that an "
        "installed package offers; may be repeated.",
    ),
]
WriterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--writer",
        metavar="NAME",
        help="Write the result elsewhere, too: mlflow, wandb, tensorboard, package.module:Class, "
        "or one that an installed package offers; may be repeated.",
    ),
]
TraceOption = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Write what happened in which cycle, for ui.perfetto.dev (.json.gz).",
    ),
]
PictureOption = Annotated[
    Path | None,
    typer.Option(
        "--picture",
        metavar="FILE",
        help="Draw what every layer does over time (.png, .svg or .pdf).",
    ),
]
PartialOption = Annotated[
    bool,
    typer.Option(
        "--partial",
        help="Give numbers of the modelled part of a network of which less than 95 % of the MACs "
        "have time and energy.",
    ),
]
InputShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="SHAPE",
        help="What a network takes that takes no frames, batch first: 1x40x98, or 1x12:int100 for "
        "whole numbers below 100 (once for each input).",
    ),
]
CalibrationDataOption = Annotated[
    str | None,
    typer.Option(
        "--calibration-data",
        metavar="DATA",
        help="Calibrate on these instead of a part of --data.",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Of noise, programming and reads.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="Worker threads; never changes a result."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Read the arrays with torch on cpu, cuda, mps instead of with compiled kernels: the "
        "same whole numbers and noise.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse operations that have no cost rule, and make errors of doubts."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
NoCacheOption = Annotated[
    bool, typer.Option("--no-cache", help="Neither take nor keep results of stages.")
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write.")]


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Turn ``960x540`` into (height, width) = (540, 960); messages name ``option``."""
    found = re.fullmatch(r"\s*(-?[0-9]{1,20})\s*[x×]\s*(-?[0-9]{1,20})\s*", text.lower())
    if found is None:
        raise ConfigError(f"{option}: expected WIDTHxHEIGHT such as 960x540, got {shown(text)}")
    width, height = int(found[1]), int(found[2])
    if width < 1 or height < 1:
        raise ConfigError(f"{option}: expected a positive width and height, got {shown(text)}")
    if max(width, height) > SIDE or width * height > PIXELS:
        raise ConfigError(
            f"{option}: expected at most {SIDE:,} pixels along a side and {PIXELS:,} in all, got "
            f"{shown(text)}"
        )
    return height, width


def was_given(context: typer.Context, name: str) -> bool:
    """Tell whether the user gave an option, and not its default value stands."""
    return str(context.get_parameter_source(name)).endswith("COMMANDLINE")


def with_conditions(
    overrides: list[str] | None,
    time: str | None = None,
    temperature: str | None = None,
    reprogram: bool = False,
) -> list[str]:
    """Return the overrides with those that options of their own stand for."""
    given = {
        "conditions.time": time, "conditions.temperature": temperature,
        "programming.reload": "allow" if reprogram else None,
    }  # fmt: skip
    return [*(overrides or []), *(f"{path}={text}" for path, text in given.items() if text)]


def model_options(
    arguments: list[str] | None = None, **given: int | str | None
) -> dict[str, int | str]:
    """Options of the network that were given, by flags of their own or by ``--arg NAME=VALUE``.

    Raises
    ------
    ConfigError
        For an argument that is no ``NAME=VALUE``, or a second value for one option.
    """
    options = {name: value for name, value in given.items() if value is not None}
    for text in arguments or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        if not equals or not name.isidentifier() or not value:
            raise ConfigError(f"--arg: expected NAME=VALUE such as tiles=2, got {shown(text)}")
        if name in options:
            both = f"{shown(options[name])} and {shown(value)}"
            raise ConfigError(f"--arg: {name} is given twice ({both})")
        plain = re.fullmatch(r"-?[0-9]+", value)
        most = 10**DIGITS
        options[name] = whole_of_text(f"--arg {name}", value, -most, most) if plain else value
    return options


def check_numbers(sigma: float, frames: int, seed: int, threads: int | None) -> None:
    """Refuse numbers outside of their range.

    Raises
    ------
    ConfigError
        Naming the option.
    """
    if not 0 <= sigma <= 255:
        raise ConfigError(f"--sigma: expected 0..255 (8-bit steps), got {sigma:g}")
    check_frames(frames)
    if not 0 <= seed < 2**63:
        raise ConfigError(f"--seed: expected 0 .. 2**63 - 1, got {shown(seed)}")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"--threads: expected 1 .. {MOST_THREADS}, got {shown(threads)}")


def check_frames(frames: int) -> None:
    """Refuse a number of frames that no clip has.

    Raises
    ------
    ConfigError
        Naming the option.
    """
    if not 1 <= frames <= FRAMES:
        raise ConfigError(f"--frames: expected at least 1, at most {FRAMES:,}, got {shown(frames)}")
