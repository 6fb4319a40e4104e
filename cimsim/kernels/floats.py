"""Compiled inner loops around float products: encoding, window gathering, read-out, scaling.

`cimsim.kernels.fused` is the faster way of arrays that integer products can serve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit, jit_inline
from cimsim.kernels.fma import fma
from cimsim.kernels.normals import normals


@jit
def encode_map(
    x: Any, scale: float, zero: int, top: int, out: Any, corner: Any
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
    width = x.shape[1]
    per_unit, shift, last = 1.0 / scale, np.float64(zero), np.float64(top)
    for i in range(x.shape[0]):
        source, sink = x[i], out[y0 + i, x0 : x0 + width]
        for j in range(width):
            code = np.rint(np.float64(source[j]) * per_unit) + shift
            inside = min(max(code, 0.0), last)
            value = np.int32(inside)
            sink[j] = value
            total += np.int64(value)
            beyond += np.int64(inside != code)
    return int(total), int(beyond)


@jit
def encode_signed(
    x: Any, scale: float, top: int, shift: int, out: Any, corner: Any
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
def gather(codes: Any, bases: Any, runs: Any, bits: Any, out: Any, sums: Any) -> None:
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
def _between(curve: Any, t: Any) -> Any:
    """Value of a curve over 0 .. 1, straight between its points; flat outside."""
    place = min(max(t, 0.0), 1.0) * (curve.shape[0] - 1)
    k = min(int(place), curve.shape[0] - 2)
    return curve[k] + (place - k) * (curve[k + 1] - curve[k])


@jit
def bend_inputs(pulse: Any, curves: Any) -> None:
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
def bend_sums(current: Any, columns: Any, adc: Any, curves: Any) -> None:
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
            level = (current[b, j] * columns[1, j] - lo) / step + columns[2, j]
            error = _between(curves[j % curves.shape[0]], level / top)
            current[b, j] += error * step / columns[1, j]


@jit
def add_common(current: Any, variance: Any, first_window: Any, stage: Any, key: Any) -> None:
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
    current: Any, columns: Any, adc: Any, curve: Any, first_window: Any, stage: Any, key: Any
) -> None:
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
            level = (current[b, j] * columns[1, j] - lo) / step + columns[2, j]
            current[b, j] += _between(curve, level / top) * draws[j] * step / columns[1, j]


@jit
def _mix(draws: Any, shared: Any, share: float, variance: Any, power: Any, sigma: Any) -> None:
    """Give the normals of a pulse, of deviations ``sigma``, what all pulses have in common."""
    for j in range(power.shape[0]):
        if sigma[j] > 0.0:
            held = np.sqrt(np.float64(variance[j]) * power[j] * share) / sigma[j]
            draws[j] = np.sqrt(max(1.0 - held * held, 0.0)) * draws[j] + held * shared[j]


@jit
def convert(
    acc: Any,
    current: Any,
    variance: Any,
    columns: Any,
    target: Any,
    adc: Any,
    window: Any,
    key: Any,
    common: Any = None,
) -> int:
    """Read out one pulse of one array: noise, converter, shift, add to the output values.

    Parameters
    ----------
    acc : float64 [B, n_cols]
        Output values of the layer, added to.
    current : float32 or float64 [>= B, P]
        Partial sums of ``P`` physical columns, in LSB of weight times LSB of pulse.
    variance : float32 [>= B, P], or [0, 0] without read noise
        Read noise, LSB squared.
    columns : float64 [3, P]
        Weight of the column in the output, gain of its converter, offset of its converter in steps.
    target : int64 [P]
        Column of ``acc``.
    adc : float64 [4]
        Lower end, step, largest code (negative: no converter at all), noise in steps.
    window : (uint64, uint64)
        Number of the first window over all frames; array and pulse.
    key : uint64
    common : (float64 [>= B], uint64, uint64) or None
        Correlation of the read noise with that of the other pulses of the input, for each window;
        array and first pulse, and key, of what they share.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    n = current.shape[1]
    lo, step, top, noise = adc[0], adc[1], adc[2], adc[3]
    # the ideal converter has neither noise nor mismatch of its own
    noise = noise if top >= 0.0 else 0.0
    has_read_noise = variance.shape[0] > 0
    noisy = has_read_noise or noise > 0.0
    draws = np.zeros(4 * ((n + 3) // 4), np.float32)
    words = np.zeros(draws.shape[0], np.uint32)
    counter = np.arange(draws.shape[0] // 4).astype(np.uint64)
    numbers = counter, np.zeros_like(counter)
    sigma = np.zeros(n, np.float64)
    shared = np.zeros_like(draws)
    value = np.empty(n, np.float64)
    power = np.ones(n, np.float64)
    if top >= 0.0:
        power[:] = (columns[1] / step) ** 2
    clipped = np.int64(0)
    for b in range(acc.shape[0]):
        if noisy:
            normals(draws, words, numbers, window[0] + np.uint64(b), window[1], key)
        if has_read_noise:
            for j in range(n):
                sigma[j] = np.sqrt(np.float64(variance[b, j]) * power[j] + noise * noise)
        elif noisy:
            sigma[:] = noise
        if common is not None and has_read_noise:
            normals(shared, words, numbers, window[0] + np.uint64(b), common[1], common[2])
            _mix(draws, shared, common[0][b], variance[b], power, sigma)
        if top < 0.0:
            for j in range(n):
                value[j] = (current[b, j] + sigma[j] * draws[j]) * columns[0, j]
        else:
            for j in range(n):
                level = (current[b, j] * columns[1, j] - lo) / step + columns[2, j]
                code = np.rint(level + sigma[j] * draws[j])
                clipped += np.int64(code < 0.0) + np.int64(code > top)
                code = min(max(code, 0.0), top)
                value[j] = (lo + step * code) * columns[0, j]
        for j in range(n):
            acc[b, target[j]] += value[j]
    return int(clipped)


@jit
def rescale(acc: Any, digital: Any, floor: float, out: Any) -> None:
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
def rescale_folded(acc: Any, folded: Any, floor: float, out: Any) -> None:
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
def unfold(vectors: Any, start: int, grid: Any, pixels: Any) -> None:
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
