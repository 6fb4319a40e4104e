"""Weights in a chip's cells, fast enough for every training step and differentiable by stand-in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.chip.cells import build
from cimsim.chip.spec import Chip
from cimsim.rng import stream

SAMPLES = 2**21  # cells written to learn what a device model does
SIGNIFICANT = 4.0  # standard errors below which a mean error is taken for none


@dataclass(frozen=True)
class Cells:
    """What writing and reading do to a differential pair, by the magnitude of its weight.

    The device model itself is asked: it writes many pairs of each magnitude once, and their mean
    error, spread and read noise are kept. Training draws normal errors of these moments: exact
    where the model's errors are normal, as with an eFlash cell away from 0 S.

    Attributes
    ----------
    mean, sigma : float32 [q_max + 1]
        Error of a pair in weight LSB, towards larger magnitudes.
    read_variance : float32 [q_max + 1]
        Read noise of a pair at unit input, weight LSB squared.
    """

    mean: Tensor
    sigma: Tensor
    read_variance: Tensor

    @classmethod
    def of(cls, chip: Chip) -> Cells:
        """Write sample pairs of every magnitude once; the same for the same chip."""
        device = build(chip.device.kind, chip.device.parameters)
        levels = np.arange(chip.weights.q_max + 1)
        lsb_s = (device.g_max_s - device.g_min_s) / levels[-1]
        copies = 1 if device.is_exact else max(256, SAMPLES // (2 * len(levels)))
        samples: list[NDArray[np.float64]] = []
        for part in np.array_split(levels, math.ceil(len(levels) * copies / SAMPLES)):
            target = np.full((2, len(part), copies), device.g_min_s)
            target[0] += lsb_s * part[:, None]
            written = device.program(target, stream(0, "training", "cells", int(part[0])))
            error = (written[0] - target[0] - written[1] + target[1]) / lsb_s
            spread = device.read_sigma(written) / lsb_s
            reading = np.square(spread).mean(axis=2).sum(axis=0)
            samples.append(np.stack([error.mean(axis=1), error.std(axis=1), reading]))
        mean, sigma, read = np.concatenate(samples, axis=1)
        mean[(np.abs(mean) <= SIGNIFICANT * sigma / math.sqrt(copies)) | (levels == 0)] = 0.0
        return cls(*(torch.from_numpy(part).float() for part in (mean, sigma, read)))

    def to(self, device: torch.device) -> Cells:
        """Return the same on another device."""
        return Cells(self.mean.to(device), self.sigma.to(device), self.read_variance.to(device))

    def written(self, nominal: Tensor, generator: torch.Generator) -> Tensor:
        """Return pairs after one more writing, weight LSB.

        Parameters
        ----------
        nominal : Tensor, any shape
            Wanted weights in LSB, whole or not.
        """
        if not bool(self.sigma.any()) and not bool(self.mean.any()):
            return nominal.clone()
        level = self._level(nominal)
        error = torch.empty_like(nominal).normal_(generator=generator)
        error *= self.sigma.index_select(0, level).view_as(error)
        if bool(self.mean.any()):
            shift = self.mean.index_select(0, level).view_as(error)
            error += shift * nominal.sign()
        return error.add_(nominal)

    def reading(self, nominal: Tensor) -> Tensor:
        """Return the read-noise variance of pairs at unit input, weight LSB squared."""
        return self.read_variance.index_select(0, self._level(nominal)).view_as(nominal)

    def _level(self, nominal: Tensor) -> Tensor:
        top = len(self.sigma) - 1
        return nominal.abs().add_(0.5).clamp_(max=top).int().reshape(-1)


def weight_scales(
    matrix: Tensor, q_max: int, rule: Literal["layer", "column", "balanced"]
) -> Tensor:
    """Return the weight per step of every column; `cimsim.crossbar.encode.encode_weights` in torch.

    Parameters
    ----------
    matrix : Tensor [groups, cols, rows]
    q_max : int
        Largest magnitude.
    rule : {"layer", "column", "balanced"}
        As the chip's ``weights.scale``.

    Returns
    -------
    Tensor [groups, cols, 1]
    """
    largest = matrix.abs().amax(dim=-1, keepdim=True)
    if rule == "layer":
        largest = largest.amax().expand_as(largest)
    elif rule == "balanced":
        swing = torch.maximum(
            matrix.clamp(min=0).sum(-1, keepdim=True), -matrix.clamp(max=0).sum(-1, keepdim=True)
        )
        # the bound keeps the gradient of a matrix of zeros finite
        share = swing / swing.amax().clamp(min=torch.finfo(swing.dtype).tiny)
        share = torch.where(swing > 0, share, torch.ones_like(swing))
        largest = torch.maximum(largest, share * largest.amax())
    return torch.where(largest > 0, largest / q_max, torch.ones_like(largest))
