"""What is compared: one layer of integers, and what its cells and converters do to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROWS, COLS, WINDOWS = 128, 32, 96
G_MAX_S = 10e-6
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One effect, or several.

    Attributes
    ----------
    name : str
    programming, reading : float
        Normal error of writing a cell, and of one reading, of full scale; alike for all states. A
        written cell never goes below 0 S.
    adc_bits : int
        0: no rounding. The range is that of the exact sums.
    days : int or None
        SONOS cells so long after programming, in place of ``programming``; None: none.
    """

    name: str
    programming: float = 0.0
    reading: float = 0.0
    adc_bits: int = 0
    days: int | None = None


CASES = (
    Case("ideal"),
    Case("programming error 2 % a cell", programming=0.02),
    Case("read noise 1 % a cell", reading=0.01),
    Case("8-bit converters", adc_bits=8),
    Case("6-bit converters", adc_bits=6),
    Case("all three, 8 bits", programming=0.02, reading=0.01, adc_bits=8),
    Case("SONOS cells, day 0", days=0),
    Case("SONOS cells, day 1", days=1),
    Case("SONOS cells, day 5", days=5),
)


def integers(seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return weights [ROWS, COLS] of -127 .. 127 and inputs [WINDOWS, ROWS] of 0 .. 255.

    Both ends occur, so that every simulator finds the same scale.
    """
    rng = np.random.default_rng(seed)
    weights = np.clip(np.rint(rng.normal(0, 34, (ROWS, COLS))), -127, 127).astype(np.int64)
    weights[0, 0], weights[1, 1] = 127, -127
    inputs = np.minimum(rng.geometric(0.02, (WINDOWS, ROWS)) - 1, 255).astype(np.int64)
    inputs[0, :2] = 0, 255
    return weights, inputs
