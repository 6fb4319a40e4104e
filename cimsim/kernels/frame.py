"""A frame's activations on all arrays of a layer, block by block, by as many threads as come.

Each thread takes the next block when it has done one, from the codes to the values in the layer's
output map and to the codes of the layers behind it, and comes back to Python when none is left:
threads that met there after each block would wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from cimsim.jit import jit
from cimsim.kernels import floats, fused
from cimsim.kernels.arrays import Codes, Doubles, Int64, Packed, Places, Single
from cimsim.kernels.borrow import count_on, lent_1, lent_2, lent_4, record
from cimsim.kernels.conversion import Converter
from cimsim.kernels.fused import Common, Inputs, Outputs, Planes, Pulses
from cimsim.kernels.normals import Stream
from cimsim.kernels.products import PACKED

# where the fields of a reading begin: records of arrays (`borrow.record`), then numbers
_RUNS, _HIGH, _LOW, _NOISE, _PARTS, _COLUMNS, _ADC, _TARGET = 0, 3, 8, 13, 18, 21, 24, 26
_STAGE, _FIRST, _END, _FRESH, _ROWS, _SUMMED = 29, 30, 31, 32, 33, 34
READING = 35  # fields
# and those of a map of codes
_CODES, _WIDTH, _TOP, _LEFT, _LINES, _ZERO, _LAST, _SHIFT, _SIZE = 0, 3, 4, 5, 6, 7, 8, 9, 10
CODES = 11
SUMS, VALUES = 0, 1  # what a target takes


class Reading(NamedTuple):
    """One array, driven with the pulses of one phase: see `fused.read_out`.

    Attributes
    ----------
    runs : int64 [n_runs, 3]
    planes : Planes
    converter : Converter
        Of the phase.
    target : int64 [n, 3]
    stage : int
        Number of the first pulse, counted over all arrays.
    pulses : (int, int)
        First of the phase and end of it.
    fresh : bool
        Whether nothing was added to its outputs before.
    rows : (int, int)
        Where the sums of its rows' pulse values begin among those of all, and how many rows there
        are; 0 where another reading adds them up.
    """

    runs: Int64
    planes: Planes
    converter: Converter
    target: Int64
    stage: int
    pulses: tuple[int, int]
    fresh: bool
    rows: tuple[int, int]

    @property
    def fields(self) -> list[int]:
        """Fields as compiled code takes them; the arrays have to be kept."""
        high, low, noise, parts = self.planes
        return [
            *record(self.runs), *record(high, 4), *record(low, 4), *record(noise, 4),
            *record(parts), *record(self.converter.columns), *record(self.converter.adc),
            *record(self.target), self.stage, *self.pulses, int(self.fresh), *self.rows,
        ]  # fmt: skip


class Layer(NamedTuple):
    """The arrays of a layer.

    Attributes
    ----------
    readings : int64 [n, READING]
        `Reading.fields` of each, in order.
    planes : ndarray
        Of the type of all planes, of any size.
    columns : float32 [5, n]
        Of any converters: the type of all.
    bits : int64 [n_pulses, 3]
        See `fused.Pulses`.
    power : int
    fills : bool
        Whether the readings that are fresh reach every output.
    """

    readings: Int64
    planes: Packed
    columns: Single
    bits: Int64
    power: int
    fills: bool


class Work(NamedTuple):
    """What there is to do.

    Attributes
    ----------
    codes : uint8, uint16 or uint32 [n]
        The padded map, flat.
    bases : int64 [activations]
        Where their inputs begin in it.
    blocks : int64 [n, 2]
        First activation and end of each block.
    taken : int64 [1]
        Blocks that were taken; shared by all threads.
    stream : Stream
        Of the first activation; the stage counts from 0.
    common : Common
        See `fused.read_out`.
    """

    codes: Codes
    bases: Int64
    blocks: Int64
    taken: Int64
    stream: Stream
    common: Common


class CodesOf(NamedTuple):
    """A map of codes that outputs are encoded into, pixel by pixel.

    Attributes
    ----------
    padded : uint8, uint16 or uint32 [height, width]
        The padded map; a row's codes side by side.
    corner : (int, int)
        Row of the map's first pixel, and place of its first code in the row.
    width : int
        Pixels of a row of the map.
    scale : float
        Of the codes.
    zero, top : int
    lines : int
        Codes of a value.
    shift : int
        Of negative magnitudes, see `floats.encode_signed`; -1: codes have a zero point.
    """

    padded: Codes
    corner: tuple[int, int]
    width: int
    scale: float
    zero: int
    top: int
    lines: int
    shift: int

    @property
    def fields(self) -> list[int]:
        """Fields as compiled code takes them; the map has to be kept."""
        return [
            *record(self.padded), self.width, *self.corner, self.lines, self.zero, self.top,
            self.shift, self.padded.itemsize,
        ]  # fmt: skip


class Target(NamedTuple):
    """Where the outputs of a layer go.

    Attributes
    ----------
    kind : int
        ``SUMS``, or ``VALUES`` that sums are scaled into.
    sums : float32 [activations, n], or [0, n]
        Takes the summed codes, or what arrays scale themselves.
    values : float32 [activations, n], or [0, n]
        Takes the scaled outputs of arrays that add up before.
    pixels : float32 [height, width, channels], or [0, 0, 0]
        Takes outputs as blocks of pixels.
    grid : (int, int, int)
        See `floats.unfold`.
    scaling : (float32 [2, n], float)
        See `conversion.put`; [2, 0] where arrays do not scale.
    folded : float32 [2, n]
        See `floats.rescale_folded`.
    floor : float
    codes : int64 [n, CODES]
        `CodesOf.fields` of the maps that outputs are encoded into.
    scales : float64 [n]
        Of their codes.
    """

    kind: int
    sums: Single
    values: Single
    pixels: Single
    grid: Places
    scaling: tuple[Single, float]
    folded: Single
    floor: float
    codes: Int64
    scales: Doubles


def target_of(
    kind: int, n_outputs: int, *, sums: Single | None = None, values: Single | None = None,
    pixels: Single | None = None,
) -> Target:  # fmt: skip
    """Return a target that neither scales nor encodes, whose fields can be replaced.

    What is not there is of size 0, so that all have the same type.

    Parameters
    ----------
    kind, sums, values, pixels
        As in `Target`.
    n_outputs : int
    """
    none = np.empty((0, n_outputs), np.float32)
    return Target(
        kind, none if sums is None else sums, none if values is None else values,
        np.empty((0, 0, 0), np.float32) if pixels is None else pixels, (1, 1, 1),
        (np.empty((2, 0), np.float32), 0.0), none, 0.0, *encoding([]),
    )  # fmt: skip


def takes(codes: CodesOf) -> bool:
    """Whether `fire` encodes into a map: those of longer codes are rare, and a compilation more."""
    return codes.padded.itemsize <= 2


_NOT_ENCODED = np.empty((0, CODES), np.int64), np.empty(0)


def encoding(maps: Sequence[CodesOf]) -> tuple[Int64, Doubles]:
    """Return ``codes`` and ``scales`` of a `Target` for some maps."""
    if not maps:
        return _NOT_ENCODED
    fields = np.array([one.fields for one in maps], np.int64).reshape(-1, CODES)
    return fields, np.array([one.scale for one in maps], np.float64)


Counted: TypeAlias = tuple[int, int, Int64, Int64]


@jit
def fire(layer: Layer, work: Work, target: Target, n_rows: int, n_outputs: int) -> Counted:
    """Drive the arrays with one block of activations after another until none is left.

    Parameters
    ----------
    layer, work, target
    n_rows : int
        Of all readings that add pulse values up.
    n_outputs : int
        Values of an activation.

    Returns
    -------
    done, clipped : int
        Activations that this thread has done; conversions whose input lay outside of the range.
    sums : int64 [n_rows]
        Of pulse values (to the power).
    encoded : int64 [n, 2]
        For each map of codes their sum, and values beyond the codes' ends.
    """
    sums, encoded = np.zeros(n_rows, np.int64), np.zeros((target.codes.shape[0], 2), np.int64)
    largest = (work.blocks[:, 1] - work.blocks[:, 0]).max()
    in_place = target.sums.shape[0] > 0
    scales = target.kind == VALUES and target.scaling[0].shape[1] == 0
    own = np.empty((0 if in_place else largest, n_outputs), layer.columns.dtype)
    scaled = np.empty((largest if scales else 0, n_outputs), np.float32)
    done = clipped = 0
    block = count_on(work.taken)
    while block < work.blocks.shape[0]:
        start, end = work.blocks[block]
        acc = target.sums[start:end] if in_place else own[: end - start]
        if not layer.fills:
            acc[:] = 0
        clipped += _read_all(layer, work, (start, end), acc, target.scaling, sums)
        if scales:
            there = target.values.shape[0] > 0
            values = target.values[start:end] if there else scaled[: end - start]
            floats.rescale_folded(acc, target.folded, target.floor, values)
            _lay_out(values, start, target, encoded)
        elif target.kind == VALUES:
            _lay_out(acc, start, target, encoded)
        done += end - start
        block = count_on(work.taken)
    return done, clipped, sums, encoded


@jit
def _read_all(
    layer: Layer, work: Work, place: tuple[int, int], acc: Single,
    scaling: tuple[Single, float], sums: Int64,
) -> int:  # fmt: skip
    """Read all arrays for the activations of a block; returns conversions that were clipped."""
    readings, like, clipped = layer.readings, layer.planes, 0
    start, end = place
    window = work.stream.window + np.uint64(start)
    for r in range(readings.shape[0]):
        row = readings[r]
        if PACKED:
            planes = (
                lent_4(row, _HIGH, like), lent_4(row, _LOW, like), lent_4(row, _NOISE, like),
                lent_2(row, _PARTS, readings),
            )  # fmt: skip
        else:
            planes = (
                lent_2(row, _HIGH, like), lent_2(row, _LOW, like), lent_2(row, _NOISE, like),
                lent_2(row, _PARTS, readings),
            )  # fmt: skip
        converter = Converter(
            lent_2(row, _COLUMNS, layer.columns), lent_1(row, _ADC, layer.columns)
        )
        first = row[_ROWS]
        clipped += fused.read_out(
            Inputs(work.codes, work.bases[start:end], lent_2(row, _RUNS, readings)),
            Pulses(layer.bits[row[_FIRST] : row[_END]], layer.power),
            planes, converter, Stream(window, np.uint64(row[_STAGE]), work.stream.key),
            Outputs(
                acc, lent_2(row, _TARGET, readings), row[_FRESH] != 0,
                sums[first : first + row[_SUMMED]], scaling,
            ),
            work.common,
        )  # fmt: skip
    return clipped


@jit
def _lay_out(values: Single, start: int, target: Target, encoded: Int64) -> None:
    """Put the outputs of a block where they belong, as pixels and as codes."""
    if target.pixels.shape[0] > 0:
        floats.unfold(values, start, target.grid, target.pixels)
    for k in range(target.codes.shape[0]):
        fields, scale = target.codes[k], target.scales[k]
        place = (fields[_TOP], fields[_LEFT]), (fields[_WIDTH], fields[_LINES])
        how = fields[_ZERO], fields[_LAST], fields[_SHIFT]
        if fields[_SIZE] == 1:
            codes = lent_2(fields, _CODES, _BYTE)
            found = _encode_pixels(values, start, scale, place, how, codes)
        else:
            found = _encode_pixels(values, start, scale, place, how, lent_2(fields, _CODES, _TWO))
        encoded[k, 0] += found[0]
        encoded[k, 1] += found[1]


_BYTE, _TWO = np.empty(0, np.uint8), np.empty(0, np.uint16)


def encode_pixels(values: Single, start: int, codes: CodesOf) -> tuple[int, int]:
    """Encode consecutive pixels into a map of codes.

    Parameters
    ----------
    values : float32 [n, channels]
    start : int
        The first pixel, in raster order.
    codes : CodesOf

    Returns
    -------
    (int, int)
        Sum of the codes; values that lie beyond the codes' ends.
    """
    place, how = (codes.corner, (codes.width, codes.lines)), (codes.zero, codes.top, codes.shift)
    return _encode_pixels(values, start, codes.scale, place, how, codes.padded)


@jit
def _encode_pixels(
    values: Single, start: int, scale: float, place: tuple[tuple[int, int], tuple[int, int]],
    how: Places, out: Codes,
) -> tuple[int, int]:  # fmt: skip
    """Do what `encode_pixels` does, whole rows of the map at a time.

    ``place`` are the map's corner, its pixels in a row and codes of a value; ``how`` are zero
    point, last code and shift.
    """
    (top, left), (width, lines) = place
    n, channels = values.shape
    total, beyond, done = 0, 0, 0
    while done < n:
        row, column = (start + done) // width, (start + done) % width
        rows = (n - done) // width if column == 0 else 0
        pixels = rows * width if rows > 0 else min(n - done, width - column)
        part = values[done : done + pixels].reshape((max(rows, 1), -1))
        corner = top + row, left + column * channels * lines
        found = _encode_into(part, scale, (corner, *how), out)
        total += found[0]
        beyond += found[1]
        done += pixels
    return total, beyond


@jit
def _encode_into(
    part: Single, scale: float, how: tuple[tuple[int, int], int, int, int], out: Codes
) -> tuple[int, int]:
    """Encode some rows: ``how`` says from which corner, zero point, last code and shift."""
    corner, zero, last, shift = how
    if shift < 0:
        return floats.encode_map(part, scale, zero, last, out, corner)
    return floats.encode_signed(part, scale, last, shift, out, corner)


def encode_rows(one: Single, other: Single, row: int, codes: CodesOf) -> tuple[int, int]:
    """Encode whole rows of a map, or of the sum of two.

    Parameters
    ----------
    one : float32 [n, pixels * channels]
    other : float32 of the same shape, or [0, ...]
    row : int
        Of the map, that of the first one.
    codes : CodesOf

    Returns
    -------
    (int, int)
        Sum of the codes; values that lie beyond the codes' ends.
    """
    (top, left), how = codes.corner, (codes.zero, codes.top, codes.shift)
    return _encode_rows(one, other, codes.scale, (top + row, left), how, codes.padded)


@jit
def _encode_rows(
    one: Single, other: Single, scale: float, corner: tuple[int, int], how: Places, out: Codes
) -> tuple[int, int]:
    """Do what `encode_rows` does: a sum goes no further than the nearest cache."""
    if other.shape[0] == 0:
        return _encode_into(one, scale, (corner, *how), out)
    total, beyond, added = 0, 0, np.empty((1, one.shape[1]), one.dtype)
    for i in range(one.shape[0]):
        for j in range(one.shape[1]):
            added[0, j] = one[i, j] + other[i, j]
        found = _encode_into(added, scale, ((corner[0] + i, corner[1]), *how), out)
        total += found[0]
        beyond += found[1]
    return total, beyond
