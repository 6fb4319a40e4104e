"""What a network is asked in place of a clip to denoise: options, and the task they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cimsim.cli.options import CalibrationDataOption, InputShapeOption, was_given
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from cimsim.session.loading import Network
    from cimsim.tasks.questions import Task
    from cimsim.tasks.sources import Source

Group = TypeVar("Group", bound="DataclassInstance")


@dataclass(frozen=True)
class Question:
    """A group of options: those of `cimsim run` for other tasks than denoising."""

    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="denoising (a clip), classification (top-1 of data with labels), keywords (spoken "
            "digits, some are shipped), tensors (any network against its float self), or "
            "package.module:Class of your own.",
            show_default="denoising, or tensors where --data or --input-shape is given",
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Of other tasks: .npy, .npz (labels as y), a folder of images or of one for each "
            "class, package.module:callable of a torch dataset, or random; of keywords: a folder "
            "of recordings.",
        ),
    ] = None
    input_shape: InputShapeOption = None
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples of --data to judge; default: all.")
    ] = None
    calibration: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Samples to calibrate the chip on; they are not judged.",
            show_default="32",
        ),
    ] = None
    calibration_data: CalibrationDataOption = None
    normalize: Annotated[
        str | None,
        typer.Option(
            metavar="MEAN/STD",
            help="(x - mean) / std of the first input, by channel: 0.49,0.48,0.45/0.25,0.24,0.26.",
        ),
    ] = None

    @property
    def _shapes(self) -> tuple[str, ...]:
        return tuple(self.input_shape or ())

    def of(self, model: str) -> Question:
        """Return the question with the task that a network of the zoo has, where none was given."""
        from cimsim.zoo.registry import CLASSIFIERS

        known = CLASSIFIERS[model].task if model in CLASSIFIERS else None
        return replace(self, task=self.task or known)

    @property
    def asked(self) -> bool:
        """Whether the network is asked anything else than to denoise a clip."""
        given = (
            self.data, self.calibration_data, self.samples, self.calibration, self.normalize,
            self._shapes or None,
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

    def check(self, others: Mapping[str, object]) -> None:
        """Refuse an unknown task and options of denoising.

        Parameters
        ----------
        others : mapping
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

    def pose(self, network: Network, seed: int) -> tuple[Task, tuple[str, ...]]:
        """Return the task and the shapes of the network's inputs.

        A network from a file knows its shapes itself; ``seed`` is that of random tensors.

        Raises
        ------
        ConfigError, InputError
            Neither data nor shapes, or data that cannot be read or is too little.
        """
        if self.task == "keywords":
            return self._keywords()
        from cimsim.tasks.own import task_made
        from cimsim.tasks.questions import CALIBRATION, task_of
        from cimsim.tasks.shapes import InputShape
        from cimsim.tasks.sources import RANDOM, Normalize, source_of

        data = self.data or RANDOM
        told = self._shapes
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
        source = source_of(data, shapes, (samples or 0) + max(calibration, 0), seed)
        other = self.calibration_data
        task = task_made(
            task_of(self.task or "tensors"),
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
        return task, self._shapes or _shapes_of(task.source)


def _shapes_of(source: Source) -> tuple[str, ...]:
    """Read the shapes of a network's inputs off the first sample."""
    import numpy as np

    from cimsim.tasks.sources import NUMBERS

    found = []
    for value in source.sample(0).inputs:
        array = np.asarray(value)
        if array.dtype.kind not in NUMBERS:
            raise InputError(f"{source.name}: a sample holds {array.dtype}, expected numbers")
        whole = np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8
        sizes = "x".join(map(str, (1, *array.shape)))
        found.append(f"{sizes}:int{int(array.max()) + 1}" if whole else sizes)
    return tuple(found)


def usual(context: typer.Context, task: str | None) -> dict[str, str | int | float]:
    """Return what stands for options that were not given where words are told apart.

    The chip is small, so layers share its arrays; a word lasts a second; chips differ, so several
    are asked.
    """
    if task != "keywords":
        return {}
    from cimsim.tasks.keywords import CHIP, MODEL, PROGRAMMINGS, WORDS_PER_S

    words: dict[str, str | int | float] = {
        "model": MODEL, "hw": CHIP, "allocation": "packed", "seeds": PROGRAMMINGS,
        "fps": WORDS_PER_S,
    }  # fmt: skip
    return {name: value for name, value in words.items() if not was_given(context, name)}


def with_usual(group: Group, values: Mapping[str, object]) -> Group:
    """Return a group of options with those of the values that it has."""
    names = {field.name for field in fields(group)}
    return replace(group, **{name: value for name, value in values.items() if name in names})
