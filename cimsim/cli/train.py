"""``cimsim train``: train a network of the zoo on a folder of clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.cli.options import ModelOption, StagesOption, StrideOption, model_options
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.training.train import Progress, TrainConfig, TrainResult


def train(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of clips with manifest.csv, see docs.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Checkpoints, log.jsonl and the final weights.")
    ],
    model: ModelOption = "cimnet",
    stride: StrideOption = None,
    stages: StagesOption = None,
    sigma: Annotated[
        str, typer.Option(metavar="N|A..B", help="Noise in 8-bit steps: 15, or a range 5..55.")
    ] = "15",
    steps: Annotated[int | None, typer.Option(help="Budget in optimiser steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes.")] = None,
    batch: Annotated[int, typer.Option(help="Crops per step.")] = 8,
    crop: Annotated[int, typer.Option(help="Edge of a crop in pixels.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    init: Annotated[
        str, typer.Option(metavar="wiener|random|FILE", help="Start; wiener for CIM-NET only.")
    ] = "random",
    weight_noise: Annotated[
        float, typer.Option(help="Programming error to train against, such as 0.0236.")
    ] = 0.0,
    freeze_bn_at: Annotated[
        float, typer.Option(help="Share of the budget after which batch norms are frozen.")
    ] = 1.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    bf16: Annotated[bool, typer.Option("--bf16", help="bfloat16 autocast.")] = False,
    seed: Annotated[int, typer.Option(help="Of start, crops, noise and split.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore a checkpoint in --out instead of resuming.")
    ] = False,
) -> None:
    """Train a denoiser; Ctrl-C saves a checkpoint and the same command goes on from it.

    \b
    cimsim train --model fastdvdnet-block --data clips --out out/block --minutes 45
    cimsim train --model cimnet --stride 8 --init wiener --data clips --out out/cimnet --steps 9000
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console

    from cimsim.errors import InputError
    from cimsim.zoo.errors import ZooError

    config = {
        "model": model, "options": model_options(stride, stages), "data": data, "out": out,
        "minutes": minutes, "steps": steps, "batch": batch, "crop": crop, "lr": lr,
        "sigma": _sigma(sigma), "weight_noise": weight_noise, "freeze_bn_at": freeze_bn_at,
        "start": init, "device": device, "amp": bf16, "seed": seed, "resume": not fresh,
    }  # fmt: skip
    console = Console()
    try:
        _train(config, console)
    except ZooError as error:
        raise InputError(str(error)) from None


def _sigma(text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        return float(low), float(high if dots else low)
    except ValueError:
        raise ConfigError(f"--sigma: expected 15 or 5..55, got '{text}'") from None


def _train(config: dict[str, Any], console: Console) -> None:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from cimsim.training.train import TrainConfig, train

    bar = Bar(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    settings = TrainConfig(**config)
    with bar:
        task = bar.add_task("reading clips", total=1.0)

        def show(report: Progress) -> None:
            text = f"step {report.step}  loss {report.loss:.5f}  lr {report.lr:.1e}"
            bar.update(task, description=text, completed=min(1.0, report.fraction))
            if report.psnr_db is not None:
                console.print(f"step {report.step}: validation PSNR {report.psnr_db:.2f} dB")

        result = train(settings, progress=show)
    console.print(
        f"{'finished' if result.finished else 'interrupted'} at step {result.step} after "
        f"{result.minutes:.1f} minutes: validation PSNR {result.psnr_db:.2f} dB "
        f"(noisy {result.noisy_db:.2f} dB)"
    )
    console.print(f"weights: [bold]{save(result, settings)}[/]")


def save(result: TrainResult, settings: TrainConfig) -> Path:
    """Write the weights and their card into ``--out``."""
    from cimsim import __version__
    from cimsim.zoo import registry
    from cimsim.zoo.weights import Card, save_weights

    entry = registry.info(settings.model)
    command = ["cimsim train", f"--model {settings.model}"]
    command += [f"--{key} {value}" for key, value in settings.options.items()]
    low, high = settings.sigma
    command += [
        f"--sigma {low:g}" + (f"..{high:g}" if high != low else ""), f"--init {settings.start}",
        f"--batch {settings.batch}", f"--crop {settings.crop}", f"--lr {settings.lr:g}",
        f"--weight-noise {settings.weight_noise:g}", f"--seed {settings.seed}",
    ]  # fmt: skip
    command += [
        f"--{name} {value}"
        for name, value in (("steps", settings.steps), ("minutes", settings.minutes))
        if value is not None
    ]
    card = Card(
        model=settings.model, options=entry.resolve(settings.options), data=str(settings.data.name),
        licence="weights: as cimsim; training clips: see their own licences", steps=result.step,
        minutes=round(result.minutes, 1), device=settings.device, seed=settings.seed,
        sigma=settings.sigma,
        psnr_db={"validation": round(result.psnr_db, 2), "noisy": round(result.noisy_db, 2)},
        command=" ".join(command), code_version=__version__,
    )  # fmt: skip
    path = settings.out / f"{entry.weights_stem(settings.options)}.safetensors"
    save_weights(result.model, path, card)
    return path
