"""``cimsim run --task``: a network of any kind, asked sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cimsim.cli.prepared import Output, Prepared, weights_doubts
from cimsim.cli.steps import Bars, exported, size_of, write_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from cimsim.display.doubts import Doubt
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network
    from cimsim.session.result import Result
    from cimsim.tasks.questions import Task


def ask(run: Prepared) -> None:
    """Run a task and print and write what it gave, as `cimsim run` does for a clip."""
    import cimsim
    from cimsim.display.styled import Screen
    from cimsim.report.run.folder import write
    from cimsim.session.loading import load_network

    chip, output = run.chip, run.output
    network = load_network(
        run.network.model, run.options, run.network.weights, run.seed, chip.name
    )  # fmt: skip
    doubts = weights_doubts(network, chip)
    task, shapes = run.question.pose(network, run.seed)
    network = network.taking(shapes)
    console = Screen(stderr=output.as_json)
    with Bars(console, output.quiet) as report:
        report("tracing", 0, 1)
        graph = exported(network, (1, 1), output.strict, output.partial, chip)
        task.check(graph)
        placed = cimsim.map_graph(graph, chip, run.on.mapping, run.on.allocation)
        report("tracing", 1, 1)
        result = _simulated(run, network, task, placed, doubts, report)
        report("writing", 0, 1)
        written: list[str | Text] = []
        unique = output.out is None
        folder = write(
            result, run.target, unique=unique, writers=run.writers, say=written.append
        )  # fmt: skip
        report("writing", 1, 1)
        title = f"{network.title}, {size_of(network, (1, 1))}"
        written += write_timeline(
            placed, run.on.schedule.value, title, output.trace_file, output.picture, report
        )
    print_result(result, folder, written, console, output, "plots/, layers.csv, result.json")


def _simulated(
    run: Prepared, network: Network, task: Task, placed: Mapping, doubts: tuple[Doubt, ...],
    report: Bars,
) -> Result:  # fmt: skip
    import cimsim
    from cimsim.session.loading import weights_hash
    from cimsim.tasks.keywords import PUBLISHED

    notes = ["random weights: quality means nothing"] if network.random_weights else []
    if task.name == "keywords" and run.chip.name in PUBLISHED:
        notes.append(PUBLISHED[run.chip.name])
    return cimsim.run(
        placed, task, seed=run.seed, schedule=run.on.schedule.value, title=network.title,
        identity=network.identity | {"hash": weights_hash(network.module)},
        threads=run.draws.threads, progress=report, notes=notes, frame_rate_hz=run.draws.fps,
        programmings=run.draws.seeds, command=run.command, doubts=doubts, metrics=run.metrics,
        device=run.draws.device,
    )  # fmt: skip


def print_result(
    result: Result, folder: Path, written: Sequence[str | Text], console: Console, output: Output,
    files: str,
) -> None:  # fmt: skip
    """Print a result, as tables or as JSON on standard output, and say where it stands.

    ``written`` are further lines, ``files`` what stands in the folder.
    """
    import typer

    from cimsim.display.doubts import refuse
    from cimsim.display.styled import styled
    from cimsim.report.run import tables

    if output.as_json:
        typer.echo(result.to_json())
    else:
        tables.print_result(result, console)
    console.print(styled("report: [bold]{}/[/]  ({})", folder, files))
    for line in written:
        console.print(line)
    if output.strict:
        refuse(result.doubts)
