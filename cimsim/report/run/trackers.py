"""Results into trackers of experiments, MLflow, Weights & Biases, TensorBoard; writers by name.

None of the trackers is needed otherwise; each is imported when it is called.
"""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import Any

from cimsim.boundary.outside import built, class_of
from cimsim.boundary.own import ask
from cimsim.errors import InputError
from cimsim.report.run.writers import AbstractWriter
from cimsim.session.result import Result

GROUP = "cimsim.writers"  # of entry points


def metrics(result: Result) -> dict[str, float]:
    """Return every number by dotted name in its SI unit, ends of intervals with .low and .high.

    Texts and what is not finite are left out, as trackers draw curves.
    """
    found: dict[str, float] = {}
    for name, number in result.numbers().items():
        low, high = number.interval or (None, None)
        for key, value in ((name, number.value), (f"{name}.low", low), (f"{name}.high", high)):
            if isinstance(value, int | float) and math.isfinite(value):
                found[key] = float(value)
    return found


def parameters(result: Result) -> dict[str, str]:
    """Return what was run: network, chip, mapping, seed, frames, and the hash of all inputs."""
    inputs = result.inputs
    mapping = inputs.get("mapping", {})
    return {
        "network": result.model, "chip": result.chip_label, "seed": str(inputs.get("seed")),
        "mapping": str(mapping.get("strategy")), "allocation": str(mapping.get("allocation")),
        "frames": "x".join(map(str, result.frame)), "hash": result.hash,
    }  # fmt: skip


def to_mlflow(result: Result, experiment: str = "cimsim", **options: object) -> str:
    """Log a result as a run of MLflow (``pip install mlflow``); return the run's id.

    ``options`` are those of ``mlflow.start_run``.
    """
    mlflow = _tracker("mlflow")
    mlflow.set_experiment(experiment)
    with mlflow.start_run(**options) as run:
        mlflow.log_params(parameters(result))
        mlflow.log_metrics(metrics(result))
        mlflow.log_text(result.to_json(), "result.json")
    return str(run.info.run_id)


def to_wandb(result: Result, project: str = "cimsim", **options: object) -> None:
    """Log a result as a run of Weights & Biases (``pip install wandb``).

    ``options`` are those of ``wandb.init``.
    """
    wandb = _tracker("wandb")
    with wandb.init(project=project, config=parameters(result), **options) as run:
        run.log(metrics(result))


def to_tensorboard(result: Result, folder: str | Path, step: int = 0) -> None:
    """Write a result for TensorBoard (``pip install tensorboard``) into a folder.

    ``step`` is the place on the axis, such as the number of bits that a study varies.
    """
    writer = _tracker("torch.utils.tensorboard").SummaryWriter(str(folder))
    for name, value in metrics(result).items():
        writer.add_scalar(name, value, step)
    for name, text in parameters(result).items():
        writer.add_text(name, text, step)
    writer.close()


def _tracker(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.rpartition(".")[2]
        raise InputError(f"{package}: is not installed: pip install {package} ({error})") from None


class Mlflow(AbstractWriter):
    """A run of MLflow, in its experiment ``cimsim``."""

    def check(self) -> None:
        """Look for the package."""
        _tracker("mlflow")

    def write(self, result: Result, folder: Path) -> str:
        """See `to_mlflow`."""
        return f"mlflow: run {to_mlflow(result)}"


class Wandb(AbstractWriter):
    """A run of Weights & Biases, in its project ``cimsim``."""

    def check(self) -> None:
        """Look for the package."""
        _tracker("wandb")

    def write(self, result: Result, folder: Path) -> None:
        """See `to_wandb`."""
        to_wandb(result)


class TensorBoard(AbstractWriter):
    """Events for TensorBoard, in a folder ``tensorboard`` of the run."""

    def check(self) -> None:
        """Look for the package."""
        _tracker("torch.utils.tensorboard")

    def write(self, result: Result, folder: Path) -> None:
        """See `to_tensorboard`."""
        to_tensorboard(result, folder / "tensorboard")


WRITERS: dict[str, type[AbstractWriter]] = {
    "mlflow": Mlflow, "tensorboard": TensorBoard, "wandb": Wandb
}  # fmt: skip


def writer_of(name: str) -> AbstractWriter:
    """Return a writer: of `WRITERS`, ``package.module:Class``, or an entry point.

    Entry points have the group ``cimsim.writers``.

    Raises
    ------
    InputError
        Unknown, cannot be imported, no writer, one that takes arguments, or one that could not
        write what a run finds.
    """
    kind = class_of(name, WRITERS, AbstractWriter, GROUP, "--writer", InputError)
    writer = built(kind, name, "--writer", InputError)
    ask(writer, "check", place="--writer", error=InputError)
    return writer
