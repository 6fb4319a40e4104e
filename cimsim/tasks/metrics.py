"""Metrics: further numbers for the answers of a network, beside those that a task measures itself.

A metric is asked once for each answer, in order, and gives a number; at the end it gives one for
all. Each network that is judged (float, chip) has an instance of its own, so that a metric may keep
what it has seen.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, ParamSpec, SupportsFloat, TypeAlias

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import built, class_of, code_digest
from cimsim.boundary.own import failed, path_of
from cimsim.errors import InputError
from cimsim.stats import mean_interval
from cimsim.tasks.questions import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

P = ParamSpec("P")
# what is judged: a frame, a class, its scores, outputs of a network
Answer: TypeAlias = "NDArray[np.float32] | int | Tensor | tuple[Tensor, ...]"
GROUP = "cimsim.metrics"  # of entry points
TAKEN = {"loss", "psnr_by_retention", "programmings_psnr"} | {
    who + name for who in ("", "noisy_", "float_", "chip_") for name in ("psnr", "ssim")
}  # under quality already
JUDGES = ("frames", "labels", "outputs")


class AbstractMetric(ABC):
    """One number for each answer of a network, and one for all of them.

    Attributes
    ----------
    name : str
        Small letters, digits and ``_``: the number is ``quality.<name>`` of a result.
    unit, meaning : str
        ``dB``, ``1``, ``%``; one line.
    judges : {"frames", "labels", "outputs"}
        What `of` is given. ``frames``: the clean frame and the denoised one, float32 [H, W, C],
        both in 0 .. 1. ``labels``: the right class (int) and the scores, a tensor [classes].
        ``outputs``: outputs of the float network and those of the chip, tuples of tensors.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    meaning: ClassVar[str]
    judges: ClassVar[Literal["frames", "labels", "outputs"]] = "frames"

    @abstractmethod
    def of(self, truth: Answer, answer: Answer) -> float:
        """Return the number of one answer, finite; answers come in order."""

    def total(self, values: Sequence[float]) -> float:
        """Return the number of all answers: their mean, where no other is defined."""
        return sum(values) / len(values)


Metrics = Sequence[str | type[AbstractMetric]]


def metrics_of(
    asked: Metrics, judges: Sequence[str], what: str
) -> tuple[type[AbstractMetric], ...]:  # fmt: skip
    """Return the classes behind the names of metrics.

    Parameters
    ----------
    asked : sequence of str or type
        ``package.module:Class``, the name of an entry point of the group ``cimsim.metrics``, or the
        class itself.
    judges : sequence of str
        What there is to judge.
    what : str
        Of whom, for messages: ``denoising`` ...

    Raises
    ------
    InputError
        Unknown, no metric, without name, unit or meaning, of what is not there, or twice.
    """
    kinds: list[type[AbstractMetric]] = []
    for one in asked:
        kind = one
        if isinstance(one, str):
            kind = class_of(one, {}, AbstractMetric, GROUP, "--metric", InputError)
        place = f"--metric: {shown(getattr(one, '__name__', one))}"
        if not (isinstance(kind, type) and issubclass(kind, AbstractMetric)):
            raise InputError(
                f"{place}: expected a class that derives from cimsim.api.AbstractMetric"
            )
        check_metric(kind, place)
        if kind.judges not in judges:
            raise InputError(
                f"{place}: judges {kind.judges}; {what} has {' and '.join(judges)} to judge"
            )
        if kind.name in [other.name for other in kinds]:
            raise InputError(f"{place}: another metric has the name '{kind.name}', too")
        kinds.append(kind)
    return tuple(kinds)


def check_metric(kind: type[AbstractMetric], place: str) -> None:
    """Refuse a metric that does not say what it measures.

    Raises
    ------
    InputError
        A name that is none, no unit or meaning, or an unknown kind of answers.
    """
    for field in ("name", "unit", "meaning", "judges"):
        if not isinstance(getattr(kind, field, None), str):
            raise InputError(f"{place}: {field}: expected a text as an attribute of the class")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind.name):
        raise InputError(f"{place}: name: expected letters a-z, 0-9 and _, got {shown(kind.name)}")
    if kind.name in TAKEN:
        raise InputError(
            f"{place}: name: quality.{kind.name} is a number of every result; take another name"
        )
    if kind.judges not in JUDGES:
        raise InputError(f"{place}: judges: expected {', '.join(JUDGES)}, got {shown(kind.judges)}")


def digests(kinds: Sequence[type[AbstractMetric]]) -> dict[str, str]:
    """Return the digest of each metric's text by name, for the hash of a result."""
    return {kind.name: f"sha256:{code_digest(kind)}" for kind in kinds}


class Judged:
    """Metrics of one programmed chip and of the networks that it is compared with.

    Parameters
    ----------
    kinds : sequence of type
    who : sequence of str
        Whose answers there are: ``chip``, ``float``, ``noisy``. Of outputs, which are judged by
        those of the float network, only the chip's are.
    """

    def __init__(self, kinds: Sequence[type[AbstractMetric]], who: Sequence[str]) -> None:
        self._metrics = [
            (name, built(kind, kind.name, "--metric", InputError))
            for kind in kinds
            for name in (["chip"] if kind.judges == "outputs" else who)
        ]
        self._values: list[list[float]] = [[] for _ in self._metrics]

    def add(self, index: int, truth: Answer, answers: Mapping[str, Answer]) -> None:
        """Judge answer ``index`` of each network; values from there on are taken anew.

        Parameters
        ----------
        index : int
        truth : object
            See `AbstractMetric`.
        answers : mapping
            Whose -> the answer.

        Raises
        ------
        InputError
            A metric failed, or gave no finite number.
        """
        for (name, metric), values in zip(self._metrics, self._values, strict=True):
            values[index:] = [_number(metric, metric.of, truth, answers[name])]

    def scores(self, count: int) -> list[Score]:
        """Return a score for each metric, of the first ``count`` answers.

        Raises
        ------
        InputError
            A metric failed, or gave no finite number.
        """
        totals: dict[str, dict[str, float]] = {}
        for (name, metric), values in zip(self._metrics, self._values, strict=True):
            totals.setdefault(metric.name, {})[name] = _number(metric, metric.total, values[:count])
        scores = []
        for (name, metric), values in zip(self._metrics, self._values, strict=True):
            if name != "chip":
                continue
            each, total = tuple(values[:count]), totals[metric.name]
            is_mean = type(metric).total is AbstractMetric.total and count > 1
            scores.append(Score(
                metric.name, metric.unit, metric.meaning, total["chip"], total.get("float"),
                noisy=total.get("noisy"), each=each,
                interval=mean_interval(each) if is_mean else None,
            ))  # fmt: skip
        return scores


def _number(
    metric: AbstractMetric, of: Callable[P, float], *arguments: P.args, **named: P.kwargs
) -> float:
    """Return what the user's own code gives, checked."""
    method = of.__name__
    try:
        given: object = of(*arguments, **named)
    except Exception as why:  # the user's own code may raise anything
        raise InputError(f"--metric: '{metric.name}': {failed(why, metric, method)}") from why
    try:
        value = float(given) if isinstance(given, SupportsFloat) else math.nan
    except Exception:  # noqa: BLE001 - of a tensor of many values, whatever it raises
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"--metric: '{metric.name}': {path_of(metric)}.{method}: expected a finite number, got "
            f"{shown(given)}"
        )
    return value
