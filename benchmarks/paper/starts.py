"""What a start is worth: validation PSNR of CIM-NET over crops, from several starts.

python -m benchmarks.paper.starts --data clips --out out/starts --steps 400
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from benchmarks.paper import style
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.record import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.training.data import Dataset

BATCH, CROP = 4, 128
ADAM = {"optimiser": "adam", "lr": 1.5e-3}
# label -> settings of the trainer
STARTS: dict[str, dict[str, Any]] = {
    "shrinkage, Muon": {"start": "shrinkage", "lr": 8e-3, "lr_fan_in": 200},
    "shrinkage, Adam": {"start": "shrinkage", **ADAM, "lr_fan_in": 50},
    "linear (Wiener), Muon": {"start": "wiener", "lr": 8e-3, "lr_fan_in": 200},
    "linear (Wiener), Adam": {"start": "wiener", **ADAM, "lr_fan_in": 10},
    "random, Muon": {"start": "random", "lr": 8e-3},
    "random, Adam": {"start": "random", **ADAM, "tied": 0.0},
    "random, Adam, shared kernels": {"start": "random", **ADAM, "tied": 3.0},
}
COLOURS = ("#D55E00", "#E8A27C", "#0072B2", "#8EC3E6", "#009E73", "#8FD4BF", "#777777")
COLUMNS = ("start", "crops", "psnr_db")


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Runs, starts.csv, starts.png.")],
    steps: Annotated[int, typer.Option(help="Steps from each start.")] = 400,
    stride: Annotated[int, typer.Option(metavar="S", help="CIM-NET's stride: 4, 8 or 16.")] = 8,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train CIM-NET for a short time from each start; killed, the same command goes on."""
    from cimsim.training.data import load_dataset

    console = make_console()
    dataset = load_dataset(data)
    rows = []
    for number, (label, settings) in enumerate(STARTS.items()):
        curve = _curve(
            dataset, data, out / f"start{number}", steps=steps, stride=stride, device=device,
            **settings,
        )  # fmt: skip
        rows += [{"start": label, "crops": crops, "psnr_db": psnr} for crops, psnr in curve]
        _tell(console, label, curve)
    write_csv(out / "starts.csv", COLUMNS, rows)
    with style.paper_style():
        figure = draw(rows, stride)
        figure.savefig(out / "starts.png", dpi=style.DPI)
        figure.savefig(out / "starts.svg", metadata={"Date": None})
    first_last = [
        (label, *(f"{curve[at]['psnr_db']:.2f}" for at in (0, -1)))
        for label in STARTS
        for curve in [[row for row in rows if row["start"] == label]]
    ]
    print_table(console, "Validation PSNR / dB", ("start", "at once", f"{steps} steps"), first_last)


def _curve(
    dataset: Dataset,
    data: Path,
    out: Path,
    *,
    steps: int,
    stride: int,
    device: str,
    **settings: Any,
) -> list[tuple[int, float]]:
    """Train from one start; return (crops seen, validation PSNR in dB) now and then."""
    from cimsim.training.checkpoint import LOG, Log
    from cimsim.training.config import TrainConfig
    from cimsim.training.train import train

    config = TrainConfig(
        model="cimnet", options={"stride": stride}, data=data, out=out, steps=steps, batch=BATCH,
        crop=CROP,
        checkpoint_steps=max(1, steps // 8), device=device, **settings,
    )  # fmt: skip
    train(config, dataset=dataset)
    lines = Log(out / LOG).read()
    return [(line["step"] * BATCH, line["psnr_db"]) for line in lines if line["psnr_db"]]


def _tell(console: Console, label: str, curve: list[tuple[int, float]]) -> None:
    console.print(f"{label}: {curve[0][1]:.2f} -> {curve[-1][1]:.2f} dB", highlight=False)


def draw(rows: list[dict[str, Any]], stride: int) -> Figure:
    """Draw the curves, each named at its end."""
    figure, axes = style.new_figure(2.6)
    for label, colour in zip(STARTS, COLOURS, strict=True):
        points = [row for row in rows if row["start"] == label]
        xs, ys = [p["crops"] for p in points], [p["psnr_db"] for p in points]
        axes.plot(xs, ys, color=colour, marker="o", markersize=2.5, label=label)
    axes.set_xlabel(f"crops seen ({CROP} x {CROP})")
    axes.set_ylabel("validation PSNR / dB")
    axes.set_title(f"CIM-NET, S = {stride}", loc="left")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=6.5)
    return figure


if __name__ == "__main__":
    run_command(main)
