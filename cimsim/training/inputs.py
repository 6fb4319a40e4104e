"""What a layer is fed with on calibration batches: samples, and the statistics kept of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.crossbar.encode import input_ends
from cimsim.errors import SimulationError
from cimsim.training.patches import MatrixShape

MAX_WINDOWS = 2048  # sampled per use of a layer
MAX_VALUES = 1_000_000  # activations per use looked at for a percentile
DIRECTIONS = 32  # principal directions kept of a layer's inputs


class InputSamples:
    """Inputs of one layer, collected use by use."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.float32]] = []
        self._vectors: list[Tensor] = []

    def add(self, x: Tensor, shape: MatrixShape) -> None:
        """Keep sampled windows of one input and what the input range needs."""
        x = x.detach().float()
        flat = x.movedim(1, -1).reshape(-1) if x.ndim == 4 else x.reshape(-1)
        # an odd stride does not fall in step with the channels
        kept = flat[:: math.ceil(len(flat) / MAX_VALUES) | 1].cpu().numpy()
        low, high = (float(end) for end in x.aminmax())
        self._values.append(np.append(kept, np.array([low, high], np.float32)))
        self._vectors.append(shape.sampled(x, MAX_WINDOWS))

    def clear(self) -> None:
        """Forget everything."""
        self._values, self._vectors = [], []

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._vectors

    @property
    def vectors(self) -> Tensor:
        """Sampled input vectors [n, groups, rows]."""
        return torch.cat(self._vectors)

    def range(self, percentile: float, name: str) -> tuple[float, float]:
        """Return the ends of the range that an input code must cover, as the engine finds them."""
        # the last two are the true ends of a use, which percentiles leave out
        values = np.concatenate([part[:-2] for part in self._values])
        ends = np.concatenate([part[-2:] for part in self._values])
        if not np.isfinite(ends).all():
            raise SimulationError(
                f"layer '{name}': its input on the calibration batch holds NaN or infinity"
            )
        sampled = ends if percentile >= 100 else values
        return input_ends(sampled, bool(ends.min() < 0), percentile)


@dataclass(frozen=True, eq=False)
class InputStatistics:
    """Second-order statistics of a layer's input vectors, small enough for every step.

    The covariance of the rows is taken as ``factors.T @ factors + diag(rest)``.

    Attributes
    ----------
    mean : Tensor [groups, rows]
    factors : Tensor [groups, n, rows]
    rest : Tensor [groups, rows]
    """

    mean: Tensor
    factors: Tensor
    rest: Tensor

    @classmethod
    def of(cls, vectors: Tensor, seed: int) -> InputStatistics:
        """Take the statistics of vectors [n, groups, rows].

        The leading directions come from one step of subspace iteration (Halko, Martinsson, Tropp,
        SIAM Review 2011, algorithm 4.4), started from ``seed``.
        """
        mean = vectors.mean(0)
        centred = (vectors - mean).transpose(0, 1) / math.sqrt(len(vectors))
        groups, n, rows = centred.shape
        generator = torch.Generator(vectors.device).manual_seed(seed)
        wanted = min(DIRECTIONS, n, rows)
        start = torch.empty(groups, n, wanted, device=vectors.device).normal_(generator=generator)
        basis, _ = torch.linalg.qr(centred.transpose(1, 2) @ start)
        for _ in range(2):
            basis, _ = torch.linalg.qr(centred.transpose(1, 2) @ (centred @ basis))
        seen = centred @ basis
        # rows of the triangle span what the n rows of `seen` span, with the same products
        triangle = torch.linalg.qr(seen, mode="r").R
        factors = triangle @ basis.transpose(1, 2)
        rest = (centred.square().sum(1) - factors.square().sum(1)).clamp(min=0)
        return cls(mean, factors, rest)

    def scaled(self, factor: float) -> InputStatistics:
        """Return the statistics of vectors that are ``factor`` times as large."""
        return InputStatistics(self.mean * factor, self.factors * factor, self.rest * factor**2)
