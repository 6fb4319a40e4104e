"""The fast path of an array: collect, multiply, add noise, convert and accumulate in one pass.

Vectors are taken in small blocks that stay in the nearest caches from the collected bytes to the
output values. Products are exact integers (`cimsim.arrays.vnni`), so neither the size of a block
nor the machine changes a bit.

After the product, rows of an array's columns lie one behind the other, each padded to whole
registers of 16: loops over many short rows would not become vector code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays.normals import counters, normals
from cimsim.arrays.vnni import LANES, ROWS, product
from cimsim.jit import jit

BLOCK = ROWS
GROUP = 1024  # values converted together
SHORT = 16  # elements; runs of fewer are not worth a copy each


def pulse_bits(pulses: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """Return pulses (shift, mask) as `read_out` takes them: low bytes are masked where they stand.

    Returns
    -------
    int64 [n_pulses, 3]
        Right shift, mask, exponent.
    """
    found = []
    for shift, mask in pulses:
        kept = shift if mask << shift <= 255 else 0
        found.append((shift - kept, mask << kept, kept))
    return np.array(found, np.int64)


def packed_columns(
    columns: NDArray[np.float64], adc: NDArray[np.float64], units: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the numbers of an array's columns as `read_out` takes them.

    Parameters
    ----------
    columns : float64 [3, P]
        Weight of the column in the output, gain and offset of its converter.
    adc : float64 [4]
        Of `cimsim.arrays.adc.AdcRange.packed`.
    units : (float, float)
        Of the planes of the conductances and of the read noise.

    Returns
    -------
    float64 [5, 16 * panels]
    """
    n, (lo, step, top, own) = columns.shape[1], adc
    weight, gain, offset = columns
    packed = np.zeros((5, -(-n // LANES) * LANES))
    packed[4, :n] = weight
    if top < 0:  # currents are passed on as they are
        packed[0, :n], packed[2, :n] = units
        return packed
    packed[0, :n] = units[0] * gain
    packed[1, :n] = offset
    packed[1, n:] = lo / step + top / 2  # amid the codes: never out of range
    packed[2, :n] = units[1] * (gain / step) ** 2
    packed[3, :n] = own**2
    return packed


@jit
def read_out(
    codes: Any,
    places: Any,
    pulses: Any,
    power: int,
    planes: Any,
    columns: Any,
    target: Any,
    adc: Any,
    counter: Any,
    acc: Any,
    sums: Any,
) -> int:
    """Apply vectors to one array, all pulses, and add what its converters say to the output.

    Parameters
    ----------
    codes : uint8 or uint16 [n]
        The padded map, flat.
    places : (int64 [B], int64 [n_runs, 3])
        Where the vectors begin in it, and their rows: see `cimsim.arrays.kernels.gather`.
    pulses : int64 [n_pulses, 3]
        (right shift, mask of at most 8 bits, binary exponent) of each: what is left of a code after
        shift and mask is the value of the pulse times two to the exponent. Masking alone is faster
        than shifting.
    power : int
        Of the pulse values in ``sums``, 1 or 2.
    planes : (ndarray, ndarray, ndarray)
        Packed high and low plane of the conductances and packed read noise, of size 0 where there
        is none.
    columns : float32 or float64 [5, 16 * panels]
        For each column, padded: unit of the planes times gain of its converter, offset of its
        converter in steps, variance of the level in steps per unit of the noise plane, variance of
        the converter's own noise, weight of the column in the output. Their type is that of all
        arithmetic after the integer product.
    target : (int64 [P], int)
        Column of ``acc`` for each of the array's columns; the first one if they lie side by side,
        else -1.
    adc : float32 or float64 [3]
        Lower end, step, largest code (negative: no converter at all).
    counter : (uint64, uint64, uint64)
        Number of the first vector over all frames, number of the array's first pulse, key.
    acc : float32 or float64 [B, n_cols]
        Added to.
    sums : int64 [n_rows], or [0] if they are not wanted
        Adds up pulse values (to the power) over the vectors.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    bases, runs = places
    to, first = target
    n_rows, width = runs[-1, 0] + runs[-1, 2], columns.shape[1]
    depth = -(-n_rows // 4) * 4
    offsets = _offsets(runs)
    noisy = planes[2].size > 0 or columns[3].max() > 0
    whole = pulses.shape[0] == 1 and pulses[0, 0] == 0 and pulses[0, 1] == 255
    vectors = np.zeros((1 if whole else BLOCK, depth), codes.dtype)
    x, squares = np.zeros((BLOCK, depth), np.uint8), np.zeros((BLOCK, depth), np.uint8)
    high, low = np.zeros((BLOCK, width), np.int32), np.zeros((BLOCK, width), np.int32)
    spread = np.zeros((BLOCK, width), np.int32)
    exponents = np.zeros(BLOCK, np.int64)
    rows = max(1, min(BLOCK, GROUP // width))
    tiled = _tiled(columns, rows)
    value, other = np.empty(rows * width, columns.dtype), np.empty(rows * width, columns.dtype)
    draws, words = np.zeros(rows * width, np.float32), np.zeros(rows * width, np.uint32)
    numbers = np.zeros((rows, width // 4), np.uint64), np.zeros((rows, width // 4), np.uint64)
    counters(numbers[0], numbers[1])
    flat_numbers = numbers[0].reshape(-1), numbers[1].reshape(-1)
    short = np.zeros(sums.shape[0], np.uint16)
    tally = np.zeros((pulses.shape[0], sums.shape[0]), np.uint32)
    clipped = 0
    for start in range(0, bases.shape[0], BLOCK):
        used = min(BLOCK, bases.shape[0] - start)
        if whole:
            _collect_block(codes, bases[start : start + used], runs, offsets, x)
        else:
            _collect_block(codes, bases[start : start + used], runs, offsets, vectors)
        for p in range(pulses.shape[0]):
            drop, mask, exponent = pulses[p, 0], pulses[p, 1], pulses[p, 2]
            if not whole:
                _pulse(vectors, used, drop, mask, x)
            _tally(x[:used], power, short, tally[p])
            _multiply(x, squares, planes, (high, low, spread), exponents, (mask, exponent))
            scale = 1.0 / (1 << exponent)
            for b in range(0, used, rows):
                count = min(rows, used - b)
                n = count * width
                v, w = value[:n], other[:n]
                _level(high[b : b + count].reshape(-1), low[b : b + count].reshape(-1), scale,
                       tiled, adc, v)  # fmt: skip
                if noisy:
                    normals(
                        draws[:n], words, flat_numbers, counter[0] + np.uint64(start + b),
                        counter[1] + np.uint64(p), counter[2],
                    )  # fmt: skip
                    _scale(spread[b : b + count], exponents[b:], scale * scale, w)
                    _disturb(v, w, tiled, draws)
                clipped += _code(v, tiled, adc, drop + exponent)
                _add(acc[start + b : start + b + count], v, width, to, first)
    for p in range(pulses.shape[0]):
        for k in range(sums.shape[0]):
            sums[k] += np.int64(tally[p, k]) >> (power * pulses[p, 2])
    return clipped


@jit
def _tiled(columns: Any, rows: int) -> Any:
    """Repeat the numbers of the columns for several rows."""
    width = columns.shape[1]
    tiled = np.empty((columns.shape[0], rows * width), columns.dtype)
    for i in range(columns.shape[0]):
        for r in range(rows):
            tiled[i, r * width : (r + 1) * width] = columns[i]
    return tiled


@jit
def _collect_block(codes: Any, bases: Any, runs: Any, offsets: Any, vectors: Any) -> None:
    """Collect a block of vectors."""
    if offsets.shape[0] < SHORT * runs.shape[0]:
        for b in range(bases.shape[0]):
            _collect_singly(codes, bases[b], offsets, vectors, b)
    else:
        for b in range(bases.shape[0]):
            _collect(codes, bases[b], runs, vectors, b)


@jit
def _collect(codes: Any, base: int, runs: Any, vectors: Any, number: int) -> None:
    """Collect one vector."""
    v = np.uint64(number)  # unsigned: no test for negative indices in the loops
    for r in range(runs.shape[0]):
        row, start = np.uint64(runs[r, 0]), np.uint64(base + runs[r, 1])
        for k in range(np.uint64(runs[r, 2])):
            vectors[v, row + k] = codes[start + k]


@jit
def _collect_singly(codes: Any, base: int, offsets: Any, vectors: Any, number: int) -> None:
    """Collect one vector whose runs are too short for copies."""
    v, first = np.uint64(number), np.uint64(base)
    for k in range(np.uint64(offsets.shape[0])):
        vectors[v, k] = codes[first + offsets[k]]


@jit
def _offsets(runs: Any) -> Any:
    """Return where each element of a vector lies from its beginning."""
    offsets = np.empty(runs[-1, 0] + runs[-1, 2], np.uint64)
    for r in range(runs.shape[0]):
        for k in range(runs[r, 2]):
            offsets[runs[r, 0] + k] = np.uint64(runs[r, 1] + k)
    return offsets


@jit
def _pulse(vectors: Any, used: int, drop: int, mask: int, x: Any) -> None:
    """Take the bits of one pulse of a block of vectors."""
    if drop > 0:
        for b in range(np.uint64(used)):
            for k in range(np.uint64(x.shape[1])):
                x[b, k] = np.uint8((np.int32(vectors[b, k]) >> drop) & mask)
    else:
        narrow = np.uint8(mask)
        for b in range(np.uint64(used)):
            for k in range(np.uint64(x.shape[1])):
                x[b, k] = vectors[b, k] & narrow


@jit
def _tally(block: Any, power: int, short: Any, tally: Any) -> None:
    """Add pulse values (to the power) of a block of vectors up."""
    n = tally.shape[0]
    if n == 0:
        return
    if power == 2:
        for b in range(block.shape[0]):
            for k in range(n):
                wide = np.uint32(block[b, k])
                tally[k] += wide * wide
        return
    short[:] = 0
    # 48 bytes add up to less than 16 bits; four vectors at a time save loads and stores
    whole = block.shape[0] // 4 * 4
    for b in range(0, whole, 4):
        v0, v1 = np.uint64(b), np.uint64(b + 1)
        v2, v3 = np.uint64(b + 2), np.uint64(b + 3)
        for k in range(np.uint64(n)):
            short[k] += (
                np.uint16(block[v0, k]) + np.uint16(block[v1, k])
                + np.uint16(block[v2, k]) + np.uint16(block[v3, k])
            )  # fmt: skip
    for b in range(whole, block.shape[0]):
        for k in range(n):
            short[k] += block[b, k]
    for k in range(n):
        tally[k] += np.uint32(short[k])


@jit
def _square(x: Any, number: int, squares: Any) -> int:
    """Square a vector into bytes; return the binary exponent that they are to be scaled by.

    The exponent is the smallest for which the largest square fits, so small inputs keep their
    noise.
    """
    b, n = np.uint64(number), np.uint64(x.shape[1])  # unsigned: no test for negative indices
    seen = np.uint8(0)
    for k in range(n):
        seen |= x[b, k]
    # a constant shift lets the compiler multiply in 16 bits
    if seen > 127:
        for k in range(n):
            wide = np.int32(x[b, k])
            squares[b, k] = np.uint8((wide * wide + 128) >> 8)
        return 8
    if seen > 63:
        for k in range(n):
            wide = np.int32(x[b, k])
            squares[b, k] = np.uint8((wide * wide + 32) >> 6)
        return 6
    if seen > 31:
        for k in range(n):
            wide = np.int32(x[b, k])
            squares[b, k] = np.uint8((wide * wide + 8) >> 4)
        return 4
    if seen > 15:
        for k in range(n):
            wide = np.int32(x[b, k])
            squares[b, k] = np.uint8((wide * wide + 2) >> 2)
        return 2
    for k in range(n):
        squares[b, k] = x[b, k] * x[b, k]
    return 0


@jit
def _multiply(
    x: Any, squares: Any, planes: Any, sums: Any, exponents: Any, pulse: tuple[int, int]
) -> None:
    """Multiply a block with the planes that there are, and its squares with that of the noise."""
    high, low, noise = planes
    product(x, low, sums[1])
    if high.size > 0:
        product(x, high, sums[0])
    if noise.size == 0:
        return
    mask, exponent = pulse
    if mask & (mask - 1) == 0:
        exponents[:] = exponent  # one bit: its square is itself times its value
        product(x, noise, sums[2])
        return
    for b in range(x.shape[0]):
        exponents[b] = _square(x, b, squares)
    product(squares, noise, sums[2])


@jit
def _level(high: Any, low: Any, scale: float, columns: Any, adc: Any, value: Any) -> None:
    """Join the planes of sums and turn them into levels of the converter, in steps."""
    gain, offset = columns[0], columns[1]
    kind = value.dtype.type
    upper, lower = kind(256.0 * scale), kind(scale)
    lo, step = adc[0], adc[1]
    for j in range(value.shape[0]):
        total = kind(high[j]) * upper + kind(low[j]) * lower
        value[j] = (total * gain[j] - lo) / step + offset[j]


@jit
def _scale(spread: Any, exponents: Any, unit: float, variance: Any) -> None:
    """Undo the exponents of the vectors' squares and of the pulse."""
    width = np.uint64(spread.shape[1])
    kind = variance.dtype.type
    for b in range(spread.shape[0]):
        factor, first = kind(unit * (1 << exponents[b])), np.uint64(b) * width
        for j in range(width):  # unsigned: no test for negative indices in the loop
            variance[first + j] = kind(spread[b, j]) * factor


@jit
def _disturb(value: Any, variance: Any, columns: Any, draws: Any) -> None:
    """Add noise of the given variance per unit and of the converters."""
    slope, own = columns[2], columns[3]
    for j in range(value.shape[0]):
        value[j] += np.sqrt(variance[j] * slope[j] + own[j]) * draws[j]


@jit
def _code(value: Any, columns: Any, adc: Any, shift: int) -> int:
    """Round to codes, cut at the ends, and turn codes into output values; return what was cut."""
    weight = columns[4]
    lo, step, top = adc[0], adc[1], adc[2]
    zero = top - top
    scale = value.dtype.type(1 << shift)
    outside = np.int64(0)
    if top >= 0:
        for j in range(value.shape[0]):
            code = np.rint(value[j])
            outside += np.int64(code < zero) + np.int64(code > top)
            value[j] = (lo + step * min(max(code, zero), top)) * (weight[j] * scale)
    else:
        for j in range(value.shape[0]):
            value[j] *= weight[j] * scale
    return int(outside)


@jit
def _add(acc: Any, value: Any, width: int, target: Any, first: int) -> None:
    """Add rows of values to output columns; ``first`` >= 0 tells that they lie side by side."""
    n, step = np.uint64(target.shape[0]), np.uint64(width)
    for b in range(acc.shape[0]):
        begin = np.uint64(b) * step
        if first >= 0:
            place = np.uint64(first)
            for j in range(n):
                acc[b, place + j] += value[begin + j]
        else:
            for j in range(n):
                acc[b, target[j]] += value[begin + j]
