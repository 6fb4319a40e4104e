"""What several commands do on the way: progress bars, and a network exported for a frame size."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cimsim.boundary import json_text, memory
from cimsim.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.text import Text

    from cimsim.chip.spec import Chip
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network
    from cimsim.studies.graphs import KeptGraph
    from cimsim.timing.timeline import Timeline


log = logging.getLogger(__name__)
PICTURES = (".png", ".svg", ".pdf")


def exported(
    network: Network,
    size: tuple[int, int],
    strict: bool = False,
    partial: bool = True,
    chip: Chip | None = None,
    kept: KeptGraph | None = None,
) -> LayerGraph:
    """Return the graph of a network for frames of (height, width).

    ``strict`` and ``partial`` are as in the options; ``chip`` is what it is to run on; ``kept`` is
    where the graph may be found.
    """
    import cimsim
    from cimsim.errors import GraphError
    from cimsim.graph.costs import costed
    from cimsim.graph.coverage import check

    height, width = size
    memory.check(
        4.0 * (3 * network.n_frames + network.noise_map) * height * width,
        f"--size: {width}x{height}", "take a smaller --size",
    )  # fmt: skip

    def export() -> LayerGraph:
        made: LayerGraph = cimsim.trace(network.module, network.example(*size), name=network.title)
        return made

    graph = export() if kept is None else kept.graph(export)
    uncosted = (graph if chip is None else costed(graph, chip)).uncosted
    if strict and uncosted:
        listed = "; ".join(f"{op.op} in {op.source or op.name}" for op in uncosted)
        raise GraphError(
            f"--strict: {len(uncosted)} operations have no cost rule: {listed}. Leave out --strict "
            "to run them without time and energy, or give them a cost (--set vector.costs.NAME=4)"
        )
    check(graph, partial, chip)
    return graph


def print_json(data: object) -> None:
    """Print plain data as one JSON document on stdout; null where a number is not finite."""
    import typer

    typer.echo(json_text.dump(json_text.without_infinities(data)))


def size_of(network: Network, size: tuple[int, int]) -> str:
    """Return what the network takes, for headings: ``256 x 256``, ``1x40x98``."""
    if network.inputs:
        return " and ".join(map(str, network.inputs))
    return f"{size[1]} x {size[0]}"


def check_timeline_files(trace_file: Path | None, picture: Path | None) -> None:
    """Refuse names that `write_timeline` could not write, before the long wait.

    Raises
    ------
    InputError
        Another suffix, a folder, or no write access.
    """
    kinds = (("--trace", trace_file, (".json.gz",)), ("--picture", picture, PICTURES))
    for option, path, suffixes in kinds:
        if path is not None:
            check_file(option, path, suffixes)


def check_file(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file that could not be written, before the long wait.

    Raises
    ------
    InputError
        Another suffix, a folder, or no write access.
    """
    if not path.name.lower().endswith(suffixes):
        raise InputError(
            f"{option}: expected a file name that ends in {' or '.join(suffixes)}, got '{path}'"
        )
    above = path.absolute().parent
    if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        why = "it is a folder" if path.is_dir() else f"no folder '{above}' to write to"
        raise InputError(f"{option}: cannot write '{path}': {why}")


def write_out(path: Path, text: str) -> None:
    """Write the file of ``--out`` whole; where that fails, what stood there is left.

    Raises
    ------
    InputError
        It cannot be written.
    """
    from cimsim.files import replacing

    try:
        with replacing(path) as scratch:
            scratch.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"--out: cannot write '{path}': {error}") from None


def write_timeline(
    mapping: Mapping, timeline: Timeline | Literal["pipelined", "sequential"], title: str,
    trace_file: Path | None, picture: Path | None, report: Bars,
) -> list[Text]:  # fmt: skip
    """Write trace and picture of a traced timeline, where asked; returns what to tell the user.

    With a schedule in place of a timeline the cycles are simulated once more, with a trace.
    """
    from cimsim.display.styled import styled

    told: list[Text] = []
    if trace_file is None and picture is None:
        return told
    if isinstance(timeline, str):
        from cimsim.timing.simulate import simulate

        report("timing", 0, 1)
        timeline = simulate(mapping, schedule=timeline, trace=True)
        report("timing", 1, 1)
    if trace_file is not None:
        from cimsim.report.timeline.perfetto import write_trace

        report("writing the trace", 0, 1)
        kept = write_trace(mapping, timeline, trace_file)
        report("writing the trace", 1, 1)
        opened = f"(open it in ui.perfetto.dev; {kept})"
        told.append(styled("trace: [bold]{}[/]  {}", trace_file, opened))
    if picture is not None:
        from cimsim.report.timeline.plot import save_timeline

        report("drawing", 0, 1)
        save_timeline(mapping, timeline, picture, title)
        report("drawing", 1, 1)
        told.append(styled("picture: [bold]{}[/]", picture))
    return told


class Bars:
    """Progress bars on the terminal, one per stage; silent when asked or when piped."""

    def __init__(self, console: Console, quiet: bool) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            # the clock of a stage goes on where its bar has nothing to count
            SpinnerColumn(), "{task.description}", BarColumn(bar_width=20), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, transient=True, disable=quiet or not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a stage are finished."""
        log.info("%s: %d of %d", stage, done, total)
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)
