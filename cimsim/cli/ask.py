"""``cimsim run --task``: a network of any kind, asked sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cimsim.chip.spec import Chip
    from cimsim.display.doubts import Doubt
    from cimsim.report.run.writers import AbstractWriter
    from cimsim.session.loading import Network
    from cimsim.session.result import Result
    from cimsim.tasks.metrics import AbstractMetric
    from cimsim.tasks.questions import Task
    from cimsim.tasks.sources import Source


@dataclass(frozen=True, kw_only=True)
class Question:
    """Options of `cimsim run` for other tasks than denoising.

    Attributes
    ----------
    task : str or None
    data, calibration_data : str or None
        See `cimsim.tasks.sources.source_of`.
    shapes : tuple of str
        As ``--input-shape`` takes them.
    samples, calibration : int or None
    normalize : str or None
    seed : int
        Of random tensors.
    """

    task: str | None
    data: str | None
    calibration_data: str | None
    shapes: tuple[str, ...]
    samples: int | None
    calibration: int | None
    normalize: str | None
    seed: int

    @property
    def asked(self) -> bool:
        """Whether the network is asked anything else than to denoise a clip."""
        given = (
            self.data, self.calibration_data, self.samples, self.calibration, self.normalize,
            self.shapes or None,
        )  # fmt: skip
        if self.task == "denoising":
            names = ("--data", "--calibration-data", "--samples", "--calibration", "--normalize",
                     "--input-shape")  # fmt: skip
            wrong = [n for n, value in zip(names, given, strict=True) if value is not None]
            if wrong:
                raise ConfigError(
                    f"{wrong[0]}: for --task classification and tensors; a clip to denoise is "
                    "--input"
                )
            return False
        return self.task is not None or any(value is not None for value in given)

    def check(self, others: dict[str, Any]) -> None:
        """Refuse an unknown task and options of denoising.

        Parameters
        ----------
        others : dict
            Option -> value of those that only denoising has; None or False where not given.

        Raises
        ------
        ConfigError
        """
        from cimsim.tasks.questions import TASKS, task_of

        if self.task is not None and self.task not in TASKS:
            task_of(self.task)
        for option, value in others.items():
            if value is not None and value is not False:
                raise ConfigError(f"{option}: for --task denoising; leave it out")

    def pose(self, network: Network) -> tuple[Task, tuple[str, ...]]:
        """Return the task and the shapes of the network's inputs.

        A network from a file knows its shapes itself.

        Raises
        ------
        ConfigError, InputError
            Neither data nor shapes, or data that cannot be read or is too little.
        """
        if self.task == "keywords":
            return self._keywords()
        from cimsim.tasks.questions import CALIBRATION, task_of
        from cimsim.tasks.shapes import InputShape
        from cimsim.tasks.sources import RANDOM, Normalize, source_of

        data = self.data or RANDOM
        told = self.shapes
        if not told and data == RANDOM:
            told = getattr(network.module, "shapes", ())
        shapes = [InputShape.parse(text) for text in told]
        if data == RANDOM and not shapes:
            raise ConfigError(
                "--task: give --data (an .npy or .npz file, a folder of images, package.module:"
                "callable of a torch dataset), or --input-shape such as 1x40x98 for random inputs"
            )
        if data == RANDOM and self.task == "classification":
            raise ConfigError(
                "--task classification: give --data with labels; random inputs have no class "
                "(--task tensors takes them)"
            )
        calibration = CALIBRATION if self.calibration is None else self.calibration
        samples = self.samples
        if data == RANDOM:
            samples = 8 if samples is None else samples
        source = source_of(data, shapes, (samples or 0) + max(calibration, 0), self.seed)
        other = self.calibration_data
        task = task_of(self.task or "tensors")(
            source=source, samples=samples, calibration=calibration,
            calibration_source=None if other is None else source_of(other, shapes, calibration, 0),
            normalize=None if self.normalize is None else Normalize.parse(self.normalize),
        )  # fmt: skip
        return task, told or _shapes_of(source)

    def _keywords(self) -> tuple[Task, tuple[str, ...]]:
        """Return the task of spoken digits: those that are shipped, or a folder of them."""
        from cimsim.tasks.keywords import keywords

        for option, value in (("--calibration-data", self.calibration_data),
                              ("--normalize", self.normalize)):  # fmt: skip
            if value is not None:
                raise ConfigError(f"{option}: not for --task keywords; leave it out")
        task = keywords(self.data, self.samples, self.calibration)
        return task, self.shapes or _shapes_of(task.source)


def _shapes_of(source: Source) -> tuple[str, ...]:
    """Read the shapes of a network's inputs off the first sample."""
    import numpy as np

    found = []
    for value in source.sample(0).inputs:
        array = np.asarray(value)
        whole = np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8
        sizes = "x".join(map(str, (1, *array.shape)))
        found.append(f"{sizes}:int{int(array.max()) + 1}" if whole else sizes)
    return tuple(found)


def ask(
    question: Question, network: Network, chip: Chip, *, doubts: tuple[Doubt, ...], mapping: str,
    allocation: str, schedule: Literal["pipelined", "sequential"], seed: int, seeds: int,
    fps: float | None, threads: int | None, device: str | None, strict: bool, partial: bool,
    quiet: bool, out: Path | None, target: Path, metrics: Sequence[type[AbstractMetric]] = (),
    writers: Sequence[AbstractWriter] = (), trace_file: Path | None = None,
    picture: Path | None = None, command: dict[str, Any] | None = None, as_json: bool = False,
) -> None:  # fmt: skip
    """Run a task and print and write what it gave, as `cimsim run` does for a clip."""
    from rich.console import Console

    import cimsim
    from cimsim.cli.steps import Bars, size_of, trace, write_timeline
    from cimsim.display.doubts import refuse
    from cimsim.report.run.folder import write
    from cimsim.session.loading import weights_hash
    from cimsim.tasks.keywords import PUBLISHED

    task, shapes = question.pose(network)
    network = network.taking(shapes)
    console = Console(emoji=False, stderr=as_json)
    with Bars(console, quiet) as report:
        report("tracing", 0, 1)
        graph = trace(network, (1, 1), strict, partial, chip)
        task.check(graph)
        placed = cimsim.map_graph(graph, chip, mapping, allocation)
        report("tracing", 1, 1)
        notes = ["random weights: quality means nothing"] if network.random_weights else []
        if task.name == "keywords" and chip.name in PUBLISHED:
            notes.append(PUBLISHED[chip.name])
        result = cimsim.run(
            placed, task, seed=seed, schedule=schedule, title=network.title,
            identity=network.identity | {"hash": weights_hash(network.module)}, threads=threads,
            progress=report, notes=notes, frame_rate_hz=fps, programmings=seeds, command=command,
            doubts=doubts, metrics=metrics, device=device,
        )  # fmt: skip
        report("writing", 0, 1)
        written: list[str] = []
        folder = write(
            result, out or target, unique=out is None, writers=writers, say=written.append
        )
        report("writing", 1, 1)
        title = f"{network.title}, {size_of(network, (1, 1))}"
        written += write_timeline(placed, schedule, title, trace_file, picture, report)
    show_result(result, console, as_json)
    console.print(f"report: [bold]{folder}/[/]  (plots/, layers.csv, result.json)")
    for line in written:
        console.print(line)
    if strict:
        refuse(result.doubts)


def show_result(result: Result, console: Console, as_json: bool) -> None:
    """Print the tables of a result, or all of it as JSON on standard output."""
    from cimsim.report.run.tables import print_result

    if as_json:
        typer.echo(result.to_json())
    else:
        print_result(result, console)
