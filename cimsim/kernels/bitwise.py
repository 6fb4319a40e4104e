"""The fast path of an array whose pulses are single bits: sums looked up, everything else fused.

The same results as `cimsim.kernels.fused`, bit for bit: sums are the same integers, values are
added to the output in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit
from cimsim.kernels import conversion, lookup
from cimsim.kernels.arrays import Bytes, Codes, Floats, Int32, Int64, UInt64
from cimsim.kernels.borrow import borrowed
from cimsim.kernels.conversion import Converter, Noise, Shared, Sums
from cimsim.kernels.fused import Common, Inputs, Outputs, Pulses, collect_block, offsets_of
from cimsim.kernels.lookup import Words
from cimsim.kernels.normals import Stream, counters, many_normals
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

    sums: Words
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


class _Block(NamedTuple):
    """Memory for a block of vectors: `_block`."""

    vectors: Codes  # [block, n_rows, padded]
    bits: Codes  # the transpose
    lanes: NDArray[np.uint16]  # [groups, lanes], see `lookup.patterns`
    whole: Bytes  # scratch of `lookup.sum_panel`
    part: Int32
    found: Int32  # [1 or 2, lanes * 16], sums of a panel: of the conductances, of the noise
    flat: Int32  # what ``found`` lies in; zeros follow


class _Panel(NamedTuple):
    """Memory for the panels of 16 columns that are converted: `_panels`."""

    constants: Floats  # [panels, 5, 16 * GROUP]
    values: Floats  # [panels that add to the same outputs, n_pulses, block, 16], flat
    variance: Floats  # [16 * GROUP], or of size 0 where nothing is noisy
    draws: Floats
    kept: Floats  # [block * 16, or 0]
    share: Floats  # [block]
    first: UInt64  # [4 * GROUP], see `cimsim.kernels.normals.counters`
    second: UInt64
    shared: Int64  # [panels], see `_sharing`


Memory: TypeAlias = tuple[_Block, _Panel, Int64, UInt64, Floats]
Given: TypeAlias = tuple[Inputs, Int64, tuple[Words, bool, bool], Outputs]


@jit
def read_out(
    inputs: Inputs,
    pulses: Pulses,
    planes: tuple[Words, bool, bool],
    converter: Converter,
    stream: Stream,
    outputs: Outputs,
    common: Common = None,
) -> int:
    """Apply vectors to one array, all pulses, and add what its converters say to the output.

    Parameters
    ----------
    planes : (int16 [panels, chunks, 16, groups, n_planes, 12], bool, bool)
        The fields of `Tables`.
    inputs, pulses, converter, stream, outputs, common
        As in `cimsim.kernels.fused.read_out`; the mask of each pulse is one bit, and outputs are
        sums.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    shifts = pulses.bits[:, 0] + pulses.bits[:, 2]
    block = _block(inputs.codes, shifts.shape[0], planes[0], planes[2])
    noisy = planes[2] or converter.columns[3].max() > 0
    panel = _panels(converter.columns, shifts.shape[0], noisy, common, outputs)
    held = block, panel, shifts, offsets_of(inputs.runs), converter.adc
    given = borrowed((inputs, pulses.bits, planes, outputs))
    return _read_blocks(held, borrowed(held), given, stream, common)


@jit
def _read_blocks(
    held: Memory, memory: Memory, given: Given, stream: Stream, common: Common
) -> int:  # fmt: skip
    """Do what `read_out` does, block by block.

    Parameters
    ----------
    held : tuple
        What owns the arrays of ``memory``.
    memory : tuple
        From `_block` and `_panels`; which bit each pulse takes; from
        `cimsim.kernels.fused.offsets_of`; ``adc`` of `Converter`.
    given : tuple
        ``inputs``, bits of the pulses, ``planes`` and ``outputs`` of `read_out`.
    stream, common
        As in `read_out`.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    (block, panel, shifts, offsets, adc), (inputs, bits, planes, outputs) = memory, given
    size, clipped = block.vectors.shape[0], 0
    for start in range(0, inputs.bases.shape[0], size):
        used = min(size, inputs.bases.shape[0] - start)
        bases = inputs.bases[start : start + used]
        collect_block(inputs.codes, bases, inputs.runs, offsets, block.vectors)
        if common is not None:
            conversion.overlaps(block.vectors, used, bits, panel.share)
            panel.share[:] *= common[0]
        _turn(block.vectors, block.bits)
        _tally(block.bits, used, shifts, outputs.sums)
        lookup.patterns(block.bits, shifts, block.lanes)
        here = Stream(stream.window + np.uint64(start), stream.stage, stream.key)
        for leader in range(planes[0].shape[0]):  # of panels that add to the same outputs
            clipped += _convert_panels(
                leader, block, panel, planes, (shifts, adc), here, used, common
            )
            _add_panels(leader, panel, outputs, (start, used), shifts.shape[0])
    return clipped


@jit
def _block(codes: Codes, n_pulses: int, tables: Words, has_noise: bool) -> _Block:
    """Return memory for a block of vectors."""
    block, n_rows = block_of(n_pulses), lookup.groups_of(tables) * lookup.ROWS
    n_groups, n_planes = lookup.groups_of(tables), tables.shape[4]
    lanes = -(-block * n_pulses // lookup.TILE) * lookup.TILE
    index = lookup.aligned(2 * n_groups * lanes).view(np.uint16).reshape((n_groups, lanes))
    shape = (n_planes, 16, lanes)
    part = lookup.aligned(4 * n_planes * 16 * lanes).view(np.int32).reshape(shape)
    # after the joined sums and those of the noise follow zeros for what there is not
    found = np.zeros((3, lanes * 16), np.int32)
    return _Block(
        np.zeros((block, n_rows), codes.dtype), np.zeros((n_rows, block), codes.dtype), index,
        lookup.aligned(lookup.CHUNK * n_planes * 64), part, found[: 2 if has_noise else 1],
        found.reshape(-1),
    )  # fmt: skip


@jit
def _panels(
    columns: Floats, n_pulses: int, noisy: bool, common: Common, outputs: Outputs
) -> _Panel:  # fmt: skip
    """Return memory for panels, and what stays the same in it."""
    panels, block = columns.shape[1] // 16, block_of(n_pulses)
    shared, largest = _sharing(outputs.target, panels, outputs.acc.shape[1])
    constants = np.empty((panels, columns.shape[0], GROUP * 16), columns.dtype)
    for q in range(panels):
        conversion.tile(columns[:, 16 * q : 16 * q + 16], constants[q])
    first, second = np.zeros((GROUP, 4), np.uint64), np.zeros((GROUP, 4), np.uint64)
    counters(first, second)
    return _Panel(
        constants, np.empty(largest * n_pulses * block * 16, columns.dtype),
        np.empty(GROUP * 16 if noisy else 0, columns.dtype), np.zeros(GROUP * 16, np.float32),
        np.zeros(0 if common is None else -(-block // GROUP) * GROUP * 16, np.float32),
        np.zeros(block), first.reshape(-1), second.reshape(-1), shared,
    )  # fmt: skip


@jit
def _convert_panels(
    leader: int, block: _Block, panel: _Panel, planes: tuple[Words, bool, bool],
    reading: tuple[Int64, Floats], stream: Stream, used: int, common: Common,
) -> int:  # fmt: skip
    """Sum and convert the panels that add to the same outputs.

    Parameters
    ----------
    leader : int
        The first of them.
    block, panel, planes, common
    reading : (int64 [n_pulses], float32 or float64 [3])
        Which bit each pulse takes; ``adc`` of `Converter`.
    stream : Stream
        Of the block's first vector.
    used : int
        Vectors in use.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    held, clipped, size = 0, 0, reading[0].shape[0] * block.vectors.shape[0] * 16
    for q in range(leader, panel.shared.shape[0]):
        if panel.shared[q] != leader:
            continue
        lookup.sum_panel(block.lanes, planes[0][q], planes[1], block.whole, block.part, block.found)
        numbers = panel.first + np.uint64(4 * q), panel.second
        if common is not None:
            for b in range(0, used, GROUP):
                many_normals(
                    panel.kept[16 * b : 16 * (b + GROUP)], numbers,
                    stream.window + np.uint64(b), stream.stage, common[1],
                )  # fmt: skip
        clipped += _convert_panel(
            block, panel, (q, size * held, used), planes[2], reading, stream, numbers
        )
        held += 1
    return clipped


@jit
def _convert_panel(
    block: _Block, panel: _Panel, place: tuple[int, int, int], has_noise: bool,
    reading: tuple[Int64, Floats], stream: Stream, numbers: tuple[UInt64, UInt64],
) -> int:  # fmt: skip
    """Turn the sums of 16 columns into output values, pulse by pulse.

    Parameters
    ----------
    block, panel, reading, stream
        As in `_convert_panels`.
    place : (int, int, int)
        Number of the panel, where its values begin, vectors in use.
    has_noise : bool
        Whether cells fluctuate.
    numbers : (uint64 [4 * GROUP], uint64 [4 * GROUP])
        Of the panel, as `cimsim.kernels.normals.many_normals` takes them.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    (q, to, used), (shifts, adc), plane = place, reading, block.found.shape[1]
    zeros, spread = 2 * plane, plane if has_noise else 2 * plane
    noise, shared = Noise(panel.variance, panel.draws), Shared(panel.kept, panel.share)
    here, clipped = Converter(panel.constants[q], adc), 0
    flat, values, variance, draws = block.flat, panel.values, panel.variance, panel.draws
    size, kept = block.vectors.shape[0], panel.kept.shape[0]
    for p in range(shifts.shape[0]):
        sums, stage = Sums(flat, flat, 1.0, shifts[p]), stream.stage + np.uint64(p)
        for b in range(0, used, GROUP):
            count = min(GROUP, used - b)
            at = 16 * (p * size + b)
            if variance.shape[0] > 0:
                many_normals(draws, numbers, stream.window + np.uint64(b), stage, stream.key)
                _take(flat, spread + at, variance, 16 * count)
                if kept > 0:
                    conversion.mix(noise, shared, here.columns, b, (count, 16))
            clipped += conversion.convert_any(
                sums, (zeros + at, at, to + at), noise, here, values, 16 * count
            )
    return clipped


@jit
def _add_panels(
    leader: int, panel: _Panel, outputs: Outputs, rows: tuple[int, int], n_pulses: int
) -> None:  # fmt: skip
    """Add the values of the panels that add to the same outputs."""
    block, shared, values = panel.share.shape[0], panel.shared, panel.values
    acc, target = outputs.acc, outputs.target
    # pulse by pulse as in `fused`: the order of a float sum is part of the result
    for p in range(n_pulses):
        held = 0
        for q in range(leader, shared.shape[0]):
            if shared[q] == leader:
                conversion.add(
                    acc, rows, values, 16 * block * (n_pulses * held + p), (16 * q, 16), target,
                    outputs.fresh and p == 0,
                )  # fmt: skip
                held += 1


@jit
def _sharing(stretches: Int64, panels: int, n_cols: int) -> tuple[Int64, int]:
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
def _take(source: Int32, first: int, out: Floats, n: int) -> None:
    """Turn whole numbers into floats."""
    begin = np.uint64(first)
    for j in range(np.uint64(n)):
        out[j] = source[begin + j]


@jit
def _turn(vectors: Codes, bits: Codes) -> None:
    """Put vectors side by side: ``bits`` is the transpose."""
    for k in range(np.uint64(bits.shape[0])):
        for v in range(np.uint64(bits.shape[1])):
            bits[k, v] = vectors[v, k]


@jit
def _tally(bits: Codes, used: int, shifts: Int64, sums: Int64) -> None:
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
