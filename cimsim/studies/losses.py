"""What a chip loses at the output, as weights of the output's difference.

A loss is written as a sum over the values of the output: weight times (chip minus float network),
exactly and not to first order. For a squared error the weights are the mean of both gradients; each
part's share of the loss is then its Shapley value among all parts: what it costs alone and what is
gained without it, half and half.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.studies.diagnosis_result import decibels
from cimsim.tasks.sources import Sample

if TYPE_CHECKING:
    from torch import Tensor

Weights = "tuple[Tensor | None, ...]"
Asked = Sample | NDArray[np.float32]  # of a task, a clean frame [H, W, C]


class Loss(ABC):
    """One measure of what a chip loses.

    Attributes
    ----------
    name, unit : str
        See `cimsim.studies.diagnosis_result.Attribution`.
    """

    name: str
    unit: str

    @abstractmethod
    def weights(
        self, number: int, sample: Asked, expected: tuple[Tensor, ...], got: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...] | None:
        """Take one sample's outputs; return their weights, None where nothing is lost.

        Parameters
        ----------
        number : int
        sample : Sample or ndarray
            What was asked: a `Sample` of a task, a clean frame [H, W, C].
        expected, got : tuple of torch.Tensor
            Outputs of float network and chip.
        """

    @abstractmethod
    def measured(self) -> tuple[float | None, float | None, float]:
        """Return the measure of the float network, that of the chip, and the loss."""

    @property
    def scale(self) -> float:
        """What sums over samples are multiplied by to be parts of the loss."""
        return 1.0


@dataclass
class Psnr(Loss):
    """Mean PSNR of frames, dB.

    A frame's PSNR changes by ``10 / ln 10 * (difference of squared errors) / (their logarithmic
    mean)``, so parts of the squared error are parts of the decibels (logarithmic mean Divisia
    index, B. W. Ang, Energy Policy 33, 867, 2005).
    """

    name = "PSNR"
    unit = "dB"
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def weights(
        self, number: int, sample: Asked, expected: tuple[Tensor, ...], got: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...] | None:
        """See `Loss`; frames are clipped to 0 .. 1, as a display would."""
        import torch

        assert isinstance(sample, np.ndarray)
        clean = torch.from_numpy(np.ascontiguousarray(sample.transpose(2, 0, 1)))[None].double()
        one, two = expected[0].double(), got[0].double()
        a, b = one.clamp(0, 1), two.clamp(0, 1)
        first, second = float((a - clean).square().mean()), float((b - clean).square().mean())
        self.before.append(decibels(1.0, first))
        self.after.append(decibels(1.0, second))
        per_error = 10 / math.log(10) / logarithmic_mean(first, second)
        step = two - one
        slope = torch.where(step == 0, 1.0, (b - a) / torch.where(step == 0, 1.0, step))
        weight = (a + b - 2 * clean) / clean.numel() * slope * per_error
        return weight.float(), *(None,) * (len(got) - 1)

    def measured(self) -> tuple[float | None, float | None, float]:
        """See `Loss`."""
        one, two = float(np.mean(self.before)), float(np.mean(self.after))
        return one, two, one - two

    @property
    def scale(self) -> float:
        """See `Loss`."""
        return 1 / len(self.before)


@dataclass
class OutputError(Loss):
    """Share of the error power of all outputs, %: what the float network never has."""

    name = "output error"
    unit = "%"
    signal: float = 0.0
    error: float = 0.0

    def weights(
        self, number: int, sample: Asked, expected: tuple[Tensor, ...], got: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...] | None:
        """See `Loss`: the difference itself."""
        weights: list[Tensor | None] = []
        for want, have in zip(expected, got, strict=True):
            if not have.is_floating_point():
                weights.append(None)
                continue
            difference = have.double() - want.double()
            self.signal += float(want.double().square().sum())
            self.error += float(difference.square().sum())
            weights.append(difference.float())
        return tuple(weights)

    def measured(self) -> tuple[float | None, float | None, float]:
        """See `Loss`; the chip's number is the output's SNR in dB."""
        return None, decibels(self.signal, self.error), 100.0 if self.error > 0 else 0.0

    @property
    def scale(self) -> float:
        """See `Loss`."""
        return 100 / self.error if self.error > 0 else 0.0


@dataclass
class Top1(Loss):
    """Points of top-1 accuracy: samples whose answer turns from right to wrong, or back.

    A sample that turns is a step of its margin, right class over the best other one, from one side
    of 0 to the other; parts of the change of the margin are parts of the sample.
    """

    name = "top-1"
    unit = "points"
    samples: int = 0
    before: int = 0
    after: int = 0
    turned: int = 0

    def weights(
        self, number: int, sample: Asked, expected: tuple[Tensor, ...], got: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...] | None:
        """See `Loss`."""
        import torch

        assert isinstance(sample, Sample)
        self.samples += 1
        want, have, label = expected[0][0], got[0][0], int(sample.label or 0)
        was, is_ = int(want.argmax()), int(have.argmax())
        self.before += was == label
        self.after += is_ == label
        if (was == label) == (is_ == label):
            return None
        self.turned += 1
        rival = is_ if was == label else was
        change = (have[label] - have[rival]) - (want[label] - want[rival])
        weight = torch.zeros_like(got[0])
        # a margin that falls below 0 is a sample lost: 1 over all of the change
        sign = 1.0 if was == label else -1.0
        weight[0, label], weight[0, rival] = sign / change, -sign / change
        return weight, *(None,) * (len(got) - 1)

    def measured(self) -> tuple[float | None, float | None, float]:
        """See `Loss`."""
        one, two = 100 * self.before / self.samples, 100 * self.after / self.samples
        return one, two, one - two

    @property
    def scale(self) -> float:
        """See `Loss`."""
        return 100 / self.samples


def logarithmic_mean(one: float, two: float) -> float:
    """Return ``(two - one) / ln(two / one)``, their own value where they are equal."""
    if one <= 0 or two <= 0:
        return math.inf  # no decibels can be shared where one side has no error at all
    ratio = two / one
    return one if abs(ratio - 1) < 1e-9 else (two - one) / math.log(ratio)
