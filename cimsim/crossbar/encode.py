"""Numbers to cells and voltages: integer weights, slices of cells, integer inputs, pulses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.adc import two_sided
from cimsim.errors import SimulationError
from cimsim.kernels.arrays import Codes, Floats, Numbers


def encode_weights(
    weight: NDArray[np.float32],
    q_max: int,
    scale: Literal["layer", "column", "balanced"] = "layer",
    ends: NDArray[np.float64] | None = None,
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
    ends : float64 [groups * cols], optional
        Largest magnitude of each column's code in a network that was quantised, in place of its
        largest weight; with ``layer`` the largest of all columns counts. ``balanced`` ignores it:
        there the converters choose.

    Returns
    -------
    q : int32 [groups, rows, cols]
    scales : float64 [groups * cols]
        ``w`` is about ``q * scale``; 1 where a layer or column holds zeros only.
    """
    exact = weight.astype(np.float64)
    if not np.isfinite(exact).all():
        raise SimulationError("weights hold NaN or infinity; they cannot be written into cells")
    if ends is not None and scale != "balanced":
        largest = ends.reshape(weight.shape[0], 1, weight.shape[2])
        if scale == "layer":
            largest = np.full_like(largest, largest.max(initial=0.0))
    elif scale == "layer":
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
    q = np.rint(exact / scales)
    if ends is not None:
        # the lowest code of a signed kind has no counterpart
        q = np.clip(q, -q_max, q_max)
    return q.astype(np.int32), scales.reshape(-1)


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


@dataclass(frozen=True, slots=True)
class WeightCode:
    """How an integer weight becomes cells: slices, their cells, and what a reference takes off.

    ``q == sum_s factors[s] * (sum of lines * levels of its cells - references[s])``.

    Attributes
    ----------
    encoding : {"differential", "offset", "twos_complement"}
        ``differential``: two cells for each slice of the magnitude, one for each sign. ``offset``:
        one cell for each slice of ``q + 2**(bits - 1)``; a column of reference cells at that
        offset, one in each row, is subtracted from all columns of a slice before they are
        converted. ``twos_complement``: one cell for each slice of the lower ``bits - 1`` bits, and
        one for the sign bit, which counts ``-2**(bits - 1)``; it is stored as the highest bit of
        its cell, so that its column draws currents like the others. The reference cells are erased
        and take off ``g_min``.
    bits : int
        Of the weight with its sign.
    slice_bits : int
        Of one cell.
    """

    encoding: Literal["differential", "offset", "twos_complement"]
    bits: int
    slice_bits: int

    @property
    def has_sign_slice(self) -> bool:
        """Whether the last slice holds nothing but the sign bit."""
        return self.encoding == "twos_complement"

    @property
    def slices(self) -> int:
        """Columns of one weight."""
        unsigned = self.bits if self.encoding == "offset" else self.bits - 1
        return math.ceil(unsigned / self.slice_bits) + self.has_sign_slice

    @property
    def factors(self) -> tuple[float, ...]:
        """What a unit of each slice counts in the output."""
        found = [2.0 ** (s * self.slice_bits) for s in range(self.slices)]
        if self.has_sign_slice:
            found[-1] = -(2.0 ** (self.bits - self.slice_bits))
        return tuple(found)

    @property
    def lines(self) -> tuple[float, ...]:
        """Sign with which the current of each cell of a slice counts."""
        return (1.0, -1.0) if self.encoding == "differential" else (1.0,)

    @property
    def top(self) -> int:
        """Largest level of a cell; it lies at ``g_max``."""
        return int(2**self.slice_bits - 1)

    @property
    def references(self) -> tuple[int, ...] | None:
        """Level of the reference cells of each slice; None without reference columns."""
        if self.encoding == "differential":
            return None
        found = [0] * self.slices
        if self.encoding == "offset":
            found[-1] = 2 ** (self.bits - 1 - (self.slices - 1) * self.slice_bits)
        return tuple(found)

    @property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest value of a slice, over the slices, in units of a cell level."""
        if self.references is None:
            return -self.top, self.top
        return -max(self.references), self.top - min(self.references)

    def levels(self, q: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the level of every cell, int32 [slices, lines, rows, cols], 0 .. ``top``.

        Parameters
        ----------
        q : int32 [rows, cols]
            Within ``+-(2**(bits - 1) - 1)``.
        """
        if self.encoding == "differential":
            parts = magnitude_slices(q, self.slice_bits, self.slices)
            return np.stack([np.maximum(parts, 0), np.maximum(-parts, 0)], axis=1)
        unsigned = q + 2 ** (self.bits - 1) if self.encoding == "offset" else q & self._low_bits
        parts = magnitude_slices(unsigned, self.slice_bits, self.slices - self.has_sign_slice)
        if self.has_sign_slice:
            parts = np.concatenate([parts, (q < 0)[None] * 2 ** (self.slice_bits - 1)])
        return parts[:, None].astype(np.int32)

    @property
    def _low_bits(self) -> int:
        return int(2 ** (self.bits - 1) - 1)


def input_ends(values: Numbers, signed: bool, percentile: float) -> tuple[float, float]:
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

    With ``phases`` and ``rows`` a code is a sign and a magnitude, ``clip(rint(x / scale), -top,
    top)``, and is applied as two unsigned numbers of which one is 0: its positive and its negative
    part.

    Attributes
    ----------
    scale : float
        Activation per step.
    zero_point : int
        Code of activation 0; 0 where activations are never negative. ``zero_point`` times the
        column sum of the integer weights is subtracted digitally.
    bits : int
        With the sign, where there is one.
    signed : {"offset", "phases", "rows"}
        ``phases``: the negative part lies ``bits - 1`` bits above the positive one in the same word
        and is applied after it, subtracted. ``rows``: the two parts lie side by side and drive two
        rows of opposite weights.
    """

    scale: float
    zero_point: int
    bits: int
    signed: Literal["offset", "phases", "rows"] = "offset"

    @property
    def magnitude_bits(self) -> int:
        """Bits that a driver applies."""
        return self.bits if self.signed == "offset" else self.bits - 1

    @property
    def top(self) -> int:
        """Largest code."""
        return int(2**self.magnitude_bits - 1)

    @property
    def lines(self) -> int:
        """Word lines of one activation."""
        return 2 if self.signed == "rows" else 1

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """Smallest unsigned integer that holds a code."""
        held = self.magnitude_bits * (2 if self.signed == "phases" else 1)
        return np.uint8 if held <= 8 else np.uint16 if held <= 16 else np.uint32

    @classmethod
    def of_range(
        cls,
        low: float,
        high: float,
        bits: int,
        signed: Literal["offset", "phases", "rows"] = "offset",
    ) -> InputCode:
        """Cover ``low`` .. ``high`` and 0; negative values get a whole-numbered zero point.

        With ``phases`` and ``rows`` both signs get the same scale.
        """
        if not (np.isfinite(low) and np.isfinite(high)):
            raise SimulationError(f"activations range from {low} to {high}; no code can cover that")
        low, high = min(low, 0.0), max(high, 0.0)
        if signed != "offset":
            scale = max(-low, high) / (2 ** (bits - 1) - 1)
            return cls(scale if scale >= np.finfo(float).tiny else 1.0, 0, bits, signed)
        top = 2**bits - 1
        scale = (high - low) / top
        if scale < np.finfo(float).tiny:  # nothing to see, and no reciprocal
            return cls(1.0, 0, bits)
        # the whole zero point costs up to half a step at one end; never all of the codes of one
        # sign
        zero = round(-low / scale)
        if low < 0 < high:
            zero = min(max(zero, 1), max(top - 1, 1))
        return cls(scale, int(min(zero, top)), bits)

    def encode(self, x: Floats) -> Codes:
        """Return the codes of activations, [..., lines * n] of [..., n].

        `kernels.encode_map` and `kernels.encode_signed` are the compiled twins.
        """
        code = np.rint(x.astype(np.float64) * (1.0 / self.scale)) + self.zero_point
        if self.signed == "offset":
            return np.clip(code, 0, self.top).astype(self.dtype)  # type: ignore[no-any-return]
        parts = [np.clip(part, 0, self.top).astype(self.dtype) for part in (code, -code)]
        if self.signed == "phases":
            return parts[0] | (parts[1] << self.magnitude_bits).astype(self.dtype)  # type: ignore[no-any-return]
        return np.stack(parts, axis=-1).reshape(*x.shape[:-1], -1)

    def integers(self, codes: Codes) -> NDArray[np.float64]:
        """Return the signed integer activations that codes stand for, whole float64 [..., n]."""
        if self.signed == "offset":
            return codes.astype(np.float64) - self.zero_point
        if self.signed == "phases":
            low, high = codes & self.top, codes >> self.magnitude_bits
            return low.astype(np.float64) - high.astype(np.float64)
        positive, negative = codes[..., ::2], codes[..., 1::2]
        return positive.astype(np.float64) - negative.astype(np.float64)

    def pulses(self, bits_per_pulse: int) -> tuple[tuple[int, int], ...]:
        """Return (shift, mask) of each pulse, the positive phase first, see `pulses_of`."""
        bits = self.magnitude_bits
        positive = pulses_of(bits, min(bits_per_pulse, bits))
        if self.signed != "phases":
            return positive
        # the last pulse must not reach into the other phase's bits
        positive = tuple((shift, min(mask, 2 ** (bits - shift) - 1)) for shift, mask in positive)
        return positive + tuple((shift + bits, mask) for shift, mask in positive)

    def pulse_factors(self, bits_per_pulse: int) -> tuple[float, ...]:
        """Return what a unit of each pulse counts in the output."""
        bits = self.magnitude_bits
        positive = [2.0**shift for shift, _ in pulses_of(bits, min(bits_per_pulse, bits))]
        return tuple(positive + ([-p for p in positive] if self.signed == "phases" else []))


def pulses_of(bits: int, bits_per_pulse: int) -> tuple[tuple[int, int], ...]:
    """Return (shift, mask) of each pulse of a code, least significant first.

    ``code == sum_p ((code >> shift_p) & mask_p) << shift_p``; a driver of one pulse has
    ``2**bits_per_pulse`` levels, also where the last pulse needs fewer.
    """
    shifts = range(0, bits, bits_per_pulse)
    return tuple((shift, 2**bits_per_pulse - 1) for shift in shifts)
