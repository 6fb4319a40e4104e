"""From sums of planes to output values: level, noise, code, shift-add.

The steps that every fast path of an array shares. Values of several vectors lie one behind the
other, each vector's columns padded to whole registers of 16: loops over many short rows would not
become vector code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit, jit_inline
from cimsim.kernels.arrays import Codes, Floats, Int32, Int64, Places
from cimsim.kernels.fma import fma
from cimsim.kernels.formula import level, quotient, sigma, twice, value
from cimsim.kernels.products import LANES

GROUP = 1024  # values converted together
# the formula as compiled loops inline it
level_, sigma_, value_ = jit_inline(level), jit_inline(sigma), jit_inline(value)
twice_, quotient_ = jit_inline(twice), jit_inline(quotient)


def packed_columns(
    columns: NDArray[np.float64], adc: NDArray[np.float64], units: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the numbers of an array's columns as `read_out` takes them.

    Parameters
    ----------
    columns : float64 [3, P]
        Weight of the column in the output, gain and offset of its converter.
    adc : float64 [4]
        Of `cimsim.crossbar.adc.AdcRange.packed`.
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
def tile(columns: Floats, out: Floats) -> None:
    """Repeat the numbers of the columns for as many rows as ``out`` has room for."""
    width = np.uint64(columns.shape[1])
    for i in range(np.uint64(columns.shape[0])):
        for first in range(np.uint64(0), np.uint64(out.shape[1]), width):
            for j in range(width):  # slices take seconds to compile; unsigned: no negative indices
                out[i, first + j] = columns[i, j]


# what follows takes whole arrays and places in them: each slice would cost two atomic counts


class Sums(NamedTuple):
    """Sums of planes of one pulse, as `convert` takes them.

    Attributes
    ----------
    high, low : int32 [any]
        Of the high and of the low plane.
    scale : float
        Of the sums.
    shift : int
        A pulse's unit counts ``2**shift``.
    """

    high: Int32
    low: Int32
    scale: float
    shift: int


class Noise(NamedTuple):
    """What is added to levels.

    Attributes
    ----------
    variance : float32 or float64 [>= n]
        In units of the noise plane; of size 0 where there is none.
    draws : float32 [>= n]
        Normals.
    """

    variance: Floats
    draws: Floats


class Converter(NamedTuple):
    """The converters of the columns of an array.

    Attributes
    ----------
    columns : float32 or float64 [5, n]
        From `packed_columns`, for some functions tiled.
    adc : float32 or float64 [3]
        Lower end, step, largest code (negative: no converter at all).
    """

    columns: Floats
    adc: Floats


@jit
def convert(
    sums: Sums, places: Places, noise: Noise, converter: Converter, value: Floats, n: int
) -> int:
    """Turn sums of planes into output values: noisy ones, by a converter.

    Parameters
    ----------
    sums : Sums
    places : (int, int, int)
        Where the sums begin in the high and in the low ones, and the results in ``value``.
    noise : Noise
    converter : Converter
        Tiled.
    value : float32 or float64 [any]
        Written.
    n : int

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    high, low, scale, shift = sums
    (variance, draws), (columns, adc) = noise, converter
    high_at, low_at, to = np.uint64(places[0]), np.uint64(places[1]), np.uint64(places[2])
    kind = value.dtype.type
    upper, lower = kind(256.0 * scale), kind(scale)
    lo, step, top = adc[0], adc[1], adc[2]
    # a level that carries noise need not be the last bit of a quotient
    per_unit, zero, unit = kind(1.0) / step, top - top, kind(1 << shift)
    outside = np.int32(0)
    for j in range(np.uint64(n)):
        total = fma(kind(high[high_at + j]), upper, kind(low[low_at + j]) * lower)
        level = level_(total, (columns[0, j], columns[1, j]), (-lo, per_unit), fma, fma)
        sigma = sigma_(variance[j], columns[2, j], columns[3, j], fma, np.sqrt)
        code = np.rint(fma(sigma, kind(draws[j]), level))
        # as wide as a value: the loop stays vector code of whole registers
        outside = np.int32(outside + np.int32(code < zero) + np.int32(code > top))
        code = min(max(code, zero), top)
        value[to + j] = value_(code, (lo, step), columns[4, j] * unit, fma)
    return int(outside)


@jit
def convert_other(
    sums: Sums, places: Places, noise: Noise, converter: Converter, value: Floats, n: int
) -> int:
    """Do what `convert` does without noise (variances of size 0) or without a converter."""
    high, low, scale, shift = sums
    (variance, draws), (columns, adc) = noise, converter
    high_at, low_at, to = np.uint64(places[0]), np.uint64(places[1]), np.uint64(places[2])
    kind = value.dtype.type
    upper, lower = kind(256.0 * scale), kind(scale)
    lo, step, top = adc[0], adc[1], adc[2]
    zero, unit = top - top, kind(1 << shift)
    outside = np.int32(0)
    noisy = variance.shape[0] > 0
    for j in range(np.uint64(n)):
        total = kind(high[high_at + j]) * upper + kind(low[low_at + j]) * lower
        value[to + j] = level_(
            total, (columns[0, j], columns[1, j]), (-lo, step), twice_, quotient_
        )  # fmt: skip
    if noisy:
        for j in range(np.uint64(n)):
            sigma = sigma_(variance[j], columns[2, j], columns[3, j], twice_, np.sqrt)
            value[to + j] = twice_(sigma, draws[j], value[to + j])
    if top < zero:
        for j in range(np.uint64(n)):
            value[to + j] *= columns[4, j] * unit
        return 0
    for j in range(np.uint64(n)):
        code = np.rint(value[to + j])
        outside = np.int32(outside + np.int32(code < zero) + np.int32(code > top))
        code = min(max(code, zero), top)
        value[to + j] = value_(code, (lo, step), columns[4, j] * unit, twice_)
    return int(outside)


@jit_inline
def convert_any(
    sums: Sums, places: Places, noise: Noise, converter: Converter, value: Floats, n: int
) -> int:
    """Do what `convert` does, or `convert_other` where that is to be asked."""
    if noise.variance.shape[0] > 0 and converter.adc[2] >= 0:
        return convert(sums, places, noise, converter, value, n)
    return convert_other(sums, places, noise, converter, value, n)


@jit
def overlaps(vectors: Codes | Int64, used: int, pulses: Int64, out: Floats) -> None:
    """Find how far noise that stays through all pulses of an input is the same noise in each.

    A pulse reads the cells of the rows that it drives, and pulses drive different rows: of noise
    ``n_i`` of the cells that stays, pulse ``p`` reads ``sum_i x_ip n_i``. All pulses together read
    ``sum_i X_i n_i`` with ``X_i = sum_p f_p x_ip``, of variance ``sum_i X_i**2`` times that of a
    cell. With the correlation that is returned between any two pulses it has just this variance:
    ``(sum X**2 - sum_p Y_p) / ((sum_p sqrt(Y_p))**2 - sum_p Y_p)``, ``Y_p = sum_i (f_p x_ip)**2``.
    Exact where cells fluctuate alike; else the rows' inputs are taken as independent of them.

    Parameters
    ----------
    vectors : uint8, uint16 or uint32 [B, n_rows]
        Codes.
    used : int
        Vectors to look at.
    pulses : int64 [n_pulses, 3]
        As in `cimsim.kernels.fused.read_out`.
    out : float64 [B]
        0 .. 1; 0 where one pulse alone drives anything.
    """
    whole = 0
    for p in range(pulses.shape[0]):
        whole |= pulses[p, 1] << pulses[p, 0]
    for b in range(used):
        alone, roots = 0.0, 0.0
        for p in range(pulses.shape[0]):
            mask, total = np.int64(pulses[p, 1] << pulses[p, 0]), np.int64(0)
            for k in range(vectors.shape[1]):
                part = np.int64(vectors[b, k]) & mask
                total += part * part
            alone += float(total)
            roots += np.sqrt(float(total))
        total = np.int64(0)
        for k in range(vectors.shape[1]):
            part = np.int64(vectors[b, k]) & np.int64(whole)
            total += part * part
        most = roots * roots - alone
        out[b] = min(max((float(total) - alone) / most, 0.0), 1.0) if most > 1e-9 * alone else 0.0


class Shared(NamedTuple):
    """What the pulses of an input have in common.

    Attributes
    ----------
    draws : float32 [any]
        Normals of the inputs, one after the other.
    share : float64 [B]
        Correlation of the read noise of two pulses, for each vector of a block.
    """

    draws: Floats
    share: Floats


@jit
def mix(noise: Noise, shared: Shared, columns: Floats, first: int, shape: tuple[int, int]) -> None:
    """Give the normals of one pulse the part that all pulses of an input have in common, in place.

    Parameters
    ----------
    noise : Noise
        Of this pulse; afterwards normals are still standard normal each.
    shared : Shared
        Those of vector ``first`` begin at ``first * width``.
    columns : float32 or float64 [5, >= count * width]
        From `packed_columns`, tiled: a converter's own noise is another in each pulse.
    first : int
    shape : (int, int)
        Vectors from ``first`` on and columns of each.
    """
    variance, draws = noise
    count, width = shape
    at = first * width
    for b in range(count):
        same = shared.share[first + b]
        for j in range(b * width, (b + 1) * width):
            read, own = variance[j] * columns[2, j], columns[3, j]
            total = read + own
            if total > 0:
                held = np.sqrt(read * same / total)
                rest = np.sqrt(max(1.0 - held * held, 0.0))
                draws[j] = rest * draws[j] + held * shared.draws[at + j]


@jit
def scale(
    spread: Int32, first: int, count: int, exponents: Int64, unit: float, variance: Floats
) -> None:
    """Undo the exponents of the squares of ``count`` vectors from ``first`` on, and of the pulse.

    Parameters
    ----------
    spread : int32 [B, width]
        Sums of the noise plane.
    first, count : int
    exponents : int64 [B]
    unit : float
    variance : float32 or float64 [>= count * width]
        Written.
    """
    width = np.uint64(spread.shape[1])
    kind = variance.dtype.type
    for b in range(np.uint64(count)):
        row = np.uint64(first) + b
        factor, at = kind(unit * (1 << exponents[row])), b * width
        for j in range(width):  # unsigned: no test for negative indices in the loop
            variance[at + j] = kind(spread[row, j]) * factor


@jit
def add(
    acc: Floats, rows: tuple[int, int], value: Floats, at: int, columns: tuple[int, int],
    stretches: Int64, fresh: bool,
) -> None:  # fmt: skip
    """Add values of some columns of an array to the output.

    Parameters
    ----------
    acc : float32 or float64 [B, n_cols]
    rows : (int, int)
        First row of ``acc`` and how many.
    value : [any]
        Row by row from ``at`` on.
    at : int
    columns : (int, int)
        First column of the array and how many.
    stretches : int64 [n, 3]
        (column of the array, column of ``acc``, columns): those that lie side by side in both.
    fresh : bool
        Add to 0, whatever ``acc`` holds.
    """
    first, width = columns
    last, zero = first + width, acc.dtype.type(0)
    for r in range(stretches.shape[0]):
        begin = max(stretches[r, 0], first)
        n = np.uint64(max(0, min(stretches[r, 0] + stretches[r, 2], last) - begin))
        place = np.uint64(stretches[r, 1] + begin - stretches[r, 0])
        if n == 0:
            continue
        for b in range(rows[1]):
            row, source = np.uint64(rows[0] + b), np.uint64(at + b * width + begin - first)
            if fresh:
                for j in range(n):  # unsigned: no test for negative indices in the loop
                    acc[row, place + j] = zero + value[source + j]
            else:
                for j in range(n):
                    acc[row, place + j] += value[source + j]


@jit
def put(
    acc: Floats, rows: tuple[int, int], value: Floats, width: int, stretches: Int64,
    folded: tuple[Floats, float],
) -> None:  # fmt: skip
    """Write values of a whole array to the output, scaled: nothing else is added to them.

    Parameters
    ----------
    acc, rows, stretches
        As in `add`.
    value : float32 or float64 [>= rows * width]
        Row by row.
    width : int
        Columns of a row, padded.
    folded : (float32 [2, n_cols], float)
        As `cimsim.kernels.floats.rescale_folded` takes it, and its ``floor``.
    """
    scaling, least = folded[0], np.float32(folded[1])
    for r in range(stretches.shape[0]):
        begin, place, n = stretches[r, 0], np.uint64(stretches[r, 1]), np.uint64(stretches[r, 2])
        for b in range(rows[1]):
            row, source = np.uint64(rows[0] + b), np.uint64(b * width + begin)
            for j in range(n):  # unsigned: no test for negative indices in the loop
                one = np.float32(value[source + j])
                scaled = fma(one, scaling[0, place + j], scaling[1, place + j])
                acc[row, place + j] = max(scaled, least)
