"""Numbers to cells and voltages: integer weights, magnitude slices, integer inputs, pulses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays.adc import two_sided
from cimsim.errors import SimulationError


def encode_weights(
    weight: NDArray[np.float32], q_max: int, scale: Literal["layer", "column", "balanced"] = "layer"
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Round a matrix to symmetric integers.

    Parameters
    ----------
    weight : float32 [groups, rows, cols]
    q_max : int
        Largest magnitude, ``2**(bits - 1) - 1``.
    scale : {"layer", "column", "balanced"}
        One scale ``max|w| / q_max`` for the matrix, or one for each column. ``balanced`` stretches
        columns too, yet none so far that its largest possible current, the sum of its positive or
        of its negative weights, exceeds that of the largest column under one scale for all:
        converters that serve all columns keep their range.

    Returns
    -------
    q : int32 [groups, rows, cols]
    scales : float64 [groups * cols]
        ``w`` is about ``q * scale``; 1 where a layer or column holds zeros only.
    """
    exact = weight.astype(np.float64)
    if not np.isfinite(exact).all():
        raise SimulationError("weights hold NaN or infinity; they cannot be written into cells")
    if scale == "layer":
        largest = np.full((weight.shape[0], 1, weight.shape[2]), np.abs(exact).max(initial=0.0))
    else:
        largest = np.abs(exact).max(axis=1, keepdims=True, initial=0.0)
    if scale == "balanced":
        swing = np.maximum(
            np.maximum(exact, 0).sum(axis=1, keepdims=True),
            np.maximum(-exact, 0).sum(axis=1, keepdims=True),
        )
        share = np.divide(swing, swing.max(initial=0.0), out=np.ones_like(swing), where=swing > 0)
        largest = np.maximum(largest, share * largest.max(initial=0.0))
    scales = np.where(largest > 0, largest / q_max, 1.0)
    # a subnormal matrix has no scale of its own; it is zero on any chip
    scales[scales == 0] = 1.0
    return np.rint(exact / scales).astype(np.int32), scales.reshape(-1)


def magnitude_slices(q: NDArray[np.int32], slice_bits: int, slices: int) -> NDArray[np.int32]:
    """Cut magnitudes into slices, least significant first.

    Parameters
    ----------
    q : int32 [rows, cols]

    Returns
    -------
    int32 [slices, rows, cols]
        Signed: ``q == sum_s 2**(s * slice_bits) * slices[s]``, each within ``+-(2**slice_bits -
        1)``. The positive cell of a differential pair holds the positive ones, the negative cell
        the others.
    """
    magnitude, sign = np.abs(q), np.sign(q)
    mask = 2**slice_bits - 1
    parts = [sign * (magnitude >> (s * slice_bits) & mask) for s in range(slices)]
    return np.stack(parts).astype(np.int32)


def input_ends(values: NDArray[Any], signed: bool, percentile: float) -> tuple[float, float]:
    """Return the ends of the activations that an input code must cover.

    Parameters
    ----------
    values : ndarray
        Sampled activations; their true ends at a percentile of 100.
    signed : bool
        Whether any activation is negative, sampled or not.
    percentile : float
        Share of the activations between the ends, in %; unsigned ones start at 0.
    """
    if signed:
        return two_sided(values, percentile)
    if percentile >= 100:
        return 0.0, float(values.max())
    return 0.0, float(np.quantile(values, percentile / 100, method="nearest"))


@dataclass(frozen=True, slots=True)
class InputCode:
    """How activations become unsigned integers: ``clip(rint(x / scale) + zero_point, 0, top)``.

    Attributes
    ----------
    scale : float
        Activation per step.
    zero_point : int
        Code of activation 0; 0 where activations are never negative. ``zero_point`` times the
        column sum of the integer weights is subtracted digitally.
    bits : int
    """

    scale: float
    zero_point: int
    bits: int

    @property
    def top(self) -> int:
        """Largest code."""
        return int(2**self.bits - 1)

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """Smallest unsigned integer that holds a code."""
        return np.uint8 if self.bits <= 8 else np.uint16

    @classmethod
    def of_range(cls, low: float, high: float, bits: int) -> InputCode:
        """Cover ``low`` .. ``high`` and 0; negative values get a whole-numbered zero point."""
        if not (np.isfinite(low) and np.isfinite(high)):
            raise SimulationError(f"activations range from {low} to {high}; no code can cover that")
        top = 2**bits - 1
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / top
        if scale == 0:
            return cls(1.0, 0, bits)
        # the whole zero point costs up to half a step at one end; never all of the codes of one
        # sign
        zero = round(-low / scale)
        if low < 0 < high:
            zero = min(max(zero, 1), max(top - 1, 1))
        return cls(scale, int(min(zero, top)), bits)

    def encode(self, x: NDArray[np.floating[Any]]) -> NDArray[np.unsignedinteger[Any]]:
        """Return the codes of activations; `kernels.encode_map` is the compiled twin."""
        code = np.rint(x.astype(np.float64) / self.scale) + self.zero_point
        codes: NDArray[np.unsignedinteger[Any]] = np.clip(code, 0, self.top).astype(self.dtype)
        return codes


def pulses_of(bits: int, bits_per_pulse: int) -> tuple[tuple[int, int], ...]:
    """Return (shift, mask) of each pulse of a code, least significant first.

    ``code == sum_p ((code >> shift_p) & mask_p) << shift_p``; a driver of one pulse has
    ``2**bits_per_pulse`` levels, also where the last pulse needs fewer.
    """
    shifts = range(0, bits, bits_per_pulse)
    return tuple((shift, 2**bits_per_pulse - 1) for shift in shifts)
