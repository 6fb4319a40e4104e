"""A frame's activations on all arrays of its layers, block by block, by as many threads as come.

Each thread takes the next block of a step when it has done one, from the codes to the values in the
layer's output map and to the codes of the layers behind it, and goes on to the next step when none
is left: it comes back to Python when all is done, for threads that met there after each layer would
wait for each other, and for Python. Further steps are written down meanwhile (`Steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cimsim.jit import jit, jit_inline
from cimsim.kernels import floats, fused
from cimsim.kernels.arrays import Codes, Doubles, Int64, Packed, Places, Single
from cimsim.kernels.borrow import address_of, lent_1, lent_2, lent_3, lent_4, record
from cimsim.kernels.conversion import Converter
from cimsim.kernels.emit import Build, Typing
from cimsim.kernels.fused import Common, Inputs, Outputs, Planes, Pulses
from cimsim.kernels.normals import Stream
from cimsim.kernels.products import PACKED
from cimsim.kernels.threads import count_on, seen, wait

# where the fields of a reading begin: records of arrays (`borrow.record`), then numbers
_RUNS, _HIGH, _LOW, _NOISE, _PARTS, _COLUMNS, _ADC, _TARGET = 0, 3, 8, 13, 18, 21, 24, 26
_STAGE, _FIRST, _END, _FRESH, _ROWS, _SUMMED = 29, 30, 31, 32, 33, 34
READING = 35  # fields
# those of a map of codes
_CODES, _WIDTH, _TOP, _LEFT, _LINES, _ZERO, _LAST, _SHIFT, _SIZE = 0, 3, 4, 5, 6, 7, 8, 9, 10
CODES = 11
# and those of a step; the first ones are the same in every frame
_BLOCKS, _READINGS, _BITS, _BASES, _POWER, _FILLS, _WIDE = 0, 3, 6, 9, 11, 12, 13
_KIND, _COUNTS, _MAPS, _SCALES, _ONE, _OTHER, _INPUT = 14, 15, 18, 21, 23, 26, 29
_WINDOW, _KEY, _SHARED, _PIXELS, _GRID, _SCALING, _FOLDED = 31, 32, 33, 34, 38, 41, 44
_FLAGS, _NEEDS, _TABLE, _WEIGHTS, _WEIGHED, STEP = 47, 49, 51, 54, 56, 58
_PLANES = _INPUT  # of a step that encodes
FLOOR, CORRELATION, NUMBERS = 0, 1, 2
SUMS, VALUES, ENCODING = 0, 1, 2  # what a step gives
# what threads share, each number in a line of the cache of its own: steps that are written down,
# whether there are more, whether something failed; then for each step blocks that were taken, and
# done
READY, ENDED, FAILED, _TAKEN, _DONE, _LINE = 0, 8, 16, 24, 32, 16
_CLIPPED, _ENCODED = 1, 2  # places among the counts of a thread; activations come first


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
    outputs : int
        Values of an activation.
    """

    readings: Int64
    planes: Packed
    columns: Single
    bits: Int64
    power: int
    fills: bool
    outputs: int

    def like(self, codes: Codes, common: Common) -> Like:
        """Return arrays and numbers of the types that a step of the layer names."""
        return Like(codes, self.planes, self.columns, common)


class Plan(NamedTuple):
    """What is the same in every frame that drives the arrays of a layer.

    Attributes
    ----------
    layer : Layer
    bases : int64 [activations]
        Where the inputs of activations begin in the padded map.
    blocks : int64 [n, 2]
        First activation and end of each block.
    rows : int
        Of all readings that add pulse values up.
    weights : (int64 [n, 3], float64 [any])
        Of these sums, see `cimsim.kernels.floats.weigh`.
    reach : int64 [n]
        For each block its last place in the padded map.
    fields : list of int
        The first ones of a step.
    """

    layer: Layer
    bases: Int64
    blocks: Int64
    rows: int
    weights: tuple[Int64, Doubles]
    reach: Int64
    fields: list[int]

    @classmethod
    def of(
        cls, layer: Layer, bases: Int64, blocks: Int64, rows: int, weights: tuple[Int64, Doubles],
        depth: int,
    ) -> Plan:  # fmt: skip
        """Find what follows from the rest; ``depth`` is how far an input reaches from its base."""
        reach = np.maximum.reduceat(bases, blocks[:, 0]) + depth
        fields = [
            *record(blocks), *record(layer.readings), *record(layer.bits), *record(bases),
            layer.power, int(layer.fills), layer.outputs,
        ]  # fmt: skip
        return cls(layer, bases, blocks, rows, weights, reach, fields)


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
    stream : Stream
        Of the first activation; the stage counts from 0.
    common : Common
        See `fused.read_out`.
    """

    codes: Codes
    bases: Int64
    blocks: Int64
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
    scaling : float32 [2, n]
        See `conversion.put`; [2, 0] where arrays do not scale.
    folded : float32 [2, n]
        See `floats.rescale_folded`.
    floor : float
        Of both.
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
    scaling: Single
    folded: Single
    floor: float
    codes: Int64
    scales: Doubles


_NO_VALUES, _NO_SCALING = np.empty((0, 0), np.float32), np.empty((2, 0), np.float32)
_NO_PIXELS = np.empty((0, 0, 0), np.float32)
_NOT_ENCODED = np.empty((0, CODES), np.int64), np.empty(0)


def target_of(
    kind: int, *, sums: Single | None = None, values: Single | None = None,
    pixels: Single | None = None,
) -> Target:  # fmt: skip
    """Return a target that neither scales nor encodes, whose fields can be replaced.

    What is not there is of size 0, so that all have the same type.

    Parameters
    ----------
    kind, sums, values, pixels
        As in `Target`.
    """
    return Target(
        kind, _NO_VALUES if sums is None else sums, _NO_VALUES if values is None else values,
        _NO_PIXELS if pixels is None else pixels, (1, 1, 1), _NO_SCALING, _NO_VALUES, 0.0,
        *_NOT_ENCODED,
    )  # fmt: skip


def takes(codes: CodesOf) -> bool:
    """Whether steps encode into a map: those of longer codes are rare, and a compilation more."""
    return codes.padded.itemsize <= 2


def encoding(maps: Sequence[CodesOf]) -> tuple[Int64, Doubles]:
    """Return ``codes`` and ``scales`` of a `Target` for some maps."""
    if not maps:
        return _NOT_ENCODED
    fields = np.array([one.fields for one in maps], np.int64).reshape(-1, CODES)
    return fields, np.array([one.scale for one in maps], np.float64)


ALL = np.empty(0, np.int64)


class Step(NamedTuple):
    """What threads do together before the next step; whoever keeps it keeps what it names.

    Attributes
    ----------
    fields : list of int
        As compiled code takes them.
    numbers : (float, float)
        `FLOOR` and `CORRELATION`.
    blocks : int64 [n, 2]
        Of activations or of rows, first and end.
    memory : int64 [any]
        What threads write down, see `_memory`.
    like : Like
    held : tuple
        What else is named by address.
    """

    fields: list[int]
    numbers: tuple[float, float]
    blocks: Int64
    memory: Int64
    like: Like
    held: tuple[object, ...]

    def counted(self) -> Counted:
        """Return what all threads have counted together, after `work_on` has waited for them."""
        end, sums = _ENCODED + 2 * self.fields[_MAPS + 1], self.fields[_WEIGHED + 1]
        done, clipped = self.memory[:_ENCODED].tolist()
        encoded, last = self.memory[_ENCODED:end].reshape(-1, 2), self.memory[-sums:]
        return Counted(done, clipped, encoded, last.view(np.float64).tolist() if sums else [])


class Counted(NamedTuple):
    """What a step has counted.

    Attributes
    ----------
    done : int
        Activations or rows.
    clipped : int
        Conversions whose input lay outside of the range.
    encoded : int64 [n, 2]
        For each map of codes their sum, and values beyond the codes' ends.
    weighed : list of float
        Sums of pulse values (to the power), as `Plan.weights` says.
    """

    done: int
    clipped: int
    encoded: Int64
    weighed: list[float]


class Like(NamedTuple):
    """Arrays of any size, of the types of those that a step names.

    Attributes
    ----------
    codes : uint8, uint16 or uint32 [n]
    planes : ndarray
    columns : float32 [5, n]
    common : Common
        With any numbers.
    """

    codes: Codes
    planes: Packed
    columns: Single
    common: Common


def firing_step(
    plan: Plan, codes: Codes, window: int, key: int, common: Common, target: Target, threads: int,
    needs: Int64 = ALL,
) -> Step:  # fmt: skip
    """Return the step that drives the arrays of a layer with all activations.

    Parameters
    ----------
    plan : Plan
    codes : uint8, uint16 or uint32 [n]
        The padded map, flat.
    window : int
        Number of the first activation over all frames.
    key : int
        Of the noise, 64 bits.
    common : Common
        See `fused.read_out`.
    target : Target
    threads : int
        How many come at most.
    needs : int64 [n blocks], or [0]
        Blocks of the step before that must be done before each block is begun; empty: all.
    """
    correlation, shared = (0.0, 0) if common is None else common
    table, weights = plan.weights
    each = _ENCODED + 2 * len(target.codes) + plan.rows
    memory, counts, flags, weighed = _memory(threads, each, len(plan.blocks), len(table))
    fields = [
        *plan.fields, target.kind, *counts, *record(target.codes), *record(target.scales),
        *record(target.sums), *record(target.values), *record(codes), window,
        _signed(key), _signed(shared), *record(target.pixels), *target.grid,
        *record(target.scaling), *record(target.folded), *flags, *record(needs), *record(table),
        *record(weights), *weighed,
    ]  # fmt: skip
    like, held = plan.layer.like(codes, common), (plan, codes, target, needs)
    return Step(fields, (target.floor, correlation), plan.blocks, memory, like, held)


def _memory(
    threads: int, counts: int, blocks: int, sums: int
) -> tuple[Int64, list[int], list[int], list[int]]:
    """Return what threads write down, all 0, and what `record` says of its parts.

    These are, one behind the other: int64 [threads, counts], where each thread counts for itself
    and the first one has what all have in the end; int64 [blocks], which of them are done; float64
    [sums], those that are weighed.
    """
    sizes = threads * counts, blocks, sums
    memory = np.zeros(sum(sizes), np.int64)
    begin = address_of(memory)
    flags = begin + 8 * sizes[0]
    weighed = flags + 8 * sizes[1]
    return memory, [begin, threads, counts], [flags, blocks], [weighed, sums]


_NO_LAYER, _NO_TARGET = [0] * (_KIND - _READINGS), [0] * (_FLAGS - _INPUT - 1)
_NO_WEIGHTS = [0] * (STEP - _TABLE)


def encoding_step(
    one: Single, other: Single, planes: int, blocks: Int64, codes: CodesOf, threads: int,
    like: Like, needs: Int64 = ALL,
) -> Step:  # fmt: skip
    """Return the step that encodes a map, or the sum of two.

    Parameters
    ----------
    one : float32 [rows, pixels * channels], or [channels * rows, pixels]
    other : float32 of the same shape, or [0, ...]
    planes : int
        Channels where one lies behind the other; 0 where those of a pixel lie side by side.
    blocks : int64 [n, 2]
        First row and end of each.
    codes : CodesOf
    threads : int
        How many come at most.
    like : Like
        Of the steps beside it.
    needs : int64 [n blocks], or [0]
        As in `firing_step`.
    """
    maps, scales = encoding([codes])
    memory, counts, flags, _ = _memory(threads, _ENCODED + 2, len(blocks), 0)
    fields = [
        *record(blocks), *_NO_LAYER, ENCODING, *counts, *record(maps), *record(scales),
        *record(one), *record(other), planes, *_NO_TARGET, *flags, *record(needs), *_NO_WEIGHTS,
    ]  # fmt: skip
    held = one, other, codes, maps, scales, needs
    return Step(fields, (0.0, 0.0), blocks, memory, like, held)


def _signed(word: int | np.uint64) -> int:
    """Return a word of 64 bits as the integer of as many that it is."""
    number = int(word)
    return number - 2**64 if number >= 2**63 else number


class Steps(NamedTuple):
    """Steps that are done one after the other, each when it is written down.

    Attributes
    ----------
    records : int64 [n, STEP]
        `Step.fields`.
    numbers : float64 [n, NUMBERS]
        `Step.numbers`.
    shared : int64 [_TAKEN + _LINE * n]
        What threads count: `READY`, `ENDED` and `FAILED` from Python.
    like : Like
        Of all steps.
    """

    records: Int64
    numbers: Doubles
    shared: Int64
    like: Like

    @classmethod
    def room(cls, n: int, like: Like) -> Steps:
        """Return room for ``n`` steps."""
        shared = np.zeros(_TAKEN + _LINE * n, np.int64)
        return cls(np.empty((n, STEP), np.int64), np.empty((n, NUMBERS)), shared, like)


@jit
def work_on(steps: Steps, me: int, first: int, end: int, stays: bool) -> None:
    """Do steps until there are no more, or something has failed.

    Parameters
    ----------
    steps : Steps
    me : int
        Number of the thread.
    first, end : int
        Steps to do: those from ``first`` on, but for ``end`` and what follows.
    stays : bool
        Whether to come back when all of them are done; else when there is nothing left to begin.
    """
    records, shared, k = steps.records, steps.shared, first
    while k < end and _comes(shared, k):
        # a block waits for what it needs of the step before, and all for those before that
        before = k - 2 if records[k, _NEEDS + 1] > 0 else k - 1
        if before >= 0 and not _ends(shared, before, records[before, _BLOCKS + 1]):
            return
        if records[k, _KIND] == ENCODING:
            _encode(steps, k, me)
        else:
            _fire(steps, k, me)
        k += 1
    if stays and k > 0 and _ends(shared, k - 1, records[k - 1, _BLOCKS + 1]):
        for done in range(first, k):
            _add_up(records[done], steps.numbers)


@jit
def _add_up(row: Int64, like: Doubles) -> None:
    """Give the first thread what all have counted, and weigh sums of pulse values."""
    counts, table = lent_2(row, _COUNTS, row), lent_2(row, _TABLE, row)
    for t in range(1, counts.shape[0]):
        for j in range(np.uint64(counts.shape[1])):
            counts[0, j] += counts[t, j]
    begin = _ENCODED + 2 * row[_MAPS + 1]
    weights, weighed = lent_1(row, _WEIGHTS, like), lent_1(row, _WEIGHED, like)
    floats.weigh(counts[0, begin:], table, weights, weighed)


@jit
def _comes(shared: Int64, step: int) -> bool:
    """Wait until a step is written down; returns whether there is one."""
    looks = 0
    while seen(shared, FAILED) == 0:
        ended = seen(shared, ENDED)
        if seen(shared, READY) > step:
            return True
        if ended > 0:
            return False
        looks = wait(looks)
    return False


@jit
def _ends(shared: Int64, step: int, blocks: int) -> bool:
    """Wait until all blocks of a step are done; returns whether they are."""
    looks = 0
    while seen(shared, _DONE + _LINE * step) < blocks:
        if seen(shared, FAILED) > 0:
            return False
        looks = wait(looks)
    return True


@jit
def _next(steps: Steps, k: int) -> int:
    """Return the number of a block that nobody has taken, when it can be begun; else `_NONE`."""
    records, shared = steps.records, steps.shared
    block = count_on(shared, _TAKEN + _LINE * k)
    if block >= records[k, _BLOCKS + 1] or seen(shared, FAILED) > 0:
        return _NONE
    if k > 0 and records[k, _NEEDS + 1] > 0:
        flags, looks = lent_1(records[k - 1], _FLAGS, records), 0
        for other in range(lent_1(records[k], _NEEDS, records)[block]):
            while seen(flags, other) == 0:
                if seen(shared, FAILED) > 0:
                    return _NONE
                looks = wait(looks)
    return block


@jit
def _done(steps: Steps, k: int, block: int) -> None:
    """Say that a block is done."""
    count_on(lent_1(steps.records[k], _FLAGS, steps.records), block)
    count_on(steps.shared, _DONE + _LINE * k)


_NONE = 2**62


@jit_inline
def _encode(steps: Steps, k: int, me: int) -> None:
    """Encode blocks of rows of a map, or of the sum of two."""
    records = steps.records
    row = records[k]
    blocks, counts = lent_2(row, _BLOCKS, records), lent_2(row, _COUNTS, records)[me]
    one, other = lent_2(row, _ONE, steps.like.columns), lent_2(row, _OTHER, steps.like.columns)
    fields = lent_2(row, _MAPS, records)[0]
    scale = lent_1(row, _SCALES, steps.numbers)[0]
    how, planes = (fields[_ZERO], fields[_LAST], fields[_SHIFT]), row[_PLANES]
    block = _next(steps, k)
    while block < blocks.shape[0]:
        start, end = blocks[block]
        corner = fields[_TOP] + start, fields[_LEFT]
        if fields[_SIZE] == 1:
            codes = lent_2(fields, _CODES, _BYTE)
            found = _encode_rows((one, other), (start, end, planes), scale, corner, how, codes)
        else:
            longer = lent_2(fields, _CODES, _TWO)
            found = _encode_rows((one, other), (start, end, planes), scale, corner, how, longer)
        counts[0] += end - start
        counts[_ENCODED] += found[0]
        counts[_ENCODED + 1] += found[1]
        _done(steps, k, block)
        block = _next(steps, k)


@jit_inline
def _fire(steps: Steps, k: int, me: int) -> None:
    """Drive the arrays of a layer with one block of activations after another."""
    records, like = steps.records, steps.like
    row, floor = records[k], steps.numbers[k, FLOOR]
    layer = Layer(
        lent_2(row, _READINGS, records), like.planes, like.columns, lent_2(row, _BITS, records),
        row[_POWER], row[_FILLS] != 0, row[_WIDE],
    )  # fmt: skip
    common = _common_of(like.common, steps.numbers[k, CORRELATION], np.uint64(row[_SHARED]))
    stream = Stream(np.uint64(row[_WINDOW]), np.uint64(0), np.uint64(row[_KEY]))
    work = Work(
        lent_1(row, _INPUT, like.codes), lent_1(row, _BASES, records),
        lent_2(row, _BLOCKS, records), stream, common,
    )  # fmt: skip
    target = Target(
        row[_KIND], lent_2(row, _ONE, like.columns), lent_2(row, _OTHER, like.columns),
        lent_3(row, _PIXELS, like.columns), (row[_GRID], row[_GRID + 1], row[_GRID + 2]),
        lent_2(row, _SCALING, like.columns), lent_2(row, _FOLDED, like.columns), floor,
        lent_2(row, _MAPS, records), lent_1(row, _SCALES, steps.numbers),
    )  # fmt: skip
    _fire_blocks(layer, work, target, lent_2(row, _COUNTS, records)[me], (steps, k))


def _common(_: Typing, like: Typing, correlation: Typing, key: Typing) -> Build:
    """Return what pulses of an input have in common, if ``like`` says that they have: `Common`."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        if isinstance(like, types.NoneType):
            return context.get_dummy_value()
        return context.make_tuple(builder, like, args[1:])

    return like(like, types.float64, types.uint64), build


_common_of = cast("Callable[[Common, float, np.uint64], Common]", intrinsic(_common))


@jit_inline
def _fire_blocks(
    layer: Layer, work: Work, target: Target, counts: Int64, among: tuple[Steps, int]
) -> None:
    """Take blocks until none is left; ``among`` are all steps, and which one it is."""
    steps, k = among
    block = _next(steps, k)
    if block >= work.blocks.shape[0]:
        return
    encoded = counts[_ENCODED : _ENCODED + 2 * target.codes.shape[0]]
    sums = counts[_ENCODED + encoded.shape[0] :]
    largest = (work.blocks[:, 1] - work.blocks[:, 0]).max()
    in_place = target.sums.shape[0] > 0
    scales = target.kind == VALUES and target.scaling.shape[1] == 0
    own = np.empty((0 if in_place else largest, layer.outputs), layer.columns.dtype)
    scaled = np.empty((largest if scales else 0, layer.outputs), np.float32)
    while block < work.blocks.shape[0]:
        start, end = work.blocks[block]
        acc = target.sums[start:end] if in_place else own[: end - start]
        if not layer.fills:
            acc[:] = 0
        scaling = target.scaling, target.floor
        counts[_CLIPPED] += _read_all(layer, work, (start, end), acc, scaling, sums)
        if scales:
            there = target.values.shape[0] > 0
            values = target.values[start:end] if there else scaled[: end - start]
            floats.rescale_folded(acc, target.folded, target.floor, values)
            _lay_out(values, start, target, encoded)
        elif target.kind == VALUES:
            _lay_out(acc, start, target, encoded)
        counts[0] += end - start
        _done(steps, k, block)
        block = _next(steps, k)


@jit_inline
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
        clipped += fused.read_out_here(
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


@jit_inline
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
        encoded[2 * k] += found[0]
        encoded[2 * k + 1] += found[1]


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
    rows = 0, one.shape[0], 0
    return _encode_rows((one, other), rows, codes.scale, (top + row, left), how, codes.padded)


@jit
def _encode_rows(
    maps: tuple[Single, Single], rows: Places, scale: float, corner: tuple[int, int], how: Places,
    out: Codes,
) -> tuple[int, int]:  # fmt: skip
    """Do what `encode_rows` does: sums and turned rows go no further than the nearest cache.

    ``rows`` are the first one, the end, and the planes of `encoding_step`.
    """
    (one, other), (start, end, planes) = maps, rows
    if planes == 0 and other.shape[0] == 0:
        return _encode_into(one[start:end], scale, (corner, *how), out)
    total, beyond = 0, 0
    row = np.empty((1, max(planes, 1) * one.shape[1]), one.dtype)
    for i in range(start, end):
        if planes == 0:
            _add_row(one[i], other[i], row[0])
        else:
            _turn(one, i, planes, False, row[0])
            if other.shape[0] > 0:
                _turn(other, i, planes, True, row[0])
        found = _encode_into(row, scale, ((corner[0] + i - start, corner[1]), *how), out)
        total += found[0]
        beyond += found[1]
    return total, beyond


@jit
def _add_row(one: Single, other: Single, out: Single) -> None:
    """Add two rows."""
    for j in range(np.uint64(out.shape[0])):
        out[j] = one[j] + other[j]


@jit
def _turn(planes: Single, row: int, channels: int, adds: bool, out: Single) -> None:
    """Bring a row of each of some planes together, pixel by pixel, or add it to what is there.

    float32 [channels * rows, pixels] to [pixels * channels]
    """
    pixels, step = np.uint64(planes.shape[1]), np.uint64(channels)
    for c in range(channels):
        source, place = planes[c * (planes.shape[0] // channels) + row], np.uint64(c)
        if adds:
            for x in range(pixels):
                out[place + x * step] += source[x]
        else:
            for x in range(pixels):
                out[place + x * step] = source[x]
