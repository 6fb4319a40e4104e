"""The fast path of an array whose pulses are single bits: sums looked up, everything else fused.

The same results as `cimsim.kernels.fused`, bit for bit: sums are the same integers, values are
added to the output in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.kernels import conversion, lookup
from cimsim.kernels.fused import collect_block, offsets_of
from cimsim.kernels.normals import counters, many_normals
from cimsim.kernels.planes import Planes

LANES = 512  # of a block: patterns of a chunk of rows stay in the nearest cache
GROUP = conversion.GROUP // 16  # vectors converted together


@dataclass(frozen=True, eq=False)
class Tables:
    """The planes of an array as tables of sums.

    Attributes
    ----------
    sums : int16 [panels, chunks, 16, groups, n_planes, 12]
        From `cimsim.kernels.lookup.pack`: high plane if there is one, low plane, noise if there is.
    has_high, has_noise : bool
    """

    sums: NDArray[np.int16]
    has_high: bool
    has_noise: bool

    @classmethod
    def of(cls, signal: Planes, noise: Planes | None, n_rows: int) -> Tables:
        """Make the tables of conductances and read noise."""
        planes = [signal.high, signal.low] if signal.high.size else [signal.low]
        if noise is not None:
            planes.append(noise.low)
        packed = lookup.pack(tuple(planes), n_rows)
        return cls(packed, signal.high.size > 0, noise is not None)


def why_not(pulses: NDArray[np.int64], n_rows: int) -> str | None:
    """Return why this machine does not look up sums of so many rows; None if it does.

    Parameters
    ----------
    pulses : int64 [n_pulses, 3]
        As `read_out` takes them.
    n_rows : int
        Of the largest array.
    """
    masks = pulses[:, 1]
    if (masks & (masks - 1)).any():
        bits = int((masks >> pulses[:, 2]).max()).bit_length()
        return f"pulses of {bits} bits"
    if not lookup.HAS_LOOKUP:
        return "no look-up on this processor"
    return f"arrays of {n_rows:,} rows" if n_rows > lookup.MOST_ROWS else None


@jit
def block_of(n_pulses: int) -> int:
    """Return how many vectors are looked up together."""
    return max(16, LANES // n_pulses // 16 * 16)


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
    common: Any = None,
) -> int:
    """Apply vectors to one array, all pulses, and add what its converters say to the output.

    Parameters
    ----------
    planes : (int16 [panels, chunks, 16, groups, n_planes, 12], bool, bool)
        The fields of `Tables`.
    codes, places, pulses, power, columns, target, adc, counter, acc, fresh, sums, common
        As in `cimsim.kernels.fused.read_out`; the mask of each pulse is one bit.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    bases, runs = places
    tables, has_high, has_noise = planes
    n_pulses, n_groups, n_planes = pulses.shape[0], lookup.groups_of(tables), tables.shape[4]
    offsets = offsets_of(runs)
    block = block_of(n_pulses)
    lanes = -(-block * n_pulses // lookup.TILE) * lookup.TILE
    panels = tables.shape[0]
    vectors = np.zeros((block, n_groups * lookup.ROWS), codes.dtype)
    bits = np.zeros((n_groups * lookup.ROWS, block), codes.dtype)
    shifts = pulses[:, 0] + pulses[:, 2]
    index = lookup.aligned(2 * n_groups * lanes).view(np.uint16).reshape((n_groups, lanes))
    whole = lookup.aligned(lookup.CHUNK * n_planes * 64)
    shape = (n_planes, 16, lanes)
    part = lookup.aligned(4 * n_planes * 16 * lanes).view(np.int32).reshape(shape)
    # after the joined sums and those of the noise follow zeros for what there is not
    found, plane = np.zeros((3, lanes * 16), np.int32), lanes * 16
    kept = found[: 2 if has_noise else 1]
    flat, zeros = found.reshape(-1), 2 * plane
    noisy = has_noise or columns[3].max() > 0
    draws = np.zeros(GROUP * 16, np.float32)
    numbers = np.zeros((GROUP, 4), np.uint64), np.zeros((GROUP, 4), np.uint64)
    counters(numbers[0], numbers[1])
    first, second = numbers[0].reshape(-1), numbers[1].reshape(-1)
    shared, largest = _sharing(target, panels, acc.shape[1])
    size = n_pulses * block * 16
    values = np.empty(largest * size, columns.dtype)
    variance = np.empty(GROUP * 16 if noisy else 0, columns.dtype)
    constants = np.empty((panels, columns.shape[0], GROUP * 16), columns.dtype)
    for q in range(panels):
        conversion.tile(columns[:, 16 * q : 16 * q + 16], constants[q])
    clipped = 0
    share = np.zeros(block)
    kept_draws = np.zeros(0 if common is None else -(-block // GROUP) * GROUP * 16, np.float32)
    for start in range(0, bases.shape[0], block):
        used = min(block, bases.shape[0] - start)
        collect_block(codes, bases[start : start + used], runs, offsets, vectors)
        if common is not None:
            conversion.overlaps(vectors, used, pulses, share)
            share *= common[0]
        _turn(vectors, bits)
        _tally(bits, used, shifts, sums)
        lookup.patterns(bits, shifts, index)
        for leader in range(panels):  # of panels that add to the same outputs
            held = 0
            for q in range(leader, panels):
                if shared[q] != leader:
                    continue
                lookup.sum_panel(index, tables[q], has_high, whole, part, kept)
                numbered = first + np.uint64(4 * q), second
                window = counter[0] + np.uint64(start), counter[1], counter[2]
                at = zeros, plane if has_noise else zeros, block, used
                if common is not None:
                    for b in range(0, used, GROUP):
                        many_normals(
                            kept_draws[16 * b : 16 * (b + GROUP)], numbered,
                            window[0] + np.uint64(b), window[1], common[1],
                        )  # fmt: skip
                clipped += _convert_panel(
                    flat, at, shifts, constants[q], adc, (numbered, window),
                    (variance, draws), values, size * held, (kept_draws, share),
                )  # fmt: skip
                held += 1
            # pulse by pulse as in `fused`: the order of a float sum is part of the result
            for p in range(n_pulses):
                held = 0
                for q in range(leader, panels):
                    if shared[q] == leader:
                        begin = size * held + 16 * p * block
                        conversion.add(
                            acc, (start, used), values, begin, (16 * q, 16), target,
                            fresh and p == 0,
                        )  # fmt: skip
                        held += 1
    return clipped


@jit
def _convert_panel(
    sums: Any,
    places: Any,
    shifts: Any,
    columns: Any,
    adc: Any,
    counter: Any,
    scratch: Any,
    values: Any,
    to: int,
    common: Any,
) -> int:
    """Turn the sums of 16 columns into output values, pulse by pulse.

    Parameters
    ----------
    sums : int32 [n]
        Of the conductances, of the noise, zeros.
    places : (int, int, int, int)
        Where zeros and the noise begin; vectors of a block, and those in use.
    shifts : int64 [n_pulses]
    columns : float32 or float64 [5, 16 * GROUP]
    adc : float32 or float64 [3]
    counter : tuple
        Numbers of the panel as `cimsim.kernels.normals.many_normals` takes them; first vector,
        first pulse, key.
    scratch : tuple
        Variances, of size 0 where nothing is noisy, and normals.
    values : float32 or float64 [any]
        Written from ``to`` on: [n_pulses, block, 16].
    to : int
    common : (float32 [n], float64 [block])
        Normals that all pulses of a vector share, of size 0 if none, and for each vector how far.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    zeros, noise, block, used = places
    numbers, (window, stage, key) = counter
    variance, draws = scratch
    noisy = variance.shape[0] > 0
    clipped = 0
    for p in range(shifts.shape[0]):
        for b in range(0, used, GROUP):
            n, at = 16 * min(GROUP, used - b), 16 * (p * block + b)
            begins = zeros + at, at, to + at
            if noisy:
                first = window + np.uint64(b)
                many_normals(draws, numbers, first, stage + np.uint64(p), key)
                _take(sums, noise + at, variance, n)
                if common[0].shape[0] > 0:
                    conversion.mix(
                        draws, common[0], 16 * b, common[1], b, variance, columns, (n // 16, 16)
                    )
            clipped += conversion.convert_any(
                sums, sums, begins, 1.0, variance, draws, columns, adc, shifts[p], values, n
            )
    return clipped


@jit
def _sharing(stretches: Any, panels: int, n_cols: int) -> Any:
    """Find panels that add to the same outputs, directly or through others.

    Returns
    -------
    int64 [panels]
        The first panel of those that each belongs to.
    int
        Size of the largest set.
    """
    found = np.arange(panels)
    owner = np.full(n_cols, -1)
    for r in range(stretches.shape[0]):
        for k in range(stretches[r, 2]):
            q, to = (stretches[r, 0] + k) // 16, stretches[r, 1] + k
            if owner[to] >= 0 and found[owner[to]] != found[q]:
                a, b = found[owner[to]], found[q]
                found[found == max(a, b)] = min(a, b)
            owner[to] = q
    return found, np.bincount(found).max()


@jit
def _take(source: Any, first: int, out: Any, n: int) -> None:
    """Turn whole numbers into floats."""
    begin = np.uint64(first)
    for j in range(np.uint64(n)):
        out[j] = source[begin + j]


@jit
def _turn(vectors: Any, bits: Any) -> None:
    """Put vectors side by side: ``bits`` is the transpose."""
    for k in range(np.uint64(bits.shape[0])):
        for v in range(np.uint64(bits.shape[1])):
            bits[k, v] = vectors[v, k]


@jit
def _tally(bits: Any, used: int, shifts: Any, sums: Any) -> None:
    """Count the pulses that drive each row: the bits of its codes that are set."""
    kind = bits.dtype.type
    mask = kind(0)
    for p in range(shifts.shape[0]):
        mask = kind(mask | kind(np.uint32(1) << np.uint32(shifts[p])))
    # masks of every other bit, pair and four: counts of 2, 4 and 8 bits, as narrow as the codes
    ones = kind(~kind(0))
    bit, pair, four = kind(ones // kind(3)), kind(ones // kind(5)), kind(ones // kind(17))
    for k in range(np.uint64(sums.shape[0])):
        total = np.uint32(0)
        for v in range(np.uint64(used)):
            x = kind(bits[k, v] & mask)
            x = kind(x - kind(kind(x >> 1) & bit))
            x = kind(kind(x & pair) + kind(kind(x >> 2) & pair))
            x = kind(kind(x + kind(x >> 4)) & four)
            count = np.uint32(x)
            count += count >> np.uint32(8)
            total = np.uint32(total + ((count + (count >> np.uint32(16))) & np.uint32(0x3F)))
        sums[k] += np.int64(total)
