"""Fire the arrays of one operation, block of activations by block of activations.

On the float path a block is a fixed number of windows of one frame, whatever the number of threads;
its tail is padded, so that the product always sees the same shape and gives the same bits.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.firing import DrivenArray, DrivenRows, Firing
from cimsim.engine.statistics import OpStatistics
from cimsim.engine.steps import StepQueue
from cimsim.errors import SimulationError
from cimsim.kernels import bitwise, conversion, floats, frame, fused
from cimsim.kernels.arrays import Codes, Floats
from cimsim.kernels.conversion import Converter
from cimsim.kernels.normals import Stream

BLOCK = 512  # windows; two operands and the sums of a 1024-row array stay within some MB
_REFERENCES = 0x9E3779B97F4A7C15  # sets the noise of reference columns apart from the others'
_LEVELS = 0x165667B19E3779F9  # sets noise that goes with the level apart from the others'
INPUTS = 0xC2B2AE3D27D4EB4F  # sets what pulses of an input share apart from what each has alone
_LARGEST_BLOCK, _BLOCK_VALUES = 4096, 2**18  # windows, output values: a block stays in the cache
_SMALLEST_WORK = 2**23  # products of a block
_ROW, _COLUMN = 10, 130  # products that take as long as a row's input, a column's conversion
_SHARE = 1.5  # each thread takes one part in so many of the windows that are left to it

_Fired = tuple[int, int, list[NDArray[np.int64]]]
SUMS = np.empty((2, 0), np.float32), 0.0  # outputs are not scaled


class Sink:
    """Takes what blocks of activations give; called from several threads for different blocks.

    Attributes
    ----------
    scaling : (float32 [2, n_outputs], float) or None
        Factor, shift and smallest value of an output; None: sums are wanted.
    """

    scaling: tuple[NDArray[np.float32], float] | None = None

    def target(self) -> frame.Target | None:
        """Return where compiled code puts all outputs by itself; None: give them block by block."""
        return None

    def add_encoded(self, counts: NDArray[np.int64]) -> None:
        """Take what compiled code has counted of the maps of codes of `target`, int64 [n, 2]."""
        raise NotImplementedError

    def place(self, start: int, n: int) -> NDArray[np.float32] | None:
        """Return where the scaled outputs of activations ``start`` and following go, if anywhere.

        float32 [n, n_outputs]
        """
        return None

    def put(self, start: int, values: NDArray[np.float32]) -> None:
        """Take scaled outputs, those of `place` where it is not None."""
        raise NotImplementedError

    def add_up(self, start: int, sums: Floats) -> None:
        """Take summed codes float [n, n_outputs], in weight LSB times input LSB; not to keep."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Sums(Sink):
    """Keeps the sums of all activations, float [n, n_outputs]."""

    sums: Floats

    def target(self) -> frame.Target | None:
        """Return them, if they are of the type that arrays add up."""
        if self.sums.dtype != np.float32 or not self.sums.flags.c_contiguous:
            return None
        return frame.target_of(frame.SUMS, sums=self.sums)

    def add_encoded(self, counts: NDArray[np.int64]) -> None:
        """There are none."""

    def add_up(self, start: int, sums: Floats) -> None:
        """Copy them."""
        self.sums[start : start + len(sums)] = sums


def fire(
    firing: Firing,
    codes: Codes,
    first_window: int,
    key: int,
    sink: Sink,
    pool: Executor | None = None,
    threads: int = 1,
) -> OpStatistics:
    """Apply every activation of a map to the arrays of a layer.

    Parameters
    ----------
    firing : Firing
    codes : uint8 or uint16 [n]
        The padded map, flat, that ``firing.reads`` finds inputs in.
    first_window : int
        Number of the first activation over all frames; the noise is keyed by it.
    key : int
        Of the noise, 64 bits.
    sink : Sink
    pool : Executor, optional
        Where blocks run; without one they run here.
    threads : int
        How many work on the blocks, this one included.

    Returns
    -------
    OpStatistics
        Whole-number counts, and conductances summed in a fixed order: the same for any number of
        threads.
    """
    step = step_of(firing, codes, first_window, key, sink, threads)
    if step is not None:
        statistics: list[OpStatistics] = []
        queue = StepQueue(step.like, pool, threads, 1)
        queue.add(step, lambda found: statistics.append(counted(firing, found, sink)))
        queue.end()
        return statistics[0]
    scaling, cuts = sink.scaling if firing.is_direct else None, cuts_of(firing, threads)
    given = _Frame(firing, codes, first_window, key, scaling)
    by_blocks = functools.partial(_work, given, iter(cuts.tolist()), sink)
    others = [pool.submit(by_blocks) for _ in range(min(threads, len(cuts)) - 1)] if pool else []
    parts = [by_blocks(), *(other.result() for other in others)]
    done, clipped = sum(part[0] for part in parts), sum(part[1] for part in parts)
    applied = [np.sum(sums, axis=0) for sums in zip(*(sums for *_, sums in parts), strict=True)]
    return _statistics(firing, done, clipped, firing.weigh(applied))


def step_of(
    firing: Firing, codes: Codes, first_window: int, key: int, sink: Sink, threads: int,
    needs: NDArray[np.int64] = frame.ALL,
) -> frame.Step | None:  # fmt: skip
    """Return what compiled code does for all activations; None where it is done block by block.

    Parameters
    ----------
    firing, codes, first_window, key, sink, threads
        As in `fire`.
    needs
        As in `cimsim.kernels.frame.firing_step`.
    """
    target = sink.target() if firing.is_compiled else None
    if target is None:
        return None
    plan, common = plan_of(firing, threads), shared_noise(firing, key)
    return frame.firing_step(plan, codes, first_window, key, common, target, threads, needs)


def plan_of(firing: Firing, threads: int) -> frame.Plan:
    """Return what compiled code for some threads is told in every frame."""
    plan = firing.plans.get(threads)
    if plan is None:
        depth = max(int((rows.runs[:, 1] + rows.runs[:, 2]).max()) - 1 for rows in firing.groups)
        plan = firing.plans[threads] = frame.Plan.of(
            firing.compiled, firing.reads.bases, cuts_of(firing, threads), firing.row_bounds[-1],
            firing.conductances, depth,
        )  # fmt: skip
    return plan


def counted(firing: Firing, found: frame.Counted, sink: Sink) -> OpStatistics:
    """Return what a step has counted in its form, and hand on what is its sink's."""
    sink.add_encoded(found.encoded)
    return _statistics(firing, found.done, found.clipped, found.weighed)


def _statistics(firing: Firing, done: int, clipped: int, weighed: list[float]) -> OpStatistics:
    """Bring what was counted into its form."""
    return OpStatistics(
        **counts_of(firing, done, clipped), windows=firing.reads.answered,
        conductance_s=firing.conductance(weighed),
    )  # fmt: skip


def shared_noise(firing: Firing, key: int) -> fused.Common:
    """Return correlation and key of the noise that pulses of an input share, if they do."""
    return (firing.correlation, np.uint64(key ^ INPUTS)) if firing.correlation else None


def cuts_of(firing: Firing, threads: int) -> NDArray[np.int64]:
    """Return the blocks of activations, int64 [n, 2], for some threads.

    Each thread takes the next block when it has done one: a core that others use takes fewer.
    """
    if threads not in firing.cuts:
        firing.cuts[threads] = np.array(_cuts(firing, threads), np.int64)
    return firing.cuts[threads]


def _cuts(firing: Firing, threads: int) -> list[tuple[int, int]]:
    """Cut the activations of a frame into blocks (first, end).

    Float products always have the same shape. On the fast path blocks are whole ones of the
    product's own, whole rows of the map where rows are short, and become smaller towards the end,
    the last ones than a block of the product, so that all threads end together; a bit of the result
    does not depend on them.
    """
    windows = len(firing.reads.bases)
    if not firing.is_fast:
        rows = _float_rows(windows)
        return [(start, min(start + rows, windows)) for start in range(0, windows, rows)]
    largest = max(BLOCK // 2, min(_LARGEST_BLOCK, _BLOCK_VALUES // firing.layer.n_outputs))
    unit = bitwise.block_of(len(firing.pulses)) if firing.by_bits else fused.BLOCK
    by_row = math.lcm(unit, firing.reads.row)
    by_row = by_row if by_row <= largest // 4 else unit
    # a block that takes some 50 microseconds is worth the call
    arrays = [array for rows in firing.groups for array in rows.arrays]
    work = sum(
        array.n_rows * array.n_cols + _ROW * array.n_rows + _COLUMN * array.n_cols
        for array in arrays
    )
    least = unit if firing.by_bits or threads == 1 else unit // 4
    smallest = math.ceil(_SMALLEST_WORK / (work * len(firing.pulses) * least)) * least
    found, start, parts = [], 0, math.ceil(_SHARE * threads)
    while start < windows:
        part = max(smallest, (windows - start) // parts)
        step = by_row if part >= by_row else unit if part >= unit else least
        rows = min(max(step, largest // step * step), math.ceil(part / step) * step)
        found.append((start, min(start + rows, windows)))
        start += rows
    return found


def _float_rows(windows: int) -> int:
    """Return the activations of a block of the float path."""
    return min(BLOCK, max(64, math.ceil(windows / 128) * 16))


@dataclass(frozen=True, eq=False)
class _Frame:
    """What all threads read."""

    firing: Firing
    codes: Codes
    first_window: int
    key: int
    scaling: tuple[NDArray[np.float32], float] | None

    @cached_property
    def block_rows(self) -> int:
        """Activations of a block of the float path."""
        return _float_rows(len(self.firing.reads.bases))


@dataclass(frozen=True, eq=False)
class _Block:
    """Activations ``start`` and following, where they begin in ``codes``, and their outputs."""

    start: int
    codes: Codes
    bases: NDArray[np.int64]
    acc: Floats


class _Scratch:
    """Memory of one thread that all its blocks use again."""

    def __init__(self) -> None:
        self._held: dict[str, Floats] = {}

    def take(self, name: str, shape: tuple[int, int], dtype: type[np.floating]) -> Floats:
        """Return an array with any content."""
        size = shape[0] * shape[1]
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


def _work(frame: _Frame, blocks: Iterator[tuple[int, int]], sink: Sink) -> _Fired:
    """Do what `_fire_blocks` does; when that fails nobody begins another block."""
    try:
        return _fire_blocks(frame, blocks, sink)
    except BaseException:
        deque(blocks, maxlen=0)
        raise


def _fire_blocks(frame: _Frame, blocks: Iterator[tuple[int, int]], sink: Sink) -> _Fired:
    """Fire all arrays for one block after another; the one place where arrays are fired.

    Parameters
    ----------
    frame : _Frame
    blocks : iterator of (int, int)
        First window and end of the blocks that nobody has taken; shared by all threads.
    sink : Sink

    Returns
    -------
    done, clipped : int
        Activations; conversions whose input lay outside of the range.
    applied : list of int64 [n_rows]
        For each group of arrays, the sum of pulse values (to the power) that each row was driven
        with.
    """
    firing, scratch, scaling = frame.firing, _Scratch(), frame.scaling
    fire_rows = _fire_fast if firing.is_fast else _fire_float
    applied = [np.zeros(rows.n_rows, np.int64) for rows in firing.groups]
    done = clipped = 0
    for start, end in blocks:
        codes, bases = firing.reads.block(frame.codes, start, end)
        shape = len(bases), firing.layer.n_outputs
        acc: Floats | None = sink.place(start, len(bases)) if scaling is not None else None
        if acc is None:
            acc = scratch.take("acc", shape, firing.sum_dtype)
        if not firing.fills:
            acc[:] = 0.0
        for rows, sums in zip(firing.groups, applied, strict=True):
            clipped += fire_rows(frame, rows, _Block(start, codes, bases, acc), sums, scratch)
        done += len(bases)
        if scaling is not None:
            sink.put(start, acc)
        else:
            sink.add_up(start, acc)
    return done, clipped, applied


def counts_of(firing: Firing, activations: int, saturations: int) -> dict[str, int]:
    """Return the whole-number fields of `OpStatistics` that follow from how often arrays fired."""
    arrays, rows, cols = firing.lines
    pulses = activations * len(firing.pulses)
    return {
        "activations": activations * arrays, "pulses": pulses * arrays,
        "conversions": pulses * cols, "dac_conversions": pulses * rows,
        "saturations": saturations,
    }  # fmt: skip


def _fire_fast(
    frame: _Frame,
    rows: DrivenRows,
    block: _Block,
    sums: NDArray[np.int64],
    scratch: _Scratch,
) -> int:
    """Integer products, everything fused; returns saturations."""
    firing, clipped = frame.firing, 0
    scaling = frame.scaling or SUMS
    read_out: Callable[..., int] = bitwise.read_out if firing.by_bits else fused.read_out
    common = shared_noise(firing, frame.key)
    window, key = np.uint64(frame.first_window + block.start), np.uint64(frame.key)
    for number, array in enumerate(rows.arrays):
        held = array.tables if firing.by_bits else array.planes
        counted = sums if number == 0 else sums[:0]
        for phase in firing.phases_of(array):
            clipped += read_out(
                fused.Inputs(block.codes, block.bases, rows.runs),
                fused.Pulses(firing.packed_pulses[phase.first : phase.end], firing.power),
                held, Converter(phase.columns, array.scales),
                Stream(window, np.uint64(phase.stage), key),
                fused.Outputs(block.acc, array.stretches, phase.fresh, counted, scaling),
                common,
            )  # fmt: skip
    return int(clipped)


def _fire_float(
    frame: _Frame,
    rows: DrivenRows,
    block: _Block,
    sums: NDArray[np.int64],
    scratch: _Scratch,
) -> int:
    """Float products of whole blocks; returns saturations."""
    firing = frame.firing
    shape = (frame.block_rows, rows.n_rows)
    x = scratch.take("x", shape, firing.dtype)
    x[len(block.bases) :] = 0.0
    clipped = 0
    shares = _overlaps(firing, rows, block, frame.block_rows) if firing.correlation else {}
    firsts = {number: first for first, end, _ in firing.phases for number in range(first, end)}
    for number, (shift, mask) in enumerate(firing.pulses):
        first = firsts[number]
        bits = (shift, mask, firing.power)
        floats.gather(block.codes, block.bases, rows.runs, bits, x, sums)
        square = None
        if any(array.variance is not None for array in rows.arrays):
            square = np.square(x, out=scratch.take("square", shape, firing.dtype))
        for array in rows.arrays:
            stage = array.index * len(firing.pulses) + number
            window = np.uint64(frame.first_window + block.start)
            stream = Stream(window, np.uint64(stage), np.uint64(frame.key))
            factor = firing.factors[number]
            common = None
            if firing.correlation:
                stage = array.index * len(firing.pulses) + first
                common = shares[first], np.uint64(stage), np.uint64(frame.key ^ INPUTS)
            clipped += _read_out(
                frame, array, (x, square), factor, stream, block.acc, scratch, common
            )
    return clipped


def _overlaps(
    firing: Firing, rows: DrivenRows, block: _Block, n: int
) -> dict[int, NDArray[np.float64]]:
    """Return, for each phase by its first pulse, the correlation of noise in two of its pulses."""
    whole = max(shift + mask.bit_length() for shift, mask in firing.pulses)
    codes = np.zeros((n, rows.n_rows), np.int64)
    bits = (0, 2**whole - 1, 1)
    floats.gather(block.codes, block.bases, rows.runs, bits, codes, np.zeros(rows.n_rows, np.int64))
    found = {}
    for first, end, _ in firing.phases:
        pulses = np.array([(s, m, 0) for s, m in firing.pulses[first:end]], np.int64)
        share = np.zeros(n)
        conversion.overlaps(codes, len(block.bases), pulses, share)
        found[first] = firing.correlation * share
    return found


def _drooped(x: Floats, array: DrivenArray, r_supply_ohm: float) -> Floats:
    """Lower all voltages of a pulse by what the current of all cells takes from the supply.

    A load of conductance ``G`` behind a resistance ``r`` has ``1 / (1 + r G)`` of the voltage: one
    factor for each activation, the same for all columns. Cells count as linear.
    """
    if array.wired is not None:
        raise SimulationError(
            "array.r_supply: expected 0 ohm with non-linear cells behind wires, which are solved "
            "for whole pulse values; set it to 0, or device.nonlinearity to 2"
        )
    load_s = x @ (array.row_conductance_s / array.top)
    lowered: Floats = x * (1 / (1 + r_supply_ohm * load_s))[:, None]
    return lowered.astype(x.dtype, copy=False)


def _read_out(
    frame: _Frame,
    array: DrivenArray,
    pulse: tuple[Floats, Floats | None],
    factor: float,
    stream: Stream,
    acc: Floats,
    scratch: _Scratch,
    common: tuple[NDArray[np.float64], np.uint64, np.uint64] | None = None,
) -> int:
    """One pulse on one array: currents, their noise, conversion, shift-add; returns saturations."""
    x, square = pulse
    if array.dac_curves.size:  # drivers, cells are static: the bent pulse of this array alone
        x = x.copy()
        floats.bend_inputs(x, array.dac_curves)
        square = None if square is None else np.square(x)
    if frame.firing.r_supply_ohm > 0:
        x = _drooped(x, array, frame.firing.r_supply_ohm)
        square = None if square is None else np.square(x)
    shape = (frame.block_rows, array.n_cols)
    current = scratch.take("current", shape, frame.firing.dtype)
    if array.wired is None:
        np.matmul(x, array.matrix, out=current)
    else:
        current[:] = array.wired.partial_sums(x, array.top)
        square = None if square is None else np.square(array.wired.bent(x, array.top))
    variance = np.empty((0, 0), np.float32)
    if array.variance is not None and square is not None:
        variance = np.matmul(
            square, array.variance, out=scratch.take("variance", shape, np.float32)
        )
    if array.common_variance is not None and square is not None:
        reference = (square @ array.common_variance)[: len(acc)].astype(np.float32, copy=False)
        own = np.uint64(frame.key ^ _REFERENCES)
        if common is not None:
            share = common[0][: len(acc), None].astype(np.float32)
            floats.add_common(
                current, reference * share, stream.window, common[1],
                np.uint64(frame.key ^ _REFERENCES ^ INPUTS),
            )  # fmt: skip
            reference = reference * (1 - share)
        floats.add_common(current, reference, stream.window, stream.stage, own)
    if array.adc_curves.size:
        floats.bend_sums(current, array.columns, array.adc, array.adc_curves)
    if frame.firing.noise_curve is not None:
        floats.add_level_noise(
            current[: len(acc)], array.columns, array.adc, frame.firing.noise_curve, stream.window,
            stream.stage, np.uint64(frame.key ^ _LEVELS),
        )  # fmt: skip
    clipped = floats.convert(
        (acc, array.target), current, variance, Converter(array.scaled(factor), array.adc),
        stream, common,
    )  # fmt: skip
    return int(clipped)
