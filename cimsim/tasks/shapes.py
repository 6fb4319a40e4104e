"""Shapes and kinds of a network's inputs, as a user says them: ``1x40x98``, ``1x12:int100``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.boundary import memory
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch

_SPEC = re.compile(r"(\d+(?:[x×,]\d+)*)(?::(float|int(\d+)))?")
_MOST = 2**31


@dataclass(frozen=True, slots=True)
class InputShape:
    """One input tensor.

    Attributes
    ----------
    shape : tuple of int
        The batch axis included.
    below : int or None
        Whole numbers 0 .. below - 1 (int64), such as tokens; None: float32.
    """

    shape: tuple[int, ...]
    below: int | None = None

    @classmethod
    def parse(cls, text: str, option: str = "--input-shape") -> InputShape:
        """Read ``1x40x98`` (numbers) or ``1x12:int100`` (whole numbers below 100).

        Raises
        ------
        ConfigError
            Naming the option, the text and an example.
        """
        match = _SPEC.fullmatch(text.strip().lower())
        if match is None:
            raise ConfigError(
                f"{option}: expected sizes of all axes, batch first, such as 1x40x98, or "
                f"1x12:int100 for whole numbers below 100, got '{text}'"
            )
        shape = tuple(int(n) for n in re.split("[x×,]", match[1]))
        if min(shape) < 1 or math.prod(shape) > _MOST:
            raise ConfigError(
                f"{option}: expected sizes of at least 1 and at most {_MOST:,} values, got '{text}'"
            )
        below = int(match[3]) if match[3] else None
        if below is not None and below < 1:
            raise ConfigError(f"{option}: expected whole numbers below 1 or more, got '{text}'")
        return cls(shape, below)

    def zeros(self) -> torch.Tensor:
        """Return a tensor to trace with.

        Raises
        ------
        ConfigError
            It and one value as large do not fit into memory.
        """
        import torch

        size = 4 if self.below is None else 8
        memory.check(
            2.0 * size * math.prod(self.shape), f"--input-shape {self}", "take a smaller one"
        )
        return torch.zeros(self.shape, dtype=torch.float32 if self.below is None else torch.int64)

    def random(self, rng: np.random.Generator) -> torch.Tensor:
        """Draw standard normal numbers, or whole ones of equal chances."""
        import torch

        if self.below is None:
            return torch.from_numpy(rng.standard_normal(self.shape, dtype="float32"))
        return torch.from_numpy(rng.integers(0, self.below, self.shape))

    def __str__(self) -> str:
        kind = "" if self.below is None else f":int{self.below}"
        return "x".join(map(str, self.shape)) + kind
