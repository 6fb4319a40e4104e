"""Where a training step's time goes, on one core.

python -m benchmarks.speed.training --data clips

Seconds are those of the processor, not of the clock, so that other programs on the machine matter
less. Parts: drawing a batch, forward and backward, the optimiser, and the rest (clipping, averaged
copy). Validation is spread over the steps between two of them. The share of the peak counts the
products of all layers, forward and twice backward, against a large product of the same run.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import nn
from torch.nn import functional

from cimsim.training.config import TrainConfig
from cimsim.training.data import Dataset, load_dataset
from cimsim.training.muon import Muon, by_products
from cimsim.training.train import _Run

GEMM = 768
NETWORKS: dict[str, dict[str, Any]] = {
    "fastdvdnet-block": {"model": "fastdvdnet-block", "batch": 4},
    "cimnet S = 8": {"model": "cimnet", "options": {"stride": 8}, "batch": 4},
    "foldnet tiles 1": {"model": "foldnet", "options": {"stride": 2}, "batch": 8},
    "foldnet tiles 2": {"model": "foldnet", "options": {"stride": 2, "tiles": 2}, "batch": 4},
}


@dataclass(frozen=True, slots=True)
class Parts:
    """Milliseconds of a step, and what it computes.

    Attributes
    ----------
    draw, network, optimiser, rest, validation : float
        Of one step.
    published : float
        Of Muon's ten products for each kernel, which `cimsim.training.muon` spares a processor.
    batch : int
    macs : float
        Multiplications of the layers of one forward pass.
    """

    draw: float
    network: float
    optimiser: float
    rest: float
    validation: float
    published: float
    batch: int
    macs: float

    @property
    def step(self) -> float:
        """Milliseconds of a whole step."""
        return self.draw + self.network + self.optimiser + self.rest + self.validation


def milliseconds(work: Callable[[], object], runs: int) -> float:
    """Median processor time after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1e3 * statistics.median(times)


def gemm_peak(runs: int) -> float:
    """Return multiply-adds a millisecond of a large float32 product."""
    a, b = torch.rand(GEMM, GEMM), torch.rand(GEMM, GEMM)
    return float(GEMM**3) / milliseconds(lambda: a @ b, runs)


def count_macs(model: nn.Module, inputs: Sequence[torch.Tensor]) -> float:
    """Return the multiplications of a forward pass."""
    total = 0.0

    def add(part: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        weight = part.weight
        assert isinstance(weight, torch.Tensor)
        total += output.numel() * weight[0].numel()

    layers = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    hooks = [part.register_forward_hook(add) for part in layers]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return total


class Step:
    """The parts of a step of one configuration, each to be called by itself."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.run = run = _Run(config, dataset)
        run.model.train()
        for group in run.optimiser.param_groups:
            group["lr"] = 1e-4
        self.noisy, self.noise_map, self.clean = run._place(run.batches.get(0))
        if run.chip is not None:
            run.chip.calibrate(self.noisy, self.noise_map)
            run.step = 1  # the ranges of step 0 serve for a while

    def network(self) -> None:
        """Forward and backward."""
        self.run.optimiser.zero_grad(set_to_none=True)
        with self.run._on_chip(self.noisy, self.noise_map):
            estimate = self.run.model(self.noisy, self.noise_map)
            functional.mse_loss(estimate, self.clean).backward()

    def rest(self) -> None:
        """Clipping and the averaged copy."""
        self.run._clip()
        self.run.average.follow(1)

    def published(self) -> None:
        """Orthogonalise all kernels as Muon is published, by products."""
        assert isinstance(self.run.optimiser, Muon)
        for shape in self.run.optimiser.shapes.values():
            low, high = sorted(shape[1:])
            by_products(torch.ones(shape[0], low, high))

    def measure(self, runs: int) -> Parts:
        """Time everything."""
        run = self.run
        draw = milliseconds(lambda: run.batches.get(0), runs)
        network = milliseconds(self.network, runs)
        optimiser, rest = milliseconds(run.optimiser.step, runs), milliseconds(self.rest, runs)
        published = milliseconds(self.published, runs)
        steps = max(1.0, 6e4 * run.config.checkpoint_minutes / (draw + network + optimiser + rest))
        start = time.thread_time()
        run.validate(keep=False)
        validation = 1e3 * (time.thread_time() - start) / steps
        macs = count_macs(run.averaged, (self.noisy, self.noise_map))
        return Parts(
            draw, network, optimiser, rest, validation, published, run.config.batch, macs
        )  # fmt: skip


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    hw: Annotated[str | None, typer.Option(help="A chip in the loop.")] = None,
    only: Annotated[str, typer.Option(help="Networks whose name holds this.")] = "",
    runs: Annotated[int, typer.Option(min=1, help="Repetitions of each part.")] = 5,
    layouts: Annotated[
        bool, typer.Option("--layouts", help="Time the passes in both memory layouts, in turns.")
    ] = False,
) -> None:
    """Print what each part of a step takes, crops a second, and the share of the core's peak."""
    from rich.table import Table

    torch.set_num_threads(1)
    dataset = load_dataset(data)
    title = "a step on one core" + ("" if hw is None else f", {hw} in the loop")
    table = Table(title=title, title_justify="left")
    parts = (
        "draw / ms", "passes", "optimiser", "rest", "validation", "crops/s", "of peak / %",
        "products of Muon / ms", "crops/s with them",
    )  # fmt: skip
    for column in ("network", *parts):
        table.add_column(column, justify="right" if column in parts else "left")
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in NETWORKS.items():
            if only not in name:
                continue
            config = TrainConfig(
                data=data, out=Path(folder), steps=1, crop=96, start="random", resume=False, hw=hw,
                **settings,
            )  # fmt: skip
            if layouts:
                compare_layouts(name, config, dataset, runs)
                continue
            one = Step(config, dataset).measure(runs)
            peak = gemm_peak(runs)
            times = (one.draw, one.network, one.optimiser, one.rest, one.validation)
            share = 100 * 3 * one.macs / peak / one.step
            table.add_row(
                name, *(f"{value:.1f}" for value in times), f"{1e3 * one.batch / one.step:.1f}",
                f"{share:.0f}", f"{one.published:.1f}",
                f"{1e3 * one.batch / (one.step - one.optimiser + one.published):.1f}",
            )  # fmt: skip
    if not layouts:
        Console(width=140).print(table)


def compare_layouts(name: str, config: TrainConfig, dataset: Dataset, rounds: int) -> None:
    """Print the milliseconds of the passes in both memory layouts, the shortest of all rounds."""
    steps = {last: Step(replace(config, channels_last=last), dataset) for last in (True, False)}
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for last, step in steps.items():
            times[last].append(milliseconds(step.network, 1))
    print(f"{name}: channels last {min(times[True]):.0f}, plain {min(times[False]):.0f} ms")


if __name__ == "__main__":
    typer.run(main)
