"""``cimsim train``: train a network of the zoo on a folder of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.groups import NetworkOptions, grouped
from cimsim.cli.options import Interrupted, JsonOption
from cimsim.cli.steps import print_json
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.training.train import Progress


@dataclass(frozen=True)
class TrainedModel(NetworkOptions):
    """The network to train, and the noise that it is to remove."""

    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME", help="A network of cimsim models list."),
    ] = "cimnet"
    sigma: Annotated[
        str, typer.Option(metavar="N|A..B", help="Noise in 8-bit steps: 15, or a range 5..55.")
    ] = "15"


@dataclass(frozen=True)
class Budget:
    """How long, on how much at once, and how fast."""

    steps: Annotated[int | None, typer.Option(help="Budget in optimiser steps.")] = None
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes.")] = None
    batch: Annotated[int, typer.Option(help="Crops per step.")] = 8
    crop: Annotated[int, typer.Option(help="Edge of a crop in pixels.")] = 64
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate; default: 8e-3, from trained weights 2e-3 (adam: 1e-3, 3e-4)."
        ),
    ] = None
    schedule: Annotated[
        str, typer.Option(metavar="cosine|steps", help="How it falls; steps: as in the paper.")
    ] = "cosine"
    optimiser: Annotated[
        str, typer.Option(metavar="muon|adam", help="What moves the kernels; adam: as the papers.")
    ] = "muon"


@dataclass(frozen=True)
class Start:
    """What the weights begin with, whom they follow, and the chip that they are for."""

    init: Annotated[
        str,
        typer.Option(
            metavar="START",
            help="shrinkage or wiener (in closed form, for CIM-NET and Abla-NET), random, auto "
            "(the best of these), a weight file, or shipped weights by name (cimsim models show).",
        ),
    ] = "auto"
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Learn from a trained network, too: a weight file, or shipped weights by name.",
        ),
    ] = None
    teacher_weight: Annotated[
        float, typer.Option(help="Weight of the error against the teacher's output.")
    ] = 0.5
    hw: Annotated[
        str | None,
        typer.Option(
            metavar="CHIP", help="Train for this chip: its errors are in the loop (fine-tuning)."
        ),
    ] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change one field of that chip (often)."),
    ] = None


@dataclass(frozen=True)
class Parameters:
    """Parameters that learn faster, more slowly or not at all, and what is kept of them."""

    lr_fan_in: Annotated[
        int | None,
        typer.Option(
            help="Convolutions without a batch norm and with more inputs learn more slowly; "
            "default: 288, from a closed form 200 or 10."
        ),
    ] = None
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=N",
            help="Parameters of these names learn so many times faster: 'block1.down*=4' (often).",
        ),
    ] = None
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Parameters of these names keep their start (often)."),
    ] = None
    tied: Annotated[
        float | None,
        typer.Option(
            help="With adam: rate of kernels that a CIM-CONV's positions share; 0: none; "
            "default: 0 from shrinkage, else 3."
        ),
    ] = None
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights.")] = 0.998
    stills: Annotated[float, typer.Option(help="Share of crops from photographs.")] = 0.3
    freeze_bn_at: Annotated[
        float, typer.Option(help="Share of the budget after which batch norms are frozen.")
    ] = 0.9
    validation_scenes: Annotated[int, typer.Option(help="Scenes held out.")] = 10
    validation_crop: Annotated[int, typer.Option(help="Edge of their crops in pixels.")] = 192
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Time between two checkpoints, each with a validation.")
    ] = 3.0
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Steps between them instead: the same best weights always.")
    ] = None
    warmup_steps: Annotated[int, typer.Option(help="Steps until the rate is at its peak.")] = 100
    grad_clip: Annotated[
        float,
        typer.Option(help="Gradients this many times longer than usual are shortened; 0: no."),
    ] = 3.0


@dataclass(frozen=True)
class Machine:
    """Where it runs, and what is drawn."""

    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu"
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 autocast; default: where it is faster."),
    ] = None
    seed: Annotated[int, typer.Option(help="Of start, crops and noise.")] = 0
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore a checkpoint in --out instead of resuming.")
    ] = False


@grouped
def train(
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Folder of clips with manifest.csv, see docs/training.md."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Checkpoints, log.jsonl and the final weights.")
    ],
    network: TrainedModel,
    budget: Budget,
    start: Start,
    parameters: Parameters,
    machine: Machine,
    as_json: JsonOption = False,
) -> None:
    """Train a denoiser; after Ctrl-C or a kill the same command goes on from its checkpoint.

    \b
    cimsim train --model fastdvdnet-block --data clips --out out/block --minutes 45
    cimsim train --model cimnet --stride 8 --data clips --out out/cimnet --steps 9000
    cimsim train --model cimnet --stride 8 --data clips --out out/chip --minutes 10 \\
        --init out/cimnet/cimnet_s8.safetensors --hw eflash40nm
    cimsim train --model foldnet --stride 2 --data clips --out out/student --minutes 20 \\
        --teacher fastdvdnet-block
    cimsim train --data clips --out out/paths --minutes 10 --init cimnet_s8 \\
        --freeze 'block1.smooth_*' --rate 'block1.up1.*=10'
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.display.styled import Screen
    from cimsim.errors import InputError
    from cimsim.zoo.errors import ZooError

    config = {
        "model": network.model, "options": network.options, "data": data, "out": out,
        "minutes": budget.minutes, "steps": budget.steps, "batch": budget.batch,
        "crop": budget.crop, "lr": budget.lr, "schedule": budget.schedule,
        "optimiser": budget.optimiser, "sigma": _sigma(network.sigma), "start": start.init,
        "teacher": start.teacher, "teacher_weight": start.teacher_weight, "hw": start.hw,
        "overrides": tuple(start.overrides or ()), "lr_fan_in": parameters.lr_fan_in,
        "tied": parameters.tied, "ema": parameters.ema, "rates": _rates(parameters.rate or ()),
        "freeze": tuple(parameters.freeze or ()), "stills": parameters.stills,
        "freeze_bn_at": parameters.freeze_bn_at, "device": machine.device, "amp": machine.bf16,
        "validation_scenes": parameters.validation_scenes,
        "validation_crop": parameters.validation_crop,
        "checkpoint_minutes": parameters.checkpoint_minutes,
        "checkpoint_steps": parameters.checkpoint_steps,
        "warmup_steps": parameters.warmup_steps, "grad_clip": parameters.grad_clip,
        "seed": machine.seed, "resume": not machine.fresh,
    }  # fmt: skip
    console = Screen(stderr=as_json)
    try:
        _train(config, console, as_json)
    except ZooError as error:
        raise InputError(str(error)) from None


def _sigma(text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        return float(low), float(high if dots else low)
    except ValueError:
        raise ConfigError(f"--sigma: expected 15 or 5..55, got '{text}'") from None


def _rates(texts: Sequence[str]) -> dict[str, float]:
    rates = {}
    for text in texts:
        pattern, _, factor = text.rpartition("=")
        try:
            rates[pattern] = float(factor)
        except ValueError:
            pattern = ""
        if not pattern:
            raise ConfigError(f"--rate: expected PATTERN=N, got '{text}'")
    return rates


def _train(config: dict[str, Any], console: Console, as_json: bool) -> None:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from cimsim.display.styled import styled
    from cimsim.training.card import save_trained
    from cimsim.training.config import TrainConfig
    from cimsim.training.train import train

    settings = TrainConfig(**config)
    bar = Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
        TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=True), console=console,
        disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading clips", total=1.0)

        steps: list[int] = []

        def show(report: Progress) -> None:
            if not steps and report.step > 1:
                console.print(f"goes on from step {report.step - 1}")
            steps.append(report.step)
            text = f"step {report.step}  loss {report.loss:.5f}  lr {report.lr:.1e}"
            bar.update(task, description=text, completed=min(1.0, report.fraction))
            if report.psnr_db is not None:
                console.print(f"step {report.step}: validation PSNR {report.psnr_db:.2f} dB")

        result = train(settings, progress=show)
    kept_in = save_trained(result, settings)
    if as_json:
        print_json({
            "finished": result.finished, "step": result.step, "kept_step": result.kept_step,
            "minutes": result.minutes, "psnr_db": result.psnr_db, "noisy_db": result.noisy_db,
            "on_chip_db": result.chip_db, "weights": str(kept_in),
        })  # fmt: skip
    chip = "" if result.chip_db is None else f", {result.chip_db:.2f} dB with {settings.hw} in it"
    kept = "" if result.kept_step == result.step else f" of step {result.kept_step}, the best,"
    console.print(
        f"{'finished' if result.finished else 'interrupted'} at step {result.step} after "
        f"{result.minutes:.1f} minutes: validation PSNR{kept} {result.psnr_db:.2f} dB{chip} "
        f"(noisy {result.noisy_db:.2f} dB)"
    )
    console.print(styled("weights: [bold]{}[/]", kept_in))
    if not result.finished:
        console.print("the same command goes on from here")
        raise Interrupted
