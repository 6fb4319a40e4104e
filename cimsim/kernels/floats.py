"""Compiled inner loops around float products: encoding, window gathering, read-out, scaling.

`cimsim.kernels.fused` is the faster way of arrays that integer products can serve.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit, jit_inline
from cimsim.kernels.arrays import Codes, Doubles, Floats, Int64, Places, UInt64
from cimsim.kernels.conversion import Converter, level_, quotient_, sigma_, twice_, value_
from cimsim.kernels.fma import fma
from cimsim.kernels.normals import Stream, normals

Shares: TypeAlias = tuple[Floats, np.uint64, np.uint64] | None


@jit
def encode_map(
    x: Floats, scale: float, zero: int, top: int, out: Codes, corner: tuple[int, int]
) -> tuple[int, int]:  # fmt: skip
    """Quantise a map into the inside of a padded one: ``clip(rint(x / scale) + zero, 0, top)``.

    The quotient is a product with the reciprocal of the scale, as in `InputCode.encode`.

    Parameters
    ----------
    x : float32 [H, W * C], C-contiguous
    scale, zero, top : float, int, int
    out : uint8 or uint16 [H', W' * C]
    corner : (int, int)
        Where the map's first value goes.

    Returns
    -------
    (int, int)
        Sum of the codes written; values that lie beyond the codes' ends.
    """
    total, beyond = np.int64(0), np.int64(0)
    y0, x0 = corner
    width, per_unit = np.uint64(x.shape[1]), 1.0 / scale
    short = _LEAST < per_unit < _MOST  # else products in float32 may lose more than their last bit
    for i in range(x.shape[0]):
        source, sink = x[i], out[y0 + i, x0 : x0 + x.shape[1]]
        for first in range(np.uint64(0), width, _TOGETHER):
            part = np.uint64(first), min(np.uint64(first + _TOGETHER), width)
            inside, outside, doubtful = 0, 0, True
            if short:
                inside, outside, doubtful = _encode_single(source, part, per_unit, zero, top, sink)
            if doubtful:
                inside, outside = _encode_double(source, part, per_unit, zero, top, sink)
            total += inside
            beyond += outside
    return int(total), int(beyond)


_TOGETHER = np.uint64(512)  # values; their codes of at most 16 bits add up to less than 31
_LEAST, _MOST = 1e-30, 1e30
Part: TypeAlias = tuple[np.uint64, np.uint64]


@jit
def _encode_double(
    source: Floats, part: Part, per_unit: float, zero: int, top: int, sink: Codes
) -> tuple[int, int]:
    """Quantise values from the first of ``part`` to its end; see `encode_map`."""
    total, beyond = np.int64(0), np.int64(0)
    shift, last = np.float64(zero), np.float64(top)
    for j in range(part[0], part[1]):
        code = np.rint(np.float64(source[j]) * per_unit) + shift
        inside = min(max(code, 0.0), last)
        value = np.int32(inside)
        sink[j] = value
        total += np.int64(value)
        beyond += np.int64(inside != code)
    return int(total), int(beyond)


@jit
def _encode_single(
    source: Floats, part: Part, per_unit: float, zero: int, top: int, sink: Codes
) -> tuple[int, int, bool]:
    """Do what `_encode_double` does in float32, and say whether a code may be another one.

    Reciprocal and product are rounded, each by at most 2**-24 of its size: where a quotient lies
    further from a half than twice their sum, it goes to the same whole number.
    """
    total, beyond, doubtful = np.int32(0), np.int32(0), np.int32(0)
    unit, shift, last = np.float32(per_unit), np.float32(zero), np.float32(top)
    none, half, share = np.float32(0.0), np.float32(0.5), np.float32(2.0**-22)
    for j in range(part[0], part[1]):
        quotient = np.float32(source[j]) * unit
        whole = np.rint(quotient)
        sure = abs(quotient - whole) + abs(quotient) * share < half  # not where it is no number
        doubtful = np.int32(doubtful | np.int32(not sure))
        code = whole + shift
        inside = min(max(code, none), last)
        value = np.int32(inside)
        sink[j] = value
        # whole numbers of 32 bits stay so only if it is said: else vectors are half as long
        total = np.int32(total + value)
        beyond = np.int32(beyond + np.int32(inside != code))
    return int(total), int(beyond), doubtful != 0


@jit
def encode_signed(
    x: Floats, scale: float, top: int, shift: int, out: Codes, corner: tuple[int, int]
) -> tuple[int, int]:  # fmt: skip
    """Quantise a map to sign and magnitude, ``clip(rint(x / scale), -top, top)``.

    Parameters
    ----------
    x : float32 [H, W * C], C-contiguous
    scale, top : float, int
    shift : int
        The magnitude of a negative value is shifted up by so many bits (phases); 0: positive and
        negative magnitude side by side (rows).
    out : uint8, uint16 or uint32 [H', W' * C], or [H', W' * C * 2] for rows
    corner : (int, int)
        Where the map's first value goes.

    Returns
    -------
    (int, int)
        Sum of the magnitudes written; values that lie beyond the codes' ends.
    """
    total, beyond = np.int64(0), np.int64(0)
    y0, x0 = corner
    per_unit, last = 1.0 / scale, np.float64(top)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            code = np.rint(np.float64(x[i, j]) * per_unit)
            positive = np.int64(min(max(code, 0.0), last))
            negative = np.int64(min(max(-code, 0.0), last))
            total += positive + negative
            beyond += np.int64(abs(code) > last)
            if shift > 0:
                out[y0 + i, x0 + j] = positive | (negative << np.int64(shift))
            else:
                out[y0 + i, x0 + 2 * j] = positive
                out[y0 + i, x0 + 2 * j + 1] = negative
    return int(total), int(beyond)


@jit
def gather(
    codes: Codes, bases: Int64, runs: Int64, bits: Places, out: Floats | Int64, sums: Int64
) -> None:
    """Collect one pulse of the input vectors of some windows.

    Parameters
    ----------
    codes : uint8, uint16 or uint32 [n]
        The padded map, flat.
    bases : int64 [B]
        Where the windows begin in it.
    runs : int64 [n_runs, 3]
        (first row, offset from the window's beginning, rows): rows that lie side by side in the
        map.
    bits : (int, int, int)
        Shift and mask of the pulse; power 1 or 2 for ``sums``.
    out : float32 or float64 [>= B, rows]
        Row ``b`` takes the pulse of window ``b``.
    sums : int64 [rows]
        Adds up pulse values (to the power) over the windows.
    """
    shift, mask, power = np.int32(bits[0]), np.int32(bits[1]), bits[2]
    for b in range(bases.shape[0]):
        for r in range(runs.shape[0]):
            row, start, length = runs[r, 0], bases[b] + runs[r, 1], runs[r, 2]
            source = codes[start : start + length]
            sink, sum_ = out[b, row : row + length], sums[row : row + length]
            for k in range(length):
                value = np.int32((np.int32(source[k]) >> shift) & mask)
                sink[k] = value
            if power == 2:
                for k in range(length):
                    wide = np.int64((np.int32(source[k]) >> shift) & mask)
                    sum_[k] += wide * wide
            else:
                for k in range(length):
                    sum_[k] += np.int64((np.int32(source[k]) >> shift) & mask)


@jit_inline
def _between(curve: Floats, t: float) -> float:
    """Value of a curve over 0 .. 1, straight between its points; flat outside."""
    place = min(max(t, 0.0), 1.0) * (curve.shape[0] - 1)
    k = min(int(place), curve.shape[0] - 2)
    value: float = curve[k] + (place - k) * (curve[k + 1] - curve[k])
    return value


@jit
def bend_inputs(pulse: Floats, curves: Floats) -> None:
    """Put the static non-linearity of drivers and cells on the values of one pulse, in place.

    Parameters
    ----------
    pulse : float32 or float64 [B, rows]
        Whole numbers.
    curves : float32 [N, levels]
        What stands for each number, of ``N`` curves that take turns over the rows.
    """
    for b in range(pulse.shape[0]):
        for r in range(pulse.shape[1]):
            pulse[b, r] = curves[r % curves.shape[0], np.int32(pulse[b, r])]


@jit
def bend_sums(current: Floats, columns: Floats, adc: Floats, curves: Floats) -> None:
    """Move partial sums by what the converters' static non-linearity adds to them, in place.

    Parameters
    ----------
    current : float32 or float64 [B, P]
    columns : float64 [3, P]
    adc : float64 [4]
        As in `convert`; an ideal converter has no non-linearity.
    curves : float32 [N, K]
        In steps, of ``N`` converters that take turns over the columns, at ``K`` points from the
        first to the last code.
    """
    lo, step, top = adc[0], adc[1], adc[2]
    if top <= 0.0:
        return
    for b in range(current.shape[0]):
        for j in range(current.shape[1]):
            column = columns[1, j], columns[2, j]
            level = level_(current[b, j], column, (-lo, step), twice_, quotient_)
            error = _between(curves[j % curves.shape[0]], level / top)
            current[b, j] += error * step / columns[1, j]


@jit
def add_common(
    current: Floats, variance: Floats, first_window: np.uint64, stage: np.uint64, key: np.uint64
) -> None:
    """Add the read noise of reference columns to all columns that they are subtracted from.

    Parameters
    ----------
    current : float32 or float64 [>= B, S * n]
        Partial sums, changed in place.
    variance : float32 [B, S]
        Of ``S`` reference columns, each of which serves ``n`` columns beside each other.
    first_window, stage, key : uint64
        As in `normals`; the key is another one than that of the columns' own noise.
    """
    references = variance.shape[1]
    n = current.shape[1] // references
    draws = np.zeros(4 * ((references + 3) // 4), np.float32)
    words = np.zeros(draws.shape[0], np.uint32)
    counter = np.arange(draws.shape[0] // 4).astype(np.uint64)
    numbers = counter, np.zeros_like(counter)
    for b in range(variance.shape[0]):
        normals(draws, words, numbers, first_window + np.uint64(b), stage, key)
        for r in range(references):
            noise = np.sqrt(variance[b, r]) * draws[r]
            for j in range(r * n, (r + 1) * n):
                current[b, j] += noise


@jit
def add_level_noise(
    current: Floats, columns: Floats, adc: Floats, curve: Floats, first_window: np.uint64,
    stage: np.uint64, key: np.uint64,
) -> None:  # fmt: skip
    """Add the part of a converter's noise that goes with the level, in place.

    Parameters
    ----------
    current : float32 or float64 [B, P]
        Partial sums, without the noise that does not go with the level.
    columns : float64 [3, P]
    adc : float64 [4]
        As in `convert`; an ideal converter has no noise.
    curve : float32 [K]
        Rms in steps, at ``K`` points from the first to the last code.
    first_window, stage, key : uint64
        As in `normals`; the key is another one than that of the columns' other noise.
    """
    lo, step, top = adc[0], adc[1], adc[2]
    if top <= 0.0:
        return
    n = current.shape[1]
    draws = np.zeros(4 * ((n + 3) // 4), np.float32)
    words = np.zeros(draws.shape[0], np.uint32)
    counter = np.arange(draws.shape[0] // 4).astype(np.uint64)
    numbers = counter, np.zeros_like(counter)
    for b in range(current.shape[0]):
        normals(draws, words, numbers, first_window + np.uint64(b), stage, key)
        for j in range(n):
            column = columns[1, j], columns[2, j]
            level = level_(current[b, j], column, (-lo, step), twice_, quotient_)
            current[b, j] += _between(curve, level / top) * draws[j] * step / columns[1, j]


class Scratch(NamedTuple):
    """Memory for one vector: `_scratch`."""

    sigma: Floats  # [P], deviations of the levels
    draws: Floats
    shared: Floats
    words: NDArray[np.uint32]
    numbers: tuple[UInt64, UInt64]


@jit
def _scratch(n: int) -> Scratch:
    """Return memory for vectors of ``n`` columns."""
    draws = np.zeros(4 * ((n + 3) // 4), np.float32)
    counter = np.arange(draws.shape[0] // 4).astype(np.uint64)
    return Scratch(
        np.zeros(n, np.float64), draws, np.zeros_like(draws),
        np.zeros(draws.shape[0], np.uint32), (counter, np.zeros_like(counter)),
    )  # fmt: skip


@jit
def _mix(scratch: Scratch, share: float, variance: Floats, power: Floats) -> None:
    """Give the normals of a pulse what all pulses have in common."""
    sigma, draws, shared = scratch.sigma, scratch.draws, scratch.shared
    for j in range(power.shape[0]):
        if sigma[j] > 0.0:
            held = np.sqrt(np.float64(variance[j]) * power[j] * share) / sigma[j]
            draws[j] = np.sqrt(max(1.0 - held * held, 0.0)) * draws[j] + held * shared[j]


@jit
def _draw(
    scratch: Scratch, stream: Stream, b: int, variance: Floats, power: Floats, noise: float,
    common: Shares,
) -> None:  # fmt: skip
    """Draw the noise of all columns for vector ``b``: deviations and normals."""
    window, read = stream.window + np.uint64(b), variance.shape[0] > 0
    if read or noise > 0.0:
        normals(scratch.draws, scratch.words, scratch.numbers, window, stream.stage, stream.key)
        scratch.sigma[:] = noise
    if not read:
        return
    for j in range(power.shape[0]):
        scratch.sigma[j] = sigma_(
            np.float64(variance[b, j]), power[j], noise * noise, twice_, np.sqrt
        )
    if common is not None:
        normals(scratch.shared, scratch.words, scratch.numbers, window, common[1], common[2])
        _mix(scratch, common[0][b], variance[b], power)


@jit
def convert(
    outputs: tuple[Floats, Int64], current: Floats, variance: Floats, converter: Converter,
    stream: Stream, common: Shares = None,
) -> int:  # fmt: skip
    """Read out one pulse of one array: noise, converter, shift, add to the output values.

    Parameters
    ----------
    outputs : (float64 [B, n_cols], int64 [P])
        Output values of the layer, added to; column of them for each physical one.
    current : float32 or float64 [>= B, P]
        Partial sums of ``P`` physical columns, in LSB of weight times LSB of pulse.
    variance : float32 [>= B, P], or [0, 0] without read noise
        Read noise, LSB squared.
    converter : Converter
        ``columns`` are float64 [3, P]: weight of the column in the output, gain of its converter,
        offset of its converter in steps. ``adc`` is float64 [4]: lower end, step, largest code
        (negative: no converter at all), noise in steps.
    stream : Stream
        The stage is that of array and pulse.
    common : (float64 [>= B], uint64, uint64) or None
        Correlation of the read noise with that of the other pulses of the input, for each window;
        array and first pulse, and key, of what they share.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    (acc, target), (columns, adc) = outputs, converter
    n = current.shape[1]
    lo, step, top = adc[0], adc[1], adc[2]
    # the ideal converter has neither noise nor mismatch of its own
    noise = adc[3] if top >= 0.0 else 0.0
    scratch = _scratch(n)
    sigma, draws = scratch.sigma, scratch.draws
    value = np.empty(n, np.float64)
    power = np.ones(n, np.float64)
    if top >= 0.0:
        power[:] = (columns[1] / step) ** 2
    clipped = np.int64(0)
    for b in range(acc.shape[0]):
        _draw(scratch, stream, b, variance, power, noise, common)
        if top < 0.0:
            for j in range(n):
                value[j] = twice_(sigma[j], draws[j], current[b, j]) * columns[0, j]
        else:
            for j in range(n):
                level = level_(
                    current[b, j], (columns[1, j], columns[2, j]), (-lo, step), twice_, quotient_
                )
                code = np.rint(twice_(sigma[j], draws[j], level))
                clipped += np.int64(code < 0.0) + np.int64(code > top)
                code = min(max(code, 0.0), top)
                value[j] = value_(code, (lo, step), columns[0, j], twice_)
        for j in range(n):
            acc[b, target[j]] += value[j]
    return int(clipped)


@jit
def rescale(acc: Floats, digital: Floats, floor: float, out: Floats) -> None:
    """Turn summed codes into output values.

    Parameters
    ----------
    acc : float64 [B, n]
    digital : float64 [5, n]
        Zero-point sum z, gain k, offset d, scale s and bias b of each column.
    floor : float
        Smallest value of an output: 0 where a ReLU follows, else minus infinity.
    out : float32 [B, n]
        ``max(s * (k * (acc - z) + d) + b, floor)``.
    """
    zero, gain, offset, scale, bias = digital[0], digital[1], digital[2], digital[3], digital[4]
    for i in range(np.uint64(acc.shape[0])):  # unsigned: no test for negative indices in the loop
        for j in range(np.uint64(acc.shape[1])):
            value = (np.float64(acc[i, j]) - zero[j]) * gain[j] + offset[j]
            out[i, j] = np.float32(max(value * scale[j] + bias[j], floor))


@jit
def rescale_folded(acc: Floats, folded: Floats, floor: float, out: Floats) -> None:
    """Do what `rescale` does where sums are noisy float32: one factor and one shift.

    Parameters
    ----------
    acc : float32 [B, n]
    folded : float32 [2, n]
        From `fold`.
    floor : float
    out : float32 [B, n]
        ``max(acc * factor + shift, floor)``; not ``acc`` itself.
    """
    factor, shift, least = folded[0], folded[1], np.float32(floor)
    for i in range(np.uint64(acc.shape[0])):
        for j in range(np.uint64(acc.shape[1])):
            out[i, j] = max(fma(acc[i, j], factor[j], shift[j]), least)


def fold(digital: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return factor and shift, float32 [2, n], of the steps that `rescale` takes."""
    zero, gain, offset, scale, bias = digital
    factor = gain * scale
    return np.stack([factor, offset * scale - zero * factor + bias]).astype(np.float32)


@jit
def unfold(vectors: Floats, start: int, grid: Places, pixels: Floats) -> None:
    """Lay output vectors out as blocks of pixels.

    Parameters
    ----------
    vectors : float32 [B, channels * block_h * block_w]
        Of windows ``start`` and following, numbered row by row: (channel, dy, dx) in C order.
    start : int
    grid : (int, int, int)
        Windows in a row, height and width of a block.
    pixels : float32 [n_wy * block_h, n_wx * block_w, channels]
        Written.
    """
    n_wx, block_h, block_w = grid
    channels, size = np.uint64(pixels.shape[2]), np.uint64(block_h * block_w)
    for b in range(vectors.shape[0]):
        y, x = (start + b) // n_wx * block_h, (start + b) % n_wx * block_w
        for dy in range(block_h):
            for dx in range(block_w):
                row, place = np.uint64(y + dy), np.uint64(x + dx)
                first = np.uint64(dy * block_w + dx)
                for c in range(channels):
                    pixels[row, place, c] = vectors[b, c * size + first]


@jit
def weigh(numbers: Int64, table: Int64, weights: Doubles, sums: Doubles) -> None:
    """Add numbers up, each with a weight, in the order in which they stand.

    Parameters
    ----------
    numbers : int64 [any]
    table : int64 [n, 3]
        For each sum begin and end in ``numbers``, and begin in ``weights``.
    weights : float64 [any]
    sums : float64 [n]
        Written.
    """
    for i in range(table.shape[0]):
        start, end, first = table[i]
        total = 0.0
        for j in range(end - start):
            total += float(numbers[start + j]) * weights[first + j]
        sums[i] = total
