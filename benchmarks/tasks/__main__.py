"""Ask the shipped classifiers on their chips, and write the tables.

python -m benchmarks.tasks --digits spoken-digits --cifar cifar10 [--row A3] [--samples 1000]
python -m benchmarks.tasks --write

One chip after another is programmed and asked all samples; each that is done is kept in
results/accuracy.csv, so that the same command goes on where it was stopped. ``--write`` puts the
tables into docs/tasks.md and docs/validation.md.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

import cimsim
from benchmarks.tasks import page
from benchmarks.tasks.cases import CASES, Case, case
from benchmarks.tasks.record import ACCURACY, COSTS, Accuracy, Cost, read
from cimsim.chip.load import load_hw
from cimsim.mapping.mapping import Mapping
from cimsim.session.loading import load_network
from cimsim.tasks.running import TaskRun


def main(
    digits: Annotated[Path | None, typer.Option(metavar="DIR", help="Spoken digits.")] = None,
    cifar: Annotated[Path | None, typer.Option(metavar="DIR", help="CIFAR-10.")] = None,
    row: Annotated[list[str] | None, typer.Option(metavar="A1", help="These alone.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Of each row; default: all.")] = None,
    programmings: Annotated[int, typer.Option(min=1)] = 5,
    write: Annotated[bool, typer.Option("--write", help="Write the tables.")] = False,
) -> None:
    """Ask what has not been asked yet, then print the table."""
    folders = {"digits": digits, "cifar": cifar}
    for one in [case(name) for name in row] if row else CASES:
        folder = folders[one.data]
        if folder is not None:
            _ask(one, folder, samples, programmings)
    found = read()
    print(page.accuracy(found), page.costs(found), sep="\n\n")
    if write:
        page.write(found)


def _ask(one: Case, folder: Path, samples: int | None, programmings: int) -> None:
    network = load_network(one.network, hw=one.chip).taking(None)
    weights = str(network.identity["weights"])
    graph = cimsim.trace(network.module, network.example(1, 1))
    chip = load_hw(one.chip, dict(one.changes))
    mapping = cimsim.map_graph(graph, chip, "im2col", "packed")
    task = one.task(folder, samples)
    held = read().accuracy
    for seed in range(programmings):
        if any((a.row, a.weights, a.samples, a.seed) == (one.row, weights, task.count, seed)
               for a in held):  # fmt: skip
            continue
        run = TaskRun(mapping, task, seed, None)
        run.prepare(_silent)
        run.execute(_silent)
        top = run.judge.scores()[0]
        assert top.hits is not None
        assert top.reference is not None
        right = round(top.reference * top.hits[1] / 100)
        made = Accuracy(one.row, weights, task.count, seed, right, top.hits[0])
        _append(ACCURACY, made.cells())
        print(made, flush=True)
    if not any((c.row, c.weights) == (one.row, weights) for c in read().costs):
        _append(COSTS, _cost(one, weights, mapping, folder).cells())


def _cost(one: Case, weights: str, mapping: Mapping, folder: Path) -> Cost:
    """Time and energy of a sample, from the first eight."""
    result = cimsim.run(mapping, one.task(folder, 8), frame_rate_hz=one.per_second)
    low, high = result.intervals["energy.per_frame"]
    return Cost(
        one.row, weights, result.hardware.macs, result.hardware.arrays_used,
        result.timing.latency_s, result.timing.seconds_per_frame, result.energy.total_j, low, high,
    )  # fmt: skip


def _append(path: Path, cells: dict[str, str]) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, cells, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(cells)


def _silent(*_: object) -> None:
    """No bar."""


if __name__ == "__main__":
    typer.run(main)
