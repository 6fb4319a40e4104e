"""The fast path of an array: collect, multiply, add noise, convert and accumulate in one pass.

Vectors are taken in small blocks that stay in the nearest caches from the collected bytes to the
output values. Products are exact integers (`cimsim.kernels.products`), so neither the size of a
block nor the machine changes a bit.

What follows the product stands in `cimsim.kernels.conversion`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.kernels import conversion
from cimsim.kernels.conversion import GROUP
from cimsim.kernels.normals import counters, many_normals
from cimsim.kernels.products import ROWS, copy_four, product

BLOCK = ROWS
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
    fresh: bool,
    sums: Any,
    folded: Any,
    common: Any = None,
    further: Any = None,
) -> int:
    """Apply vectors to one array, all pulses, and add what its converters say to the output.

    Parameters
    ----------
    codes : uint8 or uint16 [n]
        The padded map, flat.
    places : (int64 [B], int64 [n_runs, 3])
        Where the vectors begin in it, and their rows: see `cimsim.kernels.floats.gather`.
    pulses : int64 [n_pulses, 3]
        (right shift, mask of at most 8 bits, binary exponent) of each: what is left of a code after
        shift and mask is the value of the pulse times two to the exponent. Masking alone is faster
        than shifting.
    power : int
        Of the pulse values in ``sums``, 1 or 2.
    planes : (ndarray, ndarray, ndarray, int64 [n_parts, 4])
        Packed high and low plane of the conductances and packed read noise, of size 0 where there
        is none; their `cimsim.kernels.products.tiles`.
    columns : float32 or float64 [5, 16 * panels]
        For each column, padded: unit of the planes times gain of its converter, offset of its
        converter in steps, variance of the level in steps per unit of the noise plane, variance of
        the converter's own noise, weight of the column in the output. Their type is that of all
        arithmetic after the integer product.
    target : int64 [n, 3]
        Where the array's columns go, see `cimsim.kernels.conversion.add`.
    adc : float32 or float64 [3]
        Lower end, step, largest code (negative: no converter at all).
    counter : (uint64, uint64, uint64)
        Number of the first vector over all frames, number of the array's first pulse, key.
    acc : float32 or float64 [B, n_cols]
        Added to.
    fresh : bool
        Whether nothing was added to these outputs, each of them one column's, before the first
        pulse: ``acc`` holds anything there.
    sums : int64 [n_rows], or [0] if they are not wanted
        Adds up pulse values (to the power) over the vectors.
    folded : (float32 [2, n_cols], float)
        See `cimsim.kernels.conversion.put`; [2, 0] where outputs are sums, not scaled values.
    common : (float, uint64) or None
        Correlation of the read noise of one cell in two pulses, and the key of what they share;
        None: each pulse has noise of its own. For several pulses of one sign.
    further : (float [n, 5, 16 * panels], float [n, 3], float [n, B, n_cols]) or None
        ``columns``, ``adc`` and ``acc`` of further converters that read the same columns with the
        same noise; added to, of the same type as the first one's. Only where there is read noise.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    bases, runs = places
    n_rows, width = runs[-1, 0] + runs[-1, 2], columns.shape[1]
    depth = -(-n_rows // 4) * 4
    offsets = offsets_of(runs)
    noisy = planes[2].size > 0 or columns[3].max() > 0
    whole = pulses.shape[0] == 1 and pulses[0, 0] == 0 and pulses[0, 1] == 255
    vectors = np.zeros((1 if whole else BLOCK, depth), codes.dtype)
    x, squares = np.zeros((BLOCK, depth), np.uint8), np.zeros((BLOCK, depth), np.uint8)
    high, low = np.zeros((BLOCK, width), np.int32), np.zeros((BLOCK, width), np.int32)
    spread = np.zeros((BLOCK, width), np.int32)
    exponents = np.zeros(BLOCK, np.int64)
    # normals are drawn for whole groups, so the last one of a block should be full, too
    rows = -(-BLOCK // -(-BLOCK // max(1, GROUP // width)))
    tiled = np.empty((columns.shape[0], rows * width), columns.dtype)
    conversion.tile(columns, tiled)
    all_tiled = _tile_further(further, tiled)
    flat_high, flat_low = high.reshape(-1), low.reshape(-1)
    value = np.empty(rows * width, columns.dtype)
    variance = np.empty(rows * width if noisy else 0, columns.dtype)
    draws = np.zeros(rows * width, np.float32)  # 512 or more
    drawn = np.zeros(0 if further is None else rows * width, np.float32)
    numbers = np.zeros((rows, width // 4), np.uint64), np.zeros((rows, width // 4), np.uint64)
    counters(numbers[0], numbers[1])
    flat_numbers = numbers[0].reshape(-1), numbers[1].reshape(-1)
    short = np.zeros(sums.shape[0], np.uint16)
    tally = np.zeros((pulses.shape[0], sums.shape[0]), np.uint32)
    clipped = 0
    share = np.zeros(BLOCK)
    # of size 0 where pulses have nothing in common
    kept = np.zeros(0 if common is None else -(-BLOCK // rows) * rows * width, np.float32)
    for start in range(0, bases.shape[0], BLOCK):
        used = min(BLOCK, bases.shape[0] - start)
        if whole:
            collect_block(codes, bases[start : start + used], runs, offsets, x)
        else:
            collect_block(codes, bases[start : start + used], runs, offsets, vectors)
        if common is not None:
            where = counter[0] + np.uint64(start), counter[1]
            _draw_common(
                vectors, used, pulses, common, where, flat_numbers, (rows, width), kept, share
            )
        for p in range(pulses.shape[0]):
            drop, mask, exponent = pulses[p, 0], pulses[p, 1], pulses[p, 2]
            if not whole:
                _pulse(vectors, used, drop, mask, x)
            _tally(x[:used], power, short, tally[p])
            pulse = mask, exponent
            _multiply(x, used, squares, planes, (high, low, spread), exponents, pulse)
            scale = 1.0 / (1 << exponent)
            for b in range(0, used, rows):
                count = min(rows, used - b)
                if noisy:
                    many_normals(
                        draws, flat_numbers, counter[0] + np.uint64(start + b),
                        counter[1] + np.uint64(p), counter[2],
                    )  # fmt: skip
                    conversion.scale(spread, b, count, exponents, scale * scale, variance)
                    if further is not None:
                        drawn[:] = draws
                    _mix_common(
                        common, draws, kept, b * width, share, b, variance, tiled, (count, width)
                    )
                at, n, shift = (b * width, b * width, 0), count * width, drop + exponent
                clipped += conversion.convert_any(
                    flat_high, flat_low, at, scale, variance, draws, tiled, adc, shift, value, n
                )
                if folded[0].shape[1] > 0:
                    conversion.put(acc, (start + b, count), value, width, target, folded)
                else:
                    first = fresh and p == 0
                    conversion.add(acc, (start + b, count), value, 0, (0, width), target, first)
                if further is not None:
                    _convert_further(
                        further, all_tiled, (flat_high, flat_low, at, scale, shift),
                        (drawn, draws, variance, common, kept, share), value,
                        (start, b, count, width), target,
                    )  # fmt: skip
    _add_tally(tally, power, pulses, sums)
    return clipped


@jit
def _draw_common(
    vectors: Any, used: int, pulses: Any, common: Any, where: Any, numbers: Any,
    shape: tuple[int, int], kept: Any, share: Any,
) -> None:  # fmt: skip
    """Draw what all pulses of a block of vectors have in common.

    Parameters
    ----------
    vectors, used, pulses
        As in `cimsim.kernels.conversion.overlaps`.
    common
        As in `read_out`.
    where : (uint64, uint64)
        Number of the first vector over all frames, of the array's first pulse.
    numbers
        As in `cimsim.kernels.normals.many_normals`.
    shape : (int, int)
        Vectors whose normals are drawn together, and columns of each.
    kept : float32 [>= used * width]
        Written: normals, vector by vector.
    share : float64 [B]
        Written: correlation of the noise of a column in two pulses.
    """
    rows, width = shape
    conversion.overlaps(vectors, used, pulses, share)
    share *= common[0]
    for b in range(0, used, rows):
        drawn = kept[b * width : (b + rows) * width]
        many_normals(drawn, numbers, where[0] + np.uint64(b), where[1], common[1])


@jit
def _tile_further(further: Any, tiled: Any) -> Any:
    """Return the columns of further converters as `conversion.tile` makes them; [0, 0, 0] if none.

    float [n, 5, m], for ``tiled`` of [5, m]
    """
    if further is None:
        return np.empty((0, 0, 0), tiled.dtype)
    columns = further[0]
    found = np.empty((columns.shape[0], *tiled.shape), tiled.dtype)
    for k in range(columns.shape[0]):
        conversion.tile(columns[k], found[k])
    return found


@jit
def _convert_further(
    further: Any, columns: Any, sums: Any, noise: Any, value: Any, place: Any, target: Any
) -> None:
    """Have further converters read what the first one of some vectors has read.

    Parameters
    ----------
    further, target
        As in `read_out`.
    columns : float [n, 5, >= count * width]
        From `_tile_further`.
    sums : tuple
        Of both planes, where they begin, their scale and shift, as `conversion.convert` takes them.
    noise : tuple
        Normals as they were drawn, room for them, variances, and what the pulses have in common.
    value : float32 or float64 [any]
        Written.
    place : (int, int, int, int)
        First vector of the block, first of these ones in it, how many, columns of each.
    """
    adcs, outputs = further[1], further[2]
    high, low, at, scale, shift = sums
    drawn, draws, variance, common, kept, share = noise
    start, first, count, width = place
    for k in range(columns.shape[0]):
        draws[:] = drawn
        _mix_common(
            common, draws, kept, first * width, share, first, variance, columns[k], (count, width)
        )
        conversion.convert_any(
            high, low, at, scale, variance, draws, columns[k], adcs[k], shift, value, count * width
        )
        conversion.add(outputs[k], (start + first, count), value, 0, (0, width), target, False)


@jit
def _mix_common(
    common: Any, draws: Any, kept: Any, at: int, share: Any, first: int, variance: Any,
    columns: Any, shape: tuple[int, int],
) -> None:  # fmt: skip
    """Do what `cimsim.kernels.conversion.mix` does, if pulses have anything in common."""
    if common is not None:
        conversion.mix(draws, kept, at, share, first, variance, columns, shape)


@jit
def collect_block(codes: Any, bases: Any, runs: Any, offsets: Any, vectors: Any) -> None:
    """Collect a block of vectors."""
    if offsets.shape[0] < SHORT * runs.shape[0]:
        if codes.itemsize == 1 and _by_fours(runs):
            _collect_fours(codes, bases, offsets, vectors)
        else:
            _collect_singly(codes, bases, offsets, vectors)
    else:
        _collect(codes, bases, runs, vectors)


# the loops over vectors stand in the innermost functions: a call costs atomic counts of references


@jit
def _collect(codes: Any, bases: Any, runs: Any, vectors: Any) -> None:
    """Collect vectors run by run."""
    for v in range(np.uint64(bases.shape[0])):  # unsigned: no test for negative indices
        for r in range(runs.shape[0]):
            row, start = np.uint64(runs[r, 0]), np.uint64(bases[v] + runs[r, 1])
            for k in range(np.uint64(runs[r, 2])):
                vectors[v, row + k] = codes[start + k]


@jit
def _collect_singly(codes: Any, bases: Any, offsets: Any, vectors: Any) -> None:
    """Collect vectors whose runs are too short for copies."""
    for v in range(np.uint64(bases.shape[0])):
        first = np.uint64(bases[v])
        for k in range(np.uint64(offsets.shape[0])):
            vectors[v, k] = codes[first + offsets[k]]


@jit
def _by_fours(runs: Any) -> bool:
    """Whether rows come from the map four and four side by side."""
    left = 0
    for r in range(runs.shape[0]):
        left += runs[r, 2] % 4
    return left == 0


@jit
def _collect_fours(codes: Any, bases: Any, offsets: Any, vectors: Any) -> None:
    """Collect vectors of bytes whose runs are short: a channel group's, say."""
    source, sink, step = codes.ctypes.data, vectors.ctypes.data, vectors.shape[1]
    for v in range(np.uint64(bases.shape[0])):
        first, to = np.uint64(source) + np.uint64(bases[v]), np.uint64(sink) + v * np.uint64(step)
        for k in range(np.uint64(0), np.uint64(offsets.shape[0]), np.uint64(4)):
            copy_four(first + offsets[k], to + k)


@jit
def offsets_of(runs: Any) -> Any:
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
    # a block's bytes add up to less than 16 bits; four vectors at a time save loads and stores
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
def _add_tally(tally: Any, power: int, pulses: Any, sums: Any) -> None:
    """Add what `_tally` counted, in units of the pulse values (to the power), for each row."""
    for p in range(pulses.shape[0]):
        for k in range(sums.shape[0]):
            sums[k] += np.int64(tally[p, k]) >> (power * pulses[p, 2])


@jit
def _square(x: Any, squares: Any, exponents: Any) -> None:
    """Square vectors into bytes; find the binary exponents that they are to be scaled by.

    An exponent is the smallest for which the vector's largest square fits, so small inputs keep
    their noise.
    """
    n = np.uint64(x.shape[1])  # unsigned: no test for negative indices
    for b in range(np.uint64(x.shape[0])):
        seen = np.uint8(0)
        for k in range(n):
            seen = np.uint8(seen | x[b, k])  # as narrow as a byte, or vectors would be of 64 bits
        # a constant shift lets the compiler multiply in 16 bits
        if seen > 127:
            exponents[b] = 8
            for k in range(n):
                wide = np.int32(x[b, k])
                squares[b, k] = np.uint8((wide * wide + 128) >> 8)
        elif seen > 63:
            exponents[b] = 6
            for k in range(n):
                wide = np.int32(x[b, k])
                squares[b, k] = np.uint8((wide * wide + 32) >> 6)
        elif seen > 31:
            exponents[b] = 4
            for k in range(n):
                wide = np.int32(x[b, k])
                squares[b, k] = np.uint8((wide * wide + 8) >> 4)
        elif seen > 15:
            exponents[b] = 2
            for k in range(n):
                wide = np.int32(x[b, k])
                squares[b, k] = np.uint8((wide * wide + 2) >> 2)
        else:
            exponents[b] = 0
            for k in range(n):
                squares[b, k] = x[b, k] * x[b, k]


@jit
def _multiply(
    x: Any,
    used: int,
    squares: Any,
    planes: Any,
    sums: Any,
    exponents: Any,
    pulse: tuple[int, int],
) -> None:
    """Multiply a block with the planes that there are, and its squares with that of the noise."""
    high, low, noise, parts = planes
    mask, exponent = pulse
    single = mask & (mask - 1) == 0
    bit = exponent if single else -1
    product(x, low, parts, used, bit, sums[1])
    if high.size > 0:
        product(x, high, parts, used, bit, sums[0])
    if noise.size == 0:
        return
    if single:
        exponents[:] = exponent  # one bit: its square is itself times its value
        product(x, noise, parts, used, bit, sums[2])
        return
    _square(x[:used], squares, exponents)
    product(squares, noise, parts, used, -1, sums[2])
