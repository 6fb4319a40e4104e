"""The fast path of an array: collect, multiply, add noise, convert and accumulate in one pass.

Vectors are taken in small blocks that stay in the nearest caches from the collected bytes to the
output values. Products are exact integers (`cimsim.kernels.products`), so neither the size of a
block nor the machine changes a bit.

What follows the product stands in `cimsim.kernels.conversion`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import inlined, jit, jit_inline
from cimsim.kernels import conversion
from cimsim.kernels.arrays import Bytes, Codes, Floats, Int32, Int64, Packed, UInt64
from cimsim.kernels.borrow import borrowed
from cimsim.kernels.conversion import GROUP, Converter, Noise, Shared, Sums
from cimsim.kernels.normals import Numbers, Stream, counters, many_normals
from cimsim.kernels.products import PACKED, ROWS, copy_four, fetch_line, lines, product
from cimsim.kernels.rows import (
    ROW,
    TOGETHER,
    both_four,
    both_one,
    collect_four,
    collect_one,
    copy_run,
    seen_four,
    seen_one,
    square_four,
    square_one,
    tally_four,
    tally_one,
)

BLOCK = ROWS
NEAR = 2**14  # bytes of vectors; with their squares they stay in the nearest cache meanwhile
SHORT = 16  # elements; runs of fewer are not worth a copy each
FAR = 256  # bytes; what is less long, or less far from the vector before, was just read nearby


class Inputs(NamedTuple):
    """The vectors that arrays are driven with.

    Attributes
    ----------
    codes : uint8, uint16 or uint32 [n]
        The padded map, flat.
    bases : int64 [B]
        Where the vectors begin in it.
    runs : int64 [n_runs, 3]
        Their rows: see `cimsim.kernels.floats.gather`.
    """

    codes: Codes
    bases: Int64
    runs: Int64


class Pulses(NamedTuple):
    """The pulses that bring the inputs.

    Attributes
    ----------
    bits : int64 [n_pulses, 3]
        (right shift, mask of at most 8 bits, binary exponent) of each: what is left of a code after
        shift and mask is the value of the pulse times two to the exponent. Masking alone is faster
        than shifting.
    power : int
        Of the pulse values in `Outputs.sums`, 1 or 2.
    """

    bits: Int64
    power: int


class Outputs(NamedTuple):
    """Where the values of the columns go.

    Attributes
    ----------
    acc : float32 or float64 [B, n_cols]
        Added to.
    target : int64 [n, 3]
        Where the array's columns go, see `cimsim.kernels.conversion.add`.
    fresh : bool
        Whether nothing was added to these outputs, each of them one column's, before the first
        pulse: ``acc`` holds anything there.
    sums : int64 [n_rows], or [0] if they are not wanted
        Adds up pulse values (to the power) over the vectors.
    scaling : (float32 [2, n_cols], float)
        See `cimsim.kernels.conversion.put`; [2, 0] where outputs are sums, not scaled values.
    """

    acc: Floats
    target: Int64
    fresh: bool
    sums: Int64
    scaling: tuple[Floats, float] = (np.empty((2, 0), np.float32), 0.0)


Planes: TypeAlias = tuple[Packed, Packed, Packed, Int64]
Common: TypeAlias = tuple[float, np.uint64] | None
Further: TypeAlias = tuple[Floats, Floats, Floats] | None
Rows: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]


def pulse_bits(pulses: tuple[tuple[int, int], ...]) -> Int64:
    """Return pulses (shift, mask) as `Pulses` holds them: low bytes are masked where they stand.

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


class _Block(NamedTuple):
    """Memory for a block of vectors: `_block`."""

    vectors: Codes  # [BLOCK, depth], or one row where a pulse takes whole bytes
    x: Bytes  # [BLOCK, depth], of one pulse
    squares: Bytes
    high: Int32  # [BLOCK, width]
    low: Int32
    flat: tuple[Int32, Int32]  # both of them
    spread: Int32
    exponents: Int64  # [BLOCK]
    seen: NDArray[np.uint64]  # [BLOCK], bits that are set in any byte of a vector
    short: NDArray[np.uint16]  # [depth]
    tally: NDArray[np.uint32]  # [n_pulses, n_rows]


class _Group(NamedTuple):
    """Memory for vectors that are converted together: `_group`."""

    columns: Floats  # [5, rows * width]
    further: Floats  # [n, 5, rows * width]
    value: Floats  # [rows * width]
    variance: Floats
    draws: Floats
    drawn: Floats
    shared: Shared  # of [BLOCK * width, or 0] and [BLOCK]
    numbers: Numbers  # of [rows * width / 4], see `cimsim.kernels.normals.counters`
    adc: Floats
    rows: int
    reaches: bool  # whether vectors are so long that they are fetched ahead


class _Pulse(NamedTuple):
    """One pulse: its number, and a row of `Pulses.bits`."""

    number: int
    drop: int
    mask: int
    exponent: int


Memory: TypeAlias = tuple[_Block, _Group, UInt64, UInt64]
Given: TypeAlias = tuple[Inputs, Pulses, Planes, Outputs, Further]


@jit
def read_out(
    inputs: Inputs,
    pulses: Pulses,
    planes: Planes,
    converter: Converter,
    stream: Stream,
    outputs: Outputs,
    common: Common = None,
    further: Further = None,
) -> int:
    """Apply vectors to one array, all pulses, and add what its converters say to the output.

    Parameters
    ----------
    inputs : Inputs
    pulses : Pulses
    planes : (ndarray, ndarray, ndarray, int64 [n_parts, 4])
        Packed high and low plane of the conductances and packed read noise, of size 0 where there
        is none; their `cimsim.kernels.products.tiles`.
    converter : Converter
        ``columns`` are [5, 16 * panels]: for each column, padded, unit of the planes times gain of
        its converter, offset of its converter in steps, variance of the level in steps per unit of
        the noise plane, variance of the converter's own noise, weight of the column in the output.
        Their type is that of all arithmetic after the integer product.
    stream : Stream
    outputs : Outputs
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
    bits = pulses.bits
    noisy = planes[2].size > 0 or converter.columns[3].max() > 0
    whole = bits.shape[0] == 1 and bits[0, 0] == 0 and bits[0, 1] == 255
    width, tallied = converter.columns.shape[1], outputs.sums.shape[0]
    block = _block(inputs, bits.shape[0], planes, width, tallied, whole)
    group = _group(inputs, converter, noisy, common, further)
    held = block, group, offsets_of(inputs.runs), _parts_of(inputs, whole)
    given = borrowed((inputs, pulses, planes, outputs, further))
    return _read_blocks(held, borrowed(held), given, stream, common, whole)


@jit
def _read_blocks(
    held: Memory, memory: Memory, given: Given, stream: Stream, common: Common, whole: bool
) -> int:
    """Do what `read_out` does, block by block.

    Parameters
    ----------
    held : tuple
        What owns the arrays of ``memory``.
    memory : tuple
        From `_block`, `_group`, `offsets_of` and `_parts_of`.
    given : tuple
        ``inputs``, ``pulses``, ``planes``, ``outputs`` and ``further`` of `read_out`.
    stream, common
        As in `read_out`.
    whole : bool
        Whether the one pulse is the code.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    (block, group, offsets, parts), (inputs, pulses, planes, outputs, further) = memory, given
    bits, clipped = pulses.bits, 0
    for start in range(0, inputs.bases.shape[0], BLOCK):
        used = min(BLOCK, inputs.bases.shape[0] - start)
        if not whole:
            bases = inputs.bases[start : start + used]
            collect_block(inputs.codes, bases, inputs.runs, offsets, block.vectors)
        if common is not None:
            where = stream.window + np.uint64(start), stream.stage
            _draw_common(block.vectors, used, bits, common, where, group)
        x = _in_place(inputs, start, used, block.x) if whole else block.x
        near = max(TOGETHER, NEAR // block.x.shape[1] // TOGETHER * TOGETHER)
        there = x.ctypes.data != block.x.ctypes.data
        for p in range(bits.shape[0]):
            pulse = _Pulse(p, bits[p, 0], bits[p, 1], bits[p, 2])
            squared = planes[2].size > 0 and pulse.mask & (pulse.mask - 1) != 0
            for first in range(0, used, near):
                place = first, min(first + near, used)
                if not whole:
                    _take_pulse(block.vectors, place, pulse, block.x)
                elif not there:
                    bases = inputs.bases[start + place[0] : start + place[1]]
                    if parts.shape[0] > 0:
                        _collect_parts(inputs.codes, bases, parts, block, first)
                    else:
                        collect_block(inputs.codes, bases, inputs.runs, offsets, block.x[first:])
                looked = whole and not there and parts.shape[0] > 0
                _prepare(x, place, block, pulses.power, squared, (p, looked))
            _multiply(x, block, used, planes, pulse)
            clipped += _convert(
                block, group, pulse, (start, used), inputs, stream, outputs, (common, further)
            )
    _add_tally(block.tally, pulses, outputs.sums)
    return clipped


# arrays are borrowed inside, and no call holds them: its caller has them lent, or uses them later
read_out_here = inlined(read_out)


@jit
def _block(
    inputs: Inputs, n_pulses: int, planes: Planes, width: int, tallied: int, whole: bool
) -> _Block:
    """Return memory for a block of vectors; ``whole``: the one pulse is the code.

    What is never written, sums of planes that are not there and what pads vectors, is 0.
    """
    n_rows = inputs.runs[-1, 0] + inputs.runs[-1, 2]
    depth = -(-n_rows // ROW) * ROW
    vectors = np.empty((1 if whole else BLOCK, depth), inputs.codes.dtype)
    x = lines(BLOCK * depth).reshape((BLOCK, depth))
    squares = lines(BLOCK * depth).reshape((BLOCK, depth))
    for b in range(BLOCK):
        for k in range(n_rows, depth):
            x[b, k] = 0
            vectors[min(b, vectors.shape[0] - 1), k] = 0
    low, high, spread = _sums(width), _sums(width), _sums(width)
    if planes[0].size == 0:
        high[:] = 0
    if planes[2].size == 0:
        spread[:] = 0
    return _Block(
        vectors, x, squares, high, low, (high.reshape(-1), low.reshape(-1)), spread,
        np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.uint64),
        np.zeros(depth if tallied > 0 else 0, np.uint16), np.zeros((n_pulses, tallied), np.uint32),
    )  # fmt: skip


@jit
def _sums(width: int) -> Int32:
    """Return memory for the sums of a plane."""
    return lines(BLOCK * width * 4).view(np.int32).reshape((BLOCK, width))


@jit
def _group(
    inputs: Inputs, converter: Converter, noisy: bool, common: Common, further: Further
) -> _Group:
    """Return memory for vectors that are converted together, and what stays the same in it."""
    columns, adc = converter
    width = columns.shape[1]
    # normals are drawn for whole groups, so the last one of a block should be full, too
    rows = -(-BLOCK // -(-BLOCK // max(1, GROUP // width)))
    n, size = rows * width, columns.itemsize
    tiled = lines(columns.shape[0] * n * size).view(columns.dtype).reshape((-1, n))
    conversion.tile(columns, tiled)
    first, second = np.zeros((rows, width // 4), np.uint64), np.zeros((rows, width // 4), np.uint64)
    counters(first, second)
    kept = 0 if common is None else -(-BLOCK // rows) * rows * width
    return _Group(
        tiled, _tile_further(further, tiled), lines(n * size).view(columns.dtype),
        lines(n * size if noisy else 0).view(columns.dtype),
        lines(n * 4).view(np.float32),  # 512 or more
        np.zeros(0 if further is None else n, np.float32),
        Shared(np.zeros(kept, np.float32), np.zeros(BLOCK)),
        (first.reshape(-1), second.reshape(-1)), adc, rows, _reaches(inputs),
    )  # fmt: skip


@jit_inline
def _convert(
    block: _Block, group: _Group, pulse: _Pulse, place: tuple[int, int], inputs: Inputs,
    stream: Stream, outputs: Outputs, options: tuple[Common, Further],
) -> int:  # fmt: skip
    """Convert the sums of one pulse of a block of vectors and add them to the outputs.

    Parameters
    ----------
    block, group, pulse, inputs, stream, outputs
    place : (int, int)
        First vector of the block, and how many are in use.
    options : tuple
        ``common`` and ``further`` as in `read_out`.

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    (start, used), (codes, bases, runs), (common, further) = place, inputs, options
    acc, target, fresh, _, scaling = outputs
    columns, value, variance, draws, drawn = (
        group.columns, group.value, group.variance, group.draws, group.drawn,
    )  # fmt: skip
    spread, exponents, width = block.spread, block.exponents, block.low.shape[1]
    scale, stage = 1.0 / (1 << pulse.exponent), stream.stage + np.uint64(pulse.number)
    noise, shared, numbers = Noise(variance, draws), group.shared, group.numbers
    sums = Sums(block.flat[0], block.flat[1], scale, pulse.drop + pulse.exponent)
    converter, clipped = Converter(columns, group.adc), 0
    is_first, scales = fresh and pulse.number == 0, scaling[0].shape[1] > 0
    for b in range(0, used, group.rows):
        count = min(group.rows, used - b)
        if pulse.number == 0 and group.reaches:
            _fetch_ahead(codes, bases, runs, start + BLOCK + b, count)
        if variance.shape[0] > 0:
            many_normals(draws, numbers, stream.window + np.uint64(start + b), stage, stream.key)
            conversion.scale(spread, b, count, exponents, scale * scale, variance)
            if drawn.shape[0] > 0:
                _keep(draws, drawn)
            _mix_common(common, noise, shared, columns, b, (count, width))
        at, n = (b * width, b * width, 0), count * width
        clipped += conversion.convert_any(sums, at, noise, converter, value, n)
        if scales:
            conversion.put(acc, (start + b, count), value, width, target, scaling)
        else:
            conversion.add(acc, (start + b, count), value, 0, (0, width), target, is_first)
        if drawn.shape[0] > 0:
            here = b, count, width
            _convert_further(further, common, group, sums, here, start + b, target)
    return clipped


@jit_inline
def _keep(drawn: Floats, out: Floats) -> None:
    """Copy numbers; assigning a slice would have a message about shapes compiled."""
    for k in range(drawn.shape[0]):
        out[k] = drawn[k]


@jit
def _draw_common(
    vectors: Codes,
    used: int,
    bits: Int64,
    common: Common,
    where: tuple[np.uint64, np.uint64],
    group: _Group,
) -> None:
    """Draw what all pulses of a block of vectors have in common.

    Parameters
    ----------
    vectors, used, bits
        As in `cimsim.kernels.conversion.overlaps`.
    common
        As in `read_out`.
    where : (uint64, uint64)
        Number of the first vector over all frames, of the array's first pulse.
    group : _Group
        ``shared`` is written.
    """
    size = group.draws.shape[0]
    kept, share = group.shared
    conversion.overlaps(vectors, used, bits, share)
    share *= common[0]  # type: ignore[index]
    for b in range(0, used, group.rows):
        drawn = kept[b // group.rows * size : (b // group.rows + 1) * size]
        many_normals(drawn, group.numbers, where[0] + np.uint64(b), where[1], common[1])  # type: ignore[index]


@jit
def _tile_further(further: Further, tiled: Floats) -> Floats:
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
    further: Further, common: Common, group: _Group, sums: Sums, place: tuple[int, int, int],
    row: int, target: Int64,
) -> None:  # fmt: skip
    """Have further converters, if there are any, read what the first one of some vectors has read.

    Parameters
    ----------
    further, common
        As in `read_out`.
    group, sums, target
        As in `_convert`.
    place : (int, int, int)
        First of the vectors in the block, how many, columns of each.
    row : int
        Of the outputs of the first one.
    """
    if further is None:
        return
    first, count, width = place
    noise, shared = Noise(group.variance, group.draws), group.shared
    at, shape = (first * width, first * width, 0), (count, width)
    for k in range(group.further.shape[0]):
        columns, adc, acc = group.further[k], further[1][k], further[2][k]
        _keep(group.drawn, group.draws)
        _mix_common(common, noise, shared, columns, first, shape)
        conversion.convert_any(sums, at, noise, Converter(columns, adc), group.value, count * width)
        conversion.add(acc, (row, count), group.value, 0, (0, width), target, False)


@jit
def _mix_common(
    common: Common, noise: Noise, shared: Shared, columns: Floats, first: int,
    shape: tuple[int, int],
) -> None:  # fmt: skip
    """Do what `cimsim.kernels.conversion.mix` does, if pulses have anything in common."""
    if common is not None:
        conversion.mix(noise, shared, columns, first, shape)


@jit
def collect_block(codes: Codes, bases: Int64, runs: Int64, offsets: UInt64, vectors: Codes) -> None:
    """Collect a block of vectors."""
    if codes.itemsize != vectors.itemsize:
        _collect_singly(codes, bases, offsets, vectors)  # the low byte of a code
    elif offsets.shape[0] < SHORT * runs.shape[0]:
        if codes.itemsize == 1 and _by_fours(runs):
            _collect_fours(codes, bases, offsets, vectors)
        else:
            _collect_singly(codes, bases, offsets, vectors)
    else:
        _collect(codes, bases, runs, vectors)


# the loops over vectors stand in the innermost functions: a call costs atomic counts of references


@jit
def _collect(codes: Codes, bases: Int64, runs: Int64, vectors: Codes) -> None:
    """Collect vectors run by run."""
    size, step = np.uint64(codes.itemsize), np.uint64(vectors.shape[1])
    source, sink = np.uint64(codes.ctypes.data), np.uint64(vectors.ctypes.data)
    for v in range(np.uint64(bases.shape[0])):  # unsigned: no test for negative indices
        to, start = sink + v * step * size, source + np.uint64(bases[v]) * size
        for r in range(runs.shape[0]):
            row, offset = np.uint64(runs[r, 0]), np.uint64(runs[r, 1])
            copy_run(start + offset * size, to + row * size, np.uint64(runs[r, 2]) * size)


@jit
def _parts_of(inputs: Inputs, whole: bool) -> UInt64:
    """Return the registers that a vector of bytes consists of; [0, 2] if its runs are too short.

    The last one of a run ends where the run ends. See `cimsim.kernels.rows.collect_four`.
    """
    runs, n = inputs.runs, 0
    for r in range(runs.shape[0]):
        n += -(-runs[r, 2] // ROW)
    if not whole or inputs.codes.itemsize > 1 or runs[:, 2].min() < ROW:
        n = 0
    parts, k = np.empty((n, 2), np.uint64), 0
    for r in range(runs.shape[0] if n > 0 else 0):
        for first in range(0, runs[r, 2], ROW):
            place = min(first, runs[r, 2] - ROW)
            parts[k, 0], parts[k, 1] = runs[r, 1] + place, runs[r, 0] + place
            k += 1
    return parts


@jit
def _collect_parts(codes: Codes, bases: Int64, parts: UInt64, block: _Block, first: int) -> None:
    """Collect vectors register by register into row ``first`` of a block's and those behind it."""
    step, n = np.uint64(block.x.shape[1]), np.uint64(parts.shape[0])
    source, place = np.uint64(codes.ctypes.data), np.uint64(parts.ctypes.data)
    sink, begin = np.uint64(block.x.ctypes.data), np.uint64(bases.ctypes.data)
    v, end = np.uint64(0), np.uint64(bases.shape[0])
    while v < end:
        to, where = sink + (np.uint64(first) + v) * step, begin + v * np.uint64(8)
        if v + np.uint64(TOGETHER) <= end:
            seen = collect_four(source, where, to, step, place, n)
            for i in range(np.uint64(TOGETHER)):
                row = np.uint64(first) + v + i
                block.seen[row] = (seen >> np.uint64(8 * i)) & np.uint64(255)
            v += np.uint64(TOGETHER)
        else:
            block.seen[np.uint64(first) + v] = collect_one(source, where, to, step, place, n)
            v += np.uint64(1)


@jit
def _collect_singly(codes: Codes, bases: Int64, offsets: UInt64, vectors: Codes) -> None:
    """Collect vectors whose runs are too short for copies."""
    for v in range(np.uint64(bases.shape[0])):
        first = np.uint64(bases[v])
        for k in range(np.uint64(offsets.shape[0])):
            vectors[v, k] = codes[first + offsets[k]]


@jit
def _reaches(inputs: Inputs) -> bool:
    """Whether codes of a vector are not all near those of the vector before."""
    codes, bases, runs = inputs
    apart = bases[1] - bases[0] if bases.shape[0] > 1 else 0
    return int(max(runs[:, 2].max(), apart)) * codes.itemsize >= FAR


@jit
def _fetch_ahead(codes: Codes, bases: Int64, runs: Int64, first: int, count: int) -> None:
    """Have the codes of some vectors of the next block fetched while this one is converted."""
    size, source = codes.itemsize, np.uint64(codes.ctypes.data)
    far = bases.shape[0] > 1 and (bases[1] - bases[0]) * size >= FAR
    for v in range(first, min(first + count, bases.shape[0])):
        for r in range(runs.shape[0]):
            if not far and runs[r, 2] * size < FAR:
                continue
            start = source + np.uint64((bases[v] + runs[r, 1]) * size)
            for k in range(np.uint64(0), np.uint64(runs[r, 2] * size), np.uint64(64)):
                fetch_line(start + k)


@jit
def _by_fours(runs: Int64) -> bool:
    """Whether rows come from the map four and four side by side."""
    left = 0
    for r in range(runs.shape[0]):
        left += runs[r, 2] % 4
    return left == 0


@jit
def _collect_fours(codes: Codes, bases: Int64, offsets: UInt64, vectors: Codes) -> None:
    """Collect vectors of bytes whose runs are short: a channel group's, say."""
    source, sink, step = codes.ctypes.data, vectors.ctypes.data, vectors.shape[1]
    for v in range(np.uint64(bases.shape[0])):
        first, to = np.uint64(source) + np.uint64(bases[v]), np.uint64(sink) + v * np.uint64(step)
        for k in range(np.uint64(0), np.uint64(offsets.shape[0]), np.uint64(4)):
            copy_four(first + offsets[k], to + k)


@jit
def offsets_of(runs: Int64) -> UInt64:
    """Return where each element of a vector lies from its beginning."""
    offsets = np.empty(runs[-1, 0] + runs[-1, 2], np.uint64)
    for r in range(runs.shape[0]):
        for k in range(runs[r, 2]):
            offsets[runs[r, 0] + k] = np.uint64(runs[r, 1] + k)
    return offsets


@jit
def _in_place(inputs: Inputs, start: int, used: int, x: Bytes) -> Bytes:
    """Return a whole block of vectors where they lie, if they do so side by side; else ``x``.

    Those of a matrix that is applied to every pixel, say. All rows of a block have to be there,
    since a product reads them whether there is a vector or not.
    """
    codes, bases, runs = inputs
    if not PACKED or codes.itemsize > 1 or used < BLOCK or runs.shape[0] > 1 or runs[0, 2] % ROW:
        return x
    first, step = bases[start], bases[start + 1] - bases[start]
    for v in range(start + 1, start + used):
        if bases[v] != first + (v - start) * step:
            return x
    first += runs[0, 1]
    end = first + BLOCK * step
    if step < x.shape[1] or end > codes.shape[0]:
        return x
    return codes.view(np.uint8)[first:end].reshape((BLOCK, step))


@jit
def _take_pulse(vectors: Codes, place: tuple[int, int], pulse: _Pulse, x: Bytes) -> None:
    """Take the bits of one pulse of some vectors of a block."""
    drop, mask = pulse.drop, pulse.mask
    if drop > 0:
        for b in range(np.uint64(place[0]), np.uint64(place[1])):
            for k in range(np.uint64(x.shape[1])):
                x[b, k] = np.uint8((np.int32(vectors[b, k]) >> drop) & mask)
    else:
        narrow = np.uint8(mask)
        for b in range(np.uint64(place[0]), np.uint64(place[1])):
            for k in range(np.uint64(x.shape[1])):
                x[b, k] = vectors[b, k] & narrow


@jit
def _prepare(
    x: Bytes, place: tuple[int, int], block: _Block, power: int, squared: bool,
    pulse: tuple[int, bool],
) -> None:  # fmt: skip
    """Square some vectors of a block and add their pulse values (to the power) up, if wanted.

    Squares become bytes: they are shifted by a binary exponent, the smallest of 0, 2 .. 8 for which
    the vector's largest square fits, so small inputs keep their noise.

    Parameters
    ----------
    x : uint8 [BLOCK, >= depth]
    place : (int, int)
        First vector and end.
    block : _Block
        ``squares``, ``exponents`` and ``tally`` are written.
    power : int
    squared : bool
        Whether squares are wanted.
    pulse : (int, bool)
        Number of the pulse in ``tally``; whether ``seen`` is there.
    """
    squares, exponents, short = block.squares, block.exponents, block.short
    number, looked = pulse
    # a block's bytes add up to less than 16 bits, but not their squares
    tallied = short.shape[0] > 0 and power == 1
    if short.shape[0] > 0 and power == 2:
        _add_squares(x, place, block.tally[number])
    if not (squared or tallied):
        return
    size, step = np.uint64(squares.shape[1]), np.uint64(x.shape[1])
    source, sink = np.uint64(x.ctypes.data), np.uint64(squares.ctypes.data)
    sums = np.uint64(short.ctypes.data)
    short[:] = 0
    b, end = place
    while b < end:
        count = TOGETHER if b + TOGETHER <= end else 1
        packed, at, to = np.uint64(0), source + np.uint64(b) * step, sink + np.uint64(b) * size
        if squared:
            fresh = np.uint64(0)
            if not looked:
                fresh = seen_four(at, step, size) if count > 1 else seen_one(at, step, size)
            for i in range(count):
                here = (fresh >> np.uint64(8 * i)) & np.uint64(255)
                exponents[b + i] = _exponent(block.seen[b + i] if looked else here)
                packed |= np.uint64(exponents[b + i] << (8 * i))
        _take((at, step, to, size, sums, packed), count == TOGETHER, squared, tallied)
        b += count
    if tallied:
        tally = block.tally[number]
        for k in range(np.uint64(tally.shape[0])):
            tally[k] += np.uint32(short[k])


@jit_inline
def _take(place: Rows, together: bool, squared: bool, tallied: bool) -> None:
    """Square or add up the next vectors, or both, from registers that are loaded once.

    ``place`` are the addresses of vectors, squares and sums, each with what rows are apart but the
    last, and the exponents of `cimsim.kernels.rows`.
    """
    at, step, to, size, sums, packed = place
    if squared and tallied:
        if together:
            both_four(at, step, to, size, sums, size, packed)
        else:
            both_one(at, step, to, size, sums, size, packed)
    elif squared:
        if together:
            square_four(at, step, to, size, sums, size, packed)
        else:
            square_one(at, step, to, size, sums, size, packed)
    elif together:
        tally_four(at, step, to, size, sums, size, packed)
    else:
        tally_one(at, step, to, size, sums, size, packed)


@jit_inline
def _exponent(seen: np.uint64) -> int:
    """Return the exponent that squares of bytes need, of all the bits that are set in them."""
    return 2 * (int(seen > 15) + int(seen > 31) + int(seen > 63) + int(seen > 127))


@jit
def _add_squares(x: Bytes, place: tuple[int, int], tally: NDArray[np.uint32]) -> None:
    """Add the squares of pulse values of some vectors of a block up."""
    for b in range(place[0], place[1]):
        for k in range(tally.shape[0]):
            wide = np.uint32(x[b, k])
            tally[k] += wide * wide


@jit
def _add_tally(tally: NDArray[np.uint32], pulses: Pulses, sums: Int64) -> None:
    """Add what `_tally` counted, in units of the pulse values (to the power), for each row."""
    for p in range(tally.shape[0]):
        shift = pulses.power * pulses.bits[p, 2]
        for k in range(np.uint64(sums.shape[0])):
            sums[k] += np.int64(tally[p, k]) >> shift


@jit_inline
def _multiply(x: Bytes, block: _Block, used: int, planes: Planes, pulse: _Pulse) -> None:
    """Multiply a block's vectors with the planes that there are, their squares with the noise."""
    high, low, noise, parts = planes
    single = pulse.mask & (pulse.mask - 1) == 0
    bit = pulse.exponent if single else -1
    product(x, low, parts, used, bit, block.low)
    if high.size > 0:
        product(x, high, parts, used, bit, block.high)
    if noise.size == 0:
        return
    if single:
        block.exponents[:] = pulse.exponent  # one bit: its square is itself times its value
        product(x, noise, parts, used, bit, block.spread)
    else:
        product(block.squares, noise, parts, used, -1, block.spread)
