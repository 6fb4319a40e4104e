"""The tasks themselves: classification, and any module against its float self."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import class_of, installed, is_outside
from cimsim.errors import ConfigError, InputError, suggest
from cimsim.graph.ir import LayerGraph
from cimsim.rng import key
from cimsim.tasks.sources import Normalize, RandomTensors, Sample, Source, fitted

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, ...]

TASKS = ("denoising", "classification", "keywords", "tensors")
GROUP = "cimsim.tasks"  # of entry points
CALIBRATION = 32  # samples: enough for a correction of layers with one window each


@dataclass(frozen=True, slots=True)
class Score:
    """One measure of one chip.

    Attributes
    ----------
    name, unit, meaning : str
    chip : float
    reference : float or None
        Of the float network.
    hits : (int, int) or None
        Right answers and samples, of a share.
    noisy : float or None
        Of the noisy frames, where frames are judged.
    each : tuple of float
        Of each answer of the chip, where they are kept.
    interval : (float, float) or None
        5 .. 95 % of the mean over the answers of one chip.
    """

    name: str
    unit: str
    meaning: str
    chip: float
    reference: float | None = None
    hits: tuple[int, int] | None = None
    noisy: float | None = None
    each: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None


class Judge(Protocol):
    """Takes answers one by one and holds nothing of them but counts."""

    def add(self, sample: Sample, expected: Tensors, got: Tensors) -> None:
        """Take the answers of the float network and of the chip to one sample."""
        ...

    def scores(self) -> list[Score]:
        """Return the measures so far."""
        ...

    def details(self) -> dict[str, object]:
        """Return more for the JSON: a confusion matrix."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """Samples, in an order of its own, some of them for calibration.

    The order is a fixed permutation, so that the first samples of a folder that is sorted by class
    are not all of one. Samples that calibrate the chip are never judged.

    Attributes
    ----------
    source : Source
    samples : int or None
        How many are judged; None: all that calibration leaves.
    calibration : int
        Samples that ranges and column corrections are calibrated on.
    calibration_source : Source or None
        Others to calibrate on, such as a training set; ``source`` by default.
    normalize : Normalize or None
    """

    source: Source
    samples: int | None = None
    calibration: int = CALIBRATION
    calibration_source: Source | None = None
    normalize: Normalize | None = None

    @property
    def name(self) -> str:
        """What a user calls it."""
        return type(self).__name__.lower()

    def __post_init__(self) -> None:
        for what, value in (("samples", self.samples), ("calibration", self.calibration)):
            if value is not None and value < 1:
                raise InputError(f"{what}: expected at least 1, got {value}")
        own = self.calibration if self.calibration_source is None else 0
        have, asked = len(self.source), (self.samples or 1) + own
        if have < asked:
            more = f" and {own} to calibrate the chip on" if own else ""
            raise InputError(
                f"{self.source.name}: {have} samples, {self.samples or 1} to judge{more} are "
                f"{asked}; take fewer (--samples, --calibration), or calibrate on other data "
                "(--calibration-data)"
            )
        other = self.calibration_source
        if other is not None and len(other) < self.calibration:
            raise InputError(
                f"{other.name}: {len(other)} samples to calibrate the chip on, "
                f"{self.calibration} wanted; take fewer (--calibration)"
            )

    @property
    def count(self) -> int:
        """Samples that are judged."""
        own = self.calibration if self.calibration_source is None else 0
        return len(self.source) - own if self.samples is None else self.samples

    def asked(self, index: int) -> Sample:
        """Return judged sample ``index``."""
        return self.source.sample(int(_order(len(self.source))[index]))

    def inputs(self, sample: Sample, graph: LayerGraph) -> Tensors:
        """Return a sample as the network takes it."""
        return fitted(sample, graph.inputs, self.normalize, self.source.name)

    def calibration_inputs(self, graph: LayerGraph) -> list[Tensors]:
        """Return what the chip is calibrated on."""
        source = self.source if self.calibration_source is None else self.calibration_source
        order = _order(len(source))[::-1][: self.calibration]
        return [
            fitted(source.sample(int(i)), graph.inputs, self.normalize, source.name) for i in order
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the inputs."""
        if isinstance(self.source, RandomTensors):
            return ("RANDOM INPUTS: no data was given; quality says how far the chip is from the "
                    "float network on noise, and nothing about real inputs",)  # fmt: skip
        return ()

    def check(self, graph: LayerGraph) -> None:
        """Refuse a network that cannot be asked this.

        Raises
        ------
        InputError
        """

    def judge(self, graph: LayerGraph) -> Judge:
        """Return who takes the answers."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Comparison(Task):
    """Any module: how far the chip's outputs are from those of the float network."""

    @property
    def name(self) -> str:
        """See `Task`."""
        return "tensors"

    def judge(self, graph: LayerGraph) -> Judge:
        """See `Task`."""
        return _Distance([0.0] * len(graph.outputs), [0.0] * len(graph.outputs))


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """One class for each sample: the largest of the network's first output [1, classes]."""

    def check(self, graph: LayerGraph) -> None:
        """See `Task`."""
        shape = graph[graph.outputs[0]].output.shape
        if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
            raise InputError(
                f"{graph.name}: classification takes an output [1, classes], this network's first "
                f"is {list(shape)}; take --task tensors, or let it return scores of classes"
            )
        known = len(self.source.classes)
        if known > shape[1]:
            raise InputError(
                f"{self.source.name}: {known} classes, the network tells {shape[1]} apart; give "
                f"data of its classes, or a network for them (--arg classes={known})"
            )

    def judge(self, graph: LayerGraph) -> Judge:
        """See `Task`."""
        classes = graph[graph.outputs[0]].output.shape[1]
        return _Classes(np.zeros((classes, classes), np.int64), self.source)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Task`."""
        notes = super().notes
        if not notes and self.asked(0).label is None:
            notes = ("the data has no labels: agreement with the float network is all that can be "
                     "measured",)  # fmt: skip
        return notes


@dataclass(frozen=True, kw_only=True)
class Keywords(Classification):
    """One word for each second of sound, see `cimsim.tasks.keywords`."""


def task_of(name: str) -> type[Task]:
    """Return the class behind ``--task``: built in, ``package.module:Class``, an entry point.

    Entry points have the group ``cimsim.tasks``.

    Raises
    ------
    ConfigError
        Unknown, cannot be imported, or no task.
    """
    known: dict[str, type[Task]] = {"classification": Classification, "tensors": Comparison}
    if name in known:
        return known[name]
    if not is_outside(name) and name not in installed(GROUP):
        offered = [*TASKS, *installed(GROUP)]
        raise ConfigError(
            f"--task: expected {', '.join(offered)} or package.module:Class, got {shown(name)}"
            f"{suggest(name, offered)}"
        )
    return class_of(name, {}, Task, GROUP, "--task")


@dataclass
class _Distance:
    """Sums of squares, by output."""

    signal: list[float]
    error: list[float]

    def add(self, sample: Sample, expected: Tensors, got: Tensors) -> None:
        for i, (want, have) in enumerate(zip(expected, got, strict=True)):
            want = want.double()
            self.signal[i] += float(want.square().sum())
            self.error[i] += float((have.double() - want).square().sum())

    def scores(self) -> list[Score]:
        scores = []
        for i, (signal, error) in enumerate(zip(self.signal, self.error, strict=True)):
            name = "snr" if len(self.signal) == 1 else f"snr{i}"
            of = "the output" if len(self.signal) == 1 else f"output {i}"
            value = _decibels(signal, error)
            scores.append(Score(name, "dB", f"{of} against the float network", value))
        return scores

    def details(self) -> dict[str, object]:
        return {}


@dataclass
class _Classes:
    """Counts of right answers, and the chip's confusion matrix [label, answer]."""

    confusion: NDArray[np.int64]
    source: Source
    samples: int = 0
    labelled: int = 0
    agree: int = 0
    right: dict[str, list[int]] = field(default_factory=dict)

    def add(self, sample: Sample, expected: Tensors, got: Tensors) -> None:
        want, have = expected[0][0], got[0][0]
        self.samples += 1
        self.agree += int(want.argmax()) == int(have.argmax())
        if sample.label is None:
            return
        if not 0 <= sample.label < len(have):
            raise InputError(
                f"{self.source.name}: label {sample.label}, the network tells classes 0 .. "
                f"{len(have) - 1} apart; give data of its classes"
            )
        self.labelled += 1
        self.confusion[sample.label, int(have.argmax())] += 1
        for most in (1, 5):
            if most < len(have):
                hits = self.right.setdefault(f"top{most}", [0, 0])
                for i, scores in enumerate((want, have)):
                    hits[i] += sample.label in scores.topk(most).indices.tolist()

    def scores(self) -> list[Score]:
        judged = []
        for name, (right, on_chip) in self.right.items():
            meaning = f"right class among the {name.removeprefix('top')} largest"
            judged.append(
                Score(
                    name, "%", "share of samples: right class" if name == "top1" else meaning,
                    100 * on_chip / self.labelled, 100 * right / self.labelled,
                    (on_chip, self.labelled),
                )
            )  # fmt: skip
        same = 100 * self.agree / self.samples
        meaning = "share of samples: the class that the float network finds"
        judged.append(Score("agreement", "%", meaning, same, None, (self.agree, self.samples)))
        return judged

    def details(self) -> dict[str, object]:
        names = list(self.source.classes)
        return {"confusion": self.confusion.tolist(), "classes": names} if self.labelled else {}


def _decibels(signal: float, error: float) -> float:
    """Signal over error; 300 dB where nothing differs, so that JSON stays JSON."""
    if error <= 0 or signal <= 0:
        return 300.0 if error <= 0 else -300.0
    return min(10 * math.log10(signal / error), 300.0)


@lru_cache(maxsize=8)
def _order(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(key("order of samples") % 2**63).permutation(count)
