"""Fire the arrays of one layer, block of windows by block of windows.

Pulses of up to 8 bits on conductances that fit 16 take the fast path: integer products, everything
else fused (`cimsim.arrays.fused`). The rest takes a float product. There a block is a fixed number
of windows of one frame, whatever the number of threads; its tail is padded, so that the product
always sees the same shape and gives the same bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays import bitwise, conversion, fused, kernels
from cimsim.arrays.adc import AdcRange
from cimsim.arrays.encode import InputCode
from cimsim.arrays.programmed import ProgrammedArray
from cimsim.devices.base import AbstractDevice
from cimsim.engine.program import PlacedArray, ProgrammedLayer
from cimsim.engine.statistics import OpStatistics
from cimsim.engine.windows import WindowCodes, runs_of
from cimsim.hw.spec import Chip

BLOCK = 512  # windows; two operands and the sums of a 1024-row array stay within some MB
_EXACT_FLOAT32 = 2**24
_REFERENCES = 0x9E3779B97F4A7C15  # sets the noise of reference columns apart from the others'
_FINE_CODES = 2**20  # with as many a float32 level is exact to a sixteenth of a step
_LARGEST_BLOCK, _BLOCK_VALUES = 4096, 2**18  # windows, output values: a block stays in the cache

Sink = Callable[[int, NDArray[Any]], None]
_Fired = tuple[Counter[str], list[NDArray[np.int64]]]


@dataclass(frozen=True, eq=False)
class Firing:
    """How the arrays of one operation are driven and read.

    Attributes
    ----------
    layer : ProgrammedLayer
    ranges : tuple of AdcRange
        One for each array.
    pulses : tuple of (shift, mask)
    factors : tuple of float
        What a unit of each pulse counts in the output; negative in a negative phase.
    power : int
        Exponent of the pulse value in the read energy, 1 or 2.
    noise_lsb : float
        Input-referred noise of a converter, rms, in steps.
    key : int
        Of the noise, 64 bits.
    """

    layer: ProgrammedLayer
    ranges: tuple[AdcRange, ...]
    pulses: tuple[tuple[int, int], ...]
    factors: tuple[float, ...]
    power: int
    noise_lsb: float
    key: int

    @classmethod
    def of(
        cls,
        layer: ProgrammedLayer,
        ranges: tuple[AdcRange, ...],
        chip: Chip,
        device: AbstractDevice,
        key: int,
        code: InputCode,
    ) -> Firing:
        """Take what the chip and the input code say."""
        quadratic = device.conduction == "ohmic" and chip.dac.encoding == "amplitude"
        return cls(
            layer, ranges, code.pulses(chip.dac.bits), code.pulse_factors(chip.dac.bits),
            2 if quadratic else 1, chip.adc.noise_lsb, key,
        )  # fmt: skip

    @property
    def is_fast(self) -> bool:
        """Whether integer products are exact for all arrays and pulses.

        Non-linear drivers, cells and converters and the common noise of reference columns take the
        other path.
        """
        return self.pulses[0][1] <= 255 and all(
            array.is_linear
            and array.written.reference_variance is None
            and array.written.signal is not None
            for array in self.layer.arrays
        )

    @property
    def phases(self) -> list[tuple[int, int, float]]:
        """Return (first pulse, next phase's first, factor beyond ``2**shift``) of each phase."""
        ratios = [f / 2.0**s for f, (s, _) in zip(self.factors, self.pulses, strict=True)]
        starts = [i for i, ratio in enumerate(ratios) if i == 0 or ratio != ratios[i - 1]]
        ends = [*starts[1:], len(ratios)]
        return [(i, end, ratios[i]) for i, end in zip(starts, ends, strict=True)]

    @property
    def is_noisy(self) -> bool:
        """Whether every conversion carries noise and none so many codes that float32 were coarse.

        Without noise the arithmetic is that of float64: codes are those of the dense formula.
        """
        tops = [found.top for found in self.ranges]
        if any(top is not None and top >= _FINE_CODES for top in tops):
            return False
        by_converter = self.noise_lsb > 0 and None not in tops
        return by_converter or all(
            array.written.read_variance is not None for array in self.layer.arrays
        )

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """float32; float64 where whole numbers would not fit exactly."""
        largest = max(array.written.largest_sum for array in self.layer.arrays)
        too_large = largest * self.pulses[0][1] >= _EXACT_FLOAT32
        return np.float64 if self.layer.is_exact and too_large else np.float32


def fire(
    firing: Firing,
    source: WindowCodes,
    first_window: int,
    sink: Sink,
    pool: Executor | None = None,
    threads: int = 1,
) -> OpStatistics:
    """Apply every activation of ``source`` to the arrays of a layer.

    Parameters
    ----------
    firing : Firing
    source : WindowCodes
    first_window : int
        Number of the first activation over all frames; the noise is keyed by it.
    sink : callable
        ``sink(start, acc)`` takes the summed codes float [activations of the block, n_outputs] of
        activations ``start`` and following, in weight LSB times input LSB; called from several
        threads for different blocks.
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
    windows = len(source.bases)
    largest = BLOCK
    if firing.is_fast:
        largest = max(BLOCK // 2, min(_LARGEST_BLOCK, _BLOCK_VALUES // firing.layer.n_outputs))
    # a layer of few windows is cut into eight blocks, so that two or four cores share them evenly
    rows = min(largest, max(64, math.ceil(windows / 128) * 16))
    shared = _Shared(firing, source, first_window, rows)
    # each thread takes the next block when it has done one: a core that others use takes fewer
    starts = iter(range(0, windows, rows))
    others: list[Future[_Fired]] = []
    if pool is not None:
        helpers = min(threads, math.ceil(windows / rows)) - 1
        others = [pool.submit(_fire_blocks, shared, starts, sink) for _ in range(helpers)]
    # this thread works, too: waking one thread less is a tenth of a small layer's time
    parts = [_fire_blocks(shared, starts, sink), *(other.result() for other in others)]
    counts = sum((counts for counts, _ in parts), Counter(windows=source.answered))
    applied = [np.sum(sums, axis=0) for sums in zip(*(sums for _, sums in parts), strict=True)]
    return OpStatistics(**counts, conductance_s=shared.conductance(applied))


class _Shared:
    """What all threads read: matrices in the dtype of the product, runs, output columns."""

    def __init__(
        self, firing: Firing, source: WindowCodes, first_window: int, block_rows: int
    ) -> None:
        self.firing, self.source = firing, source
        self.first_window, self.block_rows = first_window, block_rows
        self.is_fast = firing.is_fast
        self.dtype = firing.dtype
        self.sum_dtype = np.float32 if self.is_fast and firing.is_noisy else np.float64
        self.pulses = fused.pulse_bits(firing.pulses)
        most = max(array.written.n_rows for array in firing.layer.arrays)
        self.by_bits = self.is_fast and bitwise.applies(self.pulses, most)
        self.n_cols = firing.layer.n_outputs
        self.groups = self._by_rows(firing.layer.arrays)
        self.runs = [runs_of(source.row_offsets[arrays[0].row_source]) for arrays in self.groups]

    def _by_rows(self, arrays: tuple[PlacedArray, ...]) -> list[list[_Array]]:
        """Put arrays together that are driven by the same vector, to collect it once."""
        found: dict[bytes, list[_Array]] = {}
        for index, array in enumerate(arrays):
            item = _Array(self, index, array)
            found.setdefault(array.row_source.tobytes(), []).append(item)
        return list(found.values())

    def conductance(self, applied: list[NDArray[np.int64]]) -> float:
        """Return the sum of (x / x_fs)**p * G from the sums of x**p on each row of each group."""
        full_scale = float(self.firing.pulses[0][1]) ** self.firing.power
        terms = [
            float(np.dot(sums.astype(np.float64), array.row_conductance_s)) / full_scale
            for sums, arrays in zip(applied, self.groups, strict=True)
            for array in arrays
        ]
        return math.fsum(terms)


class _Array:
    """One array as the loop reads it."""

    def __init__(self, shared: _Shared, index: int, placed: PlacedArray) -> None:
        written, firing = placed.written, shared.firing
        self.index = index
        self.row_source = placed.row_source
        self.row_conductance_s = written.row_conductance_s
        self.common_variance = written.reference_variance
        self.top = firing.pulses[0][1]
        self.dac_curves, self.adc_curves = placed.input_curves(self.top), placed.adc_curves
        self.n_rows, self.n_cols = written.n_rows, written.n_physical_cols
        slices = np.repeat(np.arange(written.slices), written.n_cols)
        self.columns = np.stack(
            [np.array(written.factors)[slices], placed.adc_gain, placed.adc_offset]
        )
        self.target = np.tile(placed.col_target, written.slices)
        self.adc = firing.ranges[index].packed(firing.noise_lsb)
        self.wired = written.wired
        if shared.is_fast:
            self._prepare(written, shared)
        else:
            self.matrix = written.difference.astype(shared.dtype, copy=False)
            self.variance = written.read_variance

    def _prepare(self, written: ProgrammedArray, shared: _Shared) -> None:
        """Bring everything into the shape that `fused.read_out` and `bitwise.read_out` take."""
        signal, noise = written.signal, written.noise
        if signal is None:
            raise AssertionError("no planes")  # `Firing.is_fast` has looked
        self.planes: tuple[Any, ...]
        if shared.by_bits:
            tables = written.tables
            self.planes = tables.sums, tables.has_high, tables.has_noise
        else:
            none = np.empty((0,) * signal.low.ndim, signal.low.dtype)
            self.planes = signal.high, signal.low, none if noise is None else noise.low
        dtype = shared.sum_dtype
        noise_unit = 0.0 if noise is None else noise.unit
        padded = conversion.packed_columns(self.columns, self.adc, (signal.unit, noise_unit))
        self.scales = self.adc[:3].astype(dtype)
        self.phases = []
        for _, _, factor in shared.firing.phases:
            phase = padded.copy()
            phase[4] *= factor
            self.phases.append(phase.astype(dtype))
        self.stretches = runs_of(self.target)

    def scaled(self, factor: float) -> NDArray[np.float64]:
        """Return the columns' weights for a pulse of which a unit counts ``factor``."""
        columns = self.columns.copy()
        columns[0] *= factor
        return columns


class _Scratch:
    """Memory of one thread that all its blocks use again."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, int], dtype: type[Any]) -> NDArray[Any]:
        """Return an array with any content."""
        size = shape[0] * shape[1]
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


def _fire_blocks(shared: _Shared, starts: Iterator[int], sink: Sink) -> _Fired:
    """Fire all arrays for one block after another; the one place where arrays are fired.

    Parameters
    ----------
    shared : _Shared
    starts : iterator of int
        First windows of the blocks that nobody has taken; shared by all threads.
    sink : callable

    Returns
    -------
    counts : Counter
        Of the fields of `OpStatistics`.
    applied : list of int64 [n_rows]
        For each group of arrays, the sum of pulse values (to the power) that each row was driven
        with.
    """
    fire_one = _fire_fast if shared.is_fast else _fire_float
    source, scratch = shared.source, _Scratch()
    applied = [np.zeros(arrays[0].n_rows, np.int64) for arrays in shared.groups]
    counts: Counter[str] = Counter(saturations=0)
    for start in starts:
        codes, bases = source.block(start, start + shared.block_rows)
        acc = scratch.take("acc", (len(bases), shared.n_cols), shared.sum_dtype)
        acc[:] = 0.0
        for arrays, runs, sums in zip(shared.groups, shared.runs, applied, strict=True):
            clipped = fire_one(shared, arrays, (start, codes, bases, runs), sums, acc, scratch)
            counts["saturations"] += clipped
            for array in arrays:
                fired = len(bases) * len(shared.firing.pulses)
                counts["activations"] += len(bases)
                counts["pulses"] += fired
                counts["conversions"] += fired * array.n_cols
                counts["dac_conversions"] += fired * array.n_rows
        sink(start, acc)
    return counts, applied


def _fire_fast(
    shared: _Shared,
    arrays: list[_Array],
    places: tuple[int, NDArray[Any], NDArray[np.int64], NDArray[np.int64]],
    sums: NDArray[np.int64],
    acc: NDArray[Any],
    scratch: _Scratch,
) -> int:
    """Integer products, everything fused; returns saturations."""
    firing, (start, codes, bases, runs) = shared.firing, places
    clipped, read_out = 0, bitwise.read_out if shared.by_bits else fused.read_out
    for number, array in enumerate(arrays):
        for (first, end, _), columns in zip(firing.phases, array.phases, strict=True):
            counter = (
                np.uint64(shared.first_window + start),
                np.uint64(array.index * len(firing.pulses) + first),
                np.uint64(firing.key),
            )
            clipped += read_out(
                codes, (bases, runs), shared.pulses[first:end], firing.power,
                array.planes, columns, array.stretches, array.scales, counter, acc,
                sums if number == 0 else sums[:0],
            )  # fmt: skip
    return int(clipped)


def _fire_float(
    shared: _Shared,
    arrays: list[_Array],
    places: tuple[int, NDArray[Any], NDArray[np.int64], NDArray[np.int64]],
    sums: NDArray[np.int64],
    acc: NDArray[Any],
    scratch: _Scratch,
) -> int:
    """Float products of whole blocks; returns saturations."""
    firing, (start, codes, bases, runs) = shared.firing, places
    shape = (shared.block_rows, arrays[0].n_rows)
    x = scratch.take("x", shape, shared.dtype)
    x[len(bases) :] = 0.0
    clipped = 0
    for number, (shift, mask) in enumerate(firing.pulses):
        bits = (shift, mask, firing.power)
        kernels.gather(codes, bases, runs, bits, x, sums)
        square = None
        if any(array.variance is not None for array in arrays):
            square = np.square(x, out=scratch.take("square", shape, shared.dtype))
        for array in arrays:
            stage = array.index * len(firing.pulses) + number
            window = (np.uint64(shared.first_window + start), np.uint64(stage))
            factor = firing.factors[number]
            clipped += _read_out(shared, array, (x, square), factor, window, acc, scratch)
    return clipped


def _read_out(
    shared: _Shared,
    array: _Array,
    pulse: tuple[NDArray[Any], NDArray[Any] | None],
    factor: float,
    window: tuple[np.uint64, np.uint64],
    acc: NDArray[np.float64],
    scratch: _Scratch,
) -> int:
    """One pulse on one array: currents, their noise, conversion, shift-add; returns saturations."""
    x, square = pulse
    if array.dac_curves.size:  # drivers, cells are static: the bent pulse of this array alone
        x = x.copy()
        kernels.bend_inputs(x, array.dac_curves)
        square = None if square is None else np.square(x)
    shape = (shared.block_rows, array.n_cols)
    current = scratch.take("current", shape, shared.dtype)
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
        common = (square @ array.common_variance)[: len(acc)].astype(np.float32, copy=False)
        kernels.add_common(current, common, *window, np.uint64(shared.firing.key ^ _REFERENCES))
    if array.adc_curves.size:
        kernels.bend_sums(current, array.columns, array.adc, array.adc_curves)
    clipped = kernels.convert(
        acc, current, variance, array.scaled(factor), array.target, array.adc, window,
        np.uint64(shared.firing.key),
    )  # fmt: skip
    return int(clipped)
